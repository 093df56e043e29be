"""What was learned proves itself, on hidden objects or held-out HOTA, before it is taken over and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.simulated import RATE_HZ, Truth, labelled_scene, lone_walker, simulate
from tracker import Config, Detections, load_config
from tracker.app.fitting import search, without_truth
from tracker.app.fitting.em import Learned
from tracker.app.fitting.fitted_file import overrides, write_fitted
from tracker.app.fitting.hota import folds_of, scorer
from tracker.app.fitting.proposals import GROUPS, POLICY, policy_proposals
from tracker.app.fitting.recordings import Recording
from tracker.app.fitting.results import CHANCE, is_sure
from tracker.app.fitting.with_truth import fit_with_truth
from tracker.errors import FormatError, OutputError
from tracker.formats.table import TrackTable
from tracker.geometry import xyxy_to_ltwh
from tracker.structures import FloatArray, IntArray
from tracker.tracking.cloze import Cloze, answers, clozes, identities
from tracker.tracking.fitting.free_parameters import FREE_PARAMETERS, numbers_of, with_numbers
from tracker.tracking.fitting.maximisation import Fit
from tracker.tracking.fitting.rates import Rates

CLAIM, GATE = "tracking.association.claim", "tracking.association.gate_iou"
ABSURD = {"tracking.motion.measurement_noise": (1e-4,) * 4, "tracking.motion.process_noise": (1e-4,) * 4}


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return [Recording(f"{seed}", RATE_HZ, simulate(Truth(), seed)) for seed in (1, 2)]


def made_up(gains: dict[float, list[float]]) -> search.Score:
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
    found, verdicts = search.proven_search(made_up(gains), 4, Config(), trials)
    assert found.tracking.association.claim == expected
    assert [v.name for v in verdicts] == [CLAIM, search.ALL]
    assert verdicts[-1].gain == pytest.approx(gain)
    assert [v.taken for v in verdicts] == [expected != 0.1] * 2


def test_what_is_chosen_later_stands_on_what_was_chosen_before() -> None:
    def score(configs: Sequence[Config], folds: IntArray) -> FloatArray:
        of = [(c.tracking.association.claim == 0.2, c.tracking.association.gate_iou == 0.0) for c in configs]
        return np.array([(claim + 2.0 * (claim and gate) - (gate and not claim)) * (9.0 + folds) for claim, gate in of])

    trials = {CLAIM: lambda _: [{CLAIM: 0.2}], GATE: lambda _: [{GATE: 0.0}]}
    found, verdicts = search.proven_search(score, 6, Config(), trials)
    assert (found.tracking.association.claim, found.tracking.association.gate_iou) == (0.2, 0.0)
    assert [v.taken for v in verdicts] == [True] * 3
    assert [round(v.gain, 6) for v in verdicts] == [11.5, 23.0, 34.5]
    backwards, verdicts = search.proven_search(score, 6, Config(), dict(reversed(trials.items())))
    assert backwards.tracking.association.gate_iou == Config().tracking.association.gate_iou
    assert [v.taken for v in verdicts] == [False, True, True]


def test_chance_seldom_changes_anything() -> None:
    rng = np.random.default_rng(1)
    options = [round(0.11 + 0.01 * n, 2) for n in range(24)]
    trials = {f"{n}": (lambda _, n=n: [{CLAIM: value} for value in options[3 * n : 3 * n + 3]]) for n in range(8)}
    chosen = taken = 0
    for _ in range(300):
        score = made_up({value: rng.normal(0.0, 1.0, 8).tolist() for value in options})
        found, verdicts = search.proven_search(score, 8, Config(), trials)
        chosen += any(v.gain > search.SURE * v.error for v in verdicts[:-1])
        taken += found != Config()
    assert chosen > 100, "or there is nothing to be fooled by"
    assert taken < 2.0 * CHANCE * 300  # not 1.0: the searches for the quarters have data in common


def test_a_recording_of_one_frame_is_one_part() -> None:
    """Few recordings are cut into parts, but into no more than they have frames."""
    box = np.array([[10.0, 10.0, 30.0, 50.0]])

    def still(name: str, frames: int) -> Recording:
        numbers = np.arange(1, frames + 1)
        truth = TrackTable(numbers, np.ones(frames, int), np.tile(xyxy_to_ltwh(box), (frames, 1)))
        return Recording(name, 25.0, (Detections(box, [0.9]),) * frames, truth)

    folds = folds_of([still("long", 100), still("short", 1)], 0)
    assert [len(fold[0].frames) for fold in folds] == [50, 50, 1]
    with scorer(folds, 1) as score:
        assert np.isfinite(score([Config()], np.arange(len(folds)))).all()


def test_truth_of_something_else_is_refused() -> None:
    frames, truth = labelled_scene()
    elsewhere = replace(truth, boxes_ltwh=truth.boxes_ltwh + np.array([5000.0, 0.0, 0.0, 0.0]))
    with pytest.raises(FormatError, match="no detection covers any row of the truth"):
        fit_with_truth([Recording("a", RATE_HZ, frames, elsewhere)], Config(), prior_weight=1.0, seed=0, processes=1)


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


def test_what_keeps_identities_worse_is_left(recordings, monkeypatch) -> None:
    def learned(*_: object, **__: object) -> tuple[Learned, list[object]]:
        fit = Fit(ABSURD, dict.fromkeys(ABSURD, (0.01,) * 4))
        return Learned(fit, (-10.0, -9.0), "converged"), []

    monkeypatch.setattr(without_truth, "learn", learned)
    monkeypatch.setattr(without_truth, "lifecycle", lambda *_: Fit({}, {}))
    monkeypatch.setattr(without_truth, "rates_of", lambda *_: Rates(0.0, 1.0, 0.0, 1.0))
    short = [replace(r, frames=r.frames[:150]) for r in recordings]
    options = {"prior_weight": 0.0, "max_iterations": 1, "seed": 0}
    result = without_truth.fit_without_truth(short, Config(), **options)
    assert [(v.name, v.taken) for v in result.verdicts] == [("noise", False), ("noise, halfway", False)]
    assert result.verdicts[0].gain < 0.0
    assert result.config == Config()
    assert [(c.learned, c.after == c.before) for c in result.changes] == [(value, True) for value in ABSURD.values()]
    taken = without_truth.fit_without_truth(short, Config(), unchecked=True, **options)
    assert taken.config.tracking.motion.process_noise == (1e-4,) * 4
    assert taken.verdicts == ()


def test_a_configuration_gains_nothing_over_itself(recordings) -> None:
    exam = without_truth.examine(recordings[:1], Config(), seed=0)
    assert sum(len(cloze.questions) for _, cloze, _ in exam.papers) > 50
    assert without_truth.cloze_gain(exam, exam) == (0.0, 0.0, 4)
    worse = without_truth.examine(recordings[:1], with_numbers(Config(), ABSURD), seed=0)
    there, back = without_truth.cloze_gain(exam, worse), without_truth.cloze_gain(worse, exam)
    assert there[0] == -back[0] < 0.0
    assert there[1] == back[1] > 0.0


def test_what_comes_back_must_do_so_in_every_part(monkeypatch) -> None:
    frames = (Detections.empty(),) * 100
    asked = np.column_stack([np.repeat(np.arange(100), 2), np.zeros((200, 3), np.int64)])
    paper = (Recording("a", RATE_HZ, frames), Cloze(np.empty((0, 2), np.int64), asked), np.zeros(200, np.bool_))
    before, after = without_truth.Exam(Config(), (paper,)), without_truth.Exam(with_numbers(Config(), ABSURD), ())

    def gain(found_again: np.ndarray) -> tuple[float, float, int]:
        monkeypatch.setattr(without_truth, "answers", lambda *_: found_again)
        return without_truth.cloze_gain(before, after)

    alike = np.tile([True, False, False, False, False], 40)
    assert gain(alike) == (pytest.approx(20.0), pytest.approx(0.0), 4)
    assert is_sure(*gain(alike), CHANCE)
    # As many come back, all of them in one quarter of the recording: sqrt(4/3 (30^2 + 3 10^2)) / 200.
    crowded = np.repeat([True, False], [40, 160])
    assert gain(crowded) == (pytest.approx(20.0), pytest.approx(20.0), 4)
    assert not is_sure(*gain(crowded), CHANCE)


@pytest.mark.parametrize(
    ("gain", "error", "taken"),
    [(0.9, 0.0, False), (1.5, 0.05, True), (1.5, 0.4, False), (5.0, 0.5, True), (-3.0, 0.1, False)],
)
def test_what_hardly_matters_is_left_however_sure_it_is(monkeypatch, gain, error, taken) -> None:
    fit = Fit({"tracking.association.score_weight": 0.8}, {"tracking.association.score_weight": 0.01})
    learned = Learned(fit, (-10.0, -9.0), "converged")
    monkeypatch.setattr(without_truth, "learn", lambda *_, **__: (learned, []))
    monkeypatch.setattr(without_truth, "lifecycle", lambda *_: Fit({}, {}))
    monkeypatch.setattr(without_truth, "rates_of", lambda *_: Rates(0.0, 1.0, 0.0, 1.0))
    monkeypatch.setattr(without_truth, "examine", lambda _, config, __: without_truth.Exam(config, ()))
    monkeypatch.setattr(without_truth, "cloze_gain", lambda *_: (gain, error, 4))
    result = without_truth.fit_without_truth([], Config(), prior_weight=0.0, max_iterations=1, seed=0)
    assert [v.taken for v in result.verdicts] == ([True] if taken else [False, False])
    assert result.config.tracking.association.score_weight == (
        0.8 if taken else Config().tracking.association.score_weight
    )


def test_every_number_has_its_place_in_the_configuration() -> None:
    assert {key for keys in GROUPS.values() for key in keys} == set(FREE_PARAMETERS)
    assert with_numbers(Config(), numbers_of(Config())) == Config()
    for key in POLICY:
        for change in policy_proposals(key, Config()):
            assert Config.model_validate(with_numbers(Config(), change).model_dump()) != Config()


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


def test_keys_that_users_choose_are_written_where_they_are_new() -> None:
    before = Config().model_dump(mode="json")
    area = {"crossing": [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]}
    after = Config.model_validate({"regions": {"areas": area}, "detection": {"recorded": {"class_names": {0: "a"}}}})
    written = overrides(before, after.model_dump(mode="json"))
    assert Config.model_validate(written) == after
