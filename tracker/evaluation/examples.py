"""The moments that the report shows: which they are, and what of which frame is to be seen of each."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracker.evaluation.diagnosis import NOBODY
from tracker.evaluation.moments import Moment
from tracker.evaluation.study import Study, by_result, moments_of, worst_of
from tracker.evaluation.timelines import ColorOf, anchor
from tracker.structures import FloatArray

SHOWN_SWITCHES, SHOWN_MISSES, SHOWN_FALSE = 6, 4, 4
"""How many of the worst moments the page shows of each result."""
SHOWN_OF_WORST = 3
"""How many moments it shows of the identity that is lost most."""

_REGION_SIZES = 2.6  # what is shown around a box, in its longer sides
_SMALLEST_REGION_PX = 90.0


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


def examples(studies: Iterable[Study]) -> list[Example]:
    """Return the moments that the page shows, by result: of the identity that is lost most, then the worst of all."""
    chosen: list[Example] = []
    for parts in by_result(studies).values():
        worst = worst_of(parts)
        moments = [] if worst is None else [(worst[0], moment) for moment in moments_of(*worst)[:SHOWN_OF_WORST]]
        for name, count in (("switches", SHOWN_SWITCHES), ("misses", SHOWN_MISSES), ("false_tracks", SHOWN_FALSE)):
            everything = [(part, moment) for part in parts for moment in getattr(part, name)]
            moments += sorted(everything, key=lambda pair: -pair[1].frames)[:count]
        chosen += [Example(part, moment, _shots(part, moment)) for part, moment in dict.fromkeys(moments)]
    return chosen


def is_of_worst(example: Example, parts: Sequence[Study]) -> bool:
    """Tell whether a moment is of the identity that is lost most."""
    worst = worst_of(parts)
    return worst is not None and example.study is worst[0] and example.moment.identity == worst[1]


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


def shown_example(
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
        "anchor": None if moment.identity == NOBODY else anchor(part.sequence, moment.identity),
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
