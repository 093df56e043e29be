"""One rule for the frame rate: what is given; else what stands beside the files; else the video's; else assumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from tracker.app.outputs import RECORD, read_record
from tracker.config import Config
from tracker.formats.motchallenge import find_sequence_info, read_sequence_info
from tracker.media.sources import VideoSource

_TOLERANCE = 0.01  # 29.97 and 30 are one rate, rounded


def settle_rate_hz(
    given_hz: float | None,
    files: Iterable[Path | None],
    config: Config,
    notice: Callable[[str], None],
    video: tuple[Path, VideoSource] | None = None,
) -> float:
    """Return the first rate that is known, and tell where another one disagrees or none is known.

    Parameters
    ----------
    given_hz
        What the user gives; wins over all others.
    files
        Tracks or detections, None for those left out. Beside each, the ``run.yaml`` of the run that wrote it comes
        before a ``seqinfo.ini``.
    config
        Its ``tracking.frame_rate_hz`` is assumed where nothing tells a rate.
    notice
        Called with a line that the user should see.
    video
        Path and open source of the pictures.

    Raises
    ------
    FormatError
        For a ``seqinfo.ini`` that breaks its format.
    """
    known: dict[str, float] = {} if given_hz is None else {"--fps": given_hz}
    for file in files:
        known |= {} if file is None else _told_beside(file)
    if video is not None and _tells_rate(video[0]):
        known[str(video[0])] = video[1].frame_rate_hz
    if not known:
        rate_hz = config.tracking.frame_rate_hz
        notice(f"frame rate: not known; {rate_hz:g} Hz (tracking.frame_rate_hz) is assumed, --fps gives it")
        return rate_hz
    (first, settled_hz), *others = known.items()
    for source, rate_hz in others:
        if not same_rate(rate_hz, settled_hz):
            notice(f"frame rate: {first} says {settled_hz:g} Hz, {source} {rate_hz:g} Hz; {settled_hz:g} Hz is used")
    return settled_hz


def same_rate(a_hz: float, b_hz: float) -> bool:
    """Tell whether two rates are one but for rounding."""
    return abs(a_hz - b_hz) <= _TOLERANCE * a_hz


def _told_beside(file: Path) -> dict[str, float]:
    """Return the rates that stand beside a file, by who tells them, the likelier first."""
    told = {}
    record = file.parent / RECORD
    run = read_record(record)
    if run is not None and run.frame_rate_hz is not None:
        told[str(record)] = run.frame_rate_hz
    info = find_sequence_info(file)
    if info is not None and (rate_hz := read_sequence_info(info).frame_rate_hz) is not None:
        told[str(info)] = rate_hz
    return told


def _tells_rate(video: Path) -> bool:
    """Tell whether a video has a rate of its own: images have one only through a ``seqinfo.ini``."""
    return video.is_file() or find_sequence_info(video / "image" if video.is_dir() else video) is not None
