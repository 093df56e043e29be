"""Files that are written: whole or not at all, where links lead to, and never over what is read.

A file is written under a temporary name beside its own, ``.NAME.PROCESS.part``, and then renamed. Whatever is no file,
such as a pipe or a terminal, is written to as it is.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from tracker.errors import OutputError, reason_of


def landing(path: Path | str) -> Path:
    """Return the file that a path stands for: where links lead to."""
    return Path(os.path.realpath(path))


def partial_of(path: Path) -> Path:
    """Return the temporary name of a file; this process has one for it."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def remove_abandoned(path: Path) -> None:
    """Remove temporary files of a name whose processes ended without doing so."""
    if sys.platform == "win32":  # has no harmless way to ask for a process
        return
    name = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.part")
    with suppress(OSError):
        for partial in path.parent.iterdir():
            if (found := name.fullmatch(partial.name)) and not _is_alive(int(found[1])):
                partial.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def write_whole(path: Path | str, content: bytes) -> None:
    """Write a file as a whole or not at all; what is no regular file, a pipe say, is written to directly.

    Raises
    ------
    OutputError
        When it cannot be written; nothing is left behind.
    """
    partial = None
    try:
        if _is_stream(Path(path)):
            Path(path).write_bytes(content)
            return
        target = landing(path)
        remove_abandoned(target)
        partial = partial_of(target)
        partial.write_bytes(content)
        partial.replace(target)
    except (OSError, ValueError) as error:
        if partial is not None:
            with suppress(OSError, ValueError):
                partial.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written: {reason_of(error)}") from None


def check_outputs(outputs: Sequence[tuple[Path, tuple[str, ...]]], inputs: Iterable[Path | None]) -> None:
    """Refuse outputs that cannot be written, before the work is done.

    Parameters
    ----------
    outputs
        Each with the suffixes that it may have, in small letters; any where there are none.
    inputs
        The files that are read, None for those left out.

    Raises
    ------
    OutputError
        For a folder, a file in a folder that does not exist, another suffix, a file that is read, and for two outputs
        that are one file.
    """
    files = [(path, suffixes) for path, suffixes in outputs if not _is_stream(path)]
    for path, suffixes in files:
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; the output must be a file")
        if suffixes and path.suffix.lower() not in suffixes:
            raise OutputError(f"{path}: must end in {' or '.join(suffixes)}, by what is written")
        if not path.absolute().parent.is_dir():
            raise OutputError(f"{path}: cannot be written: there is no folder {path.parent}")
    demand_apart([path for path, _ in files], inputs)


def demand_apart(outputs: Iterable[Path], inputs: Iterable[Path | None]) -> None:
    """Refuse an output that is an input, and two outputs that are one file.

    Raises
    ------
    OutputError
        Naming the file.
    """
    read = {landing(path): path for path in inputs if path is not None}
    written = set()
    for path in outputs:
        place = landing(path)
        if place in read:
            raise OutputError(f"{path}: the output is the input {read[place]}; choose another name")
        if place in written:
            raise OutputError(f"{path}: two outputs are this one file; choose another name for one")
        written.add(place)


def _is_stream(path: Path) -> bool:
    """Tell whether a path is there and neither a regular file nor a folder."""
    return path.exists() and not path.is_file() and not path.is_dir()
