"""The recordings to learn from: which files they are, and what is in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tracker.app.checks import Notice, once
from tracker.app.rates import settle_rate_hz
from tracker.app.recorded import recorded_detections
from tracker.config import Config
from tracker.errors import ConfigurationError, FormatError
from tracker.evaluation.sequences import Source, find_sequences, read_sequence
from tracker.formats.motchallenge import sequence_info_near
from tracker.formats.table import TrackTable
from tracker.structures import Detections

LEAST_FRAMES = 50
LEAST_DETECTIONS = 200
_LEAST_FOLDS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A sequence to learn from.

    Parameters
    ----------
    name
        Its name.
    frame_rate_hz
        Frames per second.
    frames
        The detections of each frame, from frame 1 on.
    truth
        The truth, if at hand.
    """

    name: str
    frame_rate_hz: float
    frames: tuple[Detections, ...]
    truth: TrackTable | None = None

    def span(self, first: int, end: int) -> Recording:
        """Return the frames from one, counted from 0, to before another, as a recording of its own."""
        truth = self.truth
        if truth is not None:
            inside = truth.select((truth.frames > first) & (truth.frames <= end))
            truth = replace(inside, frames=inside.frames - first)
        return replace(self, frames=self.frames[first:end], truth=truth)


def parts_of(recordings: int) -> int:
    """Return into how many parts each of so many recordings is cut, so that there are folds enough."""
    return math.ceil(_LEAST_FOLDS / recordings)


def find_recordings(
    detections: Path,
    truth: Path | None,
    *,
    frame_rate_hz: float | None,
    config: Config,
    notice: Notice = lambda _: None,
) -> list[Recording]:
    """Read the sequences to learn from, ordered by name.

    Parameters
    ----------
    detections
        A file of detections; or a folder with ``det/det.txt``; or one of such folders, or of folders of them.
    truth
        What belongs to it: a file, or a folder as :func:`tracker.evaluation.sequences.find_sequences` takes it, or
        one laid out as that of the detections with ``gt/gt.txt``.
    frame_rate_hz
        The rate; what :func:`tracker.app.rates.settle_rate_hz` finds for each sequence when left out.
    config
        The configuration.
    notice
        Called with each line that the user should see.

    Raises
    ------
    ConfigurationError
        For responsibilities that are not those of the mixture, which alone have a likelihood.
    FormatError
        For what cannot be read, a folder without detections, a sequence without truth, or too little to learn from.
    """
    if config.tracking.observations != "boxes":
        raise ConfigurationError("tracking.observations is pixels; only what follows boxes is learned from recordings")
    if config.tracking.association.responsibilities != "exclusive":
        raise ConfigurationError(
            f"tracking.association.responsibilities is {config.tracking.association.responsibilities!r}; "
            "only exclusive ones have a likelihood to learn from"
        )
    files = _detection_files(detections)
    truths = {} if truth is None else _truths(truth, files)
    recordings, notice = [], once(notice)
    for name, file in files.items():
        found = recorded_detections(file, config.detection.recorded, notice)
        count = max(found.last_frame, sequence_info_near(file).frame_count or 0)
        frames = tuple(found.at(frame) for frame in range(1, count + 1))
        if count:
            rate_hz = settle_rate_hz(frame_rate_hz, [file], config, notice)
            true = read_sequence(truths[name], True) if truths else None
            recordings.append(Recording(name, rate_hz, frames, true))
    heard = sum(int((d.scores >= config.tracking.association.score_floor).sum()) for r in recordings for d in r.frames)
    total = sum(len(r.frames) for r in recordings)
    if total < LEAST_FRAMES or heard < LEAST_DETECTIONS:
        raise FormatError(
            detections,
            None,
            f"has {total} frames with {heard} detections scored {config.tracking.association.score_floor:g} or more; "
            f"there is nothing to learn from fewer than {LEAST_FRAMES} frames or {LEAST_DETECTIONS} detections",
        )
    return recordings


def files_read(detections: Path, truth: Path | None) -> list[Path]:
    """Return the files of detections and of truth that :func:`find_recordings` reads.

    Raises
    ------
    FormatError
        For a folder without detections or truth.
    """
    files = _detection_files(detections)
    truths: list[Source] = []
    if truth is not None:
        truths = [truth] if truth.is_file() else list(_truths(truth, files).values())
    return [*files.values(), *(source for source in truths if isinstance(source, Path))]


def _detection_files(path: Path) -> dict[str, Path]:
    if path.is_file():
        inside = path.parent.name == "det" and path.name == "det.txt"
        return {path.absolute().parents[1].name if inside else path.stem: path}
    if not path.is_dir():
        raise FormatError(path, None, "is neither a file nor a folder")
    if (path / "det" / "det.txt").is_file():
        return {path.absolute().name: path / "det" / "det.txt"}
    for pattern in ("*/det/det.txt", "*/*/det/det.txt"):
        if found := sorted(path.glob(pattern)):
            return {file.parents[1].relative_to(path).as_posix(): file for file in found}
    raise FormatError(path, None, "holds no detections: neither det/det.txt nor SEQUENCE/det/det.txt")


def _truths(path: Path, files: Mapping[str, Path]) -> dict[str, Source]:
    if path.is_dir() and len(files) == 1 and (path / "gt" / "gt.txt").is_file():
        return {next(iter(files)): path / "gt" / "gt.txt"}
    beside: dict[str, Source] = {name: path / name / "gt" / "gt.txt" for name in files}
    if all(isinstance(file, Path) and file.is_file() for file in beside.values()):
        return beside
    sources = find_sequences(path, True)
    if len(sources) == len(files) == 1:
        return {next(iter(files)): next(iter(sources.values()))}
    if without := sorted(files.keys() - sources.keys()):
        more = f" and {len(without) - 1} more" if len(without) > 1 else ""
        raise FormatError(path, None, f"has no truth for {without[0]}{more}: neither NAME/gt/gt.txt nor NAME.txt")
    return {name: sources[name] for name in files}
