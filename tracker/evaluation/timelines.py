"""The report's timelines: how each identity fares under each result, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from tracker.errors import counted
from tracker.evaluation.diagnosis import NOBODY, Fate, lost_frames, spans
from tracker.evaluation.study import Study

ColorOf: TypeAlias = Callable[[int], str]
"""Returns the colour of a track, as CSS."""


def timelines(studies: Sequence[Study], color_of: ColorOf) -> list[dict[str, Any]]:
    """Return, by sequence, a row for each identity with a lane for each result."""
    found = []
    for sequence in dict.fromkeys(part.sequence for part in studies):
        parts = [part for part in studies if part.sequence == sequence]
        begin = min(int(part.scene.prepared.frames[0]) for part in parts)
        end = max(int(part.scene.prepared.frames[-1]) for part in parts)
        lanes = [_lanes(part, begin, color_of) for part in parts]
        lost = [lost_frames(part.scene.cover) for part in parts]
        rows = [
            {
                "identity": identity,
                "anchor": anchor(sequence, identity),
                "lost": max(frames[identity] for frames in lost),
                "first": lanes[0][identity]["first"],
                "lanes": [lane[identity] for lane in lanes],
            }
            for identity in lanes[0]
        ]
        rows.sort(key=lambda row: (-row["lost"], row["identity"]))
        found.append(
            {
                "sequence": sequence,
                "begin": begin,
                "count": end - begin + 1,
                "ticks": _ticks(begin, end),
                "rows": rows,
            }
        )
    return found


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
            f"{part.result}: {counted(int(own.sum()), 'frame', 'frames')}, "
            f"{(own & cover.covered).sum() / own.sum():.0%} covered, "
            f"{counted(len(tracks), 'track', 'tracks')}, "
            f"{counted(int(cover.switched[own].sum()), 'switch', 'switches')}"
        )
    return lanes


def anchor(sequence: str, identity: int) -> str:
    """Return the name of an identity's row in the timeline, fit for a link."""
    return f"identity-{sequence.encode().hex()}-{identity}"
