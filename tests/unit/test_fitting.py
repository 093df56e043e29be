"""Learning from recordings: numbers come back, the likelihood rises, and only what proves itself is taken over."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from tests.simulated import RATE_HZ, Truth, exact_model, labelled_scene, lone_walker, simulate
from tracker import Config, Detections, Tracker, load_config
from tracker.app.fitting import em, without_truth
from tracker.app.fitting.em import learn
from tracker.app.fitting.recordings import Recording
from tracker.app.fitting.with_truth import label_fit
from tracker.evaluation.labelled import label, true_history
from tracker.formats.table import TrackTable
from tracker.tracking.fitting.calibration import Calibration, fitted_calibration
from tracker.tracking.fitting.expectation import explain
from tracker.tracking.fitting.filtering import filtered_log_likelihood
from tracker.tracking.fitting.free_parameters import numbers_of, with_numbers
from tracker.tracking.fitting.likelihood import clutter_volume, log_likelihood
from tracker.tracking.fitting.maximisation import Fit, fitted_detection_probability, fitted_noise, maximise
from tracker.tracking.fitting.rates import Rates, rates
from tracker.tracking.motion import TAU_PER_S

FAR_OFF = (
    "motion.measurement_noise=[0.1, 0.1, 0.1, 0.05]",
    "motion.process_noise=[0.1, 0.05, 0.01, 0.01]",
    "association.detection_probability=0.5",
    "association.score_weight=0.7",
)


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return [Recording(f"{seed}", RATE_HZ, simulate(Truth(), seed)) for seed in (1, 2)]


@pytest.mark.parametrize("start", [(), FAR_OFF], ids=["default", "far off"])
def test_the_numbers_of_the_model_come_back(recordings, start) -> None:
    truth = Truth()
    learned, _ = learn(recordings, exact_model(*start), prior_weight=0.0, max_iterations=20)
    n = learned.fit.numbers
    assert learned.ending == "converged"
    assert n["tracking.motion.measurement_noise"] == pytest.approx(truth.measurement, rel=0.05)
    assert n["tracking.motion.process_noise"][:2] == pytest.approx(truth.process[:2], rel=0.15)
    assert n["tracking.motion.process_noise"][2:] == pytest.approx(truth.process[2:], rel=0.35)
    assert n["tracking.association.detection_probability"] == pytest.approx(truth.detected, abs=0.02)
    assert n["tracking.association.clutter_density"] == pytest.approx(truth.clutter_density, rel=0.1)
    assert n["tracking.association.score_weight"] == pytest.approx(truth.score_weight, rel=0.1)
    assert n["tracking.association.score_neutral"] == pytest.approx(truth.score_neutral, abs=0.03)
    error = learned.fit.errors["tracking.motion.measurement_noise"]
    assert all(0.005 < e < 0.02 for e in error), "of some 5400 observations, and as many unknown positions"


def test_the_log_likelihood_rises(recordings) -> None:
    learned, _ = learn(recordings, exact_model(*FAR_OFF), prior_weight=0.0, max_iterations=20)
    values = learned.log_likelihoods
    assert values[1] > values[0] + 1000.0
    assert all(after > before - em.CONVERGED * abs(before) for before, after in pairwise(values))


def test_a_stronger_prior_holds_the_numbers_where_they_were(recordings) -> None:
    config = exact_model()
    explained = [explain(r.frames, r.frame_rate_hz, config) for r in recordings[:1]]
    volume = clutter_volume(explained, 0.2)
    before = np.hstack(list(numbers_of(config).values())[:7])
    moved = []
    for weight in (0.0, 1e3, 1e9):
        fit = maximise(explained, config, config, weight, volume)
        after = np.hstack([fit.numbers[key] for key in list(numbers_of(config))[:7]])
        moved.append(np.abs(np.log(after / before)))
    assert moved[1].sum() < moved[0].sum()
    assert (moved[2] < 1e-3).all()


def scripted(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Let the log-likelihood take these values, and stand for noise that differs from iteration to iteration."""
    left = iter(values)
    monkeypatch.setattr(em, "log_likelihood", lambda *_: next(left))
    monkeypatch.setattr(em, "explain", lambda *_: None)
    monkeypatch.setattr(em, "clutter_volume", lambda *_: 1.0)
    done: list[int] = []

    def maximise(*_: object) -> Fit:
        done.append(1)
        return Fit({"tracking.motion.initial_velocity": 0.1 * len(done)}, {})

    monkeypatch.setattr(em, "maximise", maximise)


def test_neither_looks_nor_reports_that_wait_matter_to_the_fit(recordings) -> None:
    """A configuration for films, which detections without pictures cannot serve, is fitted all the same."""
    frames, rate_hz = recordings[0].frames[:60], recordings[0].frame_rate_hz
    filming = load_config(overrides=["tracking.appearance=histogram", "tracking.lag_frames=5"])
    plain, same = (log_likelihood([explain(frames, rate_hz, c)], Config(), 1.0) for c in (Config(), filming))
    assert plain == same


@pytest.mark.parametrize(
    ("values", "ending", "best"),
    [
        ([-1000.0, -900.0, -850.0, -852.0], "fell", 2),
        ([-1000.0, -900.0, -899.99], "converged", 2),
        ([-1000.0, -900.0, -900.5], "converged", 1),
        ([-1000.0, -1002.0], "fell", 0),
        ([-1000.0, -900.0, -800.0, -700.0, -600.0], "stopped", 4),
    ],
)
def test_a_fall_stops_and_the_best_is_kept(monkeypatch, values, ending, best) -> None:
    scripted(monkeypatch, values)
    learned, _ = learn([Recording("a", 25.0, ())], Config(), prior_weight=0.0, max_iterations=4)
    assert learned.ending == ending
    assert learned.log_likelihoods == tuple(values)
    expected = {"tracking.motion.initial_velocity": pytest.approx(0.1 * best)} if best else {}
    assert learned.fit.numbers == expected


def test_filtering_repeats_what_the_tracker_did() -> None:
    config = load_config(overrides=["tracking.association.direction=0"])
    association = config.tracking.association
    tracker = Tracker(config)
    expected = 0.0
    score = math.log(0.9 / 0.1) - math.log(0.7 / 0.3)
    for n, detections in enumerate(lone_walker(), 1):
        tracker.update(detections, time_s=n / RATE_HZ)
        if n > 1:
            psi = math.expm1(tracker.info.log_likelihood - math.log1p(-association.detection_probability))
            known = math.log(0.7 / 0.3) - math.log(association.clutter_density) - 2.0 * math.log(2.0 * math.pi) + score
            expected += psi / (1.0 + psi) * (math.log(psi) - known)
    history = explain(lone_walker(), RATE_HZ, config).history
    assert filtered_log_likelihood([history], config) == pytest.approx(expected, rel=1e-9)


def test_true_owners_make_the_history_that_the_tracker_makes_of_a_plain_scene() -> None:
    frames, config = lone_walker(), Config()
    history = explain(frames, RATE_HZ, config).history
    true = true_history(
        np.arange(1, 61), np.full(60, 7), history.measured, history.scores, len(frames), TAU_PER_S / RATE_HZ
    )
    for name in ("tau", "row_start", "claim", "pair_start", "pair_detection", "born_start", "born"):
        assert np.array_equal(getattr(true, name), getattr(history, name)), name
    assert filtered_log_likelihood([true], config) == pytest.approx(
        filtered_log_likelihood([history], config), rel=1e-3
    )


def test_the_noise_step_never_lowers_what_it_maximises(recordings) -> None:
    config = Config()
    histories = [explain(r.frames[:100], r.frame_rate_hz, config).history for r in recordings]
    numbers, _ = fitted_noise(histories, config, config, 0.0)
    best = with_numbers(config, numbers)
    at_best = filtered_log_likelihood(histories, best)
    assert at_best > filtered_log_likelihood(histories, config)
    for i in range(9):
        for factor in (0.8, 1.25):
            values = np.hstack(list(numbers.values()))
            values[i] *= factor
            moved = with_numbers(
                config, dict(zip(numbers, (tuple(values[:4]), tuple(values[4:8]), values[8]), strict=True))
            )
            assert filtered_log_likelihood(histories, moved) <= at_best + 1e-9


def test_clutter_alone_has_the_likelihood_of_a_poisson_process() -> None:
    rng = np.random.default_rng(3)
    corners = rng.uniform(0.0, 1e6, (400, 2))
    frames = tuple(
        Detections(np.column_stack([c, c + np.array([40.0, 90.0])]), np.full(4, 0.5)) for c in corners.reshape(-1, 4, 2)
    )
    config = load_config(overrides=["tracking.association.score_weight=0"])
    explained = [explain(frames, RATE_HZ, config)]
    n, f, volume, c = 400, 100, 7.0, 0.2
    expected = n * math.log(c / n) - c * volume * f - 4.0 * n * math.log(math.sqrt(40.0 * 90.0))
    assert explained[0].shares.sum() == 0.0
    assert log_likelihood(explained, config, volume) == pytest.approx(expected, rel=1e-9)
    fit = maximise(explained, config, config, 0.0, volume)
    assert fit.numbers["tracking.association.clutter_density"] == pytest.approx(n / (volume * f))


def test_calibration_is_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    logits = rng.normal(0.5, 1.5, 3000)
    is_object = rng.random(3000) < 1.0 / (1.0 + np.exp(0.7 - 1.3 * logits))
    fit = fitted_calibration(logits, is_object.astype(float), 0.7, 1.0, 0.0)
    theirs = LogisticRegression(C=1e9, tol=1e-10).fit(logits[:, None], is_object)
    assert (fit.offset, fit.weight) == pytest.approx((theirs.intercept_[0], theirs.coef_[0, 0]), abs=1e-3)
    assert abs(fit.offset + 0.7) < 4.0 * fit.offset_error < 0.4
    held = fitted_calibration(logits, is_object.astype(float), 0.7, 1.0, 1e9)
    assert (held.weight, held.neutral) == pytest.approx((1.0, 0.7), abs=1e-3)


def test_the_neutral_score_is_where_the_ratio_of_the_densities_is_one() -> None:
    calibration = Calibration(offset=0.4, weight=2.0, share=0.6, offset_error=0.0, weight_error=0.0)
    # p1/p0 = (odds of an object given the score) / (odds of an object)
    score = calibration.neutral
    odds = math.exp(0.4) * (score / (1.0 - score)) ** 2
    assert odds == pytest.approx(0.6 / 0.4)
    assert calibration.score_at(0.8) > calibration.score_at(0.5)


def test_detection_probability_is_a_share_and_its_prior_is_more_of_them() -> None:
    detected, plain = np.repeat([1.0, 0.0], [60, 40]), np.ones(100)
    assert fitted_detection_probability(detected, plain, 0.7, 0.0)[0] == pytest.approx(0.6, abs=1e-4)
    assert fitted_detection_probability(detected, plain, 0.9, 200.0)[0] == pytest.approx(0.8, abs=1e-4)
    assert fitted_detection_probability(detected, plain, 0.7, 0.0)[1] == pytest.approx(math.sqrt(0.6 * 0.4 / 100))


def test_truth_labels_detections_and_misses() -> None:
    frames, truth = labelled_scene()
    labelled = label(frames, truth, RATE_HZ, Config())
    assert labelled.is_object.reshape(-1, 2).tolist() == [[True, False]] * 40
    assert labelled.detected.reshape(-1, 2).tolist() == [[1.0, 0.0]] * 40
    assert (labelled.near_count, labelled.near_volume) == (40.0, 4.0 * 80)
    assert labelled.plainness.tolist() == [1.0] * 80
    fit = label_fit([labelled], Config(), 0.0)
    assert fit.numbers["tracking.association.detection_probability"] == pytest.approx(0.5, abs=1e-4)
    assert fit.numbers["tracking.association.clutter_density"] == pytest.approx(40 / 320)


def comings_and_goings() -> tuple[tuple[Detections, ...], TrackTable]:
    """Return 100 frames with two objects throughout, three more from frames 40, 60 and 61 on, and two false boxes."""
    rng = np.random.default_rng(8)
    begins = (1, 1, 40, 60, 61)
    frames, rows = [], []
    for n in range(1, 101):
        true = [(300.0 * k + n, 100.0, 40.0, 100.0) for k, first in enumerate(begins) if n >= first]
        rows += [(n, k, *box) for k, box in enumerate(true, 1)]
        false = [(x, 5000.0, 40.0, 100.0) for x in rng.uniform(0.0, 1e6, 2)]
        ltwh = np.array(true + false)
        xyxy = np.column_stack([ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]])
        frames.append(Detections(xyxy, [0.9] * len(true) + [0.4, 0.4]))
    table = np.array(rows)
    return tuple(frames), TrackTable(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:])


def test_births_and_clutter_are_told_apart() -> None:
    frames, truth = comings_and_goings()
    explained = explain(frames, RATE_HZ, Config())
    labelled = label(frames, truth, RATE_HZ, Config())
    for found in (explained, labelled):
        assert found.births == 3, "who is there at once was not born"
        assert found.watched_s == pytest.approx(3.0)
    assert np.count_nonzero(~labelled.is_object) == 200
    assert explained.clutter == pytest.approx(200.0, abs=1.0), "the five first detections are none"
    assert explain(frames[:20], RATE_HZ, Config()).watched_s == 0.0
    learned = without_truth.fit_without_truth(
        [Recording("a", RATE_HZ, frames)], Config(), prior_weight=1.0, max_iterations=1, seed=0
    )
    assert learned.rates.births_per_s == pytest.approx(1.0)
    assert learned.rates.clutter_per_frame == pytest.approx(2.0, abs=0.01)


def test_rates_are_those_of_poisson_processes() -> None:
    assert rates(16, 8.0, 400.0, 100) == Rates(2.0, 0.5, 4.0, 0.2)
    assert rates(0, 0.0, 0.0, 100) == Rates(0.0, math.inf, 0.0, 0.01)
