"""Offline tracking, on scenes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from tracker import Config, Detections
from tracker.config import OfflineConfig, TrackingConfig
from tracker.formats.table import TrackTable
from tracker.geometry import ltwh_to_xyxy
from tracker.tracking.offline.filling import Bridges
from tracker.tracking.offline.pieces import as_chains, cumulative_maps
from tracker.tracking.offline.refinement import pruned, refine
from tracker.tracking.offline.smoothing import learned_noise

RATE_HZ = 25.0
SIZE = np.array([40.0, 100.0])


def config(**changes: object) -> Config:
    return Config(tracking=TrackingConfig(offline=OfflineConfig(**changes)))


def walk(id_: int, frames: range | list[int], start=(100.0, 200.0), velocity=(4.0, 1.0), score=0.9) -> np.ndarray:
    """Return rows of frame, id, left, top, width, height, score of a walker that is at ``start`` in frame 0."""
    f = np.array(list(frames), float)
    place = np.array(start) + f[:, None] * np.array(velocity)
    return np.column_stack([f, np.full(len(f), id_), place, np.tile(SIZE, (len(f), 1)), np.full(len(f), score)])


def table(*walks: np.ndarray) -> TrackTable:
    rows = np.concatenate(walks)
    return TrackTable(rows[:, 0].astype(int), rows[:, 1].astype(int), rows[:, 2:6], rows[:, 6])


def refined(tracks: TrackTable, **changes: object) -> TrackTable:
    return refine(tracks, config(**changes), frame_rate_hz=RATE_HZ)


def test_a_gap_of_constant_velocity_is_filled_exactly() -> None:
    frames = [f for f in range(1, 61) if not 30 <= f < 36]
    result = refined(table(walk(7, frames)))
    assert result.frames.tolist() == list(range(1, 61))
    assert result.frames[result.imputed].tolist() == list(range(30, 36))
    np.testing.assert_allclose(result.boxes_ltwh, walk(7, range(1, 61))[:, 2:6], atol=0.05)
    assert set(result.ids.tolist()) == {7}


def test_confidence_falls_toward_the_middle_of_a_gap() -> None:
    rng = np.random.default_rng(1)
    rows = walk(1, [f for f in range(1, 101) if not 50 <= f < 59])
    rows[:, 2:4] += rng.normal(0.0, 2.0, (len(rows), 2))
    result = refined(table(rows))
    scores = result.scores[result.imputed]
    assert len(scores) == 9
    assert (scores < 0.9).all()
    assert (scores > 0.0).all()
    assert (np.diff(scores)[:4] < 0.0).all()
    assert (np.diff(scores)[4:] > 0.0).all()


def test_a_gap_whose_ends_disagree_stays_open() -> None:
    there, elsewhere = walk(1, range(1, 41)), walk(1, range(50, 90), start=(700.0, 600.0), velocity=(-4.0, 0.0))
    result = refined(table(there, elsewhere))
    assert not result.imputed.any()
    assert len(result) == 80


def test_a_long_gap_that_no_stretch_vouches_for_stays_open() -> None:
    result = refined(table(walk(1, range(1, 21)), walk(1, range(60, 80))))
    assert not result.imputed.any()


def test_two_pieces_of_one_walk_are_linked_and_bear_the_earlier_identity() -> None:
    result = refined(table(walk(9, range(1, 41)), walk(3, range(46, 90))))
    assert set(result.ids.tolist()) == {9}
    assert result.frames[result.imputed].tolist() == list(range(41, 46))


def test_who_is_seen_at_the_same_time_is_never_linked() -> None:
    result = refined(table(walk(1, range(1, 41)), walk(2, range(40, 80))))
    assert set(result.ids.tolist()) == {1, 2}


def test_crossing_walkers_are_each_linked_to_their_own_path() -> None:
    # Both vanish while they cross in frames 48 to 52; the wrong pairs are nearer in space than in motion.
    right = [walk(1, range(1, 48), (0.0, 200.0), (4.0, 0.0)), walk(3, range(53, 100), (0.0, 200.0), (4.0, 0.0))]
    left = [walk(2, range(1, 48), (400.0, 210.0), (-4.0, 0.0)), walk(4, range(53, 100), (400.0, 210.0), (-4.0, 0.0))]
    result = refined(table(*right, *left), smooth=0.0)
    last = {id_: result.boxes_ltwh[(result.ids == id_) & (result.frames == 99), 0] for id_ in (1, 2)}
    assert set(result.ids.tolist()) == {1, 2}
    assert last[1] == pytest.approx(396.0)
    assert last[2] == pytest.approx(4.0)


def test_nobody_is_linked_across_classes_unless_told() -> None:
    tracks = table(walk(1, range(1, 41)), walk(2, range(46, 90)))
    mixed = TrackTable(tracks.frames, tracks.ids, tracks.boxes_ltwh, tracks.scores, tracks.ids)
    assert set(refined(mixed).ids.tolist()) == {1, 2}
    agnostic = Config(tracking=TrackingConfig(class_agnostic=True))
    assert set(refine(mixed, agnostic, frame_rate_hz=RATE_HZ).ids.tolist()) == {1}


def test_the_camera_is_honoured() -> None:
    # The camera jumps 300 px during the gap: in the image the walker seems to have gone elsewhere.
    after = walk(2, range(46, 90))
    after[:, 2] -= 300.0
    tracks = table(walk(1, range(1, 41)), after)
    jump = {43: np.array([[1.0, 0.0, -300.0], [0.0, 1.0, 0.0]])}
    assert set(refined(tracks).ids.tolist()) == {1, 2}
    result = refine(tracks, config(), frame_rate_hz=RATE_HZ, camera_motion=jump)
    assert set(result.ids.tolist()) == {1}
    boxes = dict(zip(result.frames.tolist(), result.boxes_ltwh, strict=True))
    assert boxes[42][0] == pytest.approx(100 + 4 * 42, abs=0.2)
    assert boxes[43][0] == pytest.approx(100 + 4 * 43 - 300, abs=0.2)


def test_maps_lead_back_to_the_first_frame() -> None:
    affine = np.array([[1.1, 0.0, 3.0], [0.0, 1.1, -2.0]])
    maps = cumulative_maps({2: affine, 3: affine}, 3)
    point = np.array([10.0, 20.0])
    seen = affine @ [*(affine @ [*point, 1.0]), 1.0]
    np.testing.assert_allclose(maps[3] @ [*seen, 1.0], [*point, 1.0])


def test_short_and_weak_tracks_are_pruned_and_short_sure_ones_stay() -> None:
    walks = [walk(n, range(1, 61), start=(300.0 * n, 200.0)) for n in (1, 2, 3)]
    weak = walk(4, range(10, 14), start=(2000.0, 900.0), score=0.3)
    sure = walk(5, range(10, 20), start=(2600.0, 900.0), score=0.97)
    tracks = table(*walks, weak, sure)
    assert set(refined(tracks).ids.tolist()) == {1, 2, 3, 5}
    assert set(refined(tracks, prune=0.0).ids.tolist()) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("score", [1.0, -1.0, float("nan"), 57.0])
def test_scores_that_tell_nothing_prune_nobody(score: float) -> None:
    tracks = table(walk(1, range(1, 41), score=score), walk(2, range(1, 3), start=(900.0, 100.0), score=score))
    chains = as_chains(tracks, None, 1.0)
    assert len(pruned(chains, 6.0, RATE_HZ)) == 2


def test_smoothing_brings_noisy_boxes_nearer_to_the_truth() -> None:
    rng = np.random.default_rng(2)
    truth = walk(1, range(1, 201))
    noisy = truth.copy()
    noisy[:, 2:4] += rng.normal(0.0, 4.0, (200, 2))
    errors = [
        np.abs(result.boxes_ltwh[:, :2] - truth[:, 2:4]).mean()
        for result in (refined(table(noisy), smooth=0.0), refined(table(noisy), smooth=1.0))
    ]
    assert errors[1] < 0.8 * errors[0]


def test_with_everything_off_nothing_changes() -> None:
    tracks = table(walk(1, [1, 2, 5]), walk(2, range(3, 9), start=(110.0, 205.0), score=0.1))
    result = refined(tracks, smooth=0.0, fill=False, link=False, prune=0.0)
    expected = tracks.sorted()
    assert result.frames.tolist() == expected.frames.tolist()
    assert result.ids.tolist() == expected.ids.tolist()
    np.testing.assert_allclose(result.boxes_ltwh, expected.boxes_ltwh)
    assert result.scores.tolist() == expected.scores.tolist()


def test_detections_give_tracks_their_first_frame() -> None:
    tracks = table(walk(1, range(5, 40)))
    boxes = ltwh_to_xyxy(walk(1, range(1, 40))[:, 2:6])
    everything = {f: Detections(boxes[f - 1 : f], [0.4]) for f in range(1, 40)}
    result = refine(tracks, config(smooth=0.0), frame_rate_hz=RATE_HZ, detections=everything)
    assert result.frames.tolist() == list(range(4, 40))
    assert result.scores[0] == 0.4


def test_a_detection_that_is_anothers_is_nobodys_birth() -> None:
    near = walk(2, range(5, 40), start=(105.0, 203.0))
    tracks = table(walk(1, range(1, 40)), near)
    boxes = ltwh_to_xyxy(walk(1, range(1, 40))[:, 2:6])
    given = {f: Detections(boxes[f - 1 : f]) for f in range(1, 40)}
    result = refine(tracks, config(smooth=0.0), frame_rate_hz=RATE_HZ, detections=given)
    assert len(result) == len(tracks)


def test_a_birth_is_found_where_the_camera_moved_it() -> None:
    """The camera pans by 60 px a frame: without its motion no box overlaps the next frame's."""
    pan = np.array([[1.0, 0.0, 60.0], [0.0, 1.0, 0.0]])
    rows = walk(1, range(1, 40), velocity=(60.0, 0.0))
    boxes = ltwh_to_xyxy(rows[:, 2:6])
    given = {f: Detections(boxes[f - 1 : f]) for f in range(1, 40)}
    camera = dict.fromkeys(range(2, 40), pan)
    for motion, first in ((None, 5), (camera, 4)):
        result = refine(
            table(rows[4:]), config(smooth=0.0), frame_rate_hz=RATE_HZ, detections=given, camera_motion=motion
        )
        assert result.frames.min() == first


def test_a_birth_is_of_the_tracks_class() -> None:
    tracks = table(walk(1, range(5, 40)))
    cars = TrackTable(tracks.frames, tracks.ids, tracks.boxes_ltwh, tracks.scores, np.full(len(tracks), 2))
    boxes = ltwh_to_xyxy(walk(1, range(1, 40))[:, 2:6])

    def first_frame(label: int | None, *, agnostic: bool = False) -> int:
        classes = None if label is None else [label]
        given = {f: Detections(boxes[f - 1 : f], classes=classes) for f in range(1, 40)}
        settings = config(smooth=0.0)
        settings = settings.model_copy(
            update={"tracking": settings.tracking.model_copy(update={"class_agnostic": agnostic})}
        )
        return int(refine(cars, settings, frame_rate_hz=RATE_HZ, detections=given).frames.min())

    assert first_frame(2) == 4
    assert first_frame(3) == 5
    assert first_frame(3, agnostic=True) == 4
    assert first_frame(None) == 4, "detections that state no class are of any"


def test_bridges_meet_objects_whatever_point_is_tracked() -> None:
    """Somebody who stands raises an arm in every second frame: the bridge over it has two thirds of the box."""
    rows = walk(1, range(1, 80), velocity=(0.0, 0.0))
    rows[1::2, 3] -= 0.5 * SIZE[1]
    rows[1::2, 5] *= 1.5
    for anchor in (0.0, 0.5, 1.0):
        pieces = [piece for (piece,) in as_chains(table(rows), None, anchor)]
        assert Bridges(pieces, anchor).over(2)[0] == 1.0


def test_nothing_in_nothing_out() -> None:
    empty = TrackTable([], [], np.empty((0, 4)))
    assert len(refined(empty)) == 0
    assert len(refined(table(walk(1, [4])), prune=0.0)) == 1


def test_noise_without_tracks_is_the_typical_one() -> None:
    noise = learned_noise([], 1.0)
    np.testing.assert_allclose(noise.measurement, [0.02, 0.02, 0.03, 0.03], rtol=1e-6)
    np.testing.assert_allclose(noise.process, [0.02, 0.012, 0.02, 0.015], rtol=1e-6)
