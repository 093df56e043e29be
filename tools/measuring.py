"""What the benchmark and the ablation share: sequences with truth, disturbed replicates, scores per set."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from peers import PEERS

from tracker import Config, Detections, Tracker
from tracker.evaluation.scores import Evaluation, combine, evaluate
from tracker.formats.motchallenge import (
    find_sequence_info,
    read_camera_motion,
    read_detections,
    read_sequence_info,
    read_truth,
)
from tracker.formats.table import TrackTable
from tracker.geometry import xyxy_to_ltwh
from tracker.tracking.online import warm_up

DROPPED = 0.025
JITTER = 0.005


@dataclass(frozen=True, slots=True)
class Sequence:
    """Where a sequence lies: ROOT/SET/NAME with det/det.txt, gt/gt.txt and seqinfo.ini."""

    folder: Path

    @property
    def set_name(self) -> str:
        return self.folder.parent.name

    @property
    def name(self) -> str:
        return self.folder.name


@dataclass(frozen=True, slots=True)
class Recording:
    """A sequence in memory."""

    frame_rate_hz: float
    detections: tuple[Detections, ...]  # by frame, from 1
    truth: TrackTable
    camera: Mapping[int, np.ndarray]


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the tracker: which sequence, disturbed how, with which configuration."""

    sequence: Sequence
    config: Config
    seed: int = 0
    every: int = 1
    camera: bool = False
    tracker: str = "ours"


def find_sequences(root: Path) -> list[Sequence]:
    """Return all sequences with detections and truth below ROOT/SET/NAME."""
    return [
        Sequence(path.parents[1])
        for path in sorted(root.glob("*/*/det/det.txt"))
        if (path.parents[1] / "gt" / "gt.txt").is_file()
    ]


@lru_cache(maxsize=64)
def load(sequence: Sequence) -> Recording:
    """Read a sequence."""
    path = sequence.folder / "det" / "det.txt"
    frames = read_detections(path)
    found = find_sequence_info(path)
    if found is None:
        raise SystemExit(f"{sequence.folder}: no seqinfo.ini with the frame rate")
    info = read_sequence_info(found)
    if info.frame_rate_hz is None:
        raise SystemExit(f"{found}: names no frameRate")
    count = max(info.frame_count or 0, *frames)
    motion = sequence.folder / "gmc.txt"
    return Recording(
        frame_rate_hz=info.frame_rate_hz,
        detections=tuple(frames.get(frame, Detections.empty()) for frame in range(1, count + 1)),
        truth=read_truth(sequence.folder / "gt" / "gt.txt"),
        camera=read_camera_motion(motion) if motion.is_file() else {},
    )


def decimate(recording: Recording, every: int) -> Recording:
    """Keep every n-th frame; the frame rate falls with it."""
    if every == 1:
        return recording
    truth = recording.truth
    kept = (truth.frames - 1) % every == 0
    return Recording(
        frame_rate_hz=recording.frame_rate_hz / every,
        detections=recording.detections[::every],
        truth=replace(truth.select(kept), frames=(truth.frames[kept] - 1) // every + 1),
        camera={},
    )


def disturb(recording: Recording, rng: np.random.Generator, backwards: bool) -> Recording:
    """Drop 2.5 % of the detections, move the edges of the rest by 0.5 % of their size, perhaps reverse time."""
    disturbed = []
    for frame in recording.detections:
        kept = frame.select(rng.random(len(frame)) >= DROPPED)
        ltwh = xyxy_to_ltwh(kept.boxes_xyxy)
        ltwh = ltwh + rng.normal(0.0, JITTER, ltwh.shape) * ltwh[:, [2, 3, 2, 3]]
        ltwh[:, 2:] = np.maximum(ltwh[:, 2:], 1.0)
        boxes = np.concatenate([ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]], axis=1)
        disturbed.append(Detections(boxes, kept.scores, kept.classes))
    truth, camera = recording.truth, recording.camera
    if backwards:
        disturbed.reverse()
        truth = replace(truth, frames=len(disturbed) + 1 - truth.frames)
        camera = {}
    return Recording(recording.frame_rate_hz, tuple(disturbed), truth, camera)


def track(recording: Recording, config: Config, camera: bool = False) -> TrackTable:
    """Run our tracker over a recording; boxes are rounded as a result file rounds them."""
    tracker = Tracker(config)
    reports = []
    for frame, detections in enumerate(recording.detections, 1):
        affine = recording.camera.get(frame) if camera else None
        reports.append(tracker.update(detections, time_s=frame / recording.frame_rate_hz, camera_affine=affine))
    reports = reports[config.tracking.lag_frames :] + tracker.flush()
    return _table([np.column_stack([tracks.ids, tracks.boxes_xyxy]) for tracks in reports])


def track_by_peer(recording: Recording, name: str) -> TrackTable:
    """Run another tracker over a recording."""
    peer = PEERS[name](recording.frame_rate_hz)
    return _table(
        [
            peer.read(peer.update(peer.prepare(detections), frame / recording.frame_rate_hz))
            for frame, detections in enumerate(recording.detections, 1)
        ]
    )


def _table(reports: list[np.ndarray]) -> TrackTable:
    """Return the rows of id and box, (n, 5) for each frame, as one table."""
    rows = np.concatenate(reports)
    frames = np.repeat(np.arange(1, len(reports) + 1), [len(report) for report in reports])
    return TrackTable(frames, rows[:, 0].astype(np.int64), np.round(xyxy_to_ltwh(rows[:, 1:]), 2), np.ones(len(rows)))


def run(job: Job) -> Evaluation:
    """Track and score one job; the disturbance depends on seed and sequence alone."""
    recording = decimate(load(job.sequence), job.every)
    if job.seed:
        name = f"{job.sequence.set_name}/{job.sequence.name}"
        rng = np.random.default_rng([job.seed, zlib.crc32(name.encode())])
        recording = disturb(recording, rng, backwards=job.seed % 2 == 1)
    if job.tracker == "ours":
        return evaluate(recording.truth, track(recording, job.config, job.camera))
    return evaluate(recording.truth, track_by_peer(recording, job.tracker))


def run_all(jobs: Iterable[Job], processes: int) -> Iterator[tuple[Job, Evaluation]]:
    """Run jobs in parallel processes, in the order given."""
    jobs = list(jobs)
    warm_up()  # compile once, before the processes would each do it
    with ProcessPoolExecutor(processes) as pool:
        yield from zip(jobs, pool.map(run, jobs), strict=True)


def by_set(results: Mapping[Job, Evaluation]) -> dict[str, dict[int, Evaluation]]:
    """Combine the sequences of each set: set name -> seed -> evaluation."""
    groups: dict[str, dict[int, dict[str, Evaluation]]] = {}
    for job, evaluation in results.items():
        seeds = groups.setdefault(job.sequence.set_name, {})
        seeds.setdefault(job.seed, {})[job.sequence.name] = evaluation
    return {name: {seed: combine(e) for seed, e in seeds.items()} for name, seeds in groups.items()}


def mean_and_error(values: Iterable[float]) -> tuple[float, float]:
    """Return the mean and its standard error (nan for a single value)."""
    array = np.array(list(values), dtype=float)
    error = array.std(ddof=1) / np.sqrt(len(array)) if len(array) > 1 else float("nan")
    return float(array.mean()), float(error)
