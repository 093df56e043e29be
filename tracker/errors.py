"""Every error a user can cause, as one tree.

::

    TrackerError                    the base of all of them
     ├── ConfigurationError         a key, a value or a preset name
     ├── VideoError                 a source that cannot be opened or decoded
     ├── FormatError                a row of a text file; names file and line
     ├── DetectorError              a detector that cannot be built or run
     └── OutputError                a folder or file that cannot be written

Each message is one line: what, where, and what would be right. The command prints it and exits with 2.
"""

from __future__ import annotations

from pathlib import Path


def counted(number: int, one: str, several: str | None = None) -> str:
    """Return a number with its noun; the plural is the singular with an s when left out."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"


def reason_of(error: Exception) -> str:
    """Return why the system or a library could not do something, as the end of a line."""
    return str(getattr(error, "strerror", None) or error).lower()


class TrackerError(Exception):
    """Base of every error that bad input can cause."""


class ConfigurationError(TrackerError):
    """A configuration that cannot be used: unknown key, value out of range, unknown preset."""


class VideoError(TrackerError):
    """A video, image folder or stream that cannot be opened or holds no frame."""


class FormatError(TrackerError):
    """A text file with a row that does not follow its format.

    Parameters
    ----------
    path
        The file.
    line
        The line, counted from 1; None when the file as a whole is meant.
    problem
        What is wrong and what would be right.
    """

    def __init__(self, path: Path | str, line: int | None, problem: str) -> None:
        place = f"{path}" if line is None else f"{path}:{line}"
        super().__init__(f"{place}: {problem}")
        self.path = Path(path)
        self.line = line
        self.problem = problem

    def __reduce__(self) -> tuple[type[FormatError], tuple[Path, int | None, str]]:
        # The base would be made again from the finished message alone, which fails where processes exchange errors.
        return type(self), (self.path, self.line, self.problem)


class DetectorError(TrackerError):
    """A detector that cannot be built from its configuration or fails on an image."""


class OutputError(TrackerError):
    """An output folder or file that cannot be written or must not be replaced."""
