"""Learning from recordings: numbers come back, the likelihood rises, and only what proves itself is taken over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.simulated import RATE_HZ, Truth, exact_model, simulate
from tracker import Config, Detections, Tracker, load_config
from tracker.app import fitting
from tracker.app.fitting import Recording, find_recordings, learn, overrides, write_fitted
from tracker.errors import ConfigurationError, FormatError, OutputError
from tracker.evaluation.labelled import label, true_history
from tracker.formats.table import TrackTable
from tracker.geometry import xyxy_to_ltwh
from tracker.structures import FloatArray, IntArray
from tracker.tracking.cloze import Cloze, answers, clozes, identities
from tracker.tracking.fitting.calibration import Calibration, fitted_calibration
from tracker.tracking.fitting.expectation import explain
from tracker.tracking.fitting.filtering import filtered_log_likelihood
from tracker.tracking.fitting.free_parameters import FREE_PARAMETERS, numbers_of, with_numbers
from tracker.tracking.fitting.likelihood import clutter_volume, log_likelihood
from tracker.tracking.fitting.maximisation import fitted_detection_probability, fitted_noise, maximise
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
    assert all(after > before - fitting.CONVERGED * abs(before) for before, after in pairwise(values))


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
    monkeypatch.setattr(fitting, "log_likelihood", lambda *_: next(left))
    monkeypatch.setattr(fitting, "explain", lambda *_: None)
    monkeypatch.setattr(fitting, "clutter_volume", lambda *_: 1.0)
    done: list[int] = []

    def maximise(*_: object) -> fitting.Fit:
        done.append(1)
        return fitting.Fit({"tracking.motion.initial_velocity": 0.1 * len(done)}, {})

    monkeypatch.setattr(fitting, "maximise", maximise)


def test_neither_looks_nor_reports_that_wait_matter_to_the_fit(recordings) -> None:
    """A configuration for films, which detections without pictures cannot serve, is fitted all the same."""
    frames, rate_hz = recordings[0].frames[:60], recordings[0].frame_rate_hz
    filming = load_config(overrides=["tracking.appearance=histogram", "tracking.lag_frames=5"])
    plain, same = (log_likelihood([explain(frames, rate_hz, c)], Config(), 1.0) for c in (Config(), filming))
    assert plain == same


def test_a_recording_of_one_frame_is_one_part() -> None:
    """Few recordings are cut into parts, but into no more than they have frames."""
    box = np.array([[10.0, 10.0, 30.0, 50.0]])

    def still(name: str, frames: int) -> Recording:
        numbers = np.arange(1, frames + 1)
        truth = TrackTable(numbers, np.ones(frames, int), np.tile(xyxy_to_ltwh(box), (frames, 1)))
        return Recording(name, 25.0, (Detections(box, [0.9]),) * frames, truth)

    folds = fitting._folds([still("long", 100), still("short", 1)], 0)
    assert [len(fold[0].frames) for fold in folds] == [50, 50, 1]
    with fitting._scorer(folds, 1) as score:
        assert np.isfinite(score([Config()], np.arange(len(folds)))).all()


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


def lone_walker(frames: int = 60) -> tuple[Detections, ...]:
    rng = np.random.default_rng(5)
    x = 100.0 + 2.0 * np.arange(frames) + rng.normal(0.0, 0.5, frames)
    return tuple(Detections([[left, 100.0, left + 30.0, 180.0]], [0.9]) for left in x)


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


CLAIM, GATE = "tracking.association.claim", "tracking.association.gate_iou"


def made_up(gains: dict[float, list[float]]) -> fitting.Score:
    """Return a score on folds that depends on one number alone, and gains this where it has that value."""

    def score(configs: Sequence[Config], folds: IntArray) -> FloatArray:
        values = [gains.get(c.tracking.association.claim, [0.0] * 99) for c in configs]
        return 50.0 + np.array([np.array(v)[folds] for v in values])

    return score


@pytest.mark.parametrize(
    ("gains", "expected", "gain"),
    [
        ({0.2: [1.0, 1.2, 0.9, 1.1], 0.3: [0.0, 0.1, 0.0, 0.1]}, 0.2, 1.05),
        ({0.2: [1.0, 1.2, 0.9, 1.1], 0.3: [2.0, 2.2, 1.9, 2.1]}, 0.3, 2.05),
        ({0.2: [8.0, 0.0, 0.0, 0.0]}, 0.1, 0.0),  # would be chosen for one fold's sake
        ({0.2: [0.5, -0.5, 0.6, -0.6]}, 0.1, 0.0),
        # Each is chosen where it gained, and does not elsewhere: the first three of four folds never hold out both.
        ({0.2: [1.0, 1.1, 1.0, -9.0], 0.3: [-9.0, 1.0, 1.1, 1.0]}, 0.1, (-9.0 - 9.0) / 4),
        ({0.2: [-1.0, -1.1, -1.0, -0.9]}, 0.1, 0.0),
    ],
)
def test_a_change_must_gain_where_it_was_not_chosen(gains, expected, gain) -> None:
    trials = {CLAIM: lambda _: [{CLAIM: value} for value in gains]}
    found, verdicts = fitting.proven_search(made_up(gains), 4, Config(), trials)
    assert found.tracking.association.claim == expected
    assert [v.name for v in verdicts] == [CLAIM, fitting.ALL]
    assert verdicts[-1].gain == pytest.approx(gain)
    assert [v.taken for v in verdicts] == [expected != 0.1] * 2


def test_what_is_chosen_later_stands_on_what_was_chosen_before() -> None:
    def score(configs: Sequence[Config], folds: IntArray) -> FloatArray:
        of = [(c.tracking.association.claim == 0.2, c.tracking.association.gate_iou == 0.0) for c in configs]
        return np.array([(claim + 2.0 * (claim and gate) - (gate and not claim)) * (9.0 + folds) for claim, gate in of])

    trials = {CLAIM: lambda _: [{CLAIM: 0.2}], GATE: lambda _: [{GATE: 0.0}]}
    found, verdicts = fitting.proven_search(score, 6, Config(), trials)
    assert (found.tracking.association.claim, found.tracking.association.gate_iou) == (0.2, 0.0)
    assert [v.taken for v in verdicts] == [True] * 3
    assert [round(v.gain, 6) for v in verdicts] == [11.5, 23.0, 34.5]
    backwards, verdicts = fitting.proven_search(score, 6, Config(), dict(reversed(trials.items())))
    assert backwards.tracking.association.gate_iou == Config().tracking.association.gate_iou
    assert [v.taken for v in verdicts] == [False, True, True]


def test_chance_seldom_changes_anything() -> None:
    rng = np.random.default_rng(1)
    options = [round(0.11 + 0.01 * n, 2) for n in range(24)]
    trials = {f"{n}": (lambda _, n=n: [{CLAIM: value} for value in options[3 * n : 3 * n + 3]]) for n in range(8)}
    chosen = taken = 0
    for _ in range(300):
        score = made_up({value: rng.normal(0.0, 1.0, 8).tolist() for value in options})
        found, verdicts = fitting.proven_search(score, 8, Config(), trials)
        chosen += any(v.gain > fitting.SURE * v.error for v in verdicts[:-1])
        taken += found != Config()
    assert chosen > 100, "or there is nothing to be fooled by"
    assert taken < 2.0 * fitting.CHANCE * 300  # not 1.0: the searches for the quarters have data in common


def test_what_is_hidden_was_followed_before_and_after() -> None:
    # Object 4 is row 1 throughout but for frame 30, where it is not seen; object 9 is too short.
    known = [np.array([-1, 4]) for _ in range(60)]
    known[30] = np.array([-1, -1])
    known[5] = np.array([9, 4])
    cloze = clozes(known, 10.0, 0.4, seed=0)
    assert len(cloze.questions) >= 1
    assert len(cloze.hidden) == 4 * len(cloze.questions)
    for before, row, after, other in cloze.questions.tolist():
        assert (row, other, after - before) == (1, 1, 4 + 3)
        assert [f for f, r in cloze.hidden.tolist() if before < f < after] == list(range(before + 1, before + 5))
        assert not before <= 30 <= after


def test_who_comes_back_is_told_from_who_does_not() -> None:
    stays = lone_walker(40)
    config = Config()
    known = identities(stays, RATE_HZ, config)
    assert {int(ids[0]) for ids in known} == {1}
    gap = Cloze(np.array([[f, 0] for f in range(20, 24)]), np.array([[19, 0, 27, 0]]))
    assert answers(stays, RATE_HZ, config, gap).tolist() == [True]
    # The same gap, but what comes after it is a thousand pixels away.
    leaps = stays[:24] + tuple(Detections(d.boxes_xyxy + np.array([1000, 0, 1000, 0]), d.scores) for d in stays[24:])
    assert answers(leaps, RATE_HZ, config, gap).tolist() == [False]
    assert answers(stays, RATE_HZ, config, Cloze(gap.hidden[:0], gap.questions[:0])).shape == (0,)


def labelled_scene() -> tuple[tuple[Detections, ...], TrackTable]:
    """Return objects of score .9 every frame, a false detection of score .3 beside each, and a missed one."""
    frames, rows = [], []
    for n in range(1, 41):
        box = np.array([100.0 + n, 100.0, 140.0 + n, 200.0])
        false = box + np.array([20.0, 40.0, 20.0, 40.0])
        frames.append(Detections([box, false], [0.9, 0.3]))
        rows += [(n, 1, *xyxy_to_ltwh(box[None])[0]), (n, 2, 900.0, 100.0, 40.0, 100.0)]
    table = np.array(rows)
    return tuple(frames), TrackTable(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:])


def test_truth_labels_detections_and_misses() -> None:
    frames, truth = labelled_scene()
    labelled = label(frames, truth, RATE_HZ, Config())
    assert labelled.is_object.reshape(-1, 2).tolist() == [[True, False]] * 40
    assert labelled.detected.reshape(-1, 2).tolist() == [[1.0, 0.0]] * 40
    assert (labelled.near_count, labelled.near_volume) == (40.0, 4.0 * 80)
    assert labelled.plainness.tolist() == [1.0] * 80
    fit = fitting.label_fit([labelled], Config(), 0.0)
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
    learned = fitting.fit_without_truth(
        [Recording("a", RATE_HZ, frames)], Config(), prior_weight=1.0, max_iterations=1, seed=0
    )
    assert learned.rates.births_per_s == pytest.approx(1.0)
    assert learned.rates.clutter_per_frame == pytest.approx(2.0, abs=0.01)


def test_rates_are_those_of_poisson_processes() -> None:
    assert rates(16, 8.0, 400.0, 100) == Rates(2.0, 0.5, 4.0, 0.2)
    assert rates(0, 0.0, 0.0, 100) == Rates(0.0, math.inf, 0.0, 0.01)


def test_a_file_holds_what_differs_and_reads_as_it_was(tmp_path: Path) -> None:
    config = load_config(overrides=["tracking.lifecycle.birth_score=0.55", "tracking.lag_frames=3"])
    changed = with_numbers(config, {"tracking.motion.process_noise": (0.03, 0.005, 0.005, 0.004)})
    path = tmp_path / "fitted.yaml"
    write_fitted(path, Config(), changed, ["learned from a: b", "# and more"])
    assert load_config(path) == changed
    assert yaml.safe_load(path.read_text()) == {
        "tracking": {
            "lag_frames": 3,
            "motion": {"process_noise": [0.03, 0.005, 0.005, 0.004]},
            "lifecycle": {"birth_score": 0.55},
        }
    }
    write_fitted(path, Config(), Config(), ["nothing"])
    assert load_config(path) == Config()
    assert overrides({"a": {"b": 1}}, {"a": {"b": 1}}) == {}
    with pytest.raises(OutputError, match="cannot be written"):
        write_fitted(tmp_path / "no" / "fitted.yaml", Config(), changed, [])


def test_every_number_has_its_place_in_the_configuration() -> None:
    assert {key for keys in fitting.GROUPS.values() for key in keys} == set(FREE_PARAMETERS)
    assert with_numbers(Config(), numbers_of(Config())) == Config()
    for key in fitting.POLICY:
        for change in fitting._options(key, Config()):
            assert Config.model_validate(with_numbers(Config(), change).model_dump()) != Config()


def write_sequence(folder: Path, frames: tuple[Detections, ...], rate_hz: float | None = RATE_HZ) -> None:
    (folder / "det").mkdir(parents=True)
    rows = [
        f"{n},-1,{','.join(map(str, box))},{score}\n"
        for n, d in enumerate(frames, 1)
        for box, score in zip(xyxy_to_ltwh(d.boxes_xyxy).tolist(), d.scores.tolist(), strict=True)
    ]
    (folder / "det" / "det.txt").write_text("".join(rows))
    if rate_hz is not None:
        (folder / "seqinfo.ini").write_text(f"[Sequence]\nframeRate={rate_hz:g}\nseqLength={len(frames) + 5}\n")


def test_sequences_are_found_however_they_lie(tmp_path: Path, recordings) -> None:
    for name in ("set/b", "set/a"):
        write_sequence(tmp_path / name, recordings[0].frames[:60])

    def found(path: Path) -> dict[str, tuple[float, int]]:
        one = find_recordings(path, None, frame_rate_hz=None, config=Config())
        return {r.name: (r.frame_rate_hz, len(r.frames)) for r in one}

    assert found(tmp_path / "set" / "a" / "det" / "det.txt") == {"a": (RATE_HZ, 65)}
    assert found(tmp_path / "set" / "a") == {"a": (RATE_HZ, 65)}
    assert found(tmp_path / "set") == {"a": (RATE_HZ, 65), "b": (RATE_HZ, 65)}
    assert found(tmp_path) == {"set/a": (RATE_HZ, 65), "set/b": (RATE_HZ, 65)}


def test_an_unknown_rate_is_said(tmp_path: Path, recordings) -> None:
    write_sequence(tmp_path / "a", recordings[0].frames[:60], None)
    said: list[str] = []
    one = find_recordings(tmp_path / "a", None, frame_rate_hz=None, config=Config(), notice=said.append)
    assert one[0].frame_rate_hz == 30.0
    assert len(said) == 1
    assert "30 Hz (tracking.frame_rate_hz) is assumed" in said[0]


def test_the_rate_of_the_run_that_wrote_the_detections_counts(tmp_path: Path, recordings) -> None:
    write_sequence(tmp_path / "a", recordings[0].frames[:60])
    (tmp_path / "a" / "det" / "run.yaml").write_text(
        "{program: gmm-tracker, input: {frame_rate_hz: 12.5}, files: {}}\n"
    )
    said: list[str] = []
    one = find_recordings(tmp_path / "a", None, frame_rate_hz=None, config=Config(), notice=said.append)
    assert one[0].frame_rate_hz == 12.5
    assert len(said) == 1
    assert "run.yaml says 12.5 Hz" in said[0]


def test_what_cannot_teach_is_refused(tmp_path: Path, recordings) -> None:
    def refused(path: Path, truth: Path | None, message: str) -> None:
        with pytest.raises(FormatError, match=message):
            find_recordings(path, truth, frame_rate_hz=None, config=Config())

    refused(tmp_path / "none", None, "is neither a file nor a folder")
    refused(tmp_path, None, "holds no detections")
    write_sequence(tmp_path / "short", recordings[0].frames[:20])
    refused(tmp_path / "short", None, "has 25 frames with .* nothing to learn from fewer than 50 frames")
    write_sequence(tmp_path / "long", recordings[0].frames[:60])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.txt").write_text("1,1,10,10,20,40,1\n")
    (tmp_path / "other" / "y.txt").write_text("1,1,10,10,20,40,1\n")
    refused(tmp_path / "long", tmp_path / "other", "has no truth for long")
    hard = load_config(overrides=["tracking.association.responsibilities=assignment"])
    with pytest.raises(ConfigurationError, match="only exclusive ones have a likelihood"):
        find_recordings(tmp_path / "long", None, frame_rate_hz=None, config=hard)


def test_an_empty_sequence_among_others_teaches_nothing(tmp_path: Path, recordings) -> None:
    write_sequence(tmp_path / "full", recordings[0].frames[:60])
    write_sequence(tmp_path / "empty", (), None)
    found = find_recordings(tmp_path, None, frame_rate_hz=None, config=Config())
    assert [r.name for r in found] == ["full"]


def test_truth_of_something_else_is_refused() -> None:
    frames, truth = labelled_scene()
    elsewhere = replace(truth, boxes_ltwh=truth.boxes_ltwh + np.array([5000.0, 0.0, 0.0, 0.0]))
    with pytest.raises(FormatError, match="no detection covers any row of the truth"):
        fitting.fit_with_truth(
            [Recording("a", RATE_HZ, frames, elsewhere)], Config(), prior_weight=1.0, seed=0, processes=1
        )


ABSURD = {"tracking.motion.measurement_noise": (1e-4,) * 4, "tracking.motion.process_noise": (1e-4,) * 4}


def test_what_keeps_identities_worse_is_left(recordings, monkeypatch) -> None:
    def learned(*_: object, **__: object) -> tuple[fitting.Learned, list[object]]:
        fit = fitting.Fit(ABSURD, dict.fromkeys(ABSURD, (0.01,) * 4))
        return fitting.Learned(fit, (-10.0, -9.0), "converged"), []

    monkeypatch.setattr(fitting, "learn", learned)
    monkeypatch.setattr(fitting, "lifecycle", lambda *_: fitting.Fit({}, {}))
    monkeypatch.setattr(fitting, "rates_of", lambda *_: Rates(0.0, 1.0, 0.0, 1.0))
    short = [replace(r, frames=r.frames[:150]) for r in recordings]
    options = {"prior_weight": 0.0, "max_iterations": 1, "seed": 0}
    result = fitting.fit_without_truth(short, Config(), **options)
    assert [(v.name, v.taken) for v in result.verdicts] == [("noise", False), ("noise, halfway", False)]
    assert result.verdicts[0].gain < 0.0
    assert result.config == Config()
    assert [(c.learned, c.after == c.before) for c in result.changes] == [(value, True) for value in ABSURD.values()]
    taken = fitting.fit_without_truth(short, Config(), unchecked=True, **options)
    assert taken.config.tracking.motion.process_noise == (1e-4,) * 4
    assert taken.verdicts == ()


def test_a_configuration_gains_nothing_over_itself(recordings) -> None:
    exam = fitting.examine(recordings[:1], Config(), seed=0)
    assert sum(len(cloze.questions) for _, cloze, _ in exam.papers) > 50
    assert fitting.cloze_gain(exam, exam) == (0.0, 0.0, 4)
    worse = fitting.examine(recordings[:1], with_numbers(Config(), ABSURD), seed=0)
    there, back = fitting.cloze_gain(exam, worse), fitting.cloze_gain(worse, exam)
    assert there[0] == -back[0] < 0.0
    assert there[1] == back[1] > 0.0


def test_what_comes_back_must_do_so_in_every_part(monkeypatch) -> None:
    frames = (Detections.empty(),) * 100
    asked = np.column_stack([np.repeat(np.arange(100), 2), np.zeros((200, 3), np.int64)])
    paper = (Recording("a", RATE_HZ, frames), Cloze(np.empty((0, 2), np.int64), asked), np.zeros(200, np.bool_))
    before, after = fitting.Exam(Config(), (paper,)), fitting.Exam(with_numbers(Config(), ABSURD), ())

    def gain(found_again: np.ndarray) -> tuple[float, float, int]:
        monkeypatch.setattr(fitting, "answers", lambda *_: found_again)
        return fitting.cloze_gain(before, after)

    alike = np.tile([True, False, False, False, False], 40)
    assert gain(alike) == (pytest.approx(20.0), pytest.approx(0.0), 4)
    assert fitting._is_sure(*gain(alike), fitting.CHANCE)
    # As many come back, all of them in one quarter of the recording: sqrt(4/3 (30^2 + 3 10^2)) / 200.
    crowded = np.repeat([True, False], [40, 160])
    assert gain(crowded) == (pytest.approx(20.0), pytest.approx(20.0), 4)
    assert not fitting._is_sure(*gain(crowded), fitting.CHANCE)


@pytest.mark.parametrize(
    ("gain", "error", "taken"),
    [(0.9, 0.0, False), (1.5, 0.05, True), (1.5, 0.4, False), (5.0, 0.5, True), (-3.0, 0.1, False)],
)
def test_what_hardly_matters_is_left_however_sure_it_is(monkeypatch, gain, error, taken) -> None:
    fit = fitting.Fit({"tracking.association.score_weight": 0.8}, {"tracking.association.score_weight": 0.01})
    learned = fitting.Learned(fit, (-10.0, -9.0), "converged")
    monkeypatch.setattr(fitting, "learn", lambda *_, **__: (learned, []))
    monkeypatch.setattr(fitting, "lifecycle", lambda *_: fitting.Fit({}, {}))
    monkeypatch.setattr(fitting, "rates_of", lambda *_: Rates(0.0, 1.0, 0.0, 1.0))
    monkeypatch.setattr(fitting, "examine", lambda _, config, __: fitting.Exam(config, ()))
    monkeypatch.setattr(fitting, "cloze_gain", lambda *_: (gain, error, 4))
    result = fitting.fit_without_truth([], Config(), prior_weight=0.0, max_iterations=1, seed=0)
    assert [v.taken for v in result.verdicts] == ([True] if taken else [False, False])
    assert result.config.tracking.association.score_weight == (
        0.8 if taken else Config().tracking.association.score_weight
    )


def test_keys_that_users_choose_are_written_where_they_are_new() -> None:
    before = Config().model_dump(mode="json")
    area = {"crossing": [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]}
    after = Config.model_validate({"regions": {"areas": area}, "detection": {"recorded": {"class_names": {0: "a"}}}})
    written = overrides(before, after.model_dump(mode="json"))
    assert Config.model_validate(written) == after
