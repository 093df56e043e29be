"""From files and folders to scores: which sequences there are, what belongs together, several at a time."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

import numpy as np

from tracker.errors import FormatError
from tracker.evaluation.preparation import Criteria, CriteriaError
from tracker.evaluation.scores import Evaluation, combine, evaluate
from tracker.formats.catalogue import SUFFIXES, read_tables
from tracker.formats.table import NOT_STATED, TrackTable

Source: TypeAlias = Path | TrackTable
"""A sequence: the file that holds nothing else, or what was read from one that may hold several."""

_USE_NUMBERS = "use numbers (in MOTChallenge 1 is a pedestrian, 3 a car)"
_BYTES_PER_PROCESS = 4_000_000
"""A process takes about as long to start as this much text takes to be scored."""

_OTHER_FORMATS = tuple(f"*{suffix}" for suffix in SUFFIXES if suffix != ".txt")
_TRUTH_FOLDERS = ("label_02", "training/label_02")  # KITTI
_TRACKS_FOLDERS = ("data",)  # TrackEval, which writes its summaries beside it


@dataclass(frozen=True, slots=True, eq=False)
class _Result:
    evaluation: Evaluation
    truth_names: frozenset[str]  # of classes
    tracks_classes: frozenset[str]  # as they are stated, by name or else number
    truth_states_classes: bool
    is_apart: bool  # truth and tracks have rows, but no frame in common


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    truth_path: Path
    truth: Source
    tracks: Source
    criteria: Criteria


def find_sequences(path: Path | str, truth: bool) -> dict[str, Source]:
    """Return the sequences of a file or folder by name, ordered by it.

    Parameters
    ----------
    path
        A file of any format; or a folder of truth, ``SEQUENCE/gt/gt.txt`` as in MOTChallenge and DanceTrack,
        ``label_02/SEQUENCE.txt`` as in KITTI, or of files of any format; or a folder of tracks,
        ``SEQUENCE.txt`` (perhaps in a folder ``data``), ``SEQUENCE/tracks.txt`` or files of any other format.
    truth
        Whether this is the truth.

    Raises
    ------
    FormatError
        For a path that is not there, a folder without sequences, or a sequence that has two files.
    """
    path = Path(path)
    if path.is_file():
        return dict(sorted(read_tables(path, truth=truth).items()))
    if not path.is_dir():
        raise FormatError(path, None, "is neither a file nor a folder")
    deeper = [path / name for name in (_TRUTH_FOLDERS if truth else _TRACKS_FOLDERS)]
    folder = next((inner for inner in deeper if any(inner.glob("*.txt"))), path)
    patterns = ("*/gt/gt.txt", "*.txt") if truth else ("*.txt", "*/tracks.txt")
    files = _files(folder, patterns) or _files(folder, _OTHER_FORMATS)
    found: dict[str, Path] = {}
    for file in files:
        inner = file.relative_to(folder).parts
        name = inner[0] if len(inner) > 1 else file.stem
        if name in found:
            raise FormatError(file, None, f"and {found[name]} are both sequence {name}; keep one")
        found[name] = file
    if not found:
        raise FormatError(folder, None, f"holds no sequence: neither {' nor '.join((*patterns, *_OTHER_FORMATS))}")
    return dict(sorted(found.items()))


def files_of(path: Path | str, truth: bool) -> list[Path]:
    """Return the files that are read for a file or folder, as :func:`find_sequences` finds them."""
    path = Path(path)
    return (
        [path] if path.is_file() else [file for file in find_sequences(path, truth).values() if isinstance(file, Path)]
    )


def evaluate_paths(
    truth: Path | str,
    tracks: Path | str,
    criteria: Criteria | None = None,
    *,
    processes: int = 1,
    on_sequence: Callable[[str, int, int], None] = lambda *_: None,
    notice: Callable[[str], None] = lambda _: None,
) -> dict[str, Evaluation]:
    """Score a file against a file, or a folder against a folder, sequence by sequence, ordered by name.

    Parameters
    ----------
    truth, tracks
        What :func:`find_sequences` takes. Two files of one sequence each belong together whatever their names.
    criteria
        What is to be found, by whose rules.
    processes
        How many processes may work at a time; as many as pay are started.
    on_sequence
        Called with a name when its sequence is done, and how many of how many are.
    notice
        Called with each line that the user should see.

    Raises
    ------
    FormatError
        For a file that cannot be read or breaks its format, a sequence without results, results without
        truth, a truth without any row to be found, or criteria that do not fit it. All names are compared
        before the first sequence is scored; of several faulty sequences the first by name is told.
    """
    truth, tracks, criteria = Path(truth), Path(tracks), criteria or Criteria()
    jobs = {
        name: _Job(truth, source, result, criteria) for name, (source, result) in pair_sequences(truth, tracks).items()
    }
    weights = {name: _size(job.truth) + _size(job.tracks) for name, job in jobs.items()}
    workers = min(processes, len(jobs), 1 + sum(weights.values()) // _BYTES_PER_PROCESS)
    results: dict[str, _Result] = {}
    if workers == 1:
        for done, (name, job) in enumerate(jobs.items(), 1):
            results[name] = _run(job)
            on_sequence(name, done, len(jobs))
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            try:
                heaviest_first = sorted(jobs, key=lambda name: -weights[name])
                with interrupts_blocked():  # the processes start as jobs are submitted
                    futures = {pool.submit(_run, jobs[name]): name for name in heaviest_first}
                for done, future in enumerate(as_completed(futures), 1):
                    on_sequence(futures[future], done, len(jobs))
                future_of = {name: future for future, name in futures.items()}
                results = {name: future_of[name].result() for name in jobs}
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    _demand_known_names(truth, criteria, frozenset().union(*(result.truth_names for result in results.values())))
    evaluations = {name: result.evaluation for name, result in results.items()}
    whole = combine(evaluations)
    if whole.truth_count == 0:
        raise FormatError(truth, None, _nothing_to_find(criteria))
    if whole.tracks_count == 0:
        _demand_chosen(tracks, criteria, frozenset().union(*(result.tracks_classes for result in results.values())))
    if criteria.classes is not None and not any(result.truth_states_classes for result in results.values()):
        notice(f"{truth}: states no classes; whichever are chosen, all its rows are to be found")
    if apart := [name for name, result in results.items() if result.is_apart]:
        notice(f"{tracks}: has no frame in common with the truth of {', '.join(apart)}; frames count from 1 in both")
    return evaluations


def pair_sequences(truth: Path | str, tracks: Path | str) -> dict[str, tuple[Source, Source]]:
    """Return truth and tracks of each sequence, ordered by name.

    Parameters
    ----------
    truth, tracks
        What :func:`find_sequences` takes. Two files of one sequence each belong together whatever their names.

    Raises
    ------
    FormatError
        As :func:`find_sequences`, and for a sequence without results or results without truth.
    """
    truth, tracks = Path(truth), Path(tracks)
    truths, results = find_sequences(truth, True), find_sequences(tracks, False)
    if len(truths) == len(results) == 1 and truth.is_file() and tracks.is_file():
        (name, source), (result,) = next(iter(truths.items())), results.values()
        return {name: (source, result)}
    if without := sorted(truths.keys() - results.keys()):
        raise FormatError(
            tracks, None, f"has no results for {', '.join(without)}: neither NAME.txt nor NAME/tracks.txt"
        )
    if without := sorted(results.keys() - truths.keys()):
        raise FormatError(truth, None, f"has no truth for {', '.join(without)}: neither NAME/gt/gt.txt nor NAME.txt")
    return {name: (source, results[name]) for name, source in truths.items()}


def read_sequence(source: Source, truth: bool) -> TrackTable:
    """Return the table of a sequence.

    Raises
    ------
    FormatError
        For a file that cannot be read, breaks its format or holds several sequences.
    """
    if isinstance(source, TrackTable):
        return source
    tables = read_tables(source, truth=truth)
    if len(tables) > 1:
        raise FormatError(source, None, f"holds {len(tables)} sequences; in a folder each has a file of its own")
    return next(iter(tables.values()))


def _run(job: _Job) -> _Result:
    truth, tracks = read_sequence(job.truth, True), read_sequence(job.tracks, False)
    try:
        evaluation = evaluate(truth, tracks, job.criteria)
    except CriteriaError as error:
        raise FormatError(job.truth if isinstance(job.truth, Path) else job.truth_path, None, str(error)) from None
    stated = frozenset(tracks.renamed(job.criteria.renamed).stated_classes())
    return _Result(
        evaluation,
        frozenset(truth.class_names.values()),
        stated,
        bool((truth.classes != NOT_STATED).any()),
        bool(len(truth) and len(tracks) and not np.isin(tracks.frames, truth.frames).any()),
    )


def _demand_known_names(truth: Path, criteria: Criteria, names: frozenset[str]) -> None:
    """Refuse the name of a class that no sequence knows: it would be found nowhere, unnoticed."""
    known = {name.casefold() for name in (*names, *criteria.renamed.values())}
    for token in criteria.classes or ():
        if not token.isdecimal() and token.casefold() not in known:
            named = f"named are {', '.join(sorted(names))}" if names else f"its classes have no names; {_USE_NUMBERS}"
            raise FormatError(truth, None, f"has no class {token}; {named}")


def _demand_chosen(tracks: Path, criteria: Criteria, stated: frozenset[str]) -> None:
    """Refuse tracks of which no box is of a chosen class: as a rule their numbers mean something else."""
    chosen = {token.casefold() for token in criteria.classes or ()}
    if chosen and stated and not chosen & {name.casefold() for name in stated}:
        raise FormatError(
            tracks,
            None,
            f"states the classes {', '.join(sorted(stated))}, but {', '.join(sorted(chosen))} are to be found; "
            "models count a person as 0, MOTChallenge as 1: track convert --map 0=1 renumbers",
        )


def _nothing_to_find(criteria: Criteria) -> str:
    if criteria.classes is not None:
        return f"no row has a flag other than 0 and one of the classes {', '.join(criteria.classes)}"
    if criteria.protocol != "open":
        return f"holds no row that protocol {criteria.protocol} wants found"
    return "no row has a flag other than 0 and, where classes are numbers, one of the classes 1, 3"


def _files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file())


def _size(source: Source) -> int:
    """Return about how many bytes of text a sequence is."""
    return 50 * len(source) if isinstance(source, TrackTable) else source.stat().st_size


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Hold back Ctrl-C; processes that are started meanwhile never get it and leave it to this one."""
    if sys.platform == "win32":  # has no mask of signals
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
