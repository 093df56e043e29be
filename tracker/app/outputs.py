"""The folder of a run: which files in it are ours to replace, and how a run's files appear together.

``run.yaml`` lists the run's files with their SHA-256. A later run replaces the files that still are what the
list says, unless it reads them, and refuses to touch any other file of these names.
"""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import yaml

from tracker.config import PROGRAM
from tracker.errors import OutputError, reason_of
from tracker.formats.files import demand_apart, remove_abandoned
from tracker.media.sinks import PendingFile

OVERLAY, TRACKS, EVENTS, RECORD = "overlay.mp4", "tracks.txt", "events.csv", "run.yaml"
DIAGNOSTICS, DETECTIONS = "diagnostics.csv", "detections.txt"
"""What a run writes only when it is asked to."""

Sink = TypeVar("Sink", bound=PendingFile)

_HEADING = "# Written by `track`. Another run into this folder replaces the files listed at the end.\n"
_OPENCV_DISTRIBUTIONS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


@dataclass(frozen=True, slots=True)
class Record:
    """What a ``run.yaml`` tells of its run.

    Parameters
    ----------
    files
        SHA-256 by name.
    frame_rate_hz
        The rate; None where it is not told.
    recorded
        The section ``detection.recorded`` of its configuration, unchecked.
    """

    files: Mapping[str, str]
    frame_rate_hz: float | None
    recorded: Any


def read_record(path: Path) -> Record | None:
    """Read a ``run.yaml``; return None when it is not one of ours."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        if tree["program"] != PROGRAM:
            return None
        rate_hz = tree.get("input", {}).get("frame_rate_hz")
        known = isinstance(rate_hz, int | float) and math.isfinite(rate_hz) and rate_hz > 0
        files = {name: entry["sha256"] for name, entry in tree["files"].items()}
        recorded = tree.get("configuration", {}).get("detection", {}).get("recorded", {})
        return Record(files, rate_hz if known else None, recorded)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError, AttributeError):
        return None


class RunFolder:
    """An output folder: looked at when made, created when entered, filled by :meth:`publish`.

    Whatever was not published when the block ends is removed, the folder too if it was created for the run, and so is
    what a run that was killed has left unfinished.

    Parameters
    ----------
    path
        The folder.
    extra
        Names of files that the run writes besides the usual ones.
    inputs
        Files that the run reads.

    Raises
    ------
    OutputError
        When the path is not a folder, holds files of our names that no run of ours left there, or holds an input that
        would be replaced.
    """

    def __init__(self, path: Path, extra: Iterable[str] = (), inputs: Iterable[Path] = ()) -> None:
        self.path = path
        wanted = {OVERLAY, TRACKS, RECORD, *extra}
        self._earlier = _own_files(path, wanted)
        demand_apart([path / name for name in sorted(self._earlier | wanted)], inputs)
        self._sinks: list[PendingFile] = []
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with _output_errors(self.path, "created"):
            missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
        for folder in reversed(missing):
            self._cleanup.callback(_remove_if_empty, folder)
        for name in (OVERLAY, TRACKS, EVENTS, DIAGNOSTICS, DETECTIONS, RECORD):
            remove_abandoned(self.path / name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def add(self, sink: Sink) -> Sink:
        """Take charge of a file of the run."""
        self._cleanup.callback(sink.discard)
        self._sinks.append(sink)
        return sink

    def finish(self) -> None:
        """Complete all files under their temporary names."""
        for sink in self._sinks:
            sink.finish()

    def publish(self, record: Mapping[str, Any]) -> list[Path]:
        """Give all files their names, ``run.yaml`` last, and remove what else an earlier run left.

        Parameters
        ----------
        record
            What ``run.yaml`` is to say; program, versions and files are added.

        Returns
        -------
        list of Path
            The files.
        """
        self.finish()
        files = {sink.path.name: {"sha256": _sha256(sink.partial_path)} for sink in self._sinks}
        tree = {"program": PROGRAM, "versions": _versions(), **record, "files": files}
        text = yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=120)
        self.add(_RecordFile(self.path / RECORD, _HEADING + text))
        self.finish()
        for sink in self._sinks:
            sink.publish()
        for name in self._earlier - {sink.path.name for sink in self._sinks}:
            with _output_errors(self.path / name, "removed"):
                (self.path / name).unlink(missing_ok=True)
        return [sink.path for sink in self._sinks]


class _RecordFile(PendingFile):
    """A text that is written when the file is finished."""

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(path)
        self._text = text

    def _complete(self) -> None:
        self.partial_path.write_text(self._text, encoding="utf-8", newline="\n")

    def _close(self) -> None:
        pass


def _own_files(folder: Path, wanted: Set[str]) -> set[str]:
    """Return the names of an earlier run's files; raise when one of the wanted names is that of another file."""
    with _output_errors(folder, "read"):
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: is a file; --output must name a folder")
        present = {name for name in wanted if (folder / name).exists()}
        record = read_record(folder / RECORD)
        listed = None if record is None else record.files
        # What an earlier run was asked for and this one is not is removed, unless somebody changed it.
        present |= {
            name
            for name in (DIAGNOSTICS, DETECTIONS, EVENTS)
            if name in (listed or ()) and _is_ours(folder / name, listed)
        }
        for name in sorted(present):
            if not _is_ours(folder / name, listed):
                raise OutputError(
                    f"{folder / name}: is not, or no longer, what a run of track wrote; "
                    "move it or choose another --output"
                )
    return present


def _is_ours(path: Path, listed: Mapping[str, str] | None) -> bool:
    if listed is None or path.name == RECORD:  # which cannot list itself and is told by what it says
        return listed is not None
    return path.is_file() and listed.get(path.name) == _sha256(path)


def _sha256(path: Path) -> str:
    with _output_errors(path, "read"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _output_errors(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be {what}: {reason_of(error)}") from None


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _versions() -> dict[str, str | None]:
    return {
        PROGRAM: _version(PROGRAM),
        "python": platform.python_version(),
        "numpy": _version("numpy"),
        "opencv": _version(*_OPENCV_DISTRIBUTIONS),
        "av": _version("av"),
        "numba": _version("numba"),
    }


def _version(*distributions: str) -> str | None:
    for distribution in distributions:
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(distribution)
    return None
