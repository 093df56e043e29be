"""The worst moments of a result, and what the truth, the tracks and the detections tell of their cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from tracker.errors import counted
from tracker.evaluation.diagnosis import NOBODY, Coverage, Fate, Surroundings, main_tracks
from tracker.evaluation.preparation import Prepared
from tracker.formats.table import TrackTable
from tracker.geometry import box_scales, intersection_over_union
from tracker.structures import FloatArray, IntArray

Kind: TypeAlias = Literal["switch", "miss", "false"]

_CROSSING_IOU = 0.15  # from here on two boxes are said to cross
_HIDDEN_SHARE = 0.35  # from here on a box is said to be hidden
_REACH_FRAMES = 3  # a crossing this close before or after a moment belongs to it
_GOES_ON_FRAMES = 25  # a track that appears elsewhere within these went over there
_EDGE_PX = 3.0
_SMALL_QUANTILE, _FAST_QUANTILE = 0.1, 0.9
_LONG_FRAMES, _STILL_WAY = 8, 0.5  # who moves less than this share of its size in so many frames stands
_MANY = 0.5  # share of a moment's frames from which something is said of all of it
_LOOSE_TRUTH = 0.1  # overlap below which a box has nothing of the truth beneath it


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that went wrong.

    Parameters
    ----------
    kind
        A change of track, a stretch without a hit, or boxes without anything beneath.
    identity
        Identity of the truth; -1 for a false track.
    tracks
        Tracks that take part: before and after of a switch, the one of a false track.
    first_frame, last_frame
        From when to when. Of a switch: the last frame of the old track, and the first of the new one.
    frames
        How much it weighs: frames that a switch cuts off (the shorter of what the old and the new track cover),
        frames without a hit, boxes.
    headline
        What happened.
    because
        The likeliest cause, a sentence.
    facts
        What else is known, a phrase each.
    shown_frames
        Frames to look at, ascending.
    """

    kind: Kind
    identity: int
    tracks: tuple[int, ...]
    first_frame: int
    last_frame: int
    frames: int
    headline: str
    because: str
    facts: tuple[str, ...]
    shown_frames: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """All that is known of a sequence and one result.

    Parameters
    ----------
    prepared, cover, around
        Of the sequence.
    picture_px
        Width and height of the picture; None when they are not known.
    detected
        (N,) score of the detection of each true box, NaN for none, as :func:`tracker.evaluation.diagnosis.detected`
        finds it; None when the detections are not known.

    Attributes
    ----------
    small_px, fast
        The size that one in ten boxes is below, and the speed that one in ten is above.
    """

    prepared: Prepared
    cover: Coverage
    around: Surroundings
    picture_px: tuple[int, int] | None = None
    detected: FloatArray | None = None
    small_px: float = field(init=False)
    fast: float = field(init=False)

    def __post_init__(self) -> None:
        sizes, speeds = self.around.sizes_px, self.around.speeds[~np.isnan(self.around.speeds)]
        object.__setattr__(self, "small_px", float(np.quantile(sizes, _SMALL_QUANTILE)) if len(sizes) else 0.0)
        object.__setattr__(self, "fast", float(np.quantile(speeds, _FAST_QUANTILE)) if len(speeds) else np.inf)

    @property
    def truth(self) -> TrackTable:
        """The truth's table."""
        return self.prepared.truth

    @property
    def tracks(self) -> TrackTable:
        """The tracks' table."""
        return self.prepared.tracks

    def boxes(self, rows: IntArray) -> FloatArray:
        """Return the true boxes (n, 4) left, top, width, height of rows of the coverage."""
        return self.truth.boxes_ltwh[self.cover.rows[rows]]

    def circumstances(self, rows: IntArray) -> list[str]:
        """Return phrases on size, speed and the picture's edge over rows of one identity."""
        phrases = []
        size = float(np.median(self.around.sizes_px[rows]))
        if size <= self.small_px:
            usual = float(np.median(self.around.sizes_px))
            phrases.append(f"small: {size:.0f} px across, the usual is {usual:.0f}")
        speeds = self.around.speeds[rows]
        if not np.isnan(speeds).all():
            speed = float(np.nanmedian(speeds))
            if speed > self.fast:
                phrases.append(f"fast: {speed:.2f} of its size per frame, faster than nine in ten boxes")
        if self.stands(rows):
            phrases.append(f"moves by {self.spread(rows):.1f} of its size in {len(rows)} frames")
        if side := self.edge(rows):
            phrases.append(f"at the {side} edge of the picture")
        return phrases

    def stands(self, rows: IntArray) -> bool:
        """Tell whether the identity stands still over many rows."""
        return len(rows) >= _LONG_FRAMES and self.spread(rows) < _STILL_WAY

    def spread(self, rows: IntArray) -> float:
        """Return how far the centre comes over the rows, in units of the size."""
        boxes = self.boxes(rows)
        centres = boxes[:, :2] + boxes[:, 2:] / 2
        return float(np.linalg.norm(np.ptp(centres, axis=0)) / np.median(self.around.sizes_px[rows]))

    def edge(self, rows: IntArray) -> str | None:
        """Return the side of the picture that the boxes touch at the first or the last of the rows."""
        if self.picture_px is None or not len(rows):
            return None
        for left, top, width, height in self.boxes(rows[[0, -1]]).tolist():
            sides = {
                "left": left,
                "right": self.picture_px[0] - left - width,
                "upper": top,
                "lower": self.picture_px[1] - top - height,
            }
            side = min(sides, key=sides.__getitem__)
            if sides[side] <= _EDGE_PX:
                return side
        return None

    def crossing(self, rows: IntArray) -> tuple[str, int] | None:
        """Return a phrase on who comes closest over the rows, and the frame in which; None when nobody does."""
        if not len(rows):
            return None
        row = rows[np.argmax(np.maximum(self.around.neighbour_ious[rows], self.around.hidden[rows]))]
        overlap, hidden = float(self.around.neighbour_ious[row]), float(self.around.hidden[row])
        frame = int(self.cover.frames[row])
        if hidden >= _HIDDEN_SHARE:
            return f"hidden by identity {self.around.hiders[row]} ({hidden:.0%} of the box in frame {frame})", frame
        if overlap >= _CROSSING_IOU:
            return f"crossing identity {self.around.neighbours[row]} (IoU {overlap:.2f} in frame {frame})", frame
        return None

    def detector(self, rows: IntArray) -> str | None:
        """Return a phrase on how often the detector saw the rows; None when that is not known."""
        if self.detected is None or not len(rows):
            return None
        scores = self.detected[rows]
        seen, n = int((~np.isnan(scores)).sum()), len(rows)
        if seen == 0:
            return "the detector did not see it" if n == 1 else "the detector never saw it"
        often = "" if n == 1 else f" in {seen} of {n} frames"
        return f"the detector saw it{often} with a mean score of {np.nanmean(scores):.2f}"

    def seen_share(self, rows: IntArray) -> float:
        """Return the share of the rows that the detector saw; NaN when that is not known."""
        return float("nan") if self.detected is None else float((~np.isnan(self.detected[rows])).mean())


def switches(scene: Scene) -> list[Moment]:
    """Return all changes of track, by weight."""
    cover = scene.cover
    mains = main_tracks(cover)
    found = []
    for rows in _by_identity(cover):
        covered = rows[cover.covered[rows]]
        changes = np.flatnonzero(cover.switched[covered])
        for number, place in enumerate(changes):
            before = place - (changes[number - 1] if number else 0)
            after = (changes[number + 1] if number + 1 < len(changes) else len(covered)) - place
            found.append(_switch(scene, rows, covered[place - 1], covered[place], int(min(before, after)), mains))
    return sorted(found, key=lambda moment: (-moment.frames, moment.last_frame, moment.identity))


def misses(scene: Scene) -> list[Moment]:
    """Return all stretches in which an identity is not covered, by length."""
    found = []
    for rows in _by_identity(scene.cover):
        open_rows = rows[~scene.cover.covered[rows]]
        for stretch in _stretches(open_rows, scene.cover.positions[open_rows]):
            found.append(_miss(scene, rows, stretch))
    return sorted(found, key=lambda moment: (-moment.frames, moment.first_frame, moment.identity))


def false_tracks(scene: Scene) -> list[Moment]:
    """Return all stretches of boxes with nothing beneath them, by length."""
    tracks, false = scene.tracks, scene.cover.false_rows
    positions = np.searchsorted(scene.prepared.frames, tracks.frames[false])
    found = []
    for group in np.split(np.arange(len(false)), np.flatnonzero(np.diff(tracks.ids[false])) + 1):
        for stretch in _stretches(group, positions[group]):
            found.append(_false_track(scene, false[stretch]))
    return sorted(found, key=lambda moment: (-moment.frames, moment.first_frame, moment.tracks))


def _switch(scene: Scene, rows: IntArray, before: int, after: int, weight: int, mains: Mapping[int, int]) -> Moment:
    cover, around = scene.cover, scene.around
    identity, old, new = int(cover.ids[after]), int(cover.tracks[before]), int(cover.tracks[after])
    last, first = int(cover.frames[before]), int(cover.frames[after])
    between = rows[(rows > before) & (rows < after)]
    near = rows[(cover.frames[rows] >= last - _REACH_FRAMES) & (cover.frames[rows] <= first + _REACH_FRAMES)]
    crossing = scene.crossing(near)
    gone_to, came_from = _goes_on(scene, old, first, identity), _comes_from(scene, new, last, identity)
    absent = first - last - 1 - len(between)
    gap = f"without a hit for {_frames(len(between))}" if len(between) else ""

    facts: list[str] = []
    if len(between):
        loose = between[cover.fates[between] == Fate.LOOSE]
        if len(loose):
            share = f"in {len(loose)} of the {_frames(len(between))}"
            facts.append(f"{share} a box fitted loosely (IoU {cover.ious[loose].mean():.2f})")
        if seen := scene.detector(between):
            facts.append(f"{seen} in between" if len(between) > 1 else seen)
    if absent > 0:
        facts.append(f"out of the picture for {_frames(absent)}")
    facts += scene.circumstances(rows[(rows >= before) & (rows <= after)])
    way = _way(scene, before, after)
    if len(between) and way > 1.0:
        facts.append(f"moved {way:.1f} of its size meanwhile")

    swap = gone_to is not None and gone_to == came_from
    if swap:
        because = f"It exchanged tracks with identity {gone_to}"
        because += f", {crossing[0]}" if crossing else ""
    elif gone_to is not None:
        because = f"Its track {old} went over to identity {gone_to}"
        because += f", {crossing[0]}" if crossing else ""
    elif came_from is not None:
        because = f"Track {new} left identity {came_from} for it"
        because += f", {crossing[0]}" if crossing else ""
    elif crossing is not None:
        because = crossing[0][0].upper() + crossing[0][1:]
    elif len(between):
        unseen = scene.seen_share(between) < 1.0 - _MANY
        because = f"{'No detection' if unseen else 'No fitting box'} for {_frames(len(between))}"
        because += ", while it stood still" if scene.stands(between) else ""
        gap = ""
    elif absent > 0:
        because = f"It had left the picture for {_frames(absent)}"
    elif (rival := _overlap(scene, old, after)) >= _LOOSE_TRUTH:
        because = (
            f"Two tracks are on it: track {old} still is there, with IoU {rival:.2f} against {cover.ious[after]:.2f}"
        )
    elif around.speeds[after] > scene.fast:
        because = "It moved faster than its track expected"
    else:
        because = "Another track took over from one frame to the next, with nobody near"
    if gap and (crossing is not None or gone_to is not None or came_from is not None):
        because += f", and it was {gap}"
    if not swap:
        facts.append(_end_of(scene, old, gone_to, first))
        facts.append(_begin_of(scene, new, came_from, last, identity))
    if mains[identity] == new:
        facts.append(f"track {new} is the one that covers most of it")
    elif mains[identity] == old:
        facts.append(f"track {old} was the one that covers most of it")
    middle = crossing[1] if crossing and last < crossing[1] < first else (last + first) // 2
    return Moment(
        "switch",
        identity,
        (old, new),
        last,
        first,
        weight,
        f"Identity {identity}: track {old} becomes {new} in frame {first}",
        because + ".",
        tuple(facts),
        _shown(last, middle, first),
    )


def _miss(scene: Scene, rows: IntArray, stretch: IntArray) -> Moment:
    cover, around = scene.cover, scene.around
    identity, n = int(cover.ids[stretch[0]]), len(stretch)
    first, last = int(cover.frames[stretch[0]]), int(cover.frames[stretch[-1]])
    starts, ends = int(stretch[0] == rows[0]), int(stretch[-1] == rows[-1])
    when = ("lost", "lost for good", "not found at first", "never found")[2 * starts + ends]
    loose = stretch[cover.fates[stretch] == Fate.LOOSE]
    taken, by = _taken(scene, stretch)
    crossing = scene.crossing(stretch)
    hidden_share = float((around.hidden[stretch] >= _HIDDEN_SHARE).mean())
    facts = []
    if len(loose) / n > _MANY:
        because = f"A box is there but fits loosely: IoU {cover.ious[loose].mean():.2f} on average, a hit needs more"
    elif taken / n > _MANY:
        because = f"One box for two: in {taken} of {_frames(n)} the box around it is the hit of identity {by}"
    elif crossing is not None and (hidden_share > _MANY or n <= 4 * _REACH_FRAMES):
        because = crossing[0][0].upper() + crossing[0][1:]
    elif scene.seen_share(stretch) == 0.0:
        because = "No detection" if n == 1 else "The detector does not see it"
    elif scene.seen_share(stretch) < 1.0 - _MANY:
        because = "The detector seldom sees it"
    elif scene.detected is not None:
        because = "The tracker does not use the detections that are there"
    else:
        because = "No box is near it"
    if scene.stands(stretch) and len(loose) / n <= _MANY:
        because += ", while it stands still"
    if loose.size and len(loose) / n <= _MANY:
        facts.append(f"in {_frames(len(loose))} a box fits loosely (IoU {cover.ious[loose].mean():.2f})")
    if taken and taken / n <= _MANY:
        facts.append(f"in {_frames(taken)} the box around it is the hit of identity {by}")
    if crossing is not None and crossing[0].lower() not in because.lower():
        facts.append(crossing[0])
    if seen := scene.detector(stretch):
        facts.append(seen)
    facts += scene.circumstances(stretch)
    earlier = rows[rows < stretch[0]]
    shown = _shown(int(cover.frames[earlier[-1]]) if len(earlier) else first, int(cover.frames[stretch[n // 2]]), last)
    return Moment(
        "miss",
        identity,
        tuple(sorted({*cover.tracks[loose].tolist()})),
        first,
        last,
        n,
        f"Identity {identity}: {when} for {_frames(n)} from frame {first}",
        because + ".",
        tuple(facts),
        shown,
    )


def _false_track(scene: Scene, boxes: IntArray) -> Moment:
    tracks, cover = scene.tracks, scene.cover
    track, n = int(tracks.ids[boxes[0]]), len(boxes)
    first, last = int(tracks.frames[boxes[0]]), int(tracks.frames[boxes[-1]])
    best, whom = np.zeros(n), np.full(n, NOBODY)
    for number, box in enumerate(boxes):
        rows = np.flatnonzero(cover.frames == tracks.frames[box])
        if len(rows):
            overlap = intersection_over_union(tracks.boxes_ltwh[[box]], scene.boxes(rows))[0]
            best[number], whom[number] = overlap.max(), cover.ids[rows[overlap.argmax()]]
    beside = best >= _LOOSE_TRUTH
    facts = []
    if beside.mean() > _MANY:
        other = int(np.bincount(whom[beside]).argmax())
        because = (
            f"A second box on identity {other}, which another track covers (IoU {best[beside].mean():.2f} on average)"
        )
    else:
        because = "Nothing of the truth is beneath it"
        if beside.any():
            facts.append(f"in {_frames(int(beside.sum()))} it lies on an identity that another track covers")
    own = np.flatnonzero((cover.tracks == track) & cover.covered)
    before, after = own[cover.frames[own] < first], own[cover.frames[own] > last]
    if len(before):
        row = before[np.argmax(cover.frames[before])]
        facts.append(f"covered identity {cover.ids[row]} until frame {cover.frames[row]}")
    if len(after):
        row = after[np.argmin(cover.frames[after])]
        facts.append(f"covers identity {cover.ids[row]} from frame {cover.frames[row]}")
    if not len(own):
        facts.append("never covers anybody")
    where = tracks.boxes_ltwh[boxes]
    size = float(np.median(box_scales(where)))
    centres = where[:, :2] + where[:, 2:] / 2
    if n > 1 and float(np.linalg.norm(np.ptp(centres, axis=0))) < 0.5 * size:
        facts.append("hardly moves")
    filled_in = int(tracks.imputed[boxes].sum())
    if filled_in:
        facts.append(f"{filled_in} of {n} were filled in between observations")
    scores = tracks.scores[boxes]
    if not np.isnan(scores).any() and scores.min() < 1.0:
        facts.append(f"mean score {scores.mean():.2f}")
    return Moment(
        "false",
        NOBODY,
        (track,),
        first,
        last,
        n,
        f"Track {track}: {n} {'box' if n == 1 else 'boxes'} on nobody from frame {first}",
        because + ".",
        tuple(facts),
        _shown(first, int(tracks.frames[boxes[n // 2]]), last),
    )


def _goes_on(scene: Scene, track: int, frame: int, identity: int) -> int | None:
    """Return another identity that the track covers first from the frame on, if soon."""
    cover = scene.cover
    rows = np.flatnonzero((cover.tracks == track) & cover.covered & (cover.frames >= frame))
    if not len(rows):
        return None
    row = rows[np.argmin(cover.frames[rows])]
    soon = cover.frames[row] <= frame + _GOES_ON_FRAMES
    return int(cover.ids[row]) if soon and cover.ids[row] != identity else None


def _comes_from(scene: Scene, track: int, frame: int, identity: int) -> int | None:
    """Return another identity that the track covers last up to the frame, if shortly before."""
    cover = scene.cover
    rows = np.flatnonzero((cover.tracks == track) & cover.covered & (cover.frames <= frame))
    if not len(rows):
        return None
    row = rows[np.argmax(cover.frames[rows])]
    shortly = cover.frames[row] >= frame - _GOES_ON_FRAMES
    return int(cover.ids[row]) if shortly and cover.ids[row] != identity else None


def _end_of(scene: Scene, track: int, gone_to: int | None, frame: int) -> str:
    """Return what becomes of a track that an identity loses."""
    if gone_to is not None:
        return f"track {track} goes on with identity {gone_to}"
    end = int(scene.tracks.frames[scene.tracks.ids == track].max())
    return f"track {track} ended in frame {end}" if end < frame else f"track {track} goes on until frame {end}"


def _begin_of(scene: Scene, track: int, came_from: int | None, last: int, identity: int) -> str:
    """Return where the track that takes over comes from."""
    if came_from is not None:
        return f"track {track} comes from identity {came_from}"
    begin = int(scene.tracks.frames[scene.tracks.ids == track].min())
    cover = scene.cover
    if ((cover.tracks == track) & cover.covered & (cover.ids == identity) & (cover.frames <= last)).any():
        return f"track {track} had covered it before"
    return f"track {track} begins in frame {begin}"


def _taken(scene: Scene, stretch: IntArray) -> tuple[int, int]:
    """Return in how many of the rows the best box around is another identity's hit, and which identity's mostly."""
    cover, owners = scene.cover, []
    for row in stretch:
        others = np.flatnonzero((cover.frames == cover.frames[row]) & cover.covered)
        if not len(others):
            continue
        boxes = scene.tracks.boxes_ltwh[cover.track_rows[others]]
        overlap = intersection_over_union(scene.boxes(np.array([row])), boxes)[0]
        if overlap.max() >= _CROSSING_IOU and overlap.max() > cover.ious[row]:
            owners.append(int(cover.ids[others[overlap.argmax()]]))
    return (len(owners), int(np.bincount(owners).argmax())) if owners else (0, NOBODY)


def _overlap(scene: Scene, track: int, row: int) -> float:
    """Return the overlap of a track's box with a true box, 0 where the track has none in the frame."""
    tracks = scene.tracks
    box = tracks.boxes_ltwh[(tracks.ids == track) & (tracks.frames == scene.cover.frames[row])]
    return float(intersection_over_union(scene.boxes(np.array([row])), box).max(initial=0.0))


def _way(scene: Scene, before: int, after: int) -> float:
    """Return the way of the centre between two rows in units of the size."""
    boxes = scene.boxes(np.array([before, after]))
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    return float(np.linalg.norm(centres[1] - centres[0]) / scene.around.sizes_px[before])


def _by_identity(cover: Coverage) -> list[IntArray]:
    return np.split(np.arange(len(cover)), np.flatnonzero(np.diff(cover.ids)) + 1) if len(cover) else []


def _stretches(rows: IntArray, positions: IntArray) -> list[IntArray]:
    """Return the rows in runs of successive positions."""
    return np.split(rows, np.flatnonzero(np.diff(positions) != 1) + 1) if len(rows) else []


def _frames(n: int) -> str:
    return counted(n, "frame")


def _shown(*frames: int) -> tuple[int, ...]:
    return tuple(sorted(set(frames)))
