"""From files to the report: what belongs together, scores, pictures, one page."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tracker.app.checks import Notice, Progress, once, tell_misfit
from tracker.app.outputs import DETECTIONS, DIAGNOSTICS, TRACKS
from tracker.app.recorded import recorded_detections
from tracker.config import RecordedConfig
from tracker.errors import FormatError, VideoError
from tracker.evaluation.examples import Example, Shot, examples
from tracker.evaluation.preparation import Criteria
from tracker.evaluation.report import render
from tracker.evaluation.sequences import (
    Source,
    evaluate_paths,
    files_of,
    find_sequences,
    pair_sequences,
    read_sequence,
)
from tracker.evaluation.study import Study, study
from tracker.formats.catalogue import read_recorded
from tracker.formats.diagnostics import Diagnostics, read_diagnostics
from tracker.formats.files import write_whole
from tracker.formats.motchallenge import sequence_info_near
from tracker.formats.table import TrackTable
from tracker.media.jpeg import encode_jpeg
from tracker.media.overlay import track_color
from tracker.media.sources import VideoSource, open_video
from tracker.structures import Detections

_PICTURE_PX, _PICTURE_QUALITY = 320, 72
_VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm")


@dataclass(frozen=True, slots=True)
class Written:
    """What a report holds.

    Parameters
    ----------
    path
        The page.
    size_bytes
        Its size.
    sequences, pictures
        How many there are.
    """

    path: Path
    size_bytes: int
    sequences: int
    pictures: int


def write_report(
    truth: Path,
    results: Mapping[str, Path],
    output: Path,
    *,
    criteria: Criteria | None = None,
    video: Path | None = None,
    detections: Path | None = None,
    recorded: RecordedConfig | None = None,
    rules: str = "",
    progress: Progress = lambda *_: None,
    notice: Notice = lambda _: None,
) -> Written:
    """Write the report of some results.

    Beside a ``tracks.txt``, ``diagnostics.csv`` and ``detections.txt`` of the run are made use of where they are.

    Parameters
    ----------
    truth
        A file, or a folder of sequences, as for :func:`tracker.evaluation.sequences.find_sequences`.
    results
        By name on the page, what :func:`tracker.evaluation.sequences.evaluate_paths` takes as tracks.
    output
        The page; an earlier one is replaced when the new one is complete.
    criteria
        How the tracks are scored.
    video
        The pictures: a video, a folder of images or a pattern; for several sequences a folder that holds each as
        ``SEQ.mp4``, ``SEQ/img1`` or ``SEQ``.
    detections
        What the trackers were given: a file, or a folder of ``SEQ/det/det.txt`` or ``SEQ.txt``.
    recorded
        How these are read.
    rules
        How the tracks are scored, in words.
    progress
        Called as the work goes on.
    notice
        Called with each line that the user should see.

    Raises
    ------
    TrackerError
        For input that cannot be used or output that cannot be written.
    """
    criteria, notice = criteria or Criteria(), once(notice)
    sequences = list(find_sequences(truth, True))
    steps = len(sequences) * len(results)
    with ExitStack() as stack:
        videos = _open_videos(video, sequences, stack) if video is not None else {}
        given = (
            _find_detections(detections, sequences, recorded or RecordedConfig(), notice)
            if detections is not None
            else {}
        )
        studies: list[Study] = []
        done = 0
        truths: dict[str, TrackTable] = {}
        for result, path in results.items():
            evaluations = evaluate_paths(
                truth,
                path,
                criteria,
                processes=os.cpu_count() or 1,
                on_sequence=lambda name, scored, total: progress(f"scoring {name}", scored, total),
                notice=notice,
            )
            for sequence, (source, tracks) in pair_sequences(truth, path).items():
                progress(f"looking into {sequence}", done, steps)
                if sequence not in truths:
                    truths[sequence] = read_sequence(source, True)
                    if video is not None and sequence in videos:
                        named = source if isinstance(source, Path) else truth
                        tell_misfit(named, truths[sequence], video, videos[sequence], notice)
                seen, told = _left_beside(path if path.is_file() else tracks)
                studies.append(
                    study(
                        _shown_name(truth, sequence),
                        result,
                        truths[sequence],
                        read_sequence(tracks, False),
                        evaluations[sequence],
                        criteria,
                        detections=given.get(sequence) if seen is None else seen,
                        diagnostics=told,
                        picture_px=_picture_px(videos.get(sequence), truth if truth.is_file() else source),
                    )
                )
                done += 1
        chosen = examples(studies)
        pictures = _pictures(chosen, {_shown_name(truth, name): opened for name, opened in videos.items()}, progress)
    progress("drawing", steps, steps)
    page = render(studies, chosen, pictures, truth_name=str(truth), rules=rules, color_of=_css_color).encode()
    write_whole(output, page)
    return Written(output, len(page), len(sequences), len(pictures))


def files_read(truth: Path, results: Iterable[Path], video: Path | None, detections: Path | None) -> list[Path]:
    """Return the files that :func:`write_report` reads, as far as a page could take their place.

    Raises
    ------
    FormatError
        As :func:`tracker.evaluation.sequences.find_sequences`.
    """
    given = [path for path in (video, detections) if path is not None]
    return [*files_of(truth, True), *(file for path in results for file in files_of(path, False)), *given]


def _shown_name(truth: Path, sequence: str) -> str:
    """Return the name of a sequence for people: that of its folder where its file is just ``gt.txt``."""
    folder = truth.absolute().parent
    if sequence != "gt" or not truth.is_file():
        return sequence
    return folder.parent.name if folder.name == "gt" else folder.name


def _open_videos(video: Path, sequences: Sequence[str], stack: ExitStack) -> dict[str, VideoSource]:
    """Open the video of each sequence; the video itself for a single one."""
    if len(sequences) == 1:
        return {sequences[0]: stack.enter_context(open_video(video))}
    opened = {}
    for name in sequences:
        files = [video / f"{name}{suffix}" for suffix in _VIDEO_SUFFIXES]
        places = [place for place in (*files, video / name / "img1", video / name) if place.exists()]
        if places:
            opened[name] = stack.enter_context(open_video(places[0]))
    if not opened:
        raise VideoError(
            f"{video}: holds no video of {', '.join(sequences)}: neither SEQ{_VIDEO_SUFFIXES[0]} nor SEQ/img1 nor SEQ"
        )
    return opened


def _find_detections(
    path: Path, sequences: Sequence[str], recorded: RecordedConfig, notice: Notice
) -> dict[str, dict[int, Detections]]:
    """Read the detections of each sequence; a file belongs to a single one."""
    if path.is_file():
        if len(sequences) > 1:
            raise FormatError(path, None, f"is one file for {len(sequences)} sequences; name a folder")
        return {sequences[0]: recorded_detections(path, recorded, notice).every()}
    found = {}
    for name in sequences:
        places = [place for place in (path / name / "det" / "det.txt", path / f"{name}.txt") if place.is_file()]
        if not places:
            raise FormatError(path, None, f"has no detections for {name}: neither {name}/det/det.txt nor {name}.txt")
        found[name] = recorded_detections(places[0], recorded, notice).every()
    return found


def _left_beside(tracks: Source) -> tuple[dict[int, Detections] | None, Diagnostics | None]:
    """Return the detections and the diagnostics that the run left beside its tracks, None where it did not."""
    if not isinstance(tracks, Path) or tracks.name != TRACKS:
        return None, None
    detections, diagnostics = tracks.with_name(DETECTIONS), tracks.with_name(DIAGNOSTICS)
    return (
        read_recorded(detections)[0] if detections.is_file() else None,
        read_diagnostics(diagnostics) if diagnostics.is_file() else None,
    )


def _picture_px(video: VideoSource | None, truth: Source) -> tuple[int, int] | None:
    """Return the size of the pictures, of the video or of a ``seqinfo.ini`` beside the truth; None if neither tells."""
    if video is not None:
        return video.width_px, video.height_px
    return sequence_info_near(truth).size_px if isinstance(truth, Path) else None


def _pictures(chosen: Iterable[Example], videos: Mapping[str, VideoSource], progress: Progress) -> dict[Shot, bytes]:
    """Decode each video as far as something of it is shown, and cut the shots out."""
    wanted: dict[str, dict[int, set[Shot]]] = {}
    for example in chosen:
        for shot in example.shots:
            if shot.sequence in videos:
                wanted.setdefault(shot.sequence, {}).setdefault(shot.frame, set()).add(shot)
    pictures = {}
    for sequence, by_frame in wanted.items():
        last = max(by_frame)
        for frame in videos[sequence]:
            progress(f"pictures of {sequence}", frame.index, last)
            if frame.image is not None:
                for shot in by_frame.get(frame.index, ()):
                    rows, columns = slice(shot.top, shot.top + shot.height), slice(shot.left, shot.left + shot.width)
                    pictures[shot] = encode_jpeg(
                        frame.image[rows, columns], longest_side_px=_PICTURE_PX, quality=_PICTURE_QUALITY
                    )
            if frame.index >= last:
                break
    return pictures


def _css_color(track: int) -> str:
    blue, green, red = track_color(track)
    return f"#{red:02x}{green:02x}{blue:02x}"
