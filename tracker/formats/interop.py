"""Detections and tracks as ``supervision.Detections`` and pandas data frames, and back.

Neither library is imported before one of its functions is called, and neither is installed with this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.formats.table import NOT_STATED, TrackTable
from tracker.structures import Detections, Status, Tracks

if TYPE_CHECKING:
    import pandas as pd
    import supervision as sv

_EXTRA = ("detection_indices", "covariances", "existence", "responsibilities", "status", "continuity")


def to_supervision(rows: Detections | Tracks) -> sv.Detections:
    """Return detections or tracks of a frame as supervision knows them.

    Scores become ``confidence``, classes ``class_id``, ids ``tracker_id``; the other fields of tracks go into
    ``data`` under their own names, so that :func:`tracks_from_supervision` finds them again.
    """
    import supervision as sv

    if isinstance(rows, Detections):
        return sv.Detections(rows.boxes_xyxy.copy(), confidence=rows.scores.copy(), class_id=rows.classes.copy())
    return sv.Detections(
        rows.boxes_xyxy.copy(),
        confidence=rows.scores.copy(),
        class_id=rows.classes.copy(),
        tracker_id=rows.ids.copy(),
        data={name: getattr(rows, name).copy() for name in _EXTRA},
    )


def detections_from_supervision(rows: sv.Detections) -> Detections:
    """Return the boxes of supervision as detections; confidence 1 and class 0 where there are none.

    Raises
    ------
    ValueError
        For a box without area or a confidence outside [0, 1].
    """
    return Detections(rows.xyxy, rows.confidence, rows.class_id)


def tracks_from_supervision(rows: sv.Detections) -> Tracks:
    """Return the boxes of supervision as tracks; what they do not tell is that of a sure, confirmed object.

    Raises
    ------
    ValueError
        When the boxes have no ``tracker_id``.
    """
    if rows.tracker_id is None and len(rows):
        raise ValueError("the boxes have no tracker_id; a track needs one")
    return _tracks(
        detections_from_supervision(rows), np.zeros(0) if rows.tracker_id is None else rows.tracker_id, rows.data
    )


def to_pandas(rows: Detections | Tracks | TrackTable) -> pd.DataFrame:
    """Return a data frame with a row for each box.

    Boxes are the columns ``left, top, right, bottom`` for detections and tracks of a frame and ``left, top,
    width, height`` for a :class:`~tracker.formats.table.TrackTable`; the covariance of a track is left out.
    Other columns are named by their fields; a table with names of classes has them in ``class_name``.
    """
    import pandas as pd

    columns: dict[str, Any] = {}
    for field in fields(rows):
        values = getattr(rows, field.name)
        if field.name == "boxes_xyxy":
            columns |= dict(zip(("left", "top", "right", "bottom"), values.T, strict=True))
        elif field.name == "boxes_ltwh":
            columns |= dict(zip(("left", "top", "width", "height"), values.T, strict=True))
        elif field.name == "class_names":
            columns["class_name"] = [values.get(label) for label in rows.classes.tolist()] if values else None
        elif np.ndim(values) == 1:
            columns[field.name] = values
    return pd.DataFrame({name: values for name, values in columns.items() if values is not None})


def detections_from_pandas(frame: pd.DataFrame) -> Detections:
    """Return the rows of a data frame with the columns of :func:`to_pandas` as detections of a frame.

    Raises
    ------
    ValueError
        For a column that is missing, a box without area or a score outside [0, 1].
    """
    _demand_columns(frame, ("left", "top", "right", "bottom"))
    return Detections(
        frame[["left", "top", "right", "bottom"]].to_numpy(np.float64),
        frame["scores"].to_numpy() if "scores" in frame else None,
        frame["classes"].to_numpy() if "classes" in frame else None,
    )


def tracks_from_pandas(frame: pd.DataFrame) -> Tracks:
    """Return the rows of a data frame with the columns of :func:`to_pandas` as tracks of a frame.

    What they do not tell is that of a sure, confirmed object.

    Raises
    ------
    ValueError
        As :func:`detections_from_pandas`.
    """
    _demand_columns(frame, ("ids",))
    told = {name: frame[name].to_numpy() for name in _EXTRA if name in frame}
    return _tracks(detections_from_pandas(frame), frame["ids"].to_numpy(), told)


def table_from_pandas(frame: pd.DataFrame) -> TrackTable:
    """Return the rows of a data frame with the columns of :func:`to_pandas` as a table.

    Raises
    ------
    ValueError
        For a column that is missing or a row that no table can hold.
    """
    _demand_columns(frame, ("frames", "ids", "left", "top", "width", "height"))
    optional = [f.name for f in fields(TrackTable)[3:] if f.name in frame]
    names: dict[int, str] = {}
    if "class_name" in frame and "classes" in frame:
        pairs = frame.loc[frame["class_name"].notna() & (frame["classes"] != NOT_STATED), ["classes", "class_name"]]
        names = {int(label): str(name) for label, name in pairs.drop_duplicates().itertuples(index=False)}
    return TrackTable(
        frame["frames"].to_numpy(),
        frame["ids"].to_numpy(),
        frame[["left", "top", "width", "height"]].to_numpy(np.float64),
        **{name: frame[name].to_numpy() for name in optional},
        class_names=names,
    )


def _tracks(detections: Detections, ids: ArrayLike, told: Mapping[str, Any]) -> Tracks:
    """Return detections with identities as tracks, the other fields as told or else those of a sure object."""
    n = len(detections)
    sure: dict[str, NDArray[Any]] = {
        "detection_indices": np.full(n, -1, np.int64),
        "covariances": np.zeros((n, 4, 4)),
        "existence": np.ones(n),
        "responsibilities": np.zeros(n),
        "status": np.full(n, Status.CONFIRMED, np.int64),
        "continuity": np.ones(n),
    }
    return Tracks(
        ids=np.array(ids, np.int64),
        boxes_xyxy=detections.boxes_xyxy,
        scores=detections.scores,
        classes=detections.classes,
        **{name: np.array(told.get(name, plain), plain.dtype).reshape(plain.shape) for name, plain in sure.items()},
    )


def _demand_columns(frame: pd.DataFrame, names: tuple[str, ...]) -> None:
    if missing := [name for name in names if name not in frame]:
        raise ValueError(f"the data frame has no column {', '.join(missing)}")
