"""The types that travel between rooms: frozen structs of row-aligned, read-only arrays.

Row ``i`` of every array of one struct speaks of the same thing. Arrays are checked once, at the door, and
never change afterwards; :meth:`select` makes a new struct with the chosen rows of every field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
Image: TypeAlias = NDArray[np.uint8]


class Status(IntEnum):
    """Where an object stands in its life (column ``status`` of :class:`Tracks`)."""

    TENTATIVE = 0
    CONFIRMED = 1
    COASTING = 2


def read_only(values: ArrayLike, dtype: DTypeLike, shape: tuple[int | None, ...], name: str) -> NDArray[Any]:
    """Return ``values`` as a contiguous read-only array of ``dtype``; ``None`` in ``shape`` fits any length.

    A copy is taken, so that a buffer that the caller fills again cannot change what was handed over.
    """
    array: NDArray[Any] = np.array(values, dtype=dtype, order="C")
    if array.size == 0 and len(shape) == 2 and array.ndim == 1:
        array = array.reshape(0, shape[1] or 0)
    if array.ndim != len(shape) or any(
        want is not None and want != have for want, have in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join(letter if n is None else str(n) for n, letter in zip(shape, "NDD", strict=False))
        raise ValueError(f"{name} has shape {array.shape}; it must be ({wanted})")
    array.flags.writeable = False
    return array


class RowAligned:
    """What all structs of row-aligned arrays can do."""

    __slots__ = ("_derive", "_rows")
    _rows: NDArray[np.void]
    _derive: Callable[[str, NDArray[np.void]], NDArray[Any]] | None

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]

    def select(self, rows: ArrayLike | slice) -> Self:
        """Return a new struct with the chosen rows (indices, mask or slice) of every field."""
        index = rows if isinstance(rows, slice) else np.asarray(rows)
        if not isinstance(index, slice) and index.size == 0 and index.dtype != np.bool_:
            index = index.astype(np.intp)
        columns = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return type(self)(**{name: None if column is None else column[index] for name, column in columns.items()})


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a source.

    Parameters
    ----------
    index
        Frame number, counted from 1 at the start of the source.
    time_s
        Time since the source's first frame, in seconds.
    image
        (height, width, 3) uint8, blue-green-red; None when only detections are at hand.
    """

    index: int
    time_s: float
    image: Image | None


@dataclass(frozen=True, slots=True, eq=False)
class Detections(RowAligned):
    """What a detector saw in one frame.

    Parameters
    ----------
    boxes_xyxy
        (N, 4) left, top, right, bottom in pixels; finite, right > left, bottom > top.
    scores
        (N,) in [0, 1]; 1 for all when left out.
    classes
        (N,) integer class labels; 0 for all when left out.
    features
        (N, D) what each detection looks like: vectors of which only the direction counts, zeros where nothing is
        known. None when left out.

    Raises
    ------
    ValueError
        For a wrong shape, a box that is not finite or has no area, a score outside [0, 1] or a feature that is not
        finite; the message names the row.
    """

    boxes_xyxy: FloatArray
    scores: FloatArray
    classes: IntArray
    features: FloatArray | None

    def __init__(
        self,
        boxes_xyxy: ArrayLike,
        scores: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        features: ArrayLike | None = None,
    ) -> None:
        boxes = read_only(boxes_xyxy, np.float64, (None, 4), "boxes_xyxy")
        n = len(boxes)
        score = read_only(np.ones(n) if scores is None else scores, np.float64, (n,), "scores")
        if classes is not None and np.size(classes) and np.asarray(classes).dtype.kind not in "iub":
            raise ValueError(f"classes are {np.asarray(classes).dtype}; they must be integers")
        label = read_only(np.zeros(n, np.int64) if classes is None else classes, np.int64, (n,), "classes")
        # Comparisons are False for NaN, so that "not all good" catches it too.
        good = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]) & np.isfinite(boxes).all(axis=1)
        if not good.all():
            row = int(np.argmin(good))
            raise ValueError(
                f"boxes_xyxy row {row} is {boxes[row].tolist()}; a box is finite with right > left and bottom > top"
            )
        fair = (score >= 0.0) & (score <= 1.0)
        if not fair.all():
            row = int(np.argmin(fair))
            raise ValueError(f"scores row {row} is {score[row]}; a score is in [0, 1]")
        looks = None
        if features is not None:
            looks = read_only(features, np.float64, (n, None), "features")
            told = np.isfinite(looks).all(axis=1)
            if not told.all():
                raise ValueError(f"features row {int(np.argmin(told))} is not finite; zeros stand for nothing known")
        object.__setattr__(self, "boxes_xyxy", boxes)
        object.__setattr__(self, "scores", score)
        object.__setattr__(self, "classes", label)
        object.__setattr__(self, "features", looks)

    @classmethod
    def empty(cls) -> Detections:
        """Return detections of a frame in which nothing was seen."""
        return cls(np.empty((0, 4)))

    def with_features(self, features: ArrayLike) -> Detections:
        """Return the same detections with other ``features`` (N, D)."""
        return Detections(self.boxes_xyxy, self.scores, self.classes, features)

    @property
    def boxes_cxywh(self) -> FloatArray:
        """(N, 4) centre x, centre y, width, height in pixels."""
        left, top, right, bottom = self.boxes_xyxy.T
        return np.column_stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])


@dataclass(frozen=True, slots=True)
class TypicalSize:
    """Width and height of a lone object, by the row of its lower edge.

    On level ground seen by a pinhole camera, the height of equal objects is a linear function of the row they stand on.

    Parameters
    ----------
    height_px
        Height of an object that stands on row 0, by the linear law.
    height_per_row
        Change of the height with the row.
    least_height_px
        Where the law gives less, objects have this height.
    width_to_height
        Width of an object over its height.
    log_spread
        Robust standard deviation of log height about the law.
    """

    height_px: float
    height_per_row: float
    least_height_px: float
    width_to_height: float
    log_spread: float

    def at(self, bottoms: FloatArray) -> FloatArray:
        """Return (n, 2) width and height for lower edges ``bottoms`` (n,)."""
        heights = np.maximum(self.height_px + self.height_per_row * bottoms, self.least_height_px)
        return np.column_stack([self.width_to_height * heights, heights])

    def scaled(self, factor: float) -> TypicalSize:
        """Return the sizes in a picture that is ``factor`` times as large."""
        least = factor * self.least_height_px
        return TypicalSize(factor * self.height_px, self.height_per_row, least, self.width_to_height, self.log_spread)


@dataclass(frozen=True, slots=True, eq=False)
class Foreground:
    """What differs from the background in one frame: pixels, thinned, and the silhouettes that they form.

    Parameters
    ----------
    points_px
        (M, 2) x and y; each stands for the pixels around it.
    weights
        (M,) how many pixels of the frame each point stands for, above 0.
    regions
        (M,) which connected silhouette the point is part of: small whole numbers from 0.
    silhouettes
        What each silhouette would be taken for by itself: where new objects may begin.
    typical_size
        How large objects usually are; None where that is not known.
    colours
        (M, D) how much of each of D colours a point shows, shares that sum to 1; None where that is not known.

    Raises
    ------
    ValueError
        For a wrong shape, a point that is not finite, a weight that is not positive, a region below 0 or colours that
        are no shares; the message names the row.
    """

    points_px: FloatArray
    weights: FloatArray
    regions: IntArray
    silhouettes: Detections
    typical_size: TypicalSize | None
    colours: FloatArray | None

    def __init__(
        self,
        points_px: ArrayLike,
        weights: ArrayLike,
        regions: ArrayLike | None = None,
        silhouettes: Detections | None = None,
        typical_size: TypicalSize | None = None,
        colours: ArrayLike | None = None,
    ) -> None:
        points = read_only(points_px, np.float64, (None, 2), "points_px")
        M = len(points)
        weight = read_only(weights, np.float64, (M,), "weights")
        region = read_only(np.zeros(M) if regions is None else regions, np.int64, (M,), "regions")
        for name, values, good in (
            ("points_px", points, np.isfinite(points).all(axis=1)),
            ("weights", weight, (weight > 0.0) & (weight < np.inf)),
            ("regions", region, region >= 0),
        ):
            if not good.all():
                row = int(np.argmin(good))
                raise ValueError(
                    f"{name} row {row} is {values[row].tolist()}; points are finite, weights positive, regions from 0"
                )
        object.__setattr__(self, "points_px", points)
        object.__setattr__(self, "weights", weight)
        object.__setattr__(self, "regions", region)
        object.__setattr__(self, "silhouettes", Detections.empty() if silhouettes is None else silhouettes)
        object.__setattr__(self, "typical_size", typical_size)
        shares = None
        if colours is not None:
            shares = read_only(colours, np.float64, (M, None), "colours")
            fair = (shares >= 0.0).all(axis=1) & (np.abs(shares.sum(axis=1) - 1.0) < 1e-6)
            if not fair.all():
                row = int(np.argmin(fair))
                raise ValueError(f"colours row {row} is {shares[row].tolist()}; colours are shares that sum to 1")
        object.__setattr__(self, "colours", shares)

    @classmethod
    def empty(cls) -> Foreground:
        """Return the foreground of a frame in which nothing moves."""
        return cls(np.empty((0, 2)), np.empty(0))

    def __len__(self) -> int:
        return len(self.weights)


_REPORTED = [
    ("ids", "i8"),
    ("boxes_xyxy", "f8", (4,)),
    ("scores", "f8"),
    ("classes", "i8"),
    ("detection_indices", "i8"),
    ("existence", "f8"),
    ("responsibilities", "f8"),
    ("status", "i8"),
]
TRACK = np.dtype([*_REPORTED, ("component", "i8")])  # row among the tracker's components
"""One row of :class:`Tracks`, without what is worked out when it is first asked for."""
DERIVED = ("covariances", "continuity")


@dataclass(frozen=True, slots=True, eq=False)
class Tracks(RowAligned):
    """Objects as reported for one frame, a row each.

    Parameters
    ----------
    ids
        (n,) identities: positive, unique in the frame, never reused by one tracker.
    boxes_xyxy
        (n, 4) left, top, right, bottom in pixels.
    scores
        (n,) score of the claimed detection; the last one claimed for objects that are coasting.
    classes
        (n,) class labels.
    detection_indices
        (n,) row of the claimed detection in the frame's :class:`Detections`, -1 for none.
    covariances
        (n, 4, 4) covariance of the error of the box in (centre x, centre y, width, height), in px^2; the error is
        Student's t, see :mod:`tracker.confidence`.
    existence
        (n,) probability that the object is there.
    responsibilities
        (n,) probability that the claimed detection is this object's; 0 for none.
    status
        (n,) :class:`Status` values.
    continuity
        (n,) probability that the identity is the same object's as a second ago, or as at its birth if that is later;
        NaN in results that were refined afterwards, of which it is not known.
    """

    ids: IntArray
    boxes_xyxy: FloatArray
    scores: FloatArray
    classes: IntArray
    detection_indices: IntArray
    covariances: FloatArray
    existence: FloatArray
    responsibilities: FloatArray
    status: IntArray
    continuity: FloatArray

    def __post_init__(self) -> None:
        self._settle(Tracks.__slots__)

    def _settle(self, columns: Iterable[str]) -> None:
        """Check some columns, and keep copies that nobody can change."""
        n = len(self.ids)
        for name in columns:
            dtype = BLOB_TRACK[name]
            column = read_only(getattr(self, name), dtype.base, (n, *dtype.shape), name)
            object.__setattr__(self, name, column)

    @classmethod
    def of_rows(
        cls, rows: NDArray[np.void], derive: Callable[[str, NDArray[np.void]], NDArray[Any]] | None = None
    ) -> Self:
        """Return the columns of an array of :data:`TRACK`; they are views of it, and it becomes read-only.

        ``derive(name, rows)`` works out a column that the rows lack when it is first asked for.
        """
        rows.setflags(write=False)
        tracks = object.__new__(cls)
        object.__setattr__(tracks, "_rows", rows)
        object.__setattr__(tracks, "_derive", derive)
        return tracks

    def __getattr__(self, name: str) -> NDArray[Any]:
        unknown = AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name not in BLOB_TRACK.names:  # type: ignore[operator]
            raise unknown
        rows = self._rows
        if name in rows.dtype.names:  # type: ignore[operator]
            column: NDArray[Any] = rows[name]
        elif name in DERIVED and self._derive is not None:
            column = self._derive(name, rows)
            column.setflags(write=False)
        else:
            raise unknown
        object.__setattr__(self, name, column)
        return column

    @classmethod
    def empty(cls) -> Tracks:
        """Return the report of a frame in which nobody is to be seen."""
        number, real = np.empty(0, np.int64), np.empty(0)
        boxes, covariances = np.empty((0, 4)), np.empty((0, 4, 4))
        return Tracks(number, boxes, real, number, number, covariances, real, real, number, real)


BLOB_TRACK = np.dtype(
    [
        *_REPORTED,
        ("covariances", "f8", (4, 4)),
        ("continuity", "f8"),
        ("parent_ids", "i8"),
        ("blob_covariances", "f8", (2, 2)),
    ]
)
"""One row of :class:`BlobTracks`."""


@dataclass(frozen=True, slots=True, eq=False)
class BlobTracks(Tracks):
    """Objects that are followed by their pixels, as reported for one frame.

    Parameters
    ----------
    detection_indices
        (n,) connected region of the foreground that shows most of the object, -1 for none.
    covariances
        (n, 4, 4) of the filter's state, whose errors are Gaussian.
    parent_ids
        (n,) identity of the object from which this one has divided, 0 for none.
    blob_covariances
        (n, 2, 2) covariance of the object's pixels about their centre, in px^2.
    """

    parent_ids: IntArray
    blob_covariances: FloatArray

    @classmethod
    def empty(cls) -> BlobTracks:
        """Return the report of a frame in which nobody is to be seen."""
        return cls.of_rows(np.empty(0, BLOB_TRACK))

    def __post_init__(self) -> None:
        self._settle((*Tracks.__slots__, *BlobTracks.__slots__))
