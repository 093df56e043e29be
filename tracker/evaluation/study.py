"""One result for one sequence, looked into: what a report tells is found here, and told elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracker.evaluation.consistency import Consistency, consistency
from tracker.evaluation.diagnosis import (
    Fault,
    coverage,
    detected,
    fragmentation_rows,
    lost_frames,
    repaired_hota,
    surroundings,
)
from tracker.evaluation.moments import Moment, Scene, false_tracks, misses, switches
from tracker.evaluation.preparation import Criteria, match, prepare
from tracker.evaluation.scores import Evaluation
from tracker.formats.diagnostics import Diagnostics
from tracker.formats.table import TrackTable
from tracker.structures import Detections


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """One result for one sequence, looked into.

    Parameters
    ----------
    sequence, result
        Their names.
    scene
        Truth and tracks, and what became of them.
    evaluation
        TrackEval's fields.
    repaired
        TrackEval's fields of HOTA without one kind of fault each.
    fragmentations
        Rows of the coverage in which an identity is found again.
    switches, misses, false_tracks
        What went wrong, the worst first.
    consistency
        What the tracker promised; None when it did not tell.
    """

    sequence: str
    result: str
    scene: Scene
    evaluation: Evaluation
    repaired: Mapping[Fault, Mapping[str, Any]]
    fragmentations: frozenset[int]
    switches: list[Moment]
    misses: list[Moment]
    false_tracks: list[Moment]
    consistency: Consistency | None


def study(
    sequence: str,
    result: str,
    truth: TrackTable,
    tracks: TrackTable,
    evaluation: Evaluation,
    criteria: Criteria | None = None,
    *,
    detections: Mapping[int, Detections] | None = None,
    diagnostics: Diagnostics | None = None,
    picture_px: tuple[int, int] | None = None,
) -> Study:
    """Look into one result for one sequence.

    Parameters
    ----------
    sequence, result
        Their names on the page.
    truth, tracks
        The tables.
    evaluation
        What :func:`tracker.evaluation.scores.evaluate` makes of them.
    criteria
        How they are scored.
    detections
        What the tracker was given, by frame; None when that is not known.
    diagnostics
        What the tracker promised; None when that is not known.
    picture_px
        Width and height of the picture; None when they are not known.

    Raises
    ------
    CriteriaError
        When the protocol or the classes do not fit the truth.
    """
    criteria = criteria or Criteria()
    prepared = prepare(truth, tracks, criteria)
    cover = coverage(prepared, match(prepared, criteria.iou))
    seen = None if detections is None else detected(prepared, cover, detections, criteria.iou)
    scene = Scene(prepared, cover, surroundings(cover, prepared), picture_px, seen)
    return Study(
        sequence,
        result,
        scene,
        evaluation,
        repaired_hota(prepared, cover),
        frozenset(fragmentation_rows(cover, prepared).tolist()),
        switches(scene),
        misses(scene),
        false_tracks(scene),
        None if diagnostics is None else consistency(prepared, cover, diagnostics),
    )


def by_result(studies: Iterable[Study]) -> dict[str, list[Study]]:
    """Return the studies of each result, in the order in which the results come."""
    results: dict[str, list[Study]] = {}
    for part in studies:
        results.setdefault(part.result, []).append(part)
    return results


def worst_of(parts: Sequence[Study]) -> tuple[Study, int] | None:
    """Return the identity that its main track leaves for most frames, and the study in which it is."""
    lost = [
        (frames, part, identity)
        for part in parts
        for identity, frames in lost_frames(part.scene.cover).items()
        if frames
    ]
    if not lost:
        return None
    _, part, identity = max(lost, key=lambda entry: entry[0])
    return part, identity


def moments_of(part: Study, identity: int) -> list[Moment]:
    """Return what went wrong with an identity, the worst first."""
    moments = [moment for moment in (*part.switches, *part.misses) if moment.identity == identity]
    return sorted(moments, key=lambda moment: -moment.frames)
