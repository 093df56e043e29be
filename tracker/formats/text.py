"""What readers of text share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.errors import FormatError, reason_of

LARGEST_WHOLE = 2.0**53
"""Whole numbers above it are not all float64."""


def read_text(path: Path | str) -> str:
    """Return the text of a file.

    Raises
    ------
    FormatError
        When it cannot be read or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise FormatError(path, None, "is not a text file") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise FormatError(path, None, f"cannot be read: {reason_of(error)}") from None


def read_lines(path: Path | str) -> list[tuple[int, str]]:
    """Return the lines that are not blank, each with its number from 1."""
    lines = enumerate(read_text(path).split("\n"), 1)
    return [(number, line) for number, line in lines if line and not line.isspace()]


def is_number(text: str) -> bool:
    """Tell whether text is a number as programs write it: Python also takes other digits and their grouping."""
    try:
        float(text)
    except ValueError:
        return False
    return text.strip().isascii() and "_" not in text


def whole(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which numbers are whole and small enough to be sure of it."""
    return (np.abs(values) < LARGEST_WHOLE) & (values == np.round(values))
