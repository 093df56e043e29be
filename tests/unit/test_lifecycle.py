"""Birth, confirmation, death, and the learned birth threshold: both sides of every limit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from tracker.config import Config
from tracker.structures import Detections, Status
from tracker.tracking.evidence import observe
from tracker.tracking.gating import grid_of
from tracker.tracking.lifecycle import (
    follow_chains,
    free_detections,
    learn_birth_scores,
    newborn,
    object_probability,
    remember_centre,
    score_bin,
    survives,
)
from tracker.tracking.motion import measured_coordinates
from tracker.tracking.online import Tracker
from tracker.tracking.state import CHAIN, COMPONENT, SCORE_COUNTS, initial_state, parameters

BOX = np.array([100.0, 100.0, 140.0, 200.0])
ELSEWHERE = np.array([600.0, 100.0, 640.0, 200.0])
NOTHING = Detections.empty()


def config(**sections):
    return Config.model_validate({"tracking": sections})


def seen(*boxes, score=0.9):
    return Detections(np.array(boxes), np.broadcast_to(score, len(boxes)))


def alive(tracker):
    """Identities of all objects, reported or not."""
    return tracker.tracks(coasting=True).ids.tolist()


def started(hits=2, **sections):
    """Return a tracker that has passed the recording's first two frames and seen one object some times."""
    tracker = Tracker(config(**sections))
    for _ in range(2):
        tracker.update(NOTHING)
    for _ in range(hits):
        tracker.update(seen(BOX))
    return tracker


# Birth, confirmation, death of one object


def test_a_newborn_is_at_rest_and_as_uncertain_as_its_measurement():
    scene, p = initial_state().scene, parameters(Config())[0]
    scene["measurement_position"], scene["measurement_size"] = 1.5, 0.5
    boxes = np.array([BOX, ELSEWHERE])
    measured = measured_coordinates(boxes, 1.0)
    labels = np.array([3, -2])
    observed = observe(boxes, np.array([0.9, 0.8]), labels, p)
    born = np.ones(2, COMPONENT)
    kind, counts = np.zeros(2, np.int64), np.zeros(1, SCORE_COUNTS)
    newborn(observed, np.array([1, 0]), scene, kind, counts, 41, p, born)
    np.testing.assert_array_equal(born["id"], [41, 42])
    np.testing.assert_array_equal(born["label"], [-2, 3])
    np.testing.assert_array_equal(born["mean"], measured[[1, 0]])
    np.testing.assert_array_equal(born["velocity"], 0.0)
    g = np.sqrt(40.0 * 100.0)
    r = np.array([0.14, 0.07, 0.08, 0.015]) * [1.5, 1.5, 0.5, 0.5]
    np.testing.assert_allclose(born["p00"], np.tile((r * g) ** 2, (2, 1)))
    np.testing.assert_array_equal(born["p01"], 0.0)
    np.testing.assert_allclose(born["p11"], (0.1 * g) ** 2)
    for name, value in {"hits": 1, "misses": 0, "status": Status.TENTATIVE, "centre_count": 1}.items():
        np.testing.assert_array_equal(born[name], value)
    np.testing.assert_array_equal(born["centres"][:, -1], [[620.0, 150.0], [120.0, 150.0]])
    np.testing.assert_array_equal(born["box"], boxes[[1, 0]])
    np.testing.assert_array_equal(born["detection"], [1, 0])


def test_tentative_objects_are_reported_only_in_the_first_two_frames():
    tracker = Tracker()
    assert tracker.update(seen(BOX)).ids.tolist() == [1]
    report = tracker.update(seen(BOX, ELSEWHERE))
    assert report.ids.tolist() == [1, 2]
    assert report.status.tolist() == [Status.CONFIRMED, Status.TENTATIVE]
    third = np.array([300.0, 100.0, 340.0, 200.0])
    assert tracker.update(seen(BOX, ELSEWHERE, third)).ids.tolist() == [1, 2]
    assert tracker.tracks(coasting=True).status.tolist() == [Status.CONFIRMED, Status.CONFIRMED, Status.TENTATIVE]


@pytest.mark.parametrize("needed", [1, 2, 3])
def test_the_last_of_the_hits_needed_confirms(needed):
    tracker = started(hits=0, lifecycle={"confirmation_hits": needed})
    reported = [len(tracker.update(seen(BOX))) for _ in range(4)]
    assert reported == [int(hit >= needed) for hit in range(1, 5)]


def test_the_first_miss_kills_a_tentative_object():
    tracker = started(hits=1)
    assert alive(tracker) == [1]
    tracker.update(NOTHING)
    assert alive(tracker) == []
    assert not len(tracker.update(seen(BOX)))
    assert alive(tracker) == [2]


@pytest.mark.parametrize("longest", [30, 0, 3])
def test_a_confirmed_object_dies_at_the_miss_after_the_longest_absence(longest):
    tracker = started(lifecycle={"max_misses_frames": longest})
    for _ in range(longest):
        assert not len(tracker.update(NOTHING))
        assert alive(tracker) == [1]
        assert tracker.tracks(coasting=True).status.tolist() == [Status.COASTING]
    tracker.update(NOTHING)
    assert alive(tracker) == []


def test_misses_count_only_in_a_row():
    tracker = started(hits=8, lifecycle={"max_misses_frames": 3})
    for _ in range(4):
        for _ in range(3):
            tracker.update(NOTHING)
        assert tracker.update(seen(BOX)).ids.tolist() == [1]


@pytest.mark.parametrize(
    ("misses", "status", "lives"), [(0, 0, True), (1, 0, False), (30, 1, True), (31, 1, False), (0, 1, True)]
)
def test_who_survives(misses, status, lives):
    c = np.zeros(1, COMPONENT)
    c["misses"], c["status"] = misses, status
    assert survives(c[0], parameters(Config())[0]) == lives


@pytest.mark.parametrize(("score", "born"), [(0.7, True), (0.6999, False)])
def test_birth_takes_the_birth_score(score, born):
    tracker = Tracker()
    tracker.update(seen(BOX, score=score))
    assert bool(alive(tracker)) == born


@pytest.mark.parametrize(("score", "known"), [(0.2, True), (0.1999, False)])
def test_low_scores_feed_known_objects_down_to_the_floor(score, known):
    tracker = started(hits=10)
    assert bool(len(tracker.update(seen(BOX, score=score)))) == known


def test_births_do_not_veto_each_other():
    tracker = Tracker()
    tracker.update(seen(BOX, BOX + 1.0))
    assert alive(tracker) == [1, 2]


# Who is free to give birth


def shifted(iou):
    """Return BOX moved sideways so that it overlaps BOX by exactly this share of the union."""
    return BOX + np.array([1.0, 0.0, 1.0, 0.0]) * 40.0 * (1.0 - iou) / (1.0 + iou)


@pytest.mark.parametrize(("iou", "free"), [(0.49, True), (0.51, False), (0.0, True), (1.0, False)])
def test_a_claimed_detection_vetoes_births_on_it(iou, free):
    found = free_detections(
        grid_of(np.array([BOX, shifted(iou)])), np.zeros(2, np.int64), np.array([0, -1]), np.zeros(2), 0.5, False
    )
    assert found.tolist() == ([1] if free else [])


def test_an_overlap_of_exactly_the_limit_is_no_veto():
    a, b = np.array([0.0, 0.0, 30.0, 10.0]), np.array([10.0, 0.0, 40.0, 10.0])  # 200 of 400 px^2
    assert free_detections(
        grid_of(np.array([a, b])), np.zeros(2, np.int64), np.array([0, -1]), np.zeros(2), 0.5, False
    ).tolist() == [1]


@pytest.mark.parametrize(("share", "free"), [(0.49, True), (0.5, False)])
def test_who_is_mostly_explained_is_not_free(share, free):
    assert free_detections(
        grid_of(BOX[None]), np.zeros(1, np.int64), np.array([-1]), np.array([share]), 0.5, False
    ).tolist() == ([0] if free else [])


def test_claimed_detections_are_not_free_and_no_detections_are_none():
    assert (
        free_detections(
            grid_of(np.array([BOX, ELSEWHERE])), np.zeros(2, np.int64), np.array([4, 0]), np.ones(2), 0.5, False
        ).tolist()
        == []
    )
    assert (
        free_detections(
            grid_of(np.empty((0, 4))), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), 0.5, False
        ).tolist()
        == []
    )


@pytest.mark.parametrize(("iou", "born"), [(0.45, True), (0.55, False)])
def test_a_second_box_on_a_claimed_one_gives_no_birth(iou, born):
    tracker = started(hits=10)
    tracker.update(seen(BOX, shifted(iou), score=np.array([0.95, 0.8])))
    assert alive(tracker) == ([1, 2] if born else [1])


# What a score means


def test_score_bins():
    edges = 0.2 + 0.05 * np.arange(16)
    assert [score_bin(s) for s in edges] == list(range(16))
    assert [score_bin(s) for s in edges + 0.049] == list(range(16))
    assert [score_bin(s) for s in (0.0, 0.1, 1.0)] == [0, 0, 15]


def test_posterior_is_the_prior_of_twenty_detections_and_the_counts():
    counts = np.zeros(1, SCORE_COUNTS)
    counts["objects"][0, 6], counts["clutter"][0, 6] = 30.0, 10.0
    low = 0.2 + 0.05 * np.arange(16)
    prior = expit(10.0 * (low - 0.7) + logit(0.8))
    expected = prior.copy()
    expected[6] = (30.0 + 20.0 * prior[6]) / 60.0
    np.testing.assert_allclose([object_probability(counts[0], b, 0.7) for b in range(16)], expected)
    assert expected[10] == pytest.approx(0.8)


def learned(objects=(), clutter=(), birth_score=0.7):
    """Return the birth threshold after counting so many detections in bins given by their lower edge."""
    counts = np.zeros(1, SCORE_COUNTS)
    for name, counted in (("objects", objects), ("clutter", clutter)):
        for low, count in dict(counted).items():
            counts[name][0, score_bin(low)] = count
    learn_birth_scores(counts, birth_score)
    return counts["birth_score"][0]


def test_empty_counts_give_the_birth_score_of_the_configuration():
    assert learned() == pytest.approx(0.7)
    for birth_score in (0.3, 0.45, 0.9):
        assert learned(birth_score=birth_score) == pytest.approx(birth_score)


@pytest.mark.parametrize(
    "birth_score",
    [0.25, 0.62, 0.95],
)
def test_empty_counts_give_any_birth_score_of_the_configuration(birth_score):
    tracker = Tracker(config(lifecycle={"birth_score": birth_score}))
    tracker.update(seen(BOX, score=0.1))
    assert len(tracker.state.score_counts) == 0  # what is not heard is of no class
    tracker.update(seen(BOX, score=0.21))
    assert tracker.state.score_counts["birth_score"].tolist() == pytest.approx([birth_score])


def test_weak_scores_that_are_objects_lower_the_threshold_to_their_bin():
    many = dict.fromkeys([0.5, 0.55, 0.6, 0.65], 1000.0)
    assert learned(objects=many) == pytest.approx(0.5)
    # The walk stops at the first bin that is clutter, whatever lies below.
    assert learned(objects=many, clutter={0.6: 1000.0}) == pytest.approx(0.65)


def test_the_threshold_stays_between_three_and_nine_tenths():
    every = dict.fromkeys(0.2 + 0.05 * np.arange(16), 1000.0)
    assert learned(objects=every) == pytest.approx(0.3)
    assert learned(clutter=every) == pytest.approx(0.9)


def test_a_bin_counts_from_eighty_percent_on():
    prior = expit(10.0 * (0.65 - 0.7) + logit(0.8))
    enough = (0.8 * 20.0 - 20.0 * prior) / 0.2  # H with U = 0 that makes (H + 20 p0) / (H + 20) = .8
    assert learned(objects={0.65: enough}) == pytest.approx(0.65)
    assert learned(objects={0.65: enough - 0.01}) == pytest.approx(0.7)


# Chains of what nobody claimed


def chained(frames, scores=None):
    """Feed the free detections of some frames to the chains; return the counts and the last chains."""
    counts, chains = np.zeros(1, SCORE_COUNTS), np.zeros(0, CHAIN)
    for n, rows in enumerate(frames):
        boxes = np.reshape(rows, (-1, 4)).astype(float)
        score = np.full(len(boxes), 0.42 if scores is None else scores[n])
        links = np.zeros(len(boxes), CHAIN)
        follow_chains(counts, chains, boxes, score, np.zeros(len(boxes), np.int64), np.arange(len(boxes)), False, links)
        chains = links
    return counts[0], chains


def test_a_chain_of_eight_proves_an_object_and_all_its_detections():
    counts, chains = chained([BOX] * 7)
    assert (counts["objects"].sum(), counts["clutter"].sum()) == (0.0, 0.0)
    assert chains["length"].tolist() == [7]
    counts, _ = chained([BOX] * 8, scores=[0.31, 0.32, 0.41, 0.42, 0.43, 0.9, 0.9, 1.0])
    expected = np.zeros(16)
    expected[[2, 4, 14, 15]] = [2, 3, 2, 1]
    np.testing.assert_array_equal(counts["objects"], expected)
    assert counts["clutter"].sum() == 0.0


def test_a_proven_chain_goes_on_counting_and_ends_without_a_stain():
    counts, chains = chained([BOX] * 11 + [[]])
    assert counts["objects"][4] == 11.0
    assert counts["clutter"].sum() == 0.0
    assert len(chains) == 0


@pytest.mark.parametrize("length", [1, 4, 7])
def test_a_chain_that_ends_sooner_was_clutter(length):
    counts, _ = chained([BOX] * length + [[]])
    assert counts["clutter"][4] == length
    assert counts["objects"].sum() == 0.0


@pytest.mark.parametrize(("iou", "linked"), [(0.52, True), (0.48, False)])
def test_a_chain_takes_an_overlap_of_more_than_half(iou, linked):
    _, chains = chained([BOX, shifted(iou)])
    assert chains["length"].tolist() == [2 if linked else 1]


def test_one_link_continues_one_chain():
    """Of two detections on one chain the first takes it, the other begins anew; the nearer of two chains wins."""
    _, chains = chained([BOX, [BOX + 1.0, BOX + 2.0]])
    assert sorted(chains["length"]) == [1, 2]
    _, chains = chained([[shifted(0.6), BOX], [BOX]])
    assert chains["length"].tolist() == [2]
    counts, _ = chained([[shifted(0.6), BOX], [BOX], []])
    assert counts["clutter"][4] == 3.0


def test_chains_do_not_depend_on_the_order_of_detections():
    sideways = np.array([1.0, 0.0, 1.0, 0.0])
    before = [BOX, BOX + 14.0 * sideways]
    one, other = BOX + 3.0 * sideways, BOX - 1.0 * sideways  # the one could follow either, the other only the first
    for now in ([one, other], [other, one]):
        _, chains = chained([before, now])
        assert chains["length"].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("other_class", "class_agnostic", "vetoed"), [(0, False, True), (1, False, False), (1, True, True)]
)
def test_a_claimed_detection_vetoes_births_of_its_own_class_only(other_class, class_agnostic, vetoed):
    labels = np.array([0, other_class])
    found = free_detections(grid_of(np.array([BOX, BOX])), labels, np.array([0, -1]), np.zeros(2), 0.5, class_agnostic)
    assert found.tolist() == ([] if vetoed else [1])


def test_only_free_detections_are_chained():
    boxes = np.array([BOX, ELSEWHERE])
    counts, kind, chains = np.zeros(1, SCORE_COUNTS), np.zeros(2, np.int64), np.zeros(1, CHAIN)
    follow_chains(counts, np.zeros(0, CHAIN), boxes, np.array([0.5, 0.9]), kind, np.array([1]), False, chains)
    np.testing.assert_array_equal(chains["box"], [ELSEWHERE])
    assert chains["bins"][0, 0] == score_bin(0.9)


# Learning in the loop


def test_a_detector_of_weak_scores_is_believed_after_a_while():
    """Three objects at .55 are never born by the configured .7, until their chains have proved them."""
    tracker = Tracker()
    boxes = np.array([BOX, ELSEWHERE, [300.0, 300.0, 340.0, 400.0]])
    for _ in range(7):
        tracker.update(seen(*boxes, score=0.55))
    assert alive(tracker) == []
    assert tracker.state.score_counts["birth_score"][0] == pytest.approx(0.7)
    for _ in range(60):
        tracker.update(seen(*boxes, score=0.68))
        tracker.update(seen(*boxes, score=0.62))
        tracker.update(seen(*boxes, score=0.55))
    assert 0.5 < tracker.state.score_counts["birth_score"][0] <= 0.56
    assert alive(tracker) == [1, 2, 3]


def test_flashes_of_high_score_raise_the_threshold():
    rng = np.random.default_rng(1)
    tracker = Tracker()
    for _ in range(40):
        corner = rng.uniform(0.0, 5000.0, (6, 2))
        boxes = np.concatenate([corner, corner + np.array([40.0, 100.0])], axis=1)
        tracker.update(Detections(boxes, rng.uniform(0.7, 0.85, 6)))
    assert tracker.state.score_counts["birth_score"][0] > 0.8


def test_learning_can_be_switched_off():
    tracker = Tracker(config(lifecycle={"learn_birth_score": False}))
    for _ in range(30):
        tracker.update(seen(BOX, score=0.6))
    counts = tracker.state.score_counts[0]
    assert counts["birth_score"] == 0.7
    assert (counts["clutter"].sum(), len(tracker.state.chains)) == (0.0, 0)
    assert alive(tracker) == []


def test_nothing_is_counted_with_learning_switched_off():
    tracker = Tracker(config(lifecycle={"learn_birth_score": False}))
    for _ in range(30):
        tracker.update(seen(BOX))
    assert tracker.state.score_counts["objects"].sum() == 0.0


def test_counts_fade():
    tracker = started(hits=20)
    before = tracker.state.score_counts["objects"].sum()
    assert before > 10.0
    for _ in range(10):
        tracker.update(NOTHING)
    assert tracker.state.score_counts["objects"].sum() == pytest.approx(before * 0.998**10)


def test_proof_begins_after_five_hits():
    tracker = started(hits=5)
    assert tracker.state.score_counts["objects"].sum() == 0.0
    tracker.update(seen(BOX))
    assert tracker.state.score_counts["objects"].sum() == pytest.approx(0.998)


def test_each_class_learns_what_its_own_scores_mean():
    """Cars flash at .75 while people stand at .55: the cars' threshold rises, and the people's falls all the same."""
    rng = np.random.default_rng(2)
    tracker, alone = Tracker(), Tracker()
    people = np.array([BOX, ELSEWHERE, [300.0, 300.0, 340.0, 400.0]])
    for n in range(120):
        score = (0.55, 0.62, 0.68)[n % 3]
        corner = rng.uniform(1000.0, 9000.0, (6, 2))
        cars = np.concatenate([corner, corner + np.array([80.0, 50.0])], axis=1)
        together = Detections(np.concatenate([people, cars]), [score] * 3 + [0.75] * 6, [7] * 3 + [2] * 6)
        tracker.update(together.select(rng.permutation(9)))
        alone.update(Detections(people, [score] * 3))
    birth_score = dict(
        zip(*(tracker.state.score_counts[name].tolist() for name in ("label", "birth_score")), strict=True)
    )
    assert birth_score.keys() == {7, 2}
    assert birth_score[7] == alone.state.score_counts["birth_score"][0]
    assert birth_score[7] < 0.6
    assert birth_score[2] > 0.75


@pytest.mark.parametrize(("agnostic", "objects", "clutter"), [(False, [0.0, 0.0], [8.0, 7.0]), (True, [4, 12], [0, 0])])
def test_chains_stay_within_their_class_unless_objects_may_change_it(agnostic, objects, clutter):
    """A detection whose class flickers: as one chain, its eighth and all later ones count, each for its own class."""
    counts, chains = np.zeros(2, SCORE_COUNTS), np.zeros(0, CHAIN)
    for n in range(16):
        links = np.zeros(1, CHAIN)
        follow_chains(counts, chains, BOX[None], np.array([0.42]), np.array([n % 2]), np.array([0]), agnostic, links)
        chains = links
    assert counts["objects"].sum(axis=1).tolist() == objects
    assert counts["clutter"].sum(axis=1).tolist() == clutter


def test_a_panning_camera_does_not_make_clutter_of_unclaimed_objects():
    """Told how far the camera turned, the tracker learns from weak scores what it learns with a still one."""
    still, panned = Tracker(), Tracker()
    pan, rng = np.array([[1.0, 0.0, 60.0], [0.0, 1.0, 0.0]]), np.random.default_rng(4)
    boxes = np.array([BOX, ELSEWHERE, [300.0, 300.0, 340.0, 400.0]])
    for n in range(100):
        scores = rng.uniform(0.5, 0.69, 3)
        still.update(Detections(boxes, scores))
        panned.update(Detections(boxes + n * np.array([60.0, 0.0] * 2), scores), camera_affine=pan if n else None)
    for name in ("objects", "clutter", "birth_score"):
        np.testing.assert_allclose(panned.state.score_counts[name], still.state.score_counts[name])
    assert still.state.score_counts["clutter"].sum() == 0.0
    assert alive(panned) == alive(still) == [1, 2, 3]


def test_the_recent_path_holds_the_newest_centres_last():
    c = np.zeros(1, COMPONENT)
    for n in range(6):
        remember_centre(c[0], BOX[None] + n, 0)
        assert c["centre_count"][0] == min(n + 1, 4)
    np.testing.assert_array_equal(c["centres"][0], np.array([[120.0, 150.0]]) + np.arange(2, 6)[:, None])
