"""What the benchmark and the ablation share: sequences with truth, disturbed replicates, scores per set, films."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from pathlib import Path

import av
import numpy as np
from peers import PEERS

from tracker import Config, Detections, Tracker, Tracks
from tracker.app.warming import warm_up
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
from tracker.structures import Status

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

    @property
    def label(self) -> str:
        return f"{self.set_name}/{self.name}"


@dataclass(frozen=True, slots=True)
class Recording:
    """A sequence in memory."""

    frame_rate_hz: float
    detections: tuple[Detections, ...]  # by frame, from 1
    times_s: np.ndarray
    truth: TrackTable
    camera: Mapping[int, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One run of the tracker: which sequence, disturbed how, with which configuration."""

    sequence: Sequence
    config: Config
    seed: int = 0
    every: int = 1
    camera: bool = False
    tracker: str = "ours"
    lost: float = 0.0


def find_sequences(root: Path, sets: str | None = None) -> list[Sequence]:
    """Return the sequences with detections and truth below ROOT/SET/NAME, of the sets named (A,B); none is an exit."""
    found = [
        Sequence(path.parents[1])
        for path in sorted(root.glob("*/*/det/det.txt"))
        if (path.parents[1] / "gt" / "gt.txt").is_file()
    ]
    if sets:
        found = [sequence for sequence in found if sequence.set_name in sets.split(",")]
    if not found:
        where = f"of {sets} " if sets else ""
        raise SystemExit(f"{root}: holds no SET/SEQUENCE {where}with det/det.txt and gt/gt.txt")
    return found


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
        times_s=even_times_s(count, info.frame_rate_hz),
        truth=read_truth(sequence.folder / "gt" / "gt.txt"),
        camera=read_camera_motion(motion) if motion.is_file() else {},
    )


def even_times_s(count: int, frame_rate_hz: float) -> np.ndarray:
    """Return the times of frames at a constant rate."""
    return np.arange(1, count + 1) / frame_rate_hz


def decimate(recording: Recording, every: int) -> Recording:
    """Keep every n-th frame; the frame rate falls with it."""
    if every == 1:
        return recording
    truth = recording.truth
    kept = (truth.frames - 1) % every == 0
    frame_rate_hz, detections = recording.frame_rate_hz / every, recording.detections[::every]
    return Recording(
        frame_rate_hz=frame_rate_hz,
        detections=detections,
        times_s=even_times_s(len(detections), frame_rate_hz),
        truth=replace(truth.select(kept), frames=(truth.frames[kept] - 1) // every + 1),
        camera={},
    )


def lose_frames(recording: Recording, share: float, rng: np.random.Generator) -> Recording:
    """Lose a share of the frames, chosen at random; the others keep their times."""
    kept = np.flatnonzero(rng.random(len(recording.detections)) >= share)
    truth = recording.truth
    row = np.isin(truth.frames, kept + 1)
    return Recording(
        frame_rate_hz=recording.frame_rate_hz * (1.0 - share),
        detections=tuple(recording.detections[frame] for frame in kept),
        times_s=recording.times_s[kept],
        truth=replace(truth.select(row), frames=np.searchsorted(kept, truth.frames[row] - 1) + 1),
        camera={},
    )


def stream(label: str, seed: int) -> np.random.Generator:
    """Return the random numbers of a replicate, which depend on its seed and sequence alone."""
    return np.random.default_rng([seed, zlib.crc32(label.encode())])


def runs_backwards(seed: int) -> bool:
    """Tell whether a replicate runs backwards."""
    return seed % 2 == 1


def replicate(recording: Recording, seed: int, rng: np.random.Generator) -> Recording:
    """Return a disturbed replicate; for seed 0 the recording itself."""
    return disturb(recording, rng, runs_backwards(seed)) if seed else recording


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
    return replace(recording, detections=tuple(disturbed), truth=truth, camera=camera)


def track(recording: Recording, config: Config, camera: bool = False) -> TrackTable:
    """Run our tracker over a recording; boxes are rounded as a result file rounds them."""
    tracker = Tracker(config)
    reports = []
    for frame, (detections, time_s) in enumerate(zip(recording.detections, recording.times_s, strict=True), 1):
        affine = recording.camera.get(frame) if camera else None
        reports.append(tracker.update(detections, time_s=time_s, camera_affine=affine))
    reports = reports[config.tracking.lag_frames :] + tracker.flush()
    return _table([np.column_stack([tracks.ids, tracks.boxes_xyxy]) for tracks in reports])


def track_by_peer(recording: Recording, name: str) -> TrackTable:
    """Run another tracker over a recording."""
    peer = PEERS[name](recording.frame_rate_hz)
    return _table(
        [
            peer.read(peer.update(peer.prepare(detections), time_s))
            for detections, time_s in zip(recording.detections, recording.times_s, strict=True)
        ]
    )


def _table(reports: list[np.ndarray]) -> TrackTable:
    """Return the rows of id and box, (n, 5) for each frame, as one table."""
    rows = np.concatenate(reports)
    frames = np.repeat(np.arange(1, len(reports) + 1), [len(report) for report in reports])
    return TrackTable(frames, rows[:, 0].astype(np.int64), np.round(xyxy_to_ltwh(rows[:, 1:]), 2), np.ones(len(rows)))


def run(job: Job) -> Evaluation:
    """Track and score one job; the disturbance depends on seed and sequence alone."""
    rng = stream(job.sequence.label, job.seed)
    recording = replicate(decimate(load(job.sequence), job.every), job.seed, rng)
    if job.lost:
        recording = lose_frames(recording, job.lost, rng)
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


def walkers(count: int = 30, frames: int = 110, seed: int = 0) -> list[Tracks]:
    """Return films of pedestrians in full HD at 25 frames/s, every fifth of them coasting: what is to be drawn."""
    rng = np.random.default_rng(seed)
    size = np.array([1920.0, 1080.0])
    feet, velocity = rng.uniform([100, 300], size - 50, (count, 2)), rng.normal(0, 60, (count, 2))
    status = np.where(np.arange(count) % 5 == 4, Status.COASTING, Status.CONFIRMED)
    one, none = np.ones(count), np.zeros(count, np.int64)
    film = []
    for _ in range(frames):
        velocity = velocity + rng.normal(0, 8, (count, 2))
        feet = feet + velocity / 25
        velocity[(feet < [0, 250]) | (feet > size)] *= -1
        height = 80 + 260 * feet[:, 1] / size[1]
        x, y = (feet + rng.normal(0, 1.2, (count, 2))).T
        covariances = np.zeros((count, 4, 4))
        covariances[:, 0, 0] = (0.05 * height) ** 2 * np.where(status == Status.COASTING, 4, 1)
        covariances[:, 1, 1] = (0.035 * height) ** 2
        boxes = np.column_stack([x - 0.2 * height, y - height, x + 0.2 * height, y])
        film.append(Tracks(np.arange(1, count + 1), boxes, one, none, none, covariances, one, one, status.copy(), one))
    return film


def loop_video(source: Path, target: Path, times: int) -> int:
    """Write the first ten seconds of a video, small, over and over; return the number of frames."""
    once = io.BytesIO()
    with av.open(str(source)) as video, av.open(once, "w", format="mp4") as short:
        rate = video.streams.video[0].average_rate or Fraction(25)
        stream = short.add_stream("libx264", rate=rate, options={"preset": "veryfast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 384, 288, "yuv420p"
        for index, picture in enumerate(islice(video.decode(video=0), round(10 * rate))):
            small = picture.reformat(384, 288, "yuv420p")
            small.pts, small.time_base = index, 1 / rate
            short.mux(stream.encode(small))
        short.mux(stream.encode())
    with av.open(str(target), "w") as long:
        copied = None
        for lap in range(times):
            once.seek(0)
            with av.open(once) as short:
                stream = short.streams.video[0]
                copied = copied or long.add_stream_from_template(stream)
                shift = round(lap * stream.frames / rate / stream.time_base)
                for packet in short.demux(stream):
                    if packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, copied
                        long.mux(packet)
    return times * stream.frames


def loop_rows(source: Path, target: Path, frames: int, times: int) -> None:
    """Write the detections of a file's first frames over and over."""
    rows = [row.split(",", 1) for row in source.read_text(encoding="utf-8").splitlines() if row.strip()]
    with target.open("w", encoding="utf-8") as file:
        for lap in range(times):
            file.writelines(f"{int(frame) + lap * frames},{rest}\n" for frame, rest in rows if int(frame) <= frames)
