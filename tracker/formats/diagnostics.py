"""What a tracker promised, frame by frame: innovations and covariances of its claims, as CSV with a header.

One row for each confirmed object that claimed a detection::

    frame,id,z_x,z_y,z_width,z_height,x,y,width,height,var_x,var_y,var_width,var_height,existence,responsibility,continuity,time_s

``z`` are the innovations over their predicted standard deviations. ``x`` and ``y`` are the centre of the reported
box, the variances those of its error, in pixels: Student's t (:mod:`tracker.confidence`), the four coordinates
uncorrelated. ``continuity`` is the probability that the object is the one that had the identity a second ago.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from tracker.errors import FormatError
from tracker.formats.text import is_number, read_lines, whole
from tracker.structures import FloatArray, IntArray

_COORDINATES = ("x", "y", "width", "height")
COLUMNS = (
    "frame",
    "id",
    *(f"z_{name}" for name in _COORDINATES),
    *_COORDINATES,
    *(f"var_{name}" for name in _COORDINATES),
    "existence",
    "responsibility",
    "continuity",
    "time_s",
)
HEADER = ",".join(COLUMNS) + "\n"


@dataclass(frozen=True, slots=True, eq=False)
class Diagnostics:
    """The rows of the file as columns.

    Parameters
    ----------
    frames, ids
        (N,) frame numbers from 1, and identities.
    innovations
        (N, 4) normalised.
    means, variances
        (N, 4) of centre x, centre y, width and height of the reported box, in px and px^2.
    existence, responsibilities, continuity
        (N,) probabilities.
    times_s
        (N,) times of the frames.
    """

    frames: IntArray
    ids: IntArray
    innovations: FloatArray
    means: FloatArray
    variances: FloatArray
    existence: FloatArray
    responsibilities: FloatArray
    continuity: FloatArray
    times_s: FloatArray

    def __post_init__(self) -> None:
        n = len(self.frames)
        for column in fields(self):
            array = getattr(self, column.name)
            wanted = (n, 4) if column.name in ("innovations", "means", "variances") else (n,)
            if array.shape != wanted:
                raise ValueError(f"{column.name} has shape {array.shape}; it must be {wanted}")

    def __len__(self) -> int:
        return len(self.frames)


def format_diagnostics(rows: Diagnostics) -> str:
    """Return the rows as text, without the header; six significant digits, and times to a tenth of a millisecond."""
    values = np.column_stack(
        [
            rows.innovations,
            rows.means,
            rows.variances,
            rows.existence,
            rows.responsibilities,
            rows.continuity,
        ]
    )
    return "".join(
        f"{frame},{track},{','.join(f'{value:.6g}' for value in cells)},{time_s:.4f}\n"
        for frame, track, cells, time_s in zip(
            rows.frames.tolist(), rows.ids.tolist(), values.tolist(), rows.times_s.tolist(), strict=True
        )
    )


def read_diagnostics(path: Path | str) -> Diagnostics:
    """Read a file of this format.

    Raises
    ------
    FormatError
        For a file that cannot be read, another header, or a row with something else than finite numbers, a frame
        that is not a whole number from 1, an id that is not one from 0, a variance that is not positive or a
        probability outside [0, 1].
    """
    lines = read_lines(path)
    if not lines or lines[0][1].strip() != HEADER.strip():
        raise FormatError(path, lines[0][0] if lines else None, f"has not the header {HEADER.strip()}")
    cells = [line.split(",") for _, line in lines[1:]]
    for (number, _), row in zip(lines[1:], cells, strict=True):
        if len(row) != len(COLUMNS) or not all(map(is_number, row)):
            raise FormatError(path, number, f"must be {len(COLUMNS)} numbers")
    values = np.array(cells, np.float64).reshape(-1, len(COLUMNS))

    numbers = [number for number, _ in lines[1:]]
    frames, ids = values[:, 0], values[:, 1]
    variances, shares = values[:, 10:14], values[:, 14:17]
    for good, problem in (
        (np.isfinite(values).all(axis=1), "holds a number that is not finite"),
        ((frames >= 1) & whole(frames), "frame must be a whole number from 1"),
        ((ids >= 0) & whole(ids), "id must be a whole number from 0"),
        ((variances > 0.0).all(axis=1), "variances must be positive"),
        (((shares >= 0.0) & (shares <= 1.0)).all(axis=1), "existence, responsibility and continuity must be in [0, 1]"),
    ):
        if not good.all():
            raise FormatError(path, numbers[int(np.argmin(good))], problem)
    return Diagnostics(
        frames.astype(np.int64),
        ids.astype(np.int64),
        values[:, 2:6],
        values[:, 6:10],
        variances,
        *values[:, 14:].T,
    )
