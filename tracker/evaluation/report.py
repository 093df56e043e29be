"""The report: one page for people that says what went wrong in a result, where, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from trackeval import metrics

from tracker.errors import counted
from tracker.evaluation import plots
from tracker.evaluation.consistency import (
    LEVELS,
    POSITION_COORDINATES,
    Consistency,
    brier_score,
    calibration_error,
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
    lost_frames,
    main_tracks,
    quantile_edges,
    recall_by,
)
from tracker.evaluation.examples import SHOWN_OF_WORST, Example, Shot, is_of_worst, shown_example
from tracker.evaluation.scores import Evaluation, combine
from tracker.evaluation.study import Study, by_result, moments_of, worst_of
from tracker.evaluation.table import SHOWN, by_heading
from tracker.evaluation.timelines import ColorOf, anchor, timelines

_ByCircumstance: TypeAlias = dict[str, dict[str, Recall]]

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
        Of :func:`tracker.evaluation.examples.examples`.
    pictures
        JPEG by shot; shots without one are described in words alone.
    truth_name
        What the tracks were compared with.
    rules
        How they were scored, in words.
    color_of
        Colour of a track, as CSS.
    """
    results = by_result(studies)
    combined = {name: combine({part.sequence: part.evaluation for part in parts}) for name, parts in results.items()}
    thresholds = studies[0].evaluation.thresholds
    verdicts = [_verdict(name, parts, combined[name]) for name, parts in results.items()]
    figures = plots.hota_figures("hota", {name: whole.hota for name, whole in combined.items()}, thresholds)
    of_worst = {
        name: [e for e in chosen if e.study.result == name and is_of_worst(e, parts)][:SHOWN_OF_WORST]
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
        "timelines": timelines(studies, color_of),
        "moments": {
            name: {
                kind: [
                    shown_example(example, pictures, color_of, above=example in of_worst[name])
                    for example in chosen
                    if example.study.result == name and example.moment.kind == kind
                ]
                for kind in ("switch", "miss", "false")
            }
            for name in results
        },
        "worst_examples": {
            name: [shown_example(example, pictures, color_of) for example in of_worst[name]] for name in results
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
        "identity": f"{counted(scores.id_switches, 'switch', 'switches')} of track",
        "missed": f"{counted(missed, 'box', 'boxes')}, {missed / max(1, len(fates)):.1%} of the truth",
        "false": counted(false, "box", "boxes"),
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
    worst = worst_of(parts)
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
            + (f"{counted(len(tracks) - 1, 'other track', 'other tracks')}" if others else "other tracks")
            + f", {missed} are missed"
            + (f", {loose} have a box that fits too loosely." if loose else ".")
        )
    worst = moments_of(part, identity)
    return {
        "identity": identity,
        "summary": summary,
        "because": f"{worst[0].headline.partition(': ')[2].capitalize()}. {worst[0].because}" if worst else "",
        "anchor": anchor(part.sequence, identity),
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
                        "anchor": anchor(parts[0].sequence, identity),
                        "lost": frames,
                        "spread": max(frames) - min(frames),
                    }
                )
    return sorted(rows, key=lambda row: -row["spread"])[:10]


@cache
def _environment() -> Environment:
    loader = PackageLoader("tracker.evaluation", "page")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["levels"] = [f"{level:.0%}" for level in LEVELS]
    environment.globals["source"] = lambda name: Markup(loader.get_source(environment, name)[0])
    return environment
