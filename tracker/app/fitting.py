"""Learning a configuration from recordings: EM without truth, direct fits and a search with it.

What is learned is taken over group by group, and only where it proves itself on what counts, identities: without
truth where hidden objects come back as themselves more often (:mod:`tracker.tracking.cloze`), with truth where HOTA
rises on recordings that had no part in the search. The likelihood alone is no judge of that: most frames are easy,
and what fits them best is too sure of itself where objects meet.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.special import stdtrit

from tracker.app.checks import Notice, once
from tracker.app.rates import settle_rate_hz
from tracker.config import Config
from tracker.detection.recorded import RecordedDetector
from tracker.errors import ConfigurationError, FormatError
from tracker.evaluation.labelled import Labelled, label
from tracker.evaluation.preparation import CriteriaError
from tracker.evaluation.scores import evaluate
from tracker.evaluation.sequences import Source, find_sequences, interrupts_blocked, read_sequence
from tracker.formats.files import write_whole
from tracker.formats.motchallenge import sequence_info_near
from tracker.formats.table import TrackTable
from tracker.geometry import xyxy_to_ltwh
from tracker.structures import Detections, FloatArray, IntArray
from tracker.tracking.cloze import Cloze, answers, clozes, identities
from tracker.tracking.fitting.expectation import Explained, explain, of_boxes_at_once
from tracker.tracking.fitting.free_parameters import (
    BIRTH_SCORE,
    CLUTTER_DENSITY,
    DETECTION_PROBABILITY,
    INITIAL_VELOCITY,
    MEASUREMENT_NOISE,
    PROCESS_NOISE,
    SCORE_NEUTRAL,
    SCORE_WEIGHT,
    SURVIVAL,
    number_of,
    numbers_of,
    with_numbers,
)
from tracker.tracking.fitting.likelihood import clutter_volume, log_likelihood
from tracker.tracking.fitting.maximisation import Fit, fitted_numbers, lifecycle, maximise
from tracker.tracking.fitting.rates import Rates, rates_of
from tracker.tracking.lifecycle import BIRTH_POSTERIOR, HIGHEST_BIRTH_SCORE, LOWEST_BIRTH_SCORE
from tracker.tracking.online import Tracker

LEAST_FRAMES = 50
LEAST_DETECTIONS = 200
FALL = 1e-3
"""Fall of the log-likelihood, as a share of it, that ends EM: smaller ones come from births that come and go."""
CONVERGED = 1e-4
SURE = 2.0
"""Standard errors by which a change must raise HOTA to be chosen."""
LEAST_GAIN = 1.0
"""Percent of hidden objects that must come back besides; less, however sure, has been seen to go with lower HOTA."""
CHANCE = 0.05
"""Probability that chance alone changes anything: Student's test over recordings is made at this level."""

GROUPS = {
    "noise": (MEASUREMENT_NOISE, PROCESS_NOISE, INITIAL_VELOCITY),
    "detection": (DETECTION_PROBABILITY, CLUTTER_DENSITY),
    "scores": (SCORE_NEUTRAL, SCORE_WEIGHT),
    "life": (BIRTH_SCORE, SURVIVAL),
}
"""Numbers that are taken over together or not at all."""
_ASKED = ("noise", "detection", "scores")
"""Those of which hidden objects tell: not whether a birth threshold lets in what is no object at all."""

POLICY: Mapping[str, tuple[tuple[Literal["times", "value"], float], ...]] = {
    MEASUREMENT_NOISE: (("times", 0.7), ("times", 1.4)),
    PROCESS_NOISE: (("times", 0.5), ("times", 2.0)),
    CLUTTER_DENSITY: (("times", 0.25), ("times", 4.0)),
    "tracking.association.claim": (("value", 0.03), ("value", 0.3)),
    "tracking.association.gate_iou": (("value", 0.0), ("value", 0.1)),
    "tracking.association.direction": (("value", 0.0), ("value", 1.0)),
    BIRTH_SCORE: (("value", 0.5), ("value", 0.6), ("value", 0.8)),
    "tracking.lifecycle.max_misses_frames": (("times", 0.5), ("times", 2.0)),
}
"""What the search with truth tries for each key, after the fits."""

Ending: TypeAlias = Literal["converged", "fell", "stopped"]

_QUARTERS = 4
_GAPS_S = (0.0, 0.2, 0.6)
_LEAST_FOLDS = 4
_MATCHABLE = 20
_DROPPED, _JITTER = 0.025, 0.005
_DIGITS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A sequence to learn from.

    Parameters
    ----------
    name
        Its name.
    frame_rate_hz
        Frames per second.
    frames
        The detections of each frame, from frame 1 on.
    truth
        The truth, if at hand.
    """

    name: str
    frame_rate_hz: float
    frames: tuple[Detections, ...]
    truth: TrackTable | None = None

    def span(self, first: int, end: int) -> Recording:
        """Return the frames from one, counted from 0, to before another, as a recording of its own."""
        truth = self.truth
        if truth is not None:
            inside = truth.select((truth.frames > first) & (truth.frames <= end))
            truth = replace(inside, frames=inside.frames - first)
        return replace(self, frames=self.frames[first:end], truth=truth)


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Where EM arrived.

    Parameters
    ----------
    fit
        The numbers of the best iteration, none if no iteration was better than the start.
    log_likelihoods
        Of each iteration, the start first.
    ending
        Why it ended there: it converged, fell, or reached the greatest number of iterations.
    """

    fit: Fit
    log_likelihoods: tuple[float, ...]
    ending: Ending


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a number.

    Parameters
    ----------
    key
        Dotted key.
    before, learned
        What the configuration says, what the data say.
    error
        Standard error of the latter; nan where it is chosen, not estimated.
    after
        What the new configuration says.
    """

    key: str
    before: Any
    learned: Any
    error: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """What trying some numbers gave.

    Parameters
    ----------
    name
        What was tried.
    gain, error
        Objects that came back as themselves, more than before, in percent; or HOTA, and the standard error of it.
    taken
        Whether it was taken over.
    """

    name: str
    gain: float
    error: float
    taken: bool


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What was learned, what was made of it, and the new configuration.

    Parameters
    ----------
    config
        The new configuration.
    changes
        What became of each number.
    verdicts
        What trying them gave.
    rates
        How many detections are new objects and how many are clutter, which have one density in the configuration.
    learned
        Where EM arrived; None where the truth made it needless.
    """

    config: Config
    changes: tuple[Change, ...]
    verdicts: tuple[Verdict, ...]
    rates: Rates
    learned: Learned | None


Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""
Score: TypeAlias = Callable[[Sequence[Config], IntArray], FloatArray]
Trial: TypeAlias = Callable[[Config], list[dict[str, Any]]]
ALL = "all together, held out"
"""Name of the verdict on a search as a whole."""


def find_recordings(
    detections: Path,
    truth: Path | None,
    *,
    frame_rate_hz: float | None,
    config: Config,
    notice: Notice = lambda _: None,
) -> list[Recording]:
    """Read the sequences to learn from, ordered by name.

    Parameters
    ----------
    detections
        A file of detections; or a folder with ``det/det.txt``; or one of such folders, or of folders of them.
    truth
        What belongs to it: a file, or a folder as :func:`tracker.evaluation.sequences.find_sequences` takes it, or
        one laid out as that of the detections with ``gt/gt.txt``.
    frame_rate_hz
        The rate; what :func:`tracker.app.rates.settle_rate_hz` finds for each sequence when left out.
    config
        The configuration.
    notice
        Called with each line that the user should see.

    Raises
    ------
    ConfigurationError
        For responsibilities that are not those of the mixture, which alone have a likelihood.
    FormatError
        For what cannot be read, a folder without detections, a sequence without truth, or too little to learn from.
    """
    if config.tracking.observations != "boxes":
        raise ConfigurationError("tracking.observations is pixels; only what follows boxes is learned from recordings")
    if config.tracking.association.responsibilities != "exclusive":
        raise ConfigurationError(
            f"tracking.association.responsibilities is {config.tracking.association.responsibilities!r}; "
            "only exclusive ones have a likelihood to learn from"
        )
    files = _detection_files(detections)
    truths = {} if truth is None else _truths(truth, files)
    recordings, notice = [], once(notice)
    for name, file in files.items():
        found = RecordedDetector(file, config.detection.recorded)
        count = max(found.last_frame, sequence_info_near(file).frame_count or 0)
        frames = tuple(found.at(frame) for frame in range(1, count + 1))
        if count:
            rate_hz = settle_rate_hz(frame_rate_hz, [file], config, notice)
            true = read_sequence(truths[name], True) if truths else None
            recordings.append(Recording(name, rate_hz, frames, true))
    heard = sum(int((d.scores >= config.tracking.association.score_floor).sum()) for r in recordings for d in r.frames)
    total = sum(len(r.frames) for r in recordings)
    if total < LEAST_FRAMES or heard < LEAST_DETECTIONS:
        raise FormatError(
            detections,
            None,
            f"has {total} frames with {heard} detections scored {config.tracking.association.score_floor:g} or more; "
            f"there is nothing to learn from fewer than {LEAST_FRAMES} frames or {LEAST_DETECTIONS} detections",
        )
    return recordings


def _detection_files(path: Path) -> dict[str, Path]:
    if path.is_file():
        inside = path.parent.name == "det" and path.name == "det.txt"
        return {path.absolute().parents[1].name if inside else path.stem: path}
    if not path.is_dir():
        raise FormatError(path, None, "is neither a file nor a folder")
    if (path / "det" / "det.txt").is_file():
        return {path.absolute().name: path / "det" / "det.txt"}
    for pattern in ("*/det/det.txt", "*/*/det/det.txt"):
        if found := sorted(path.glob(pattern)):
            return {file.parents[1].relative_to(path).as_posix(): file for file in found}
    raise FormatError(path, None, "holds no detections: neither det/det.txt nor SEQUENCE/det/det.txt")


def files_read(detections: Path, truth: Path | None) -> list[Path]:
    """Return the files of detections and of truth that :func:`find_recordings` reads.

    Raises
    ------
    FormatError
        For a folder without detections or truth.
    """
    files = _detection_files(detections)
    truths: list[Source] = []
    if truth is not None:
        truths = [truth] if truth.is_file() else list(_truths(truth, files).values())
    return [*files.values(), *(source for source in truths if isinstance(source, Path))]


def _truths(path: Path, files: Mapping[str, Path]) -> dict[str, Source]:
    if path.is_dir() and len(files) == 1 and (path / "gt" / "gt.txt").is_file():
        return {next(iter(files)): path / "gt" / "gt.txt"}
    beside: dict[str, Source] = {name: path / name / "gt" / "gt.txt" for name in files}
    if all(isinstance(file, Path) and file.is_file() for file in beside.values()):
        return beside
    sources = find_sequences(path, True)
    if len(sources) == len(files) == 1:
        return {next(iter(files)): next(iter(sources.values()))}
    if without := sorted(files.keys() - sources.keys()):
        more = f" and {len(without) - 1} more" if len(without) > 1 else ""
        raise FormatError(path, None, f"has no truth for {without[0]}{more}: neither NAME/gt/gt.txt nor NAME.txt")
    return {name: sources[name] for name in files}


def learn(
    recordings: Sequence[Recording],
    config: Config,
    *,
    prior_weight: float,
    max_iterations: int,
    on_iteration: Callable[[int, float], None] = lambda *_: None,
    progress: Progress = lambda *_: None,
) -> tuple[Learned, list[Explained]]:
    """Run EM over the recordings until the log-likelihood rises no more, and keep the best iteration.

    Parameters
    ----------
    recordings
        What to learn from.
    config
        Where to start, which the prior stands at too.
    prior_weight
        Observations that the prior weighs.
    max_iterations
        M-steps at most.
    on_iteration
        Called with the number of each iteration, 0 for the start, and its log-likelihood.
    progress
        Called as the recordings are tracked.

    Returns
    -------
    learned
        The best numbers.
    explained
        Their E-step.
    """
    fit = Fit({}, {})
    ending: Ending = "stopped"
    values: list[float] = []
    best, volume = -math.inf, 0.0
    kept = fit
    kept_explained: list[Explained] = []
    for n in range(max_iterations + 1):
        trial = with_numbers(config, fit.numbers)
        explained = []
        for done, r in enumerate(recordings):
            progress(f"iteration {n}", done, len(recordings))
            explained.append(explain(r.frames, r.frame_rate_hz, trial))
        progress(f"iteration {n}", len(recordings), len(recordings))
        volume = volume or clutter_volume(explained, config.tracking.association.clutter_density)
        value = log_likelihood(explained, trial, volume)
        values.append(value)
        on_iteration(n, value)
        if value < best - FALL * abs(best):
            ending = "fell"
            break
        gain = value - best
        if gain > 0.0:
            best, kept, kept_explained = value, fit, explained
        if gain < CONVERGED * abs(best):
            ending = "converged"
            break
        if n < max_iterations:
            fit = maximise(explained, trial, config, prior_weight, volume)
    return Learned(kept, tuple(values), ending), kept_explained


def fit_without_truth(
    recordings: Sequence[Recording],
    config: Config,
    *,
    prior_weight: float,
    max_iterations: int,
    seed: int,
    unchecked: bool = False,
    on_iteration: Callable[[int, float], None] = lambda *_: None,
    progress: Progress = lambda *_: None,
) -> Result:
    """Learn from detections alone.

    Parameters
    ----------
    recordings
        What to learn from.
    config
        Where to start.
    prior_weight, max_iterations, on_iteration, progress
        See :func:`learn`.
    seed
        Of what is hidden to check the groups.
    unchecked
        Take over everything that was learned.
    """
    learned, explained = learn(
        recordings,
        config,
        prior_weight=prior_weight,
        max_iterations=max_iterations,
        on_iteration=on_iteration,
        progress=progress,
    )
    life = lifecycle(explained, config, prior_weight)
    fit = Fit({**learned.fit.numbers, **life.numbers}, {**learned.fit.errors, **life.errors})
    found = rates_of(explained)
    if unchecked:
        return _result(config, with_numbers(config, _rounded(fit.numbers)), fit, (), found, learned)
    after = examine(recordings, config, seed)
    verdicts: list[Verdict] = []
    trials = [(name, numbers) for name, numbers in _trials(fit, config) if name.removesuffix(_HALF) in _ASKED]
    for done, (name, numbers) in enumerate(trials):
        progress("checking", done, len(trials))
        if any(v.taken and v.name == name.removesuffix(_HALF) for v in verdicts):
            continue
        trial = examine(recordings, with_numbers(after.config, numbers), seed)
        gain, error, folds = cloze_gain(after, trial)
        taken = _is_sure(gain - LEAST_GAIN, error, folds, CHANCE / len(trials))
        verdicts.append(Verdict(name, gain, error, taken))
        if taken:
            after = trial
    return _result(config, after.config, fit, verdicts, found, learned)


_HALF = ", halfway"


def _trials(fit: Fit, config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each group of numbers, as learned and halfway there."""
    before = numbers_of(config)
    for name, keys in GROUPS.items():
        numbers = {key: fit.numbers[key] for key in keys if key in fit.numbers}
        if numbers:
            yield name, _rounded(numbers)
            yield name + _HALF, _rounded({key: _halfway(before[key], value) for key, value in numbers.items()})


def _halfway(a: Any, b: Any) -> Any:
    if isinstance(a, tuple):
        return tuple(_halfway(*pair) for pair in zip(a, b, strict=True))
    return math.sqrt(a * b)


@dataclass(frozen=True, slots=True, eq=False)
class Exam:
    """What a configuration's own tracks ask for, and what became of it under that configuration.

    Parameters
    ----------
    config
        The configuration.
    papers
        The recording, what is hidden of it, and which of the objects come back as themselves.
    """

    config: Config
    papers: tuple[tuple[Recording, Cloze, NDArray[np.bool_]], ...]


def examine(recordings: Sequence[Recording], config: Config, seed: int) -> Exam:
    """Hide what a configuration follows surely, at several lengths, and see who comes back."""
    papers = []
    for r in recordings:
        known = identities(r.frames, r.frame_rate_hz, config)
        for gap_s in _GAPS_S:
            cloze = clozes(known, r.frame_rate_hz, gap_s, seed)
            if len(cloze.questions):
                papers.append((r, cloze, answers(r.frames, r.frame_rate_hz, config, cloze)))
    return Exam(config, tuple(papers))


def cloze_gain(before: Exam, after: Exam) -> tuple[float, float, int]:
    """Return how many percent more of the hidden objects come back as themselves, the standard error, and the folds.

    Each configuration answers the other's questions too, so that none asks what suits itself. The error is that of a
    ratio whose parts vary from recording to recording (Cochran 1977, 6.4), for what meets one object often meets its
    neighbour, and what helps in one place need not help in another; few recordings are cut into parts.
    """
    names = list(dict.fromkeys(r.name for exam in (before, after) for r, _, _ in exam.papers))
    parts = _parts(max(len(names), 1))
    won, asked = np.zeros((2, max(len(names), 1) * parts))
    for exam, other, sign in ((before, after.config, 1.0), (after, before.config, -1.0)):
        for r, cloze, own in exam.papers:
            others = answers(r.frames, r.frame_rate_hz, other, cloze)
            fold = names.index(r.name) * parts + cloze.questions[:, 0] * parts // len(r.frames)
            np.add.at(won, fold, sign * (others.astype(np.float64) - own))
            np.add.at(asked, fold, 1.0)
    total, folds = max(float(asked.sum()), 1.0), len(asked)
    share = float(won.sum()) / total
    error = math.sqrt(folds / (folds - 1) * float(((won - share * asked) ** 2).sum())) / total
    return 100.0 * share, 100.0 * error, folds


def _parts(recordings: int) -> int:
    """Return into how many parts recordings are cut where they are few."""
    return math.ceil(_LEAST_FOLDS / recordings)


def _is_sure(gain: float, error: float, folds: int, chance: float) -> bool:
    """Tell whether a mean gain of so many folds passes Student's test."""
    return gain > float(stdtrit(folds - 1, 1.0 - chance)) * error


def fit_with_truth(
    recordings: Sequence[Recording],
    config: Config,
    *,
    prior_weight: float,
    seed: int,
    processes: int,
    progress: Progress = lambda *_: None,
) -> Result:
    """Learn from detections and truth: direct fits, made once from all recordings, then a search on HOTA.

    Parameters
    ----------
    recordings
        What to learn from.
    config
        Where to start.
    prior_weight
        Observations that the prior weighs.
    seed
        Of the disturbance of the recordings that are searched on besides the undisturbed.
    processes
        How many may work at a time.
    progress
        Called as configurations are tried.

    Raises
    ------
    FormatError
        Where truth and detections do not belong together.
    """
    labelled = [_labelled(r, config) for r in recordings]
    fit = label_fit(labelled, config, prior_weight)
    folds = _folds(recordings, seed)
    trials: dict[str, Trial] = {name: partial(_learned_options, fit, config, name) for name in GROUPS}
    trials |= {key: partial(_options, key) for key in POLICY}
    with _scorer(folds, processes) as score:
        after, verdicts = proven_search(score, len(folds), config, trials, progress)
    return _result(config, after, fit, verdicts, rates_of(labelled), None)


def label_fit(labelled: Sequence[Labelled], config: Config, prior_weight: float) -> Fit:
    """Return what detections whose truth is known say: the M-step without an E-step."""
    near, room = sum(one.near_count for one in labelled), sum(one.near_volume for one in labelled)
    fit, calibration = fitted_numbers(labelled, near, room, config, config, prior_weight)
    threshold = float(np.clip(calibration.score_at(BIRTH_POSTERIOR), LOWEST_BIRTH_SCORE, HIGHEST_BIRTH_SCORE))
    error = threshold * (1.0 - threshold) * calibration.offset_error / calibration.weight
    return Fit({**fit.numbers, BIRTH_SCORE: threshold}, {**fit.errors, BIRTH_SCORE: error})


def proven_search(
    score: Score, folds: int, config: Config, trials: Mapping[str, Trial], progress: Progress = lambda *_: None
) -> tuple[Config, list[Verdict]]:
    """Search for a better configuration, and return it if searching as such gains on folds that it does not see.

    The search is repeated for each quarter of the folds on the other three, and what it finds there is scored on the
    quarter. These gains, a fold each, must pass Student's test: one for the whole, however many options were tried.

    Parameters
    ----------
    score
        Returns HOTA (configurations, folds) of configurations on the folds with these numbers.
    folds
        How many folds there are.
    config
        Where to start.
    trials
        By name, what gives the options for a configuration that is reached.
    progress
        Called as they are tried.

    Returns
    -------
    config
        The one found, or where it started.
    verdicts
        On each trial, with its gain where it was chosen, and on all together, with the gain where it was not.
    """
    everything = np.arange(folds)
    quarters = [everything[n::_QUARTERS] for n in range(min(_QUARTERS, folds))]
    steps = (len(quarters) + 1) * len(trials)

    def search(seen: IntArray, done: int) -> tuple[Config, list[Verdict]]:
        after, current = config, score([config], seen)[0]
        verdicts = []
        for n, (name, options) in enumerate(trials.items(), done):
            progress("searching", n, steps)
            candidates = [with_numbers(after, numbers) for numbers in options(after)]
            if not candidates:
                continue
            values = score(candidates, seen)
            best = int(values.mean(axis=1).argmax())
            gain, error = _mean_and_error(values[best] - current)
            verdicts.append(Verdict(name, gain, error, gain > SURE * error))
            if verdicts[-1].taken:
                after, current = candidates[best], values[best]
        return after, verdicts

    gains = np.zeros(folds)
    for n, quarter in enumerate(quarters):
        found, _ = search(np.setdiff1d(everything, quarter), n * len(trials))
        before, after = score([config, found], quarter)
        gains[quarter] = after - before
    found, verdicts = search(everything, len(quarters) * len(trials))
    gain, error = _mean_and_error(gains)
    taken = found != config and _is_sure(gain, error, folds, CHANCE)
    verdicts = [replace(v, taken=v.taken and taken) for v in verdicts]
    return found if taken else config, [*verdicts, Verdict(ALL, gain, error, taken)]


def _mean_and_error(values: FloatArray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def _learned_options(fit: Fit, start: Config, group: str, _: Config) -> list[dict[str, Any]]:
    return [numbers for name, numbers in _trials(fit, start) if name.removesuffix(_HALF) == group]


def _options(key: str, config: Config) -> list[dict[str, Any]]:
    now, options = number_of(config, key), []
    for kind, number in POLICY[key]:
        if kind == "value":
            value: Any = number
        elif isinstance(now, tuple):
            value = tuple(number * v for v in now)
        else:
            value = max(1, round(number * now)) if isinstance(now, int) else number * now
        if value != now:
            options.append(_rounded({key: value}))
    return options


def _labelled(recording: Recording, config: Config) -> Labelled:
    assert recording.truth is not None
    try:
        labelled = label(recording.frames, recording.truth, recording.frame_rate_hz, config)
    except CriteriaError as error:
        raise FormatError(recording.name, None, f"truth {error}") from None
    # A recording in which hardly anything happens has nothing to match.
    if min(len(labelled.is_object), len(labelled.detected)) >= _MATCHABLE and not labelled.is_object.any():
        raise FormatError(
            recording.name, None, "no detection covers any row of the truth; are these truth and detections of one?"
        )
    return labelled


def _folds(recordings: Sequence[Recording], seed: int) -> list[tuple[Recording, ...]]:
    """Return the folds, each with a disturbed replicate; few recordings are cut into parts."""
    parts = _parts(len(recordings))
    folds: list[tuple[Recording, ...]] = []
    for r in recordings:
        ends = np.linspace(0, len(r.frames), min(parts, len(r.frames)) + 1).astype(int).tolist()
        for first, end in pairwise(ends):
            fold = r.span(first, end)
            rng = np.random.default_rng([seed, zlib.crc32(r.name.encode()), first])  # alike, whatever stands beside it
            folds.append((fold, replace(fold, frames=tuple(_disturbed(d, rng) for d in fold.frames))))
    return folds


def _disturbed(detections: Detections, rng: np.random.Generator) -> Detections:
    """Drop some detections and move the edges of the rest a little: chance must not decide."""
    kept = detections.select(rng.random(len(detections)) >= _DROPPED)
    sizes = np.tile(kept.boxes_xyxy[:, 2:] - kept.boxes_xyxy[:, :2], 2)
    return Detections(kept.boxes_xyxy + rng.normal(0.0, _JITTER, sizes.shape) * sizes, kept.scores, kept.classes)


@contextmanager
def _scorer(folds: Sequence[tuple[Recording, ...]], processes: int) -> Iterator[Score]:
    """Yield what returns HOTA, the mean over a fold's replicates; nothing is tracked twice."""
    known: dict[tuple[str, int], float] = {}

    def remembered(run: Callable[..., Iterable[float]], configs: Sequence[Config], seen: IntArray) -> FloatArray:
        names = [config.model_dump_json() for config in configs]
        keys = [[(name, int(fold)) for fold in seen] for name in names]
        new = {key: config for row, config in zip(keys, configs, strict=True) for key in row if key not in known}
        values = run(_hota, [folds[fold] for _, fold in new], new.values())
        known.update(zip(new, values, strict=True))
        return np.array([[known[key] for key in row] for row in keys])

    if processes == 1:
        yield partial(remembered, map)
        return
    with interrupts_blocked():  # the processes start as the first job is submitted
        pool = ProcessPoolExecutor(processes, get_context("spawn"))
        started = [pool.submit(int) for _ in range(processes)]
    try:
        for future in started:
            future.result()
        yield partial(remembered, pool.map)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _hota(fold: tuple[Recording, ...], config: Config) -> float:
    return float(np.mean([_hota_of(replicate, config) for replicate in fold]))


def _hota_of(recording: Recording, config: Config) -> float:
    assert recording.truth is not None
    tracker = Tracker(of_boxes_at_once(config))
    reports = [tracker.update(d, time_s=n / recording.frame_rate_hz) for n, d in enumerate(recording.frames, 1)]
    tracks = TrackTable(
        np.repeat(np.arange(1, len(reports) + 1), [len(r) for r in reports]),
        np.concatenate([r.ids for r in reports]),
        xyxy_to_ltwh(np.concatenate([r.boxes_xyxy for r in reports])),
    )
    return evaluate(recording.truth, tracks).scores.hota


def _result(
    before: Config, after: Config, fit: Fit, verdicts: Iterable[Verdict], found: Rates, learned: Learned | None
) -> Result:
    old, new = _tried(before), _tried(after)
    changes = [
        Change(key, old[key], fit.numbers.get(key), fit.errors.get(key, math.nan), new[key])
        for key in old
        if key in fit.numbers or new[key] != old[key]
    ]
    return Result(after, tuple(changes), tuple(verdicts), found, learned)


def _tried(config: Config) -> dict[str, Any]:
    """Return all numbers that can change, by dotted key."""
    return numbers_of(config) | {key: number_of(config, key) for key in POLICY}


def _rounded(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return numbers with as many digits as mean anything; of what is close to 1, the distance from it counts."""

    def rounded(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(rounded, value))
        if isinstance(value, int):
            return value
        if 0.9 < value < 1.0:
            return round(1.0 - float(f"{1.0 - value:.{_DIGITS}g}"), 12)
        return float(f"{value:.{_DIGITS}g}")

    return {key: rounded(value) for key, value in numbers.items()}


def write_fitted(path: Path, before: Config, after: Config, comments: Sequence[str]) -> None:
    """Write what differs as a configuration file, under comments, as a whole or not at all.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    tree = overrides(before.model_dump(mode="json"), after.model_dump(mode="json"))
    text = "".join(f"# {line}\n" for line in comments)
    body = yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=120) if tree else "{}\n"
    write_whole(path, (text + body).encode())


def overrides(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested keys of ``after`` whose values differ."""
    tree: dict[str, Any] = {}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if inner := overrides(old, value):
                tree[key] = inner
        elif key not in before or value != old:
            tree[key] = value
    return tree
