"""Let a tool end with one line, as the command does, where what it is given cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tracker.errors import TrackerError, reason_of


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Exit with one line for bad input and for files that cannot be read or written."""
    try:
        yield
    except TrackerError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename}: {reason_of(error)}")
