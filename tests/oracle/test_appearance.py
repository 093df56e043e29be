"""What looks are worth, against scipy's densities, and what is learned and remembered of them."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import isotonic_regression
from scipy.special import expit
from scipy.stats import beta as beta_distribution

from tracker.config import Config
from tracker.structures import Detections
from tracker.tracking.appearance import (
    likeness,
    likeness_table,
    look_distance,
    normalised,
    sure_without_looks,
)
from tracker.tracking.online import Tracker, step
from tracker.tracking.state import LIKENESS_BINS, initial_state

BINS = LIKENESS_BINS
NO_CHANGE = 1e-9
counts = arrays(np.float64, BINS, elements=st.floats(0.0, 500.0))


def histogram(samples):
    return np.histogram(np.minimum(samples, 1.0 - 1e-9), BINS, (0.0, 1.0))[0].astype(float)


# The table


def test_nats_are_the_log_ratio_of_the_two_densities():
    """Counts in proportion to two beta distributions, enough of them that the prior is forgotten."""
    alike, unalike = beta_distribution(3.0, 9.0), beta_distribution(8.0, 5.0)
    edges = np.linspace(0.0, 1.0, BINS + 1)
    table = likeness_table(1e9 * np.diff(alike.cdf(edges)), 1e9 * np.diff(unalike.cdf(edges)), 1e-6, NO_CHANGE)
    expected = np.log(np.diff(alike.cdf(edges)) / np.diff(unalike.cdf(edges)))
    inside = np.abs(expected) < 8.0  # beyond, the least count decides
    assert inside.sum() > 10
    np.testing.assert_allclose(table[inside], expected[inside], atol=2e-3)


def test_the_posterior_is_as_often_right_as_it_says():
    """Learned from samples and tried on others: of pairs with posterior p, a share of p are the same."""
    rng = np.random.default_rng(5)
    draw_same, draw_other = (lambda n: rng.beta(3.0, 9.0, n)), (lambda n: rng.beta(6.0, 6.0, n))
    table = likeness_table(histogram(draw_same(2000)), histogram(draw_other(20000)), 100.0, NO_CHANGE)
    distance = np.concatenate([draw_same(20000), draw_other(20000)])
    is_same = np.repeat([True, False], 20000)
    posterior = expit([likeness(d, table) for d in distance])
    edges = np.linspace(0.0, 1.0, 11)
    for low, high in pairwise(edges):
        there = (posterior >= low) & (posterior < high)
        if there.sum() > 500:
            assert is_same[there].mean() == pytest.approx(posterior[there].mean(), abs=0.05)
    assert posterior.min() < 0.1
    assert posterior.max() > 0.9


@given(counts, counts)
def test_nats_fall_with_the_distance_as_isotonic_regression_says(alike, unalike):
    table = likeness_table(alike, unalike, 30.0, 0.05)
    if not (alike.sum() and unalike.sum()):
        assert not table.any()
        return
    pooled = (alike / alike.sum() + unalike / unalike.sum()) / 2.0
    same = (alike + 30.0 * pooled + 1e-3) / (alike.sum() + 30.0)
    other = (unalike + 30.0 * pooled + 1e-3) / (unalike.sum() + 30.0)
    share = isotonic_regression(same / (same + other), weights=same + other, increasing=False).x
    share = 0.95 * share + 0.05 * (1.0 - share)
    np.testing.assert_allclose(table, np.log(share / (1.0 - share)), atol=1e-9)
    assert (np.diff(table) <= 1e-12).all()
    assert np.abs(table).max() <= math.log(0.95 / 0.05) + 1e-9


def test_without_evidence_looks_say_nothing():
    one = np.zeros(BINS)
    one[2] = 500.0
    assert not likeness_table(np.zeros(BINS), np.zeros(BINS), 30.0, 0.05).any()
    assert not likeness_table(one, np.zeros(BINS), 30.0, 0.05).any()


def test_little_evidence_says_little_and_more_says_more():
    near, far = np.zeros(BINS), np.zeros(BINS)
    near[2], far[10] = 1.0, 1.0
    said = [likeness_table(n * near, n * far, 100.0, 0.05)[2] for n in (1.0, 10.0, 100.0, 1000.0)]
    assert said[0] < 0.03
    assert (np.diff(said) > 0.1).all()
    assert said[2] == pytest.approx(math.log(3.0), abs=0.2)  # of 100 counts and as many of the prior, 3 in 4


def test_bins_that_were_never_seen_say_what_their_neighbours_say():
    near, far = np.zeros(BINS), np.zeros(BINS)
    near[3], far[9] = 1000.0, 1000.0
    table = likeness_table(near, far, 30.0, 0.05)
    assert table[0] == pytest.approx(table[3], abs=0.05)
    assert table[15] == pytest.approx(table[9], abs=0.05)


def test_between_the_middles_of_bins_nats_are_linear():
    table = np.linspace(3.0, -3.0, BINS)
    middles = (np.arange(BINS) + 0.5) / BINS
    at = np.array([0.0, 0.01, 0.2, 0.43, 0.97, 1.0, 1.2])
    np.testing.assert_allclose([likeness(d, table) for d in at], np.interp(at, middles, table))


def test_distances_of_histograms_are_hellingers():
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.1, 0.8])
    hellinger = math.sqrt(0.5 * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum())
    assert look_distance(np.sqrt(p), np.sqrt(q)) == pytest.approx(hellinger)
    assert look_distance(np.sqrt(p), np.sqrt(p)) == pytest.approx(0.0, abs=1e-7)


def test_only_the_direction_of_a_feature_counts():
    given_ = np.array([[3.0, 4.0], [0.0, 0.0], [-2.0, 0.0]])
    np.testing.assert_allclose(normalised(given_), [[0.6, 0.8], [0.0, 0.0], [-1.0, 0.0]])


# Who is sure by motion alone


def test_sure_is_who_has_no_rival():
    """Object 0 has detection 0 to itself; objects 1 and 2 contend for detection 1; object 3 has only a weak one."""
    row_start, column = np.array([0, 1, 2, 3, 4]), np.array([0, 1, 1, 2])
    sure = sure_without_looks(row_start, column, np.array([4.0, 5.0, 5.0, 0.5]), 3, 0.8)
    assert sure.tolist() == [0, -1, -1, -1]
    sure = sure_without_looks(row_start, column, np.array([4.0, 8.0, 5.0, 0.5]), 3, 0.8)
    assert sure.tolist() == [0, 1, -1, -1]


# A scene


RED, GREEN = np.array([1.0, 0.0, 0.1]), np.array([0.0, 1.0, 0.1])


def config(**likeness_settings):
    return Config.model_validate({"tracking": {"frame_rate_hz": 25.0, "likeness": likeness_settings}})


def box(x, bottom=200.0):
    return [x, bottom - 100.0, x + 40.0, bottom]


def scene(frames, *, noise=0.05, meet=None, seed=1, features=True):
    """Return the detections of a red and a green object that walk towards each other.

    Where they would meet, at frame ``meet``, they are hidden for a while and turn round: they come out on the sides
    where they went in, while motion alone has them pass through each other.
    """
    rng = np.random.default_rng(seed)
    film = []
    for n in range(frames):
        turn = n if meet is None else min(n, meet) - max(n - meet, 0)
        middle = 300.0 if meet is None else 2.0 * meet
        boxes = np.array([box(2.0 * turn), box(2.0 * middle - 2.0 * turn, 200.5)])
        looks = np.array([RED, GREEN]) + rng.normal(0.0, noise, (2, 3))
        seen = slice(0 if meet is not None and abs(n - meet) < 6 else 2)
        film.append(Detections(boxes[seen], features=looks[seen] if features else None))
    return film


def identities(film, settings=None):
    tracker = Tracker(settings or config())
    return [dict(zip(t.detection_indices.tolist(), t.ids.tolist(), strict=True)) for t in map(tracker.update, film)]


def test_looks_keep_identities_that_motion_swaps():
    plain = identities(scene(200, meet=100, features=False))
    told = identities(scene(200, meet=100))
    assert plain[30] == told[30] == {0: 1, 1: 2}
    assert plain[-1] != {0: 1, 1: 2}
    assert told[-1] == {0: 1, 1: 2}


def test_features_of_zeros_and_looks_of_no_difference_change_nothing():
    plain = identities(scene(200, meet=100, features=False))
    film = scene(200, meet=100)
    assert identities([d.with_features(np.zeros((len(d), 3))) for d in film]) == plain
    assert identities([d.with_features(np.ones((len(d), 3))) for d in film]) == plain


def test_both_distributions_are_learned_from_sure_claims():
    tracker = Tracker(config())
    for detections in scene(30):
        tracker.update(detections)
    scene_ = tracker.state.scene[0]
    assert 40.0 < scene_["alike"].sum() == pytest.approx(scene_["unalike"].sum())
    assert scene_["alike"][:4].sum() > 0.9 * scene_["alike"].sum()
    assert scene_["unalike"][13:].sum() > 0.9 * scene_["unalike"].sum()


def test_looks_decide_where_motion_does_not():
    """One detection between two objects that stand side by side, with the look of one, of the other, and of none."""
    settings = Config.model_validate(
        {"tracking": {"frame_rate_hz": 25.0, "refinement": {"common_motion": False, "refined_hiding": False}}}
    )
    tracker = Tracker(settings)
    for n in range(90):
        tracker.update(Detections([box(100.0), box(max(400.0 - 4.0 * n, 132.0), 200.0)], features=[RED, GREEN]))

    def shares(x, look):
        """Return what the red and the green object have of the detection."""
        detection = Detections([box(x)], features=[look])
        _, info = step(tracker.state, detection, settings, time_s=tracker.state.time_s + 1.0 / 25.0)
        return np.array([info.responsibilities[info.rows == k].sum() for k in range(2)])

    positions = np.arange(92.0, 139.0, 2.0)
    red, none, green = (np.array([shares(x, look) for x in positions]) for look in (RED, np.zeros(3), GREEN))
    assert none[0, 0] > 0.9
    assert none[-1, 1] > 0.9
    assert (red[:, 0] > none[:, 0]).all()
    assert (green[:, 0] < none[:, 0]).all()
    # Bayes' rule: the odds of one object against the other change by the same factor everywhere ...
    factor = np.log(red[:, 0] / red[:, 1]) - np.log(green[:, 0] / green[:, 1])
    np.testing.assert_allclose(factor, factor[0], rtol=1e-6)
    assert factor[0] > 2.0
    # ... so that the answer changes most where motion knew least.
    change, known = red[:, 0] - green[:, 0], np.abs(none[:, 0] - 0.5)
    assert change[known.argmin()] > 0.5
    assert change[known.argmin()] > 2.0 * change[known.argmax()]


def test_a_look_is_not_taken_over_while_covered():
    """The green one walks in front of the red one, whose box shows green from when a third of it is covered."""
    tracker = Tracker(config())
    for n in range(90):
        x = max(400.0 - 4.0 * n, 112.0)
        looks = [RED if x > 124.0 else GREEN, GREEN]
        tracker.update(Detections([box(100.0), box(x, 204.0)], features=looks))
    assert tracker.state.components["hits"].tolist() == [90, 90]
    np.testing.assert_allclose(tracker.state.features, normalised(np.array([RED, GREEN])), atol=1e-9)
    assert tracker.state.components["looks"][0] < 75
    assert tracker.state.components["looks"][1] == 90


def test_what_is_remembered_is_a_slow_mean_of_length_one():
    tracker = Tracker(config(look_memory_tau=10.0))
    expected = None
    for n, detections in enumerate(scene(40, noise=0.2), 1):
        tracker.update(detections)
        look = normalised(detections.features)[0]
        rate = max(1.0 - math.exp(-1.0 / 10.0), 1.0 / n)
        expected = look if expected is None else expected + rate * (look - expected)
        expected = expected / np.linalg.norm(expected)
        np.testing.assert_allclose(tracker.state.features[0], expected, atol=1e-9)


def test_a_hidden_birth_learns_its_look_later():
    tracker = Tracker(config())
    tracker.update(Detections([box(100.0)], features=[[0.0, 0.0, 0.0]]))
    assert tracker.state.components["looks"].tolist() == [0]
    tracker.update(Detections([box(100.0)], features=[RED]))
    np.testing.assert_allclose(tracker.state.features, normalised(RED[None]))


# State and door


def test_a_saved_state_goes_on_the_same():
    film = scene(90, meet=50)
    whole, half = Tracker(config()), Tracker(config())
    reports = [whole.update(d) for d in film]
    for detections in film[:50]:
        half.update(detections)
    kept = half.state
    later = Tracker(config())
    for _ in range(2):  # going on changes nothing of the state that was kept
        later.state = kept
        for detections, expected in zip(film[50:], reports[50:], strict=True):
            np.testing.assert_array_equal(later.update(detections).ids, expected.ids)
        np.testing.assert_array_equal(later.state.features, whole.state.features)
    np.testing.assert_array_equal(later.state.scene["alike"], whole.state.scene["alike"])


def test_rows_of_features_stay_with_their_objects():
    """Objects come and go; whoever is there has the look that it always had."""
    rng = np.random.default_rng(3)
    own = rng.normal(0.0, 1.0, (6, 8))
    tracker = Tracker(config())
    for n in range(200):
        here = [k for k in range(6) if (n // 40 + k) % 3]
        tracker.update(Detections([box(200.0 * k) for k in here], features=own[here]))
        if n % 40 > 5:
            components = tracker.state.components
            assert len(tracker.state.features) == len(components)
            k = np.round(components["mean"][:, 0] / 200.0 - 0.1).astype(int)
            np.testing.assert_allclose(tracker.state.features, normalised(own[k]), atol=1e-9)


def test_a_cut_ends_looks_and_keeps_what_was_learned():
    tracker = Tracker(config())
    for detections in scene(30):
        tracker.update(detections)
    learned = tracker.state.scene["alike"].copy()
    tracker.cut()
    assert tracker.state.features.shape == (0, 3)
    np.testing.assert_array_equal(tracker.state.scene["alike"], learned)
    assert tracker.update(Detections([box(0.0)], features=[RED])).ids.tolist() == []
    assert len(tracker.state.features) == 1


def test_frames_without_features_or_detections_are_ordinary():
    tracker = Tracker(config())
    film = scene(20)
    for n, detections in enumerate(film):
        tracker.update([detections, Detections(detections.boxes_xyxy), Detections.empty()][n % 3])
    assert tracker.state.features.shape == (2, 3)
    np.testing.assert_allclose(np.linalg.norm(tracker.state.features, axis=1), 1.0)


def test_features_may_begin_late():
    tracker = Tracker(config())
    for n, detections in enumerate(scene(20)):
        tracker.update(detections if n >= 10 else Detections(detections.boxes_xyxy))
    assert tracker.state.components["looks"].tolist() == [10, 10]


def test_features_of_another_length_are_refused_and_change_nothing():
    tracker = Tracker(config())
    tracker.update(Detections([box(0.0)], features=[RED]))
    before = tracker.state
    with pytest.raises(ValueError, match="features have 2 columns; the tracker was given 3 before"):
        tracker.update(Detections([box(0.0)], features=[[1.0, 0.0]]))
    assert tracker.state is before


def test_a_tracker_that_is_to_tell_looks_demands_features():
    settings = Config.model_validate({"tracking": {"appearance": "histogram"}})
    tracker = Tracker(settings)
    tracker.update(Detections.empty())
    with pytest.raises(ValueError, match=r"tracking.appearance is histogram, but the detections have no features"):
        tracker.update(Detections([box(0.0)]))
    with pytest.raises(ValueError, match=r"tracking.appearance is histogram"):
        step(initial_state(), Detections([box(0.0)]), settings, time_s=0.0)


def test_features_do_not_compile_anything_anew():
    import tracker.tracking.online as module

    tracker = Tracker()
    tracker.update(Detections([box(0.0)]))
    compiled = len(module.advance.signatures)
    tracker.update(Detections([box(0.0)], features=[RED]))
    tracker.update(Detections([box(0.0)], features=np.asfortranarray(np.array([RED, GREEN]))[:1]))
    tracker.cut()
    tracker.update(Detections([box(0.0)], features=[RED]))
    assert len(module.advance.signatures) == compiled
