"""The report: one page for people that says what went wrong in a result, where, and why."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from trackeval import metrics

from tracker.evaluation import plots
from tracker.evaluation.consistency import (
    LEVELS,
    POSITION_COORDINATES,
    Consistency,
    brier_score,
    calibration_error,
    consistency,
    held_shares,
    reliability,
)
from tracker.evaluation.diagnosis import (
    CROWDING_EDGES,
    FAULTS,
    NOBODY,
    Fate,
    Fault,
    Recall,
    coverage,
    detected,
    fragmentation_rows,
    lost_frames,
    main_tracks,
    quantile_edges,
    recall_by,
    repaired_hota,
    spans,
    surroundings,
)
from tracker.evaluation.moments import Moment, Scene, false_tracks, misses, switches
from tracker.evaluation.preparation import Criteria, match, prepare
from tracker.evaluation.scores import Evaluation, combine
from tracker.evaluation.table import SHOWN, by_heading
from tracker.formats.diagnostics import Diagnostics
from tracker.formats.table import TrackTable
from tracker.structures import Detections, FloatArray

SHOWN_SWITCHES, SHOWN_MISSES, SHOWN_FALSE = 6, 4, 4
"""How many of the worst moments the page shows of each result."""
SHOWN_OF_WORST = 3
"""How many moments it shows of the identity that is lost most."""

_ByCircumstance: TypeAlias = dict[str, dict[str, Recall]]
ColorOf: TypeAlias = Callable[[int], str]

_REGION_SIZES = 2.6  # what is shown around a box, in its longer sides
_SMALLEST_REGION_PX = 90.0
_NONE = "-"  # a figure that there is not
_NAMES: Mapping[Fault, str] = {
    "identity": "Identity errors",
    "missed": "Missed boxes",
    "false": "False boxes",
    "loose": "Loosely fitting boxes",
}
_MEANINGS: Mapping[Fault, str] = {
    "identity": "if every identity had kept one track",
    "missed": "if nothing had been missed",
    "false": "if no box had been on nobody",
    "loose": "if every box that is near had fitted exactly",
}


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


@dataclass(frozen=True, slots=True)
class Shot:
    """A part of a frame that the page shows.

    Parameters
    ----------
    sequence, frame
        Which frame.
    left, top, width, height
        Which part, in whole pixels.
    """

    sequence: str
    frame: int
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A moment on the page, with what it shows."""

    study: Study
    moment: Moment
    shots: tuple[Shot, ...]


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


def examples(studies: Iterable[Study]) -> list[Example]:
    """Return the moments that the page shows, by result: of the identity that is lost most, then the worst of all."""
    chosen: list[Example] = []
    for parts in _by_result(studies).values():
        worst = _worst(parts)
        moments = [] if worst is None else [(worst[0], moment) for moment in _moments_of(*worst)[:SHOWN_OF_WORST]]
        for name, count in (("switches", SHOWN_SWITCHES), ("misses", SHOWN_MISSES), ("false_tracks", SHOWN_FALSE)):
            everything = [(part, moment) for part in parts for moment in getattr(part, name)]
            moments += sorted(everything, key=lambda pair: -pair[1].frames)[:count]
        chosen += [Example(part, moment, _shots(part, moment)) for part, moment in dict.fromkeys(moments)]
    return chosen


def render(
    studies: Sequence[Study],
    chosen: Sequence[Example],
    pictures: Mapping[Shot, bytes],
    *,
    truth_name: str,
    rules: str,
    color_of: ColorOf,
) -> str:
    """Return the page.

    Parameters
    ----------
    studies
        Every sequence of every result.
    chosen
        Of :func:`examples`.
    pictures
        JPEG by shot; shots without one are described in words alone.
    truth_name
        What the tracks were compared with.
    rules
        How they were scored, in words.
    color_of
        Colour of a track, as CSS.
    """
    results = _by_result(studies)
    combined = {name: combine({part.sequence: part.evaluation for part in parts}) for name, parts in results.items()}
    thresholds = studies[0].evaluation.thresholds
    verdicts = [_verdict(name, parts, combined[name]) for name, parts in results.items()]
    figures = plots.hota_figures("hota", {name: whole.hota for name, whole in combined.items()}, thresholds)
    of_worst = {
        name: [e for e in chosen if e.study.result == name and _is_of_worst(e, parts)][:SHOWN_OF_WORST]
        for name, parts in results.items()
    }
    recalls, given = _recalls(results)
    kept = _consistencies(results)
    context = {
        "results": list(results),
        "sequences": list(dict.fromkeys(part.sequence for part in studies)),
        "truth_name": truth_name,
        "rules": rules,
        "verdicts": verdicts,
        "headings": SHOWN,
        "scores": _score_rows(results, combined),
        "hota_figures": list(map(Markup, figures)),
        "hota_rows": [
            (f"{threshold:.2f}", [100 * float(whole.hota["HOTA"][place]) for whole in combined.values()])
            for place, threshold in enumerate(thresholds)
        ],
        "timelines": _timelines(studies, color_of),
        "moments": {
            name: {
                kind: [
                    _example(example, pictures, color_of, above=example in of_worst[name])
                    for example in chosen
                    if example.study.result == name and example.moment.kind == kind
                ]
                for kind in ("switch", "miss", "false")
            }
            for name in results
        },
        "worst_examples": {
            name: [_example(example, pictures, color_of) for example in of_worst[name]] for name in results
        },
        "recall_figures": list(map(Markup, plots.recall_figures("recall", recalls, given))),
        "recalls": [
            (circumstance, plots.CIRCUMSTANCES[circumstance], _recall_rows(by_result, given[circumstance]))
            for circumstance, by_result in recalls.items()
        ],
        "given": list(next(iter(given.values()))),
        "consistency_figures": [Markup(svg) for svg in plots.consistency_figures("kept", kept)] if kept else [],
        "consistency_rows": [(list(results)[number], _consistency_cells(part)) for number, part in kept.items()],
        "continuity_rows": [(list(results)[number], _continuity_cells(part)) for number, part in kept.items()],
        "reliability_rows": [
            (list(results)[number], row) for number, part in kept.items() for row in _reliability_rows(part)
        ],
        "untold": [name for number, name in enumerate(results) if number not in kept],
        "differences": _differences(results),
    }
    return _environment().get_template("report.html").render(context)


def _by_result(studies: Iterable[Study]) -> dict[str, list[Study]]:
    results: dict[str, list[Study]] = {}
    for part in studies:
        results.setdefault(part.result, []).append(part)
    return results


def _worst(parts: Sequence[Study]) -> tuple[Study, int] | None:
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


def _moments_of(part: Study, identity: int) -> list[Moment]:
    moments = [moment for moment in (*part.switches, *part.misses) if moment.identity == identity]
    return sorted(moments, key=lambda moment: -moment.frames)


def _is_of_worst(example: Example, parts: Sequence[Study]) -> bool:
    worst = _worst(parts)
    return worst is not None and example.study is worst[0] and example.moment.identity == worst[1]


def _gains(parts: Sequence[Study], whole: Evaluation) -> dict[Fault, dict[str, float]]:
    """Return by fault how much HOTA, DetA and AssA would gain without it, in points."""
    gains = {}
    for fault in FAULTS:
        repaired = metrics.HOTA().combine_sequences({part.sequence: dict(part.repaired[fault]) for part in parts})
        gains[fault] = {
            field: 100 * float(np.mean(repaired[field]) - np.mean(whole.hota[field]))
            for field in ("HOTA", "DetA", "AssA")
        }
    return gains


def _verdict(name: str, parts: Sequence[Study], whole: Evaluation) -> dict[str, Any]:
    gains, scores = _gains(parts, whole), whole.scores
    fates = np.concatenate([part.scene.cover.fates for part in parts])
    missed, loose = int((fates == Fate.MISSED).sum()), int((fates == Fate.LOOSE).sum())
    false = sum(len(part.scene.cover.false_rows) for part in parts)
    counts: dict[Fault, str] = {
        "identity": f"{_count(scores.id_switches, 'switch', 'switches')} of track",
        "missed": f"{_count(missed, 'box', 'boxes')}, {missed / max(1, len(fates)):.1%} of the truth",
        "false": _count(false, "box", "boxes"),
        "loose": f"{loose} too loose for a hit; mean IoU of hits {scores.loc_a / 100:.2f}",
    }
    of_tracker: tuple[Fault, ...] = ("identity", "missed", "false")
    rivals: list[Fault] = sorted(of_tracker, key=lambda fault: -gains[fault]["HOTA"])
    first = rivals[0]
    if gains[first]["HOTA"] <= 0.05:
        sentence = "Identities, misses and false boxes cost next to nothing."
    else:
        sentence = (
            f"{_NAMES[first]} cost most: {_MEANINGS[first]}, HOTA would be "
            f"{scores.hota + gains[first]['HOTA']:.1f} instead of {scores.hota:.1f}."
        )
    order: tuple[Fault, ...] = (*rivals, "loose")
    largest = max(1e-9, *(gain["HOTA"] for gain in gains.values()))
    worst = _worst(parts)
    return {
        "name": name,
        "scores": scores,
        "sentence": sentence,
        "fit": f"{_NAMES['loose']} cost {gains['loose']['HOTA']:.1f}: how well boxes fit is up to detector and "
        "annotation more than to the tracker."
        if gains["loose"]["HOTA"] > gains[first]["HOTA"]
        else "",
        "faults": [
            {
                "fault": fault,
                "name": _NAMES[fault],
                "meaning": _MEANINGS[fault],
                "gain": gains[fault],
                "share": max(0.0, gains[fault]["HOTA"]) / largest,
                "count": counts[fault],
            }
            for fault in order
        ],
        "worst": None if worst is None else _worst_identity(*worst, several=len(parts) > 1),
    }


def _worst_identity(part: Study, identity: int, *, several: bool) -> dict[str, Any]:
    """Describe the identity that is lost most."""
    cover = part.scene.cover
    own = cover.ids == identity
    covered = own & cover.covered
    main = main_tracks(cover)[identity]
    mine = int((covered & (cover.tracks == main)).sum())
    others = int(covered.sum()) - mine
    tracks = np.unique(cover.tracks[covered]).tolist()
    missed, loose = int((own & (cover.fates == Fate.MISSED)).sum()), int((own & (cover.fates == Fate.LOOSE)).sum())
    life = int(own.sum())
    where = f" of {part.sequence}" if several else ""
    if main == NOBODY:
        summary = f"Identity {identity}{where} is never covered in its {life} frames."
    else:
        summary = (
            f"Identity {identity}{where} is there for {life} frames. Its main track {main} covers {mine} of them "
            f"({mine / life:.0%}); {others} are under "
            + (f"{_count(len(tracks) - 1, 'other track', 'other tracks')}" if others else "other tracks")
            + f", {missed} are missed"
            + (f", {loose} have a box that fits too loosely." if loose else ".")
        )
    worst = _moments_of(part, identity)
    return {
        "identity": identity,
        "summary": summary,
        "because": f"{worst[0].headline.partition(': ')[2].capitalize()}. {worst[0].because}" if worst else "",
        "anchor": _anchor(part.sequence, identity),
    }


def _score_rows(results: Mapping[str, Sequence[Study]], combined: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    """Return a row for each sequence and result, and the combined ones where there are several sequences."""
    rows = []
    sequences = [part.sequence for part in next(iter(results.values()))]
    for place, sequence in enumerate(sequences):
        rows += [
            {"sequence": sequence, "result": name, "cells": _rounded(parts[place].evaluation), "combined": False}
            for name, parts in results.items()
        ]
    if len(sequences) > 1:
        rows += [
            {"sequence": "all sequences", "result": name, "cells": _rounded(whole), "combined": True}
            for name, whole in combined.items()
        ]
    return rows


def _rounded(evaluation: Evaluation) -> list[str]:
    figures = by_heading(evaluation)
    return [str(figures[name]) if isinstance(figures[name], int) else f"{figures[name]:.1f}" for name in SHOWN]


def _timelines(studies: Sequence[Study], color_of: ColorOf) -> list[dict[str, Any]]:
    """Return, by sequence, a row for each identity with a lane for each result."""
    timelines = []
    for sequence in dict.fromkeys(part.sequence for part in studies):
        parts = [part for part in studies if part.sequence == sequence]
        begin = min(int(part.scene.prepared.frames[0]) for part in parts)
        end = max(int(part.scene.prepared.frames[-1]) for part in parts)
        lanes = [_lanes(part, begin, color_of) for part in parts]
        lost = [lost_frames(part.scene.cover) for part in parts]
        rows = [
            {
                "identity": identity,
                "anchor": _anchor(sequence, identity),
                "lost": max(frames[identity] for frames in lost),
                "first": lanes[0][identity]["first"],
                "lanes": [lane[identity] for lane in lanes],
            }
            for identity in lanes[0]
        ]
        rows.sort(key=lambda row: (-row["lost"], row["identity"]))
        timelines.append(
            {
                "sequence": sequence,
                "begin": begin,
                "count": end - begin + 1,
                "ticks": _ticks(begin, end),
                "rows": rows,
            }
        )
    return timelines


def _ticks(begin: int, end: int) -> list[int]:
    """Return up to about ten round frame numbers for the axis."""
    steps = [base * 10**power for power in range(19) for base in (1, 2, 5)]
    step = next(step for step in steps if (end - begin) / step <= 10)
    return list(range(-(-begin // step) * step, end + 1, step))


def _lanes(part: Study, begin: int, color_of: ColorOf) -> dict[int, dict[str, Any]]:
    """Return by identity what its lane shows: stretches and marks, and a summary in words."""
    cover = part.scene.cover
    lanes: dict[int, dict[str, Any]] = {}
    for span in spans(cover):
        lane = lanes.setdefault(span.identity, {"result": part.result, "first": span.first_frame, "spans": []})
        rows = slice(span.first, span.last + 1)
        mark = ""
        if span.fate == Fate.COVERED:
            mark = "switch" if cover.switched[span.first] else "again" if span.first in part.fragmentations else ""
        lane["spans"].append(
            {
                "start": span.first_frame - begin,
                "frames": span.last_frame - span.first_frame + 1,
                "fate": span.fate.name.lower(),
                "track": None if span.track == NOBODY else span.track,
                "color": None if span.track == NOBODY else color_of(span.track),
                "iou": None if span.track == NOBODY else f"{cover.ious[rows].mean():.2f}",
                "mark": mark,
            }
        )
    for identity, lane in lanes.items():
        own = cover.ids == identity
        tracks = list(dict.fromkeys(cover.tracks[own & cover.covered].tolist()))
        lane["summary"] = (
            f"{part.result}: {_count(int(own.sum()), 'frame', 'frames')}, "
            f"{(own & cover.covered).sum() / own.sum():.0%} covered, "
            f"{_count(len(tracks), 'track', 'tracks')}, "
            f"{_count(int(cover.switched[own].sum()), 'switch', 'switches')}"
        )
    return lanes


def _shots(part: Study, moment: Moment) -> tuple[Shot, ...]:
    """Return what to show of a moment: in each of its frames, the surroundings of the box in question."""
    if part.scene.picture_px is None:
        return ()
    if moment.kind == "false":
        table = part.scene.tracks
        rows = np.flatnonzero(table.ids == moment.tracks[0])
    else:
        table = part.scene.truth
        rows = part.scene.cover.rows[part.scene.cover.ids == moment.identity]
    frames = table.frames[rows]
    return tuple(
        _shot(part, frame, table.boxes_ltwh[rows[np.argmin(np.abs(frames - frame))]]) for frame in moment.shown_frames
    )


def _shot(part: Study, frame: int, box_ltwh: FloatArray) -> Shot:
    width_px, height_px = part.scene.picture_px or (0, 0)
    left, top, width, height = box_ltwh.tolist()
    side = max(_REGION_SIZES * max(width, height), _SMALLEST_REGION_PX)
    across, down = min(width_px, round(side)), min(height_px, round(0.9 * side))
    x = min(max(0, round(left + width / 2 - across / 2)), width_px - across)
    y = min(max(0, round(top + height / 2 - down / 2)), height_px - down)
    return Shot(part.sequence, frame, x, y, across, down)


def _example(
    example: Example, pictures: Mapping[Shot, bytes], color_of: ColorOf, *, above: bool = False
) -> dict[str, Any]:
    """Return what the template shows of a moment; ``above``: its pictures stand on the page already."""
    part, moment = example.study, example.moment
    return {
        "above": above and any(shot in pictures for shot in example.shots),
        "sequence": part.sequence,
        "headline": moment.headline,
        "because": moment.because,
        "facts": moment.facts,
        "frames": moment.frames,
        "anchor": None if moment.identity == NOBODY else _anchor(part.sequence, moment.identity),
        "shots": [
            {
                "frame": shot.frame,
                "width": shot.width,
                "height": shot.height,
                "data": base64.b64encode(pictures[shot]).decode(),
                "boxes": _drawn_boxes(example, shot, color_of),
            }
            for shot in example.shots
            if shot in pictures and not above
        ],
    }


def _drawn_boxes(example: Example, shot: Shot, color_of: ColorOf) -> list[dict[str, Any]]:
    """Return the boxes of truth and tracks in a shot, in its coordinates."""
    part, moment = example.study, example.moment
    prepared = part.scene.prepared
    place = int(np.searchsorted(prepared.frames, shot.frame))
    if place == len(prepared.frames) or prepared.frames[place] != shot.frame:
        return []
    drawn = []
    for table, rows, kind in (
        (prepared.truth, prepared.truth_rows[place], "truth"),
        (prepared.tracks, prepared.track_rows[place], "track"),
    ):
        for row in rows.tolist():
            left, top, width, height = table.boxes_ltwh[row].tolist()
            left, top = left - shot.left, top - shot.top
            if left + width < 0 or top + height < 0 or left > shot.width or top > shot.height:
                continue
            number = int(table.ids[row])
            subject = number == moment.identity if kind == "truth" else number in moment.tracks
            drawn.append(
                {
                    "kind": kind,
                    "id": number,
                    "subject": subject,
                    "box": tuple(round(value, 1) for value in (left, top, width, height)),
                    "color": color_of(number) if kind == "track" else None,
                }
            )
    return drawn


def _recalls(results: Mapping[str, Sequence[Study]]) -> tuple[_ByCircumstance, _ByCircumstance]:
    """Return recall by circumstance, of the tracks of each result and of the detections where they are known."""
    first = next(iter(results.values()))
    values = {
        "size": np.concatenate([part.scene.around.sizes_px for part in first]),
        "speed": np.concatenate([part.scene.around.speeds for part in first]),
        "crowding": np.concatenate([part.scene.around.neighbour_ious for part in first]),
    }
    found, given = {}, {}
    for name, parts in results.items():
        found[name] = np.concatenate([part.scene.cover.covered for part in parts])
        known = [part.scene.detected for part in parts if part.scene.detected is not None]
        if len(known) == len(parts):
            given[name] = ~np.isnan(np.concatenate(known))
    edges = {
        "size": quantile_edges(values["size"]),
        "speed": quantile_edges(values["speed"]),
        "crowding": np.array(CROWDING_EDGES),
    }
    of_tracks, of_detections = (
        {
            circumstance: {name: recall_by(measured, hits, edges[circumstance]) for name, hits in which.items()}
            for circumstance, measured in values.items()
        }
        for which in (found, given)
    )
    return of_tracks, of_detections


def _recall_rows(by_result: Mapping[str, Recall], given: Mapping[str, Recall]) -> list[tuple[str, int, list[str]]]:
    """Return, by bin, its ends, how many boxes there are and the share that each result and its detections find."""
    first = next(iter(by_result.values()))
    rows = []
    for number, (low, high) in enumerate(zip(first.edges[:-1], first.edges[1:], strict=True)):
        shares = [recall.shares[number] for recall in (*by_result.values(), *given.values())]
        cells = [_NONE if np.isnan(share) else f"{share:.1%}" for share in shares]
        rows.append((f"{low:.3g} to {high:.3g}", int(first.counts[number]), cells))
    return rows


def _consistencies(results: Mapping[str, Sequence[Study]]) -> dict[int, Consistency]:
    """Return by number of the result what its tracker promised, where it told that of every sequence."""
    found = {}
    for number, parts in enumerate(results.values()):
        told = [part.consistency for part in parts if part.consistency is not None]
        if len(told) == len(parts):
            found[number] = Consistency(
                *(
                    np.concatenate([getattr(part, column) for part in told])
                    for column in Consistency.__dataclass_fields__
                )
            )
    return found


def _consistency_cells(part: Consistency) -> list[str]:
    cells = [f"{len(part.position_innovations_squared)}"]
    for squares in (
        part.position_innovations_squared,
        part.size_innovations_squared,
        part.position_errors_squared,
        part.size_errors_squared,
    ):
        held = held_shares(squares, POSITION_COORDINATES)
        cells += [_NONE if np.isnan(share) else f"{share:.0%}" for share in held]
    return cells


def _continuity_cells(part: Consistency) -> list[str]:
    """Return how many identities were compared, the share that is the same, Brier score and calibration error."""
    promised, same = part.continuity, part.identities_kept
    if not len(same):
        return ["0", _NONE, _NONE, _NONE, _NONE]
    error = calibration_error(reliability(promised, same))
    return [
        f"{len(same)}",
        f"{promised.mean():.1%}",
        f"{same.mean():.1%}",
        f"{brier_score(promised, same):.4f}",
        f"{error:.4f}",
    ]


def _reliability_rows(part: Consistency) -> list[list[str]]:
    """Return by bin the probability, the share that is the same, and how many there are."""
    bars = reliability(part.continuity, part.identities_kept)
    return [
        [f"{promised:.1%}", f"{kept:.1%}", f"{count}"]
        for promised, kept, count in zip(bars.promised, bars.kept, bars.counts, strict=True)
    ]


def _differences(results: Mapping[str, Sequence[Study]]) -> list[dict[str, Any]]:
    """Return the identities that the results lose for the most different numbers of frames."""
    if len(results) < 2:
        return []
    rows = []
    for parts in zip(*results.values(), strict=True):
        lost = [lost_frames(part.scene.cover) for part in parts]
        for identity in lost[0]:
            frames = [table[identity] for table in lost]
            if len(set(frames)) > 1:
                rows.append(
                    {
                        "sequence": parts[0].sequence,
                        "identity": identity,
                        "anchor": _anchor(parts[0].sequence, identity),
                        "lost": frames,
                        "spread": max(frames) - min(frames),
                    }
                )
    return sorted(rows, key=lambda row: -row["spread"])[:10]


def _anchor(sequence: str, identity: int) -> str:
    """Return the name of an identity's row in the timeline, fit for a link."""
    return f"identity-{sequence.encode().hex()}-{identity}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


@cache
def _environment() -> Environment:
    loader = PackageLoader("tracker.evaluation", "page")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["levels"] = [f"{level:.0%}" for level in LEVELS]
    environment.globals["source"] = lambda name: Markup(loader.get_source(environment, name)[0])
    return environment
