"""Measure forecasts on frames that they have not seen: what the bands hold, and how far off their middle is.

    python tools/forecast_benchmark.py DATA_ROOT [--set KEY=VALUE] [--sets NAME,...] [--camera]

DATA_ROOT is that of benchmark.py. Every .2 s each confirmed object that covers an identity of the truth (IoU of .5)
foretells that identity's feet at .2, .5, 1 and 2 s; what comes later is unknown to it. `law` is the law alone,
`learned` with what the sequence has taught so far. Displacements are means in units of sqrt(width x height).
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import numpy as np
from measuring import Sequence, find_sequences, load
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table
from telling import one_line_errors

from tracker import Config, Forecaster, Tracker, load_config
from tracker.app.warming import warm_up
from tracker.geometry import intersection_over_union, xyxy_to_ltwh
from tracker.structures import Status
from tracker.tracking.forecast import HORIZONS_S
from tracker.tracking.motion import TAU_PER_S

STRIDE_S, LEAST_IOU, LEAST_HITS = 0.2, 0.5, 3
PEDESTRIAN = 1
SHARES = (0.5, 0.9)
FIELDS = ("horizon", "law_50", "law_90", "learned_50", "learned_90", "ours", "constant_velocity", "still")


def run(sequence: Sequence, config: Config, camera: bool) -> np.ndarray:
    """Return a row of :data:`FIELDS` for each forecast whose truth is known."""
    recording = load(sequence)
    rate_hz, truth = recording.frame_rate_hz, recording.truth
    distracting = (truth.classes != PEDESTRIAN) if "MOT17" in str(sequence.folder) else False
    truth = truth.select(truth.flags & ~np.asarray(distracting))
    feet_of = {
        key: (left + width / 2.0, top + height)
        for key, (left, top, width, height) in zip(
            zip(truth.frames.tolist(), truth.ids.tolist(), strict=True), truth.boxes_ltwh.tolist(), strict=True
        )
    }
    steps = np.maximum(np.rint(np.array(HORIZONS_S) * rate_hz).astype(int), 1)
    tracker, forecaster, by_law = Tracker(config), Forecaster(config), Forecaster(config)
    rows = []
    for frame, detections in enumerate(recording.detections, 1):
        affine = recording.camera.get(frame) if camera else None
        tracker.update(detections, frame / rate_hz, affine)
        forecaster.observe(tracker.state, affine)
        if frame % max(1, round(STRIDE_S * rate_hz)):
            continue
        components, everybody = tracker.state.components, tracker.tracks(coasting=True)
        here = np.flatnonzero(truth.frames == frame)
        known = np.flatnonzero((everybody.status != Status.TENTATIVE) & (components["hits"] >= LEAST_HITS))
        if not len(here) or not len(known):
            continue
        overlap = intersection_over_union(xyxy_to_ltwh(everybody.boxes_xyxy[known]), truth.boxes_ltwh[here])
        nearest = overlap.argmax(axis=1)
        mutual = (overlap.argmax(axis=0)[nearest] == np.arange(len(known))) & (overlap.max(axis=1) >= LEAST_IOU)
        times_s = np.unique(steps / rate_hz)
        learned, plain = (f.fans(tracker.state, times_s, SHARES) for f in (forecaster, by_law))
        for k, identity in zip(known[mutual], truth.ids[here][nearest[mutual]].tolist(), strict=True):
            c = components[k]
            for horizon_s, step in zip(HORIZONS_S, steps.tolist(), strict=True):
                feet = feet_of.get((frame + step, identity))
                if feet is None:
                    continue
                t = int(np.searchsorted(times_s, step / rate_hz))
                held = [
                    ((((feet - fans.centres[k, t]) / fans.axes[:, k, t]) ** 2).sum(axis=1) <= 1.0).tolist()
                    for fans in (plain, learned)
                ]
                ahead = c["velocity"][:2] * TAU_PER_S * step / rate_hz
                off = [learned.centres[k, t] - feet, c["mean"][:2] + ahead - feet, c["mean"][:2] - feet]
                rows.append([horizon_s, *held[0], *held[1], *(np.hypot(*error) / c["scale"] for error in off)])
    return np.array(rows, np.float64).reshape(-1, len(FIELDS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DATA_ROOT")
    parser.add_argument("--config", default="default.yaml", help="file or preset (default: %(default)s)")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="override a key of the configuration")
    parser.add_argument("--sets", help="names of the sets, separated by commas (default: all)")
    parser.add_argument("--camera", action="store_true", help="use the camera motion in gmc.txt where there is one")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N")
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.set or ())
    sequences = find_sequences(arguments.root, arguments.sets)
    warm_up()
    with ProcessPoolExecutor(arguments.processes) as pool:
        done = pool.map(partial(run, config=config, camera=arguments.camera), sequences)
        results = list(progress(done, "foretelling", len(sequences), console=Console(stderr=True)))
    table = Table(title="share of truths that the bands of 50 and 90 % hold; mean displacement in sqrt(width x height)")
    for heading in ("set", "s", "forecasts", "law", "learned", "ours", "constant velocity", "still"):
        table.add_column(heading, justify="left" if heading == "set" else "right")
    for name in dict.fromkeys(s.set_name for s in sequences):
        rows = np.concatenate([r for s, r in zip(sequences, results, strict=True) if s.set_name == name])
        for horizon_s in HORIZONS_S:
            at = rows[rows[:, 0] == horizon_s]
            shares, distances = 100.0 * at[:, 1:5].mean(axis=0), at[:, 5:].mean(axis=0)
            table.add_row(
                name,
                f"{horizon_s:g}",
                str(len(at)),
                f"{shares[0]:.1f} {shares[1]:.1f}",
                f"{shares[2]:.1f} {shares[3]:.1f}",
                *(f"{distance:.3f}" for distance in distances),
            )
        table.add_section()
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    with one_line_errors():
        main()
