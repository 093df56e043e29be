"""Detections made earlier, looked up by frame."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tracker.classes import labels_of
from tracker.config import RecordedConfig
from tracker.errors import ConfigurationError
from tracker.formats.catalogue import read_recorded
from tracker.structures import Detections


class RecordedDetector:
    """Give out the detections of a file.

    Parameters
    ----------
    detections
        Detections by frame number, or a file of them, see :func:`tracker.formats.catalogue.read_recorded`.
    config
        Which classes are kept, and what they are called; of a file, what its scores are.

    Raises
    ------
    FormatError
        For a file that cannot be read or breaks its format.
    ConfigurationError
        For a class to be kept that the file does not know, and where it states none at all.
    """

    def __init__(self, detections: Mapping[int, Detections] | Path, config: RecordedConfig | None = None) -> None:
        config = config or RecordedConfig()
        if isinstance(detections, Path):
            self._detections, names = read_recorded(detections, config.score_scale)
            named = detections.name
        else:
            self._detections, named = dict(detections), "detections"
            names = {} if any(rows.classes.any() for rows in self._detections.values()) else None
        names = dict(config.class_names) or names
        self._names = names
        self._wanted: frozenset[int] | None = None
        if config.classes:
            if names is None and isinstance(detections, Path):
                raise ConfigurationError(
                    f"detection.recorded.classes: {named} states no classes, so that none can be chosen; "
                    "they stand in the eighth column"
                )
            remedy = "give numbers, or detection.recorded.class_names"
            self._wanted = labels_of(config.classes, names or {}, f"detection.recorded.classes: {named}", remedy)

    @property
    def class_names(self) -> Mapping[int, str] | None:
        """Names of the classes that are kept, by label: empty where they have none, None where none are stated."""
        if self._names is None or self._wanted is None:
            return self._names
        return {label: name for label, name in self._names.items() if label in self._wanted}

    @property
    def classes_passed_over(self) -> str:
        """The classes that are there, by name or number, when none of them is kept; else nothing."""
        labels = {int(label) for rows in self._detections.values() for label in np.unique(rows.classes)}
        if self._wanted is None or self._wanted & labels:
            return ""
        return ", ".join((self._names or {}).get(label, str(label)) for label in sorted(labels))

    @property
    def last_frame(self) -> int:
        """The last frame of which anything is recorded; 0 when nothing is."""
        return max(self._detections, default=0)

    def every(self) -> dict[int, Detections]:
        """Return the detections of each frame of which anything is recorded."""
        return {index: self.at(index) for index in self._detections}

    def at(self, index: int) -> Detections:
        """Return the detections of frame ``index``; none where nothing is recorded."""
        found = self._detections.get(index, Detections.empty())
        return found if self._wanted is None else found.select(np.isin(found.classes, list(self._wanted)))
