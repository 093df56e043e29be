"""Measure what looks are worth: the same runs without and with features from the pictures, and what they cost.

    python tools/appearance_benchmark.py DATA_ROOT [--seeds N] [--set KEY=VALUE] [--appearance KIND,...]

DATA_ROOT is that of benchmark.py, with videos in DATA_ROOT/videos. Each video is read once; replicates are disturbed
as benchmark.py disturbs them, and the features are those of the disturbed boxes. The camera's motion is estimated from
the pictures, as `track` does it.

`lost` counts changes of identity where the object was without a track for three frames or more before, as after it
was hidden; `swapped` the others.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import numpy as np
from measuring import Recording, Sequence, load, mean_and_error, replicate, runs_backwards, stream, track
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table
from telling import one_line_errors

from tracker import Config, Detections, load_config
from tracker.app.inputs import Job, chosen_detector, feature_extractor, seen_by
from tracker.app.warming import warm_up
from tracker.evaluation.diagnosis import coverage
from tracker.evaluation.preparation import match, prepare
from tracker.evaluation.scores import Scores, evaluate
from tracker.formats.table import TrackTable
from tracker.media.sources import open_video
from tracker.structures import FloatArray
from tracker.tracking.camera import CameraMotionEstimator

FILMS = {
    "MOT17-val-half/MOT17-11": "MOT17-11-val-half.mp4",
    "Detectors/MOT17-11-nanodet": "MOT17-11-val-half.mp4",
    "Detectors/MOT17-11-yolov10": "MOT17-11-val-half.mp4",
    "MOT15/TUD-Campus": "TUD-Campus.mp4",
    "MOT15/PETS09-S2L1": "vtest.avi",
    "Detectors/PETS09-nanodet": "vtest.avi",
}
BACKGROUND = "MOT15/PETS09-S2L1 background"
"""The film of PETS's film with what background subtraction finds in it."""
GAP_FRAMES = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run scored, and what it took."""

    scores: Scores
    lost: int
    swapped: int
    looking_ms: float
    tracking_ms: float


def watched(root: Path, name: str, config: Config, seeds: range) -> dict[int, tuple[Recording, float]]:
    """Read a film once: by seed, its detections with features, and the processor time of a picture's in ms."""
    recording = load(Sequence(root / name.split(maxsplit=1)[0]))
    film = root / "videos" / FILMS[name.split(maxsplit=1)[0]]
    if name == BACKGROUND:
        recording = replace(recording, detections=detected(film, config, len(recording.detections)))
    count = len(recording.detections)
    extract = feature_extractor(config)
    moving = name != BACKGROUND
    disturbed = {seed: replicate(recording, seed, stream(name, seed)) for seed in seeds}
    looked: dict[int, dict[int, Detections]] = {seed: {} for seed in seeds}
    spent_s = dict.fromkeys(seeds, 0.0)
    camera: dict[int, FloatArray] = {}
    estimator = CameraMotionEstimator()
    with open_video(film) as video:
        for frame in video:
            if frame.index > count:
                break
            assert frame.image is not None
            if moving:
                affine = estimator.update(frame.image, recording.detections[frame.index - 1].boxes_xyxy).affine
                if affine is not None:
                    camera[frame.index] = affine
            for seed in seeds:
                row = count - frame.index if runs_backwards(seed) else frame.index - 1
                detections = disturbed[seed].detections[row]
                began_s = time.thread_time()
                looked[seed][row] = detections if extract is None else extract(frame.image, detections)
                spent_s[seed] += time.thread_time() - began_s
    reversed_camera = {count + 2 - index: inverse(affine) for index, affine in camera.items()}
    return {
        seed: (
            replace(
                disturbed[seed],
                detections=tuple(looked[seed].get(row, Detections.empty()) for row in range(count)),
                camera=reversed_camera if runs_backwards(seed) else camera,
            ),
            1e3 * spent_s[seed] / count,
        )
        for seed in seeds
    }


def detected(film: Path, config: Config, count: int) -> tuple[Detections, ...]:
    """Return what the configuration's detector finds in a film."""
    detector = chosen_detector(Job(config=config, video=film))
    with open_video(film, frames=count) as video:
        return tuple(seen_by(detector, [frame.image])[0] for frame in video if frame.image is not None)


def inverse(affine: FloatArray) -> FloatArray:
    return np.linalg.inv(np.vstack([affine, [0.0, 0.0, 1.0]]))[:2]


def switches(truth: TrackTable, tracks: TrackTable) -> tuple[int, int]:
    """Count changes of identity after a gap in the track of the true object, and the others."""
    cover = coverage(prepared := prepare(truth, tracks), match(prepared))
    lost = swapped = 0
    for identity in np.unique(cover.ids):
        mine = cover.ids == identity
        frames = cover.frames[mine & cover.covered]
        switched = cover.switched[mine & cover.covered]
        gaps = np.diff(frames, prepend=frames[:1] - 1) - 1
        lost += int(np.count_nonzero(switched & (gaps >= GAP_FRAMES)))
        swapped += int(np.count_nonzero(switched & (gaps < GAP_FRAMES)))
    return lost, swapped


def outcomes(root: Path, name: str, config: Config, seeds: range) -> dict[int, Outcome]:
    """Score a sequence and its replicates."""
    found = {}
    for seed, (recording, looking_ms) in watched(root, name, config, seeds).items():
        began_s = time.process_time()
        table = track(recording, config, camera=True)
        tracking_ms = 1e3 * (time.process_time() - began_s) / len(recording.detections)
        scores = evaluate(recording.truth, table).scores
        found[seed] = Outcome(scores, *switches(recording.truth, table), looking_ms, tracking_ms)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DATA_ROOT")
    parser.add_argument("--config", default="default.yaml", help="file or preset (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key")
    parser.add_argument("--appearance", default="none,histogram", metavar="KIND,...", help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=0, metavar="N", help="mean and error over N disturbed replicates")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N")
    arguments = parser.parse_args()
    kinds = arguments.appearance.split(",")
    seeds = range(1, arguments.seeds + 1) if arguments.seeds else range(1)
    configs = {kind: load_config(arguments.config, [*arguments.set, f"tracking.appearance={kind}"]) for kind in kinds}
    names = [name for name in (*FILMS, BACKGROUND) if (arguments.root / name.split()[0] / "det" / "det.txt").is_file()]
    if not names:
        raise SystemExit(f"{arguments.root}: holds none of {', '.join(FILMS)}")
    warm_up()
    jobs = [(name, kind) for name in names for kind in kinds]
    with ProcessPoolExecutor(arguments.processes) as pool:
        done = pool.map(
            outcomes,
            [arguments.root] * len(jobs),
            [name for name, _ in jobs],
            [configs[kind] for _, kind in jobs],
            [seeds] * len(jobs),
        )
        results = dict(zip(jobs, progress(done, "tracking", len(jobs), console=Console(stderr=True)), strict=True))
    columns = ("hota", "ass_a", "idf1", "id_switches")
    table = Table(title=f"differences to {kinds[0]}; ms of processor time per frame")
    for heading in ("sequence", "looks", "HOTA", "AssA", "IDF1", "IDSW", "lost", "swapped", "looking", "tracking"):
        table.add_column(heading, justify="left" if heading in {"sequence", "looks"} else "right")
    for name in names:
        for kind in kinds:
            mine, base = results[name, kind], results[name, kinds[0]]
            values = {seed: [getattr(mine[seed].scores, c) for c in columns] for seed in seeds}
            before = {seed: [getattr(base[seed].scores, c) for c in columns] for seed in seeds}
            for seed in seeds:
                values[seed] += [mine[seed].lost, mine[seed].swapped]
                before[seed] += [base[seed].lost, base[seed].swapped]
            cells = []
            for c in range(len(columns) + 2):
                if kind == kinds[0]:
                    cells.append(f"{np.mean([values[seed][c] for seed in seeds]):.1f}")
                else:
                    mean, error = mean_and_error(values[seed][c] - before[seed][c] for seed in seeds)
                    cells.append(f"{mean:+.1f}" + (f"±{error:.1f}" if len(seeds) > 1 else ""))
            looking = min(outcome.looking_ms for outcome in mine.values())
            tracking = min(outcome.tracking_ms for outcome in mine.values())
            table.add_row(name, kind, *cells, f"{looking:.2f}", f"{tracking:.3f}")
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    with one_line_errors():
        main()
