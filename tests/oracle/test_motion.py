"""Prediction, update and the learning of noise against filterpy and plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from filterpy.common import Q_discrete_white_noise
from filterpy.kalman import KalmanFilter

from tracker.confidence import DEGREES_OF_FREEDOM, EXPECTED_CLIPPED_SQUARE
from tracker.config import Config
from tracker.tracking.motion import (
    LONGEST_TAU,
    adapt,
    bring_to_step,
    innovation_variances,
    learn_innovation_scale,
    measured_coordinates,
    measurement_variance,
    predict,
    predicted_boxes,
    size_velocity_kept,
    update,
    velocity_persistence,
    warp,
)
from tracker.tracking.state import COMPONENT, SCENE, initial_state, parameters

STILL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
POSITION, SIZE = slice(0, 2), slice(2, 4)
TAU = 2.5


def numbers(**sections):
    """Return the record of parameters of a configuration that differs in some keys from the default."""
    return parameters(Config.model_validate({"tracking": sections}))[0]


def brought_to(tau):
    """Return the default's parameters for a step of one length."""
    p = numbers()
    bring_to_step(p, tau)
    return p


def predicted_from(components, *how):
    """Return the components as predicted."""
    predicted = np.zeros_like(components)
    predict(components, *how, predicted)
    return predicted


def random_components(rng, count):
    """Return objects with positive definite blocks of every correlation, some of them coasting."""
    components = np.zeros(count, COMPONENT)
    deviation = rng.uniform(0.5, 20.0, (count, 4)), rng.uniform(0.05, 5.0, (count, 4))
    components["id"] = np.arange(1, count + 1)
    components["status"] = 1
    components["hits"] = rng.integers(1, 40, count)
    components["misses"] = rng.choice([0, 0, 1, 4], count)
    components["mean"] = rng.uniform([0, 0, 20, 40], [900, 600, 90, 180], (count, 4))
    components["velocity"] = rng.normal(0.0, 3.0, (count, 4))
    components["p00"], components["p11"] = deviation[0] ** 2, deviation[1] ** 2
    components["p01"] = rng.uniform(-0.95, 0.95, (count, 4)) * deviation[0] * deviation[1]
    components["log_noise_factor"] = rng.uniform(-1.0, 1.0, count)
    components["scale"] = np.sqrt(components["mean"][:, 2] * components["mean"][:, 3])
    components["centres"] = rng.uniform(0.0, 900.0, (count, 4, 2))
    components["centre_count"] = 4
    components["z"] = rng.normal(0.0, 2.0, (count, 4))
    return components


def random_noise_factors(rng):
    scene = np.zeros(1, SCENE)
    for name in ("process_position", "process_size", "measurement_position", "measurement_size"):
        scene[name] = rng.uniform(0.5, 2.0)
    return scene


def kalman(c, i, velocity):
    """Return filterpy's filter of one coordinate."""
    kf = KalmanFilter(dim_x=2, dim_z=1)
    kf.x = np.array([[c["mean"][i]], [velocity]])
    kf.P = np.array([[c["p00"][i], c["p01"][i]], [c["p01"][i], c["p11"][i]]])
    kf.H = np.array([[1.0, 0.0]])
    return kf


def assert_equals_kalman(c, i, kf):
    assert c["mean"][i] == pytest.approx(kf.x[0, 0], rel=1e-9)
    assert c["velocity"][i] == pytest.approx(kf.x[1, 0], rel=1e-9, abs=1e-12)
    block = [[c["p00"][i], c["p01"][i]], [c["p01"][i], c["p11"][i]]]
    np.testing.assert_allclose(block, kf.P, rtol=1e-9, atol=1e-12)


def damped_velocity(c, p, tau):
    """Return the velocity after damping, as the method states it."""
    vx, vy, vw, vh = c["velocity"]
    if c["misses"] > 0:
        return np.array([p["coasting_damping"] * vx, p["coasting_damping"] * vy, 0.0, 0.0])
    w, h = c["mean"][SIZE]
    approach = max(0.0, vw * vh / (w * h))
    evident = approach / (approach + (c["p11"][2] / w**2 + c["p11"][3] / h**2) / 2.0)
    damping = p["size_damping"] ** tau
    return np.array([vx, vy, *(np.array([vw, vh]) * (damping + (1.0 - damping) * evident))])


@pytest.mark.parametrize("tau", [0.3, 1.0, 25.0 / 7.0])
@pytest.mark.parametrize(
    "motion",
    [
        {},
        {"process_noise": [0.1, 0.03, 0.02, 0.007]},
        {"coasting_damping": 0.8, "size_damping": 0.2, "coasting_position_noise": 3.0, "coasting_size_noise": 0.5},
    ],
)
def test_prediction_is_filterpys(tau, motion):
    rng = np.random.default_rng(1)
    p = numbers(motion=motion)
    components, scene = random_components(rng, 12), random_noise_factors(rng)
    predicted = predicted_from(components, scene, STILL, tau, p)
    for before, after in zip(components, predicted, strict=True):
        velocity = damped_velocity(before, p, tau)
        g = np.sqrt(np.prod(np.maximum(before["mean"][SIZE] + tau * velocity[SIZE], 1.0)))
        assert after["scale"] == pytest.approx(g)
        coasting = before["misses"] > 0
        position = scene["process_position"][0] * np.exp(before["log_noise_factor"])
        size = scene["process_size"][0]
        if coasting:
            position, size = position * p["coasting_position_noise"], size * p["coasting_size_noise"]
        for i, factor in enumerate([position, position, size, size]):
            kf = kalman(before, i, velocity[i])
            kf.F = np.array([[1.0, tau], [0.0, 1.0]])
            # filterpy speaks of an acceleration that lasts for the step; ours moves by half of s in one step.
            s = p["process_noise"][i] * factor * g
            kf.Q = Q_discrete_white_noise(2, dt=tau, var=(s / tau**2) ** 2)
            kf.predict()
            assert_equals_kalman(after, i, kf)
    np.testing.assert_array_equal(predicted["age_frames"], components["age_frames"] + 1)


def test_prediction_leaves_its_input_alone():
    components, scene = random_components(np.random.default_rng(2), 4), initial_state().scene
    before = components.tobytes(), scene.tobytes()
    predicted_from(components, scene, STILL + 0.1, 1.0, numbers())
    assert (components.tobytes(), scene.tobytes()) == before


def test_a_box_that_shrinks_to_nothing_keeps_a_scale_of_one_pixel():
    components = random_components(np.random.default_rng(3), 1)
    components["misses"] = 0
    components["mean"] = [50.0, 50.0, 4.0, 9.0]
    components["velocity"] = [0.0, 0.0, -40.0, -80.0]
    components["p11"] = 1e-4
    predicted = predicted_from(components, initial_state().scene, STILL, 1.0, numbers())
    assert predicted["scale"][0] == 1.0
    box = predicted_boxes(predicted, 1.0)[0]
    np.testing.assert_allclose(box, [49.5, 49.0, 50.5, 50.0])


@pytest.mark.parametrize(("tau", "gate_margin"), [(0.5, 0.0), (1.0, 0.0), (2.0, 0.2), (4.0, 0.5), (250.0, 0.5)])
def test_what_is_stated_per_25th_of_a_second_is_brought_to_the_length_of_the_step(tau, gate_margin):
    p, stated, bounded = brought_to(tau), numbers(), min(tau, LONGEST_TAU)
    np.testing.assert_allclose(p["process_noise"], stated["process_noise"] * tau)
    assert p["direction"] == pytest.approx(stated["direction"] * bounded**0.5)
    assert p["clutter_density"] == pytest.approx(stated["clutter_density"] * bounded**-0.75)
    assert p["process_rate"] == pytest.approx(stated["process_rate"] * bounded)
    assert p["gate_margin"] == pytest.approx(gate_margin)
    changed = {"process_noise", "direction", "clutter_density", "process_rate", "gate_margin"}
    for name in set(stated.dtype.names) - changed:
        np.testing.assert_array_equal(p[name], stated[name])


@pytest.mark.parametrize("tau", [0.5, 1.0, 4.0])
def test_the_kick_to_a_velocity_is_the_same_at_every_frame_rate(tau):
    components = random_components(np.random.default_rng(4), 1)
    for name in ("velocity", "p00", "p01", "p11", "log_noise_factor", "misses"):
        components[name] = 0
    components["p11"][0, SIZE] = 1e-300  # nothing known of approach, and no division of zero by zero
    p = brought_to(tau)
    after = predicted_from(components, initial_state().scene, STILL, tau, p)[0]
    q = numbers()["process_noise"] * after["scale"]
    np.testing.assert_allclose(after["p11"], q**2)
    np.testing.assert_allclose(after["p00"], q**2 / 4.0 * tau**2)


def test_two_half_steps_are_one_step_where_nothing_is_random():
    rng = np.random.default_rng(5)
    components, scene = random_components(rng, 6), initial_state().scene
    components["misses"] = 0
    components["velocity"][:, 2], components["velocity"][:, 3] = 0.4, -0.3  # no approach: plain damping
    p = numbers(motion={"process_noise": [1e-12] * 4})
    once = predicted_from(components, scene, STILL, 2.0, p)
    twice = predicted_from(predicted_from(components, scene, STILL, 1.0, p), scene, STILL, 1.0, p)
    np.testing.assert_allclose(twice["mean"][:, POSITION], once["mean"][:, POSITION])
    np.testing.assert_allclose(twice["velocity"], once["velocity"])
    for name in ("p00", "p01", "p11"):
        np.testing.assert_allclose(twice[name], once[name])


def test_coasting_damps_per_missed_frame_whatever_its_length():
    components = random_components(np.random.default_rng(6), 3)
    components["misses"] = 2
    p = numbers()
    for tau in (0.5, 4.0):
        predicted = predicted_from(components, initial_state().scene, STILL, tau, p)
        np.testing.assert_allclose(
            predicted["velocity"][:, POSITION],
            Config().tracking.motion.coasting_damping * components["velocity"][:, POSITION],
        )
        np.testing.assert_array_equal(predicted["velocity"][:, SIZE], 0.0)


def test_velocities_last_as_learned_beyond_what_is_steady_of_a_step():
    scene, p = initial_state().scene, numbers()
    np.testing.assert_array_equal(velocity_persistence(scene, 5.0, p), 1.0)
    scene["velocity_cross"], scene["velocity_square"] = [[0.0, 1e6]], [[50.0, 1e5]]
    for tau, of_rest in ((0.5, 0.0), (1.25, 0.0), (2.5, 0.5), (5.0, 0.75)):
        np.testing.assert_allclose(velocity_persistence(scene, tau, p), np.array([0.5, 1.3]) ** of_rest)
    np.testing.assert_array_equal(velocity_persistence(scene, 5.0, numbers(adaptation={"persistence": False})), 1.0)
    components = random_components(np.random.default_rng(19), 4)
    lasts = velocity_persistence(scene, 5.0, p)
    for misses, share in ((0, lasts), (1, np.minimum(lasts * Config().tracking.motion.coasting_damping, 1.0))):
        components["misses"] = misses
        predicted = predicted_from(components, scene, STILL, 5.0, p)
        np.testing.assert_allclose(predicted["velocity"][:, POSITION], share * components["velocity"][:, POSITION])


def test_it_is_learned_how_far_velocities_last():
    """Objects that keep .6 of their velocity from step to step, known to a hundredth of what they move."""
    rng = np.random.default_rng(20)
    scene, p, tau, lasts = initial_state().scene, numbers(), 5.0, np.array([0.6, 1.2])
    components = random_components(rng, 30)
    components["misses"], components["hits"] = 0, 9
    for _ in range(100):
        predicted = predicted_from(components, scene, STILL, tau, p)
        S = innovation_variances(predicted, scene, p)
        made = components["mean"][:, POSITION] + tau * lasts * components["velocity"][:, POSITION]
        z = np.zeros((30, 4))
        z[:, POSITION] = (made - predicted["mean"][:, POSITION]) / np.sqrt(S[:, POSITION])
        adapt(predicted, scene, z, np.ones(30), np.ones(30), np.arange(30), tau, p)
    learned = (50.0 + scene["velocity_cross"][0]) / (50.0 + scene["velocity_square"][0])
    np.testing.assert_allclose(learned, lasts, atol=0.02)


def test_size_velocity_is_kept_as_far_as_width_and_height_agree():
    c = random_components(np.random.default_rng(7), 1)[0]
    c["mean"][SIZE], c["velocity"][SIZE], c["p11"][SIZE] = [50.0, 100.0], [5.0, 10.0], [25.0, 100.0]
    # Relative growth .1 a frame, relative variance .01: approach and noise speak equally loud.
    assert size_velocity_kept(c, 0.5) == pytest.approx(0.75)
    c["velocity"][2] = -5.0
    assert size_velocity_kept(c, 0.5) == 0.5


def claimed_update(c, scene, p, innovation, claimed=None):
    after = np.array([c], COMPONENT)
    update(after[0], scene, innovation, innovation if claimed is None else claimed, p)
    return after[0]


def test_update_without_inflation_is_filterpys():
    rng = np.random.default_rng(8)
    p = numbers(adaptation={"inflation": False})
    scene = random_noise_factors(rng)
    for c in random_components(rng, 12):
        innovation = rng.normal(0.0, 30.0, 4)
        after = claimed_update(c, scene, p, innovation)
        for i, factor in enumerate(np.repeat([scene["measurement_position"][0], scene["measurement_size"][0]], 2)):
            kf = kalman(c, i, c["velocity"][i])
            kf.R = np.array([[(p["measurement_noise"][i] * c["scale"] * factor) ** 2]])
            assert measurement_variance(i, c["scale"], scene, p) == pytest.approx(kf.R[0, 0])
            kf.update(c["mean"][i] + innovation[i])
            assert_equals_kalman(after, i, kf)


def test_an_outlying_innovation_widens_prior_and_measurement():
    rng = np.random.default_rng(9)
    p = numbers()
    scene = random_noise_factors(rng)
    factors = []
    for c in random_components(rng, 20):
        claimed = rng.normal(0.0, 30.0, 4)
        innovation = 0.8 * claimed
        after = claimed_update(c, scene, p, innovation, claimed)
        for i in range(4):
            nu, R = p["degrees_of_freedom"][i], measurement_variance(i, c["scale"], scene, p)
            f = np.clip((nu + claimed[i] ** 2 / (c["p00"][i] + R)) / (nu + 1.0), 1.0, 5.0)
            kf = kalman(c, i, c["velocity"][i])
            kf.P *= 1.0 + 0.2 * (f - 1.0)
            kf.R = np.array([[R * (1.0 + 0.8 * (f - 1.0))]])
            kf.update(c["mean"][i] + innovation[i])
            assert_equals_kalman(after, i, kf)
            factors.append(f)
    assert min(factors) == 1.0
    assert max(factors) == 5.0
    assert any(1.0 < f < 5.0 for f in factors)


def test_update_under_a_flat_prior_is_the_weighted_mean_of_the_detections():
    """Nothing known beforehand: the M-step of an ordinary mixture."""
    rng = np.random.default_rng(10)
    p, scene = numbers(), initial_state().scene
    c = random_components(rng, 1)[0]
    c["p00"], c["p01"] = 1e12, 0.0
    detections = c["mean"] + rng.normal(0.0, 10.0, (3, 4))
    beta = np.array([0.6, 0.3, 0.1])
    after = claimed_update(c, scene, p, beta @ (detections - c["mean"]), detections[0] - c["mean"])
    np.testing.assert_allclose(after["mean"], beta @ detections, rtol=1e-6)


def test_update_keeps_blocks_positive_definite_when_nearly_all_is_known_or_nothing():
    p, scene = numbers(), initial_state().scene
    rng = np.random.default_rng(11)
    for size in (1e-9, 1.0, 1e12):
        for c in random_components(rng, 10):
            for name in ("p00", "p01", "p11"):
                c[name] *= size
            after = claimed_update(c, scene, p, rng.normal(0.0, 5.0, 4))
            assert (after["p00"] > 0.0).all()
            assert (after["p11"] > 0.0).all()
            assert (after["p00"] * after["p11"] > after["p01"] ** 2).all()


@pytest.mark.parametrize("anchor", [1.0, 0.5, 0.0])
def test_camera_zoom_and_pan_move_boxes_as_they_move_pixels(anchor):
    components = random_components(np.random.default_rng(12), 5)
    zoom, pan = 1.25, np.array([-30.0, 12.0])
    affine = np.array([[zoom, 0.0, pan[0]], [0.0, zoom, pan[1]]])
    warped = components.copy()
    for n in range(5):
        warp(warped[n], affine, zoom**2, anchor)
    corners = predicted_boxes(components, anchor).reshape(-1, 2)
    np.testing.assert_allclose(predicted_boxes(warped, anchor), (zoom * corners + pan).reshape(-1, 4))
    np.testing.assert_allclose(warped["velocity"], zoom * components["velocity"])
    np.testing.assert_allclose(warped["centres"], zoom * components["centres"] + pan)
    for name in ("p00", "p01", "p11"):
        np.testing.assert_allclose(warped[name], zoom**2 * components[name])


def test_records_that_hold_more_move_alike():
    """As blobs do; numba warns where it takes a record for one of fewer fields, for which it has compiled."""
    components = random_components(np.random.default_rng(15), 4)
    more = np.zeros(4, np.dtype([*COMPONENT.descr, ("more", "f8")]))
    for name in COMPONENT.names:
        more[name] = components[name]
    affine = np.array([[1.1, 0.02, 5.0], [-0.02, 1.1, -7.0]])
    scene, p = initial_state().scene, numbers()
    expected, predicted = (predicted_from(c, scene, affine, 1.0, p) for c in (components, more))
    for name in COMPONENT.names:
        np.testing.assert_array_equal(predicted[name], expected[name])


def test_camera_rotation_turns_centre_and_velocity():
    components = random_components(np.random.default_rng(13), 1)
    components["mean"], components["velocity"] = [100.0, 80.0, 20.0, 60.0], [3.0, 1.0, 0.5, 0.25]
    quarter_turn = np.array([[0.0, -1.0, 200.0], [1.0, 0.0, 10.0]])
    warp(components[0], quarter_turn, 1.0, 1.0)
    # The box centre (100, 50) goes to (200 - 50, 10 + 100); its bottom edge stands half a height lower.
    np.testing.assert_allclose(components["mean"][0], [150.0, 140.0, 20.0, 60.0])
    np.testing.assert_allclose(components["velocity"][0], [-1.0, 3.0, 0.5, 0.25])


def test_prediction_warps_before_it_moves():
    components = random_components(np.random.default_rng(14), 3)
    components["misses"] = 0
    scene, p = initial_state().scene, numbers()
    affine = np.array([[1.1, 0.02, 5.0], [-0.02, 1.1, -7.0]])
    warped = components.copy()
    for c in warped:
        warp(c, affine, abs(np.linalg.det(affine[:, :2])), 1.0)
    expected, predicted = (
        predicted_from(warped, scene, STILL, 1.0, p),
        predicted_from(components, scene, affine, 1.0, p),
    )
    for name in ("mean", "velocity", "p00", "p01", "p11", "scale", "centres"):
        np.testing.assert_allclose(predicted[name], expected[name])


@pytest.mark.parametrize("anchor", [1.0, 0.5, 0.3])
def test_boxes_survive_the_change_to_coordinates_and_back(anchor):
    rng = np.random.default_rng(15)
    corner = rng.uniform(0.0, 500.0, (7, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(2.0, 90.0, (7, 2))], axis=1)
    measured = measured_coordinates(boxes, anchor)
    np.testing.assert_allclose(measured[:, 0], boxes[:, [0, 2]].mean(axis=1))
    np.testing.assert_allclose(measured[:, 1], (1.0 - anchor) * boxes[:, 1] + anchor * boxes[:, 3])
    np.testing.assert_allclose(measured[:, SIZE], boxes[:, 2:] - boxes[:, :2])
    components = np.zeros(7, COMPONENT)
    components["mean"] = measured
    np.testing.assert_allclose(predicted_boxes(components, anchor), boxes)


def test_learning_of_noise_follows_its_equations():
    rng = np.random.default_rng(16)
    count = 40
    components, scene = random_components(rng, count), random_noise_factors(rng)
    scene["velocity_cross"], scene["velocity_square"] = [[20.0, 90.0]], [[40.0, 60.0]]
    z = rng.normal(0.0, 1.5, (count, 4)).clip(-3.0, 3.0)
    confidence, scores = rng.uniform(0.6, 1.0, count), rng.uniform(0.3, 1.0, count)
    detection = np.where(rng.random(count) < 0.8, rng.permutation(count), -1)
    p = numbers()
    learned, factors = components.copy(), scene.copy()
    adapt(learned, factors, z, confidence, scores, detection, TAU, p)

    teach = (detection >= 0) & (confidence > 0.8) & (components["misses"] == 0) & (components["hits"] >= 5)
    teach &= scores[detection] > 0.5
    assert 5 < teach.sum() < count - 5
    now, before = z[teach], components["z"][teach].clip(-3.0, 3.0)
    n = len(now)
    expected = components["log_noise_factor"].copy()
    expected[teach] = (0.98 * expected[teach] + 0.05 * ((now[:, POSITION] ** 2).mean(axis=1) - 1.0)).clip(-2.0, 2.0)
    np.testing.assert_allclose(learned["log_noise_factor"], expected)

    share, c = n / (n + 20.0), 0.3
    lag = (now[:, 0] * before[:, 0] + now[:, 1] * before[:, 1]).mean() / 2.0
    cross = (now[:, 2] * before[:, 3] + now[:, 3] * before[:, 2]).mean() / 2.0
    z2_position, z2_size = (now[:, POSITION] ** 2).mean(), (now[:, SIZE] ** 2).mean()
    steps = {
        "measurement_position": 0.02 * share * (z2_position - 1.0),
        "measurement_size": 0.02 * share * (z2_size - 1.0),
        "process_position": 0.1 * share * ((1.0 - c) * (z2_position - 1.0) + 2.0 * c * (lag - 0.5)),
        "process_size": 0.1 * share * 2.0 * cross,
    }
    for name, step in steps.items():
        assert factors[name][0] == pytest.approx(scene[name][0] * np.exp(step)), name

    lasted = (np.array([70.0, 140.0]) / [90.0, 110.0]) ** (1.0 - 1.25 / TAU)
    np.testing.assert_allclose(velocity_persistence(scene, TAU, p), lasted)
    S = innovation_variances(components, scene, p)[teach][:, POSITION]
    foretold = TAU * components["velocity"][teach][:, POSITION] / np.sqrt(S)
    made, unabated = foretold + now[:, POSITION], foretold / lasted
    for name, products in (("velocity_cross", made * unabated), ("velocity_square", unabated**2)):
        np.testing.assert_allclose(factors[name][0], 0.998 * scene[name][0] + products.sum(axis=0), err_msg=name)


def test_noise_factors_stay_between_a_quarter_and_four():
    components = random_components(np.random.default_rng(17), 30)
    components["hits"], components["misses"] = 10, 0
    for z, bound in ((3.0, 4.0), (0.0, 0.25)):
        scene = initial_state().scene
        components["z"] = z if z else [1.0, 1.0, 3.0, 3.0]
        now = np.full((30, 4), z) if z else np.tile([0.0, 0.0, -1.0, -1.0], (30, 1))
        for _ in range(2000):
            adapt(components, scene, now, np.ones(30), np.ones(30), np.arange(30), 1.0, numbers())
        assert scene["process_position"][0] == bound
        assert scene["process_size"][0] == bound
        assert scene["measurement_position"][0] == bound


def test_without_confident_matches_nothing_is_learned():
    components, scene = random_components(np.random.default_rng(18), 5), initial_state().scene
    before = components.tobytes(), scene.tobytes()
    adapt(components, scene, np.zeros((5, 4)), np.zeros(5), np.zeros(0), np.full(5, -1), 1.0, numbers())
    assert (components.tobytes(), scene.tobytes()) == before


def test_it_is_learned_how_large_innovations_are():
    """By hand for a step; then the scales of Student's t come back, whatever is claimed or not."""
    scene, p = initial_state().scene, numbers()
    scene["innovation_scale"] = 1.0
    z = np.array([[1.0, -2.0, 9.0, 0.0], [5.0, 5.0, 5.0, 5.0]])
    learn_innovation_scale(scene, z, np.array([0, -1]), p)
    surplus = np.array([1.0, 4.0, 9.0, 0.0]) / EXPECTED_CLIPPED_SQUARE - 1.0
    np.testing.assert_allclose(scene["innovation_scale"][0], np.exp(0.02 / 21.0 * surplus))

    rng, true = np.random.default_rng(3), np.array([0.5, 1.0, 0.8, 2.0])
    for _ in range(1500):
        z = true * rng.standard_t(DEGREES_OF_FREEDOM, (20, 4)) * np.sqrt(1.0 - 2.0 / DEGREES_OF_FREEDOM)
        learn_innovation_scale(scene, z, np.arange(20), p)
    np.testing.assert_allclose(scene["innovation_scale"][0], true, rtol=0.1)
    before = scene.copy()
    learn_innovation_scale(scene, np.empty((1, 4)), np.array([-1]), p)
    np.testing.assert_array_equal(scene, before)
