"""Detections that somebody hands over, read as the configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from tracker.app.checks import Notice
from tracker.app.outputs import DETECTIONS, RECORD, read_record
from tracker.config import RecordedConfig
from tracker.detection.recorded import RecordedDetector
from tracker.structures import Detections


def recorded_detections(
    detections: Mapping[int, Detections] | Path, config: RecordedConfig, notice: Notice
) -> RecordedDetector:
    """Read detections, by frame number or in a file, and tell when none of them is of the classes chosen.

    The ``detections.txt`` of a run are those that it was left with when it had read its input so: with the run's own
    configuration they are taken as they are.

    Raises
    ------
    FormatError
        For a file that cannot be read or breaks its format.
    ConfigurationError
        For classes to be kept that the file does not know.
    """
    name, done = "detections", False
    if isinstance(detections, Path):
        name, done = str(detections), _was_read_so(detections, config)
    detector = RecordedDetector(detections, RecordedConfig() if done else config)
    if others := detector.classes_passed_over:
        notice(f"{name}: no detection is of the classes chosen, {', '.join(config.classes)}; there are {others}")
    return detector


def _was_read_so(path: Path, config: RecordedConfig) -> bool:
    record = read_record(path.with_name(RECORD)) if path.name == DETECTIONS else None
    if record is None:
        return False
    try:
        return RecordedConfig.model_validate(record.recorded) == config
    except ValidationError:
        return False
