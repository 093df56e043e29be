"""The E-step's numbers against a dense transcription of their equations in NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t as student_t

from tracker.config import Config
from tracker.geometry import intersection_over_union, xyxy_to_ltwh
from tracker.mixture.exclusive import association_marginals
from tracker.tracking.evidence import (
    cover_from_last_frame,
    cover_refined,
    detection_probability,
    direction_evidence,
    log_density_at_mode,
    median_in_place,
    observe,
    pair_log_likelihoods,
    pair_log_odds,
    refine,
)
from tracker.tracking.motion import innovation_variances, measured_coordinates, predicted_boxes
from tracker.tracking.state import COMPONENT, initial_state, parameters


def numbers(**sections):
    return parameters(Config.model_validate({"tracking": sections}))[0]


class Scene:
    """Objects in a crowd, and detections of most of them, some false ones between.

    ``pan_px`` shifts all detections as a camera's motion would.
    """

    def __init__(self, seed, objects=14, clutter=4, pan_px=(0.0, 0.0), noise=1.0, side=260.0, classes=2):
        rng = np.random.default_rng(seed)
        components = np.zeros(objects, COMPONENT)
        components["id"] = np.arange(1, objects + 1)
        components["status"] = 1
        components["label"] = rng.integers(0, classes, objects)
        components["hits"] = rng.integers(1, 12, objects)
        components["misses"] = rng.choice([0, 0, 0, 2], objects)
        components["missed_tau"] = 1.3 * components["misses"]
        components["mean"] = rng.uniform([0, 100, 25, 60], [side, side, 50, 120], (objects, 4))
        components["scale"] = np.sqrt(components["mean"][:, 2] * components["mean"][:, 3])
        components["p00"] = (components["scale"][:, None] * rng.uniform(0.02, 0.1, (objects, 4))) ** 2
        components["p11"] = 0.1 * components["p00"]
        components["centre_count"] = rng.integers(1, 5, objects)
        components["centres"] = components["mean"][:, None, :2] + rng.normal(0.0, 4.0, (objects, 4, 2))
        self.components = components
        self.scene = initial_state().scene
        for name in ("measurement_position", "measurement_size"):
            self.scene[name] = rng.uniform(0.7, 1.4)
        seen = rng.random(objects) < 0.7
        z = components["mean"][seen] + noise * rng.normal(0.0, [3.0, 2.0, 2.0, 2.0], (seen.sum(), 4))
        z[:, :2] += pan_px
        false = rng.uniform([0, 100, 25, 60], [side, side, 50, 120], (clutter, 4))
        z = np.concatenate([z, false])
        self.boxes = np.column_stack([z[:, 0] - z[:, 2] / 2, z[:, 1] - z[:, 3], z[:, 0] + z[:, 2] / 2, z[:, 1]])
        self.measured = measured_coordinates(self.boxes, 1.0)
        self.scores = rng.uniform(0.2, 1.0, len(z))
        self.labels = np.concatenate([components["label"][seen], rng.integers(0, classes, clutter)])

    def variance(self, p):
        """(K, 4) variance of the innovations."""
        factor = np.repeat([self.scene["measurement_position"][0], self.scene["measurement_size"][0]], 2)
        r = p["measurement_noise"] * self.components["scale"][:, None] * factor
        return self.components["p00"] + r**2

    def observed(self, p):
        """What the code under test makes of the detections."""
        return observe(self.boxes, self.scores, self.labels, p)

    def refined(self, graph, p):
        """Run the code under test on what each object learned."""
        observed = self.observed(p)
        return refine(self.components, self.variance(p), self.scene, observed.measured, observed.scores, graph, p)

    def log_odds(self, p, visible, shift=None):
        """Run the code under test; return its pairs as a dense table, -inf where there is none."""
        c = self.components
        S = innovation_variances(c, self.scene, p)
        shift = np.zeros((len(c), 2)) if shift is None else shift
        row_start, column, log_likelihood = pair_log_likelihoods(
            c, predicted_boxes(c, 1.0), S, log_density_at_mode(c, S, p), shift, self.observed(p), p
        )
        graph = row_start, column, pair_log_odds(row_start, log_likelihood, visible)
        return graph, dense(graph, len(self.boxes))


def dense(graph, columns, nothing=-np.inf):
    row_start, column, value = graph
    table = np.full((len(row_start) - 1, columns), nothing)
    table[np.repeat(np.arange(len(row_start) - 1), np.diff(row_start)), column] = value
    return table


def covered_share(boxes):
    """(K, K) share of box k that box l covers."""
    width = np.minimum(boxes[:, None, 2], boxes[None, :, 2]) - np.maximum(boxes[:, None, 0], boxes[None, :, 0])
    height = np.minimum(boxes[:, None, 3], boxes[None, :, 3]) - np.maximum(boxes[:, None, 1], boxes[None, :, 1])
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    share = width.clip(0.0) * height.clip(0.0) / area[:, None]
    np.fill_diagonal(share, 0.0)
    return share


def expected_direction(components, boxes, shift, weight=0.5):
    table = np.zeros((len(components), len(boxes)))
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2.0
    for k, c in enumerate(components):
        if c["centre_count"] < 2:
            continue
        path = c["centres"][-c["centre_count"] :]
        u = path[-1] - path[0]
        for j, centre in enumerate(centres):
            d = centre - (path[-1] + shift[k])
            lengths = np.linalg.norm(u), np.linalg.norm(d)
            certainty = np.prod(np.minimum(np.array(lengths) / (0.1 * c["scale"]), 1.0))
            table[k, j] = weight * certainty * (u @ d) / np.prod(lengths)
    return table


def expected_log_odds(s, p, visible, shift, class_agnostic=False):
    c = s.components
    S = s.variance(p)
    mean = c["mean"] + np.pad(shift, ((0, 0), (0, 2)))
    e = s.measured[None] - mean[:, None]
    nu, w = p["degrees_of_freedom"], p["coordinate_weight"]
    # Student's t without its normaliser, in units of g; the constant 2 log(2 pi) belongs to the clutter density.
    spread = np.sqrt(S)[:, None] / c["scale"][:, None, None]
    log_t = student_t.logpdf(e / c["scale"][:, None, None], nu, scale=spread) - student_t.logpdf(0.0, nu)
    log_l = (w * log_t).sum(axis=-1) - 2.0 * np.log(2.0 * np.pi)
    odds = logit(visible)[:, None] - np.log(0.2) + log_l + logit(s.scores.clip(0.01, 0.99)) - logit(0.7)
    odds = (odds + expected_direction(c, s.boxes, shift)).clip(-50.0, 50.0)
    boxes = predicted_boxes(c, 1.0) + np.tile(shift, 2)
    gated = intersection_over_union(xyxy_to_ltwh(boxes), xyxy_to_ltwh(s.boxes)) >= 0.01
    gated &= (e**2 / S[:, None]).sum(axis=-1) <= 300.0
    gated &= class_agnostic | (c["label"][:, None] == s.labels)
    return np.where(gated, odds, -np.inf)


@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_log_odds_of_all_pairs(seed, class_agnostic):
    s, p = Scene(seed), numbers(class_agnostic=class_agnostic)
    rng = np.random.default_rng(seed)
    rows = len(s.components)
    visible = rng.uniform(0.02, 0.98, rows)
    shift = rng.normal(0.0, 5.0, (rows, 2))
    graph, found = s.log_odds(p, visible, shift)
    expected = expected_log_odds(s, p, visible, shift, class_agnostic)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert 10 < np.isfinite(expected).sum() < expected.size
    for k in range(rows):
        assert (np.diff(graph[1][graph[0][k] : graph[0][k + 1]]) > 0).all()


def lone(box, label=0, **changes):
    """Return one object of 40 x 80 px at (100, 200) and one detection."""
    s = Scene(0, objects=1, clutter=0)
    c = s.components
    c["mean"], c["scale"], c["label"], c["centre_count"] = [100.0, 200.0, 40.0, 80.0], np.sqrt(3200.0), 0, 1
    c["p00"] = 0.0
    for name, value in changes.items():
        c[name] = value
    s.boxes = np.array([box])
    s.measured, s.scores, s.labels = measured_coordinates(s.boxes, 1.0), np.array([0.7]), np.array([label])
    s.scene = initial_state().scene
    return s


def test_a_perfect_pair_has_the_odds_of_its_tightness():
    p = numbers()
    _, found = lone([80.0, 120.0, 120.0, 200.0]).log_odds(p, np.array([0.5]))
    r = np.array([0.14, 0.07, 0.08, 0.015])
    assert found[0, 0] == pytest.approx(-np.log(0.2) - 2 * np.log(2 * np.pi) - [1, 1, 1, 0.55] @ np.log(r))


@pytest.mark.parametrize(("width_px", "paired"), [(0.82, True), (0.78, False)])
def test_gate_of_overlap_has_two_sides(width_px, paired):
    """A strip of .8 px in common with two boxes of 40 px is an IoU of .0101."""
    s = lone([120.0 - width_px, 120.0, 160.0 - width_px, 200.0], p00=900.0)
    _, found = s.log_odds(numbers(), np.array([0.5]))
    assert np.isfinite(found[0, 0]) == paired


@pytest.mark.parametrize(("margin", "paired"), [(0.0, False), (0.2, False), (0.3, True)])
def test_gate_of_overlap_widens_by_its_margin(margin, paired):
    """A quarter of the width reaches over the 10 px between two boxes of 40 px, and a bit more overlaps enough."""
    s = lone([130.0, 120.0, 170.0, 200.0], p00=900.0)
    _, found = s.log_odds(numbers(association={"gate_margin": margin}), np.array([0.5]))
    assert np.isfinite(found[0, 0]) == paired


@pytest.mark.parametrize(("distance", "paired"), [(299.9, True), (300.1, False)])
def test_gate_of_distance_has_two_sides(distance, paired):
    y = 200.0 + 0.07 * np.sqrt(3200.0) * np.sqrt(distance)
    _, found = lone([80.0, y - 80.0, 120.0, y]).log_odds(numbers(), np.array([0.5]))
    assert np.isfinite(found[0, 0]) == paired


@pytest.mark.parametrize("label", [-1, 7, np.iinfo(np.int64).max])
def test_any_integer_is_a_class(label):
    s = lone([80.0, 120.0, 120.0, 200.0], label)
    assert s.log_odds(numbers(), np.array([0.5]))[1][0, 0] == -np.inf
    s.components["label"] = label
    assert np.isfinite(s.log_odds(numbers(), np.array([0.5]))[1][0, 0])


@pytest.mark.parametrize(("density", "limit"), [(1e-40, 50.0), (1e40, -50.0)])
def test_log_odds_are_clipped(density, limit):
    s = lone([80.0, 120.0, 120.0, 200.0])
    _, found = s.log_odds(numbers(association={"clutter_density": density}), np.array([0.5]))
    assert found[0, 0] == limit


@pytest.mark.parametrize(("score", "counts_as"), [(0.0, 0.01), (1.0, 0.99), (0.4, 0.4)])
def test_score_is_a_likelihood_ratio(score, counts_as):
    p = numbers(association={"score_floor": 0.0})
    s = lone([80.0, 120.0, 120.0, 200.0])
    _, neutral = s.log_odds(p, np.array([0.5]))
    s.scores = np.array([score])
    _, found = s.log_odds(p, np.array([0.5]))
    assert found[0, 0] - neutral[0, 0] == pytest.approx(logit(counts_as) - logit(0.7))


def test_direction_prefers_what_lies_ahead():
    c = lone([80.0, 120.0, 120.0, 200.0]).components
    c["centres"][0], c["centre_count"] = [[70, 160], [80, 160], [90, 160], [100, 160]], 4
    c = c[0]

    def towards(x, y, weight=0.5):
        return direction_evidence(c, x, y, weight)

    assert towards(120.0, 160.0) == pytest.approx(0.5)
    assert towards(80.0, 160.0) == pytest.approx(-0.5)
    assert towards(100.0, 190.0) == pytest.approx(0.0)
    assert towards(100.0, 160.0) == 0.0
    # A tenth of g = 56.6 px counts in full, half of it by half.
    assert towards(100.0 + 0.05 * c["scale"], 160.0) == pytest.approx(0.25)
    assert towards(120.0, 160.0, weight=0.0) == 0.0
    c["centre_count"] = 1
    assert towards(120.0, 160.0) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_cover_by_the_last_frames_nearer_objects(seed):
    c = Scene(seed).components
    boxes = predicted_boxes(c, 1.0)
    nearer = (boxes[None, :, 3] > boxes[:, None, 3]) & (c["misses"] == 0)[None]
    expected = (covered_share(boxes) * nearer).max(axis=1)
    np.testing.assert_allclose(cover_from_last_frame(c, boxes), expected)
    assert (expected > 0.0).any()
    assert (expected == 0.0).any()


@pytest.mark.parametrize("seed", range(5))
def test_cover_at_refined_positions(seed):
    s, p = Scene(seed), numbers()
    graph, _ = s.log_odds(p, np.full(len(s.components), 0.7))
    beta, _ = association_marginals(graph[0], graph[1], graph[2], len(s.boxes))
    graph = (graph[0], graph[1], beta)
    c, table = s.components, dense(graph, len(s.boxes), 0.0)
    pull = np.einsum("kj,kji->ki", table, s.measured[None] - c["mean"][:, None])
    mean = c["mean"] + c["p00"] / s.variance(p) * pull
    x, bottom, w, h = mean.T
    boxes = np.column_stack([x - w / 2, bottom - h, x + w / 2, bottom])
    present = np.minimum(table.sum(axis=1), 1.0)
    soft = expit((bottom[None] - bottom[:, None]) / (0.02 * c["scale"][:, None]))
    expected = (soft * covered_share(boxes) * present[None]).max(axis=1)
    np.testing.assert_allclose(cover_refined(c, s.variance(p), s.measured, graph, p), expected, atol=1e-12)
    assert (present > 0.5).any()
    assert (present < 0.5).any()


def test_detection_probability_falls_with_cover_and_time_unseen():
    c = np.zeros(6, COMPONENT)
    c["missed_tau"] = [0.0, 0.0, 0.0, 10.0, 2.5, 1e6]
    cover = np.array([0.0, 0.5, 1.0, 0.0, 0.2, 0.0])
    kept = Config().tracking.association.detection_decay
    expected = [0.7, 0.7 * 0.55, 0.7 * (1 - 0.9 * 0.95), 0.7 * kept**10, 0.7 * 0.82 * kept**2.5, 0.02]
    np.testing.assert_allclose(detection_probability(c, cover, numbers()), expected)
    sure = numbers(association={"detection_probability": 0.99})
    np.testing.assert_allclose(detection_probability(c[:1], cover[:1], sure), 0.98)


def expected_refinement(s, p, table):
    """Return the shift as the method states it, object by object, the new prior of a shift, and the teachers."""
    c, S = s.components, s.variance(p)
    rows = len(c)
    k, j = np.nonzero((table > 0.7) & (c["hits"] >= 3)[:, None])
    e = s.measured[j] - c["mean"][k]
    confident = (c["misses"][k] == 0) & (s.scores[j] > 0.5)
    shift, prior = np.zeros((rows, 2)), np.array([0.1, 0.1])
    if confident.sum() >= 4:
        rows_c, e_c = k[confident], e[confident]
        a = np.ones((rows, len(rows_c)))
        a[rows_c, np.arange(len(rows_c))] = 0.0  # nobody teaches himself
        for i in range(2):
            x, variance = e_c[:, i], S[rows_c, i]
            mean = np.median(x)
            for _ in range(5):
                weight = 4.0 / (3.0 + (x - mean) ** 2 / variance) / variance
                mean = np.average(x, weights=weight)
            d = (a @ (weight * x)) / (a @ weight + 1.0 / S[:, i])
            rest = x - d[rows_c]
            evidence = -2.0 * (np.log1p(rest**2 / (3 * variance)) - np.log1p(x**2 / (3 * variance))).sum()
            probability = expit(logit(0.1) + np.clip(evidence, -30.0, 30.0))
            prior[i] = np.clip(0.98 * 0.1 + 0.02 * probability, 0.01, 0.9)
            shift[:, i] = probability * d if probability >= 1e-3 else 0.0
    return shift, prior, confident.sum()


@pytest.mark.parametrize(("pan_px", "noise"), [((0.0, 0.0), 1.0), ((9.0, -4.0), 1.0), ((0.0, 0.0), 4.0)])
@pytest.mark.parametrize("seed", range(3))
def test_what_the_other_objects_teach(seed, pan_px, noise):
    s, p = Scene(seed, objects=30, pan_px=pan_px, noise=noise, side=2000.0), numbers()
    graph, _ = s.log_odds(p, np.full(len(s.components), 0.7))
    beta, _ = association_marginals(graph[0], graph[1], graph[2], len(s.boxes))
    expected = expected_refinement(s, p, dense((graph[0], graph[1], beta), len(s.boxes), 0.0))
    shift, learned = refine(
        s.components, s.variance(p), s.scene, s.observed(p).measured, s.scores, (graph[0], graph[1], beta), p
    )
    assert expected[2] >= 4
    assert learned == shift.any()
    np.testing.assert_allclose(shift, expected[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(s.scene["shift_prior"][0], expected[1], rtol=1e-9)


def taught(s, **refinement):
    p = numbers(refinement=refinement)
    graph, _ = s.log_odds(p, np.full(len(s.components), 0.7))
    beta, _ = association_marginals(graph[0], graph[1], graph[2], len(s.boxes))
    return refine(
        s.components, s.variance(p), s.scene, s.observed(p).measured, s.scores, (graph[0], graph[1], beta), p
    )[0]


def test_median_of_any_values():
    rng = np.random.default_rng(0)
    for n in [*range(1, 12), 101, 500]:
        for values in (rng.normal(size=n), rng.integers(0, 4, n).astype(float), np.arange(n, 0.0, -1.0)):
            assert median_in_place(values.copy()) == np.median(values)


def street(teachers, pan_px):
    """Return steady walkers far from each other, all seen, shifted by the camera."""
    s = Scene(3, objects=teachers, clutter=0, side=4000.0, classes=1)
    c = s.components
    c["mean"][:, 0] = 200.0 * np.arange(teachers)
    c["hits"], c["misses"], c["centre_count"] = 10, 0, 1
    s.measured = c["mean"] + [*pan_px, 0.0, 0.0]
    x, y, w, h = s.measured.T
    s.boxes = np.column_stack([x - w / 2, y - h, x + w / 2, y])
    s.scores, s.labels = np.full(teachers, 0.9), c["label"].copy()
    return s


def test_a_pan_is_found_on_its_own_axis_and_the_still_axis_stays():
    s = street(12, (12.0, 0.0))
    shift = taught(s)
    assert (shift[:, 0] > 6.0).all()
    assert (shift[:, 0] < 12.0).all()
    np.testing.assert_allclose(shift[:, 1], 0.0, atol=1e-9)
    assert s.scene["shift_prior"][0, 0] > 0.1


@pytest.mark.parametrize(("teachers", "moves"), [(3, False), (4, True)])
def test_common_motion_takes_four_teachers(teachers, moves):
    shift = taught(street(teachers, (12.0, 0.0)))
    assert shift.any() == moves


def test_what_is_switched_off_teaches_nothing():
    assert not taught(street(12, (12.0, 0.0)), common_motion=False).any()


def test_nobody_there_nothing_taught():
    s = Scene(0)
    s.components = s.components[:0]
    assert taught(s).shape == (0, 2)
