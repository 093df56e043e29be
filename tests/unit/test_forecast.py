"""Forecasts: the law against its closed form, paths against bands, and what a scene teaches."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tracker import Config, Detections, Forecaster, Tracker, forecast
from tracker.config import load_config
from tracker.tracking.forecast import Experience, expected_motion, radius

RATE_HZ = 20.0
TIMES = [0.2, 0.7, 1.5]


def followed(frames: int = 12, step_px: float = 3.0) -> Tracker:
    """Return a tracker that has followed two walkers."""
    tracker = Tracker()
    for n in range(frames):
        boxes = [[10 + step_px * n, 50, 40 + step_px * n, 130], [300, 60, 340, 150 + n]]
        tracker.update(Detections(boxes, [0.9, 0.9]), n / RATE_HZ)
    return tracker


def cxywh(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    left, top, right, bottom = np.moveaxis(boxes_xyxy, -1, 0)
    return np.stack([(left + right) / 2, bottom, right - left, bottom - top], axis=-1)


def by_steps(T: float, sigma: float, start: NDArray[np.float64], time_s: float) -> NDArray[np.float64]:
    """Return the 2x2 covariance of position and velocity, by integrating dP/dt = A P + P A' + Q in small steps."""
    steps = 20_000
    dt = time_s / steps
    A = np.array([[0.0, 1.0], [0.0, -1.0 / T]])
    F = np.eye(2) + A * dt + A @ A * dt**2 / 2
    P = start.copy()
    for _ in range(steps):
        P = F @ P @ F.T + np.diag([0.0, sigma**2 * dt])
    return P


@pytest.mark.parametrize("relaxation_s", [0.3, 3.0, 1e7])
def test_the_variance_is_that_of_the_stochastic_equation(relaxation_s: float) -> None:
    state = followed().state
    law = load_config(overrides=[f"tracking.forecast.relaxation_s=[{', '.join([str(relaxation_s)] * 4)}]"])
    forecast_law = law.tracking.forecast
    shift, variance = expected_motion(state, np.array(TIMES), law)
    c, scene = state.components[0], state.scene[0]
    sigma = forecast_law.diffusion[0] * c["scale"] * scene["process_position"] * np.exp(c["log_noise_factor"])
    told = law.tracking.uncertainty
    ratio = scene["measurement_position"] / scene["process_position"]
    error = told.detector[0] * np.sqrt(c["scale"] * c["mean"][2]) * ratio**told.scene  # all scores alike tell nothing
    start = np.array([[c["p00"][0] + error**2 / 3.0, 25 * c["p01"][0]], [25 * c["p01"][0], 625 * c["p11"][0]]])
    for n, time_s in enumerate(TIMES):
        assert variance[0, n, 0] == pytest.approx(by_steps(relaxation_s, sigma, start, time_s)[0, 0], rel=2e-3)
        reach_s = relaxation_s * -np.expm1(-time_s / relaxation_s)
        assert shift[0, n, 0] == pytest.approx(25 * c["velocity"][0] * reach_s)
    if relaxation_s == 1e7:  # constant velocity, white-noise acceleration
        assert variance[0, :, 0] - start[0, 0] - 2 * np.array(TIMES) * start[0, 1] - np.array(TIMES) ** 2 * start[
            1, 1
        ] == pytest.approx(sigma**2 * np.array(TIMES) ** 3 / 3, rel=1e-5)


def test_samples_have_the_mean_and_the_covariance_of_the_law() -> None:
    """With light tails the radius is a Gaussian's: samples are Ornstein-Uhlenbeck paths, successive times and all."""
    state = followed().state
    config = load_config(overrides=["tracking.forecast.tail_degrees=1.0e+9", "tracking.forecast.prior_count=1"])
    n = 40_000
    drawn = cxywh(forecast(state, TIMES, np.random.default_rng(3), n, config=config))
    shift, variance = expected_motion(state, np.array(TIMES), config)
    mean = state.components["mean"][:, None] + shift
    sd = np.sqrt(variance)
    assert np.all(np.abs(drawn.mean(axis=0) - mean) < 4.5 * sd / np.sqrt(n) + 1e-3 * sd)
    assert drawn.var(axis=0) == pytest.approx(variance, rel=0.05)  # the histogram's bins cost up to 2 %
    # Cov(x_s, x_t) = V_s + Cov(x_s, v_s) T (1 - e^-(t-s)/T), the latter from dV/dt = 2 Cov(x, v).
    h, T = 1e-4, config.tracking.forecast.relaxation_s[0]
    _, around = expected_motion(state, np.array([TIMES[0] - h, TIMES[0] + h]), config)
    slope = (around[:, 1, 0] - around[:, 0, 0]) / (4 * h)
    expected = variance[:, 0, 0] + slope * T * -np.expm1(-(TIMES[1] - TIMES[0]) / T)
    for k in range(2):
        both = np.cov(drawn[:, k, 0, 0], drawn[:, k, 1, 0])[0, 1]
        assert both == pytest.approx(expected[k], rel=0.06)


def test_bands_hold_their_share_of_the_samples() -> None:
    tracker = followed()
    forecaster = Forecaster()
    fans = forecaster.fans(tracker.state, TIMES, (0.5, 0.9))
    drawn = cxywh(forecaster.sample(tracker.state, TIMES, np.random.default_rng(5), 20_000))[..., :2]
    inside = (((drawn[None] - fans.centres) / fans.axes[:, None]) ** 2).sum(axis=-1) <= 1.0
    for band, share in enumerate((0.5, 0.9)):
        assert inside[band].mean(axis=0) == pytest.approx(np.full((2, 3), share), abs=0.012)
    assert (np.diff(fans.axes, axis=2) > 0).all(), "what is farther ahead is less sure"
    assert fans.ids.tolist() == tracker.tracks(coasting=True).ids.tolist()


def test_the_law_has_the_radius_of_students_t() -> None:
    law = Config().tracking.forecast
    told = radius([0.25, 0.5, 0.9], np.array([0.5]), law, Experience.none())[:, 0, 0]
    t = stats.multivariate_t([0, 0], np.eye(2), df=law.tail_degrees).rvs(200_000, random_state=1)
    assert told == pytest.approx(np.quantile(np.hypot(*t.T), [0.25, 0.5, 0.9]), rel=0.02)


def test_equal_generators_give_equal_futures_and_nothing_is_changed() -> None:
    state = followed().state
    before = state.components.copy()
    first, again, other = (forecast(state, TIMES, np.random.default_rng(seed), 7) for seed in (1, 1, 2))
    assert first.shape == (7, 2, 3, 4)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[..., 2:] > first[..., :2]).all()
    np.testing.assert_array_equal(state.components, before)


def test_nobody_has_no_future() -> None:
    state = Tracker().state
    assert forecast(state, [1.0], np.random.default_rng(0), 3).shape == (3, 0, 1, 4)
    assert Forecaster().fans(state, [1.0]).axes.shape == (2, 0, 1, 2)


@pytest.mark.parametrize("times", [[], [0.0, 1.0], [1.0, 0.5], [1.0, 1.0], [-1.0], [np.inf], [np.nan]])
def test_times_must_be_positive_and_ascending(times: list[float]) -> None:
    with pytest.raises(ValueError, match="positive and ascending"):
        forecast(Tracker().state, times, np.random.default_rng(0))


def test_at_least_one_sample() -> None:
    with pytest.raises(ValueError, match="samples is 0"):
        forecast(Tracker().state, [1.0], np.random.default_rng(0), 0)


def walk(rng: np.random.Generator, frames: int, turning_px: float) -> NDArray[np.float64]:
    """Return (frames, 12, 2) feet of walkers far apart; each frame's velocity is a new one with a mean of 30 px/s."""
    start = np.stack(np.meshgrid(np.arange(4) * 900.0, np.arange(3) * 900.0), -1).reshape(-1, 2)
    steps = np.where(np.arange(12)[:, None] % 2, 1, -1) * [1.5, 0.0] + rng.normal(0, turning_px, (frames, 12, 2))
    return start + np.cumsum(steps, axis=0)


def run_on(
    feet: NDArray[np.float64], config: Config, shift_px: float = 0.0
) -> tuple[list[Tracker], Forecaster, NDArray[np.float64]]:
    """Follow walkers before a camera that pans; return the forecaster and what its bands held at .5 s of the truth."""
    tracker, forecaster, held = Tracker(config), Forecaster(config), []
    ahead = round(0.5 * RATE_HZ)
    noise = np.random.default_rng(9).normal(0, 2.5, feet.shape)
    affine = np.array([[1.0, 0.0, shift_px], [0.0, 1.0, 0.0]])
    for n, places in enumerate(feet):
        seen = places + noise[n] + np.array([shift_px * n, 0.0])
        x, y = seen.T
        boxes = np.column_stack([x - 15, y - 80, x + 15, y])
        tracker.update(Detections(boxes), n / RATE_HZ, affine)
        forecaster.observe(tracker.state, affine)
        if n > 100 and n + ahead < len(feet) and len(tracker.state.components) == 12:
            fans = forecaster.fans(tracker.state, [0.5])
            order = np.argsort(fans.ids)
            truth = feet[n + ahead] + np.array([shift_px * n, 0.0])
            gap = (truth - fans.centres[order, 0]) / fans.axes[:, order, 0]
            held.append(((gap**2).sum(axis=2) <= 1.0).mean(axis=1))
    return tracker, forecaster, np.array(held)


@pytest.mark.parametrize("turning_px", [3.0, 6.0])
def test_what_a_scene_teaches_makes_its_bands_true(turning_px: float) -> None:
    feet = walk(np.random.default_rng(2), 700, turning_px)
    _, _, by_law = run_on(feet, load_config(overrides=["tracking.forecast.learn=false"]))
    _, _, learned = run_on(feet, Config())
    off_by_law, off = (np.abs(held.mean(axis=0) - [0.5, 0.9]) for held in (by_law, learned))
    assert (off < 0.06).all()
    assert off.sum() < off_by_law.sum()


def test_a_camera_that_pans_teaches_the_same_as_one_that_stands_still() -> None:
    feet = walk(np.random.default_rng(4), 160, 1.0)
    _, still, _ = run_on(feet, Config())
    _, panned, _ = run_on(feet, Config(), shift_px=4.0)
    assert still.experience.foretold.sum() > 0
    np.testing.assert_allclose(panned.experience.foretold, still.experience.foretold, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(panned.experience.came_true, still.experience.came_true, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(panned.experience.radii, still.experience.radii, atol=1e-9)


def test_a_tracker_that_begins_anew_is_not_held_to_what_was_foretold_before() -> None:
    """Its identities begin at 1 again, 400 px away: nobody has jumped there."""
    tracker, forecaster, _ = run_on(walk(np.random.default_rng(4), 60, 1.0), Config())
    before = forecaster.experience.radii
    tracker.reset()
    for n in range(60):
        tracker.update(Detections([[500 + n, 0, 520 + n, 60]]), 3.0 + n / RATE_HZ)
        forecaster.observe(tracker.state)
    faded = np.exp(-60 / RATE_HZ / Config().tracking.forecast.memory_s)
    added = forecaster.experience.radii - faded * before
    beyond_ten_deviations = 51
    assert added.sum() > 1.0
    assert added[:, 0, beyond_ten_deviations:].sum() < 1e-2


def test_nothing_is_learned_across_a_cut_but_what_was_learned_stays() -> None:
    tracker, forecaster, _ = run_on(walk(np.random.default_rng(4), 60, 1.0), Config())
    known = forecaster.experience
    forecaster.cut()
    tracker.update(Detections([[0, 0, 20, 60]]), 60 / RATE_HZ)
    forecaster.observe(tracker.state)
    np.testing.assert_array_equal(forecaster.experience.radii, known.radii)
    assert known.radii.sum() > 0
