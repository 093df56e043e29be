"""Scores: cases worked by hand, and equality with an independent preparation on real sequences."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import logging
import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tracker.errors import FormatError
from tracker.evaluation import sequences
from tracker.evaluation.preparation import Criteria
from tracker.evaluation.scores import Details, Scores, bootstrap, combine, evaluate
from tracker.evaluation.sequences import evaluate_paths
from tracker.evaluation.table import (
    COUNTED_FAULTS,
    HEADINGS,
    SHOWN,
    scores_csv,
    scores_dict,
    scores_markdown,
    scores_table,
)
from tracker.formats.catalogue import write_table
from tracker.formats.motchallenge import read_detections
from tracker.formats.table import TrackTable
from tracker.geometry import intersection_over_union, xyxy_to_ltwh

BOX = "100,100,50,100"
ELSEWHERE = "400,100,50,100"
PERFECT = Scores(100, 100, 100, 100, 100, 100, 0, 0, 0, 0)

ScoreRows = Callable[..., Scores]


@pytest.fixture
def score(tmp_path: Path) -> ScoreRows:
    """Score rows of tracks against rows of truth."""

    def score(truth: list[str], tracks: list[str], **criteria: Any) -> Scores:
        (tmp_path / "gt.txt").write_text("\n".join(truth))
        (tmp_path / "tracks.txt").write_text("\n".join(tracks))
        evaluations = evaluate_paths(tmp_path / "gt.txt", tmp_path / "tracks.txt", Criteria(**criteria))
        assert list(evaluations) == ["gt"]
        return evaluations["gt"].scores

    return score


def _truth(frames: range, box: str = BOX, tail: str = "1,1,1", id_: int = 1) -> list[str]:
    return [f"{frame},{id_},{box},{tail}" for frame in frames]


def _tracks(frames: range, id_: int = 1, box: str = BOX) -> list[str]:
    return [f"{frame},{id_},{box},0.9,-1,-1,-1" for frame in frames]


# --- worked by hand --------------------------------------------------------------------------------------


def test_tracks_equal_to_the_truth_are_perfect_whatever_their_ids(score: ScoreRows) -> None:
    truth = _truth(range(1, 6)) + _truth(range(2, 9), ELSEWHERE, id_=2)
    tracks = _tracks(range(2, 9), 1, ELSEWHERE) + _tracks(range(1, 6), 70)
    assert score(truth, tracks) == PERFECT


def test_one_switch_of_identity_in_the_middle(score: ScoreRows) -> None:
    got = score(_truth(range(1, 11)), _tracks(range(1, 6), 1) + _tracks(range(6, 11), 2))
    # Every match shares 5 of its identity's 10 frames: AssA = 5 / 10. Identity: 5 right, 5 false, 5 missed.
    assert got == Scores(
        hota=pytest.approx(100 * math.sqrt(0.5)),
        det_a=100,
        ass_a=pytest.approx(50),
        loc_a=100,
        mota=pytest.approx(100 * (1 - 1 / 10)),
        idf1=pytest.approx(100 * 2 * 5 / (10 + 10)),
        id_switches=1,
        fragmentations=0,
        false_positives=0,
        false_negatives=0,
    )


def test_two_misses_in_a_gap_and_one_box_too_many(score: ScoreRows) -> None:
    tracks = _tracks(range(1, 5)) + _tracks(range(7, 11)) + _tracks(range(5, 6), 2, ELSEWHERE)
    got = score(_truth(range(1, 11)), tracks)
    # 8 hits, 2 misses, 1 false positive; each hit shares 8 of 10 frames with its identity.
    assert got == Scores(
        hota=pytest.approx(100 * math.sqrt(8 / 11 * 8 / 10)),
        det_a=pytest.approx(100 * 8 / 11),
        ass_a=pytest.approx(80),
        loc_a=100,
        mota=pytest.approx(100 * (1 - 3 / 10)),
        idf1=pytest.approx(100 * 2 * 8 / (9 + 10)),
        id_switches=0,
        fragmentations=1,
        false_positives=1,
        false_negatives=2,
    )


def test_a_box_that_overlaps_by_three_fifths(score: ScoreRows) -> None:
    got = score(_truth(range(1, 4), "0,0,100,100"), _tracks(range(1, 4), box="0,0,100,62"))
    # IoU .62 is a hit at the 12 thresholds .05 to .60 of 19; without hits LocA is 1 by definition.
    assert got.hota == got.det_a == got.ass_a == pytest.approx(100 * 12 / 19)
    assert got.loc_a == pytest.approx(100 * (12 * 0.62 + 7) / 19)
    assert (got.mota, got.idf1) == (100, 100)


def test_the_figures_behind_the_scores() -> None:
    boxes = {"at": [100, 100, 50, 100], "off": [400, 100, 50, 100]}

    def table(rows: list[tuple[int, int, str]]) -> TrackTable:
        return TrackTable([frame for frame, _, _ in rows], [id_ for _, id_, _ in rows], [boxes[b] for _, _, b in rows])

    # The first object is found in 9 of 10 frames, the second in 1 of 10; 2 boxes are too many.
    truth = table([(frame, id_, box) for id_, box in ((1, "at"), (2, "off")) for frame in range(1, 11)])
    tracks = table([*((frame, 7, "at") for frame in range(1, 10)), (10, 8, "off"), (11, 9, "at"), (12, 9, "at")])
    got = evaluate(truth, tracks).details
    assert got == Details(
        recall=pytest.approx(100 * 10 / 20),
        precision=pytest.approx(100 * 10 / 12),
        motp=100,
        mostly_tracked=1,
        partly_tracked=0,
        mostly_lost=1,
        id_recall=pytest.approx(100 * 10 / 20),
        id_precision=pytest.approx(100 * 10 / 12),
        det_re=pytest.approx(100 * 10 / 20),
        det_pr=pytest.approx(100 * 10 / 12),
        ass_re=pytest.approx(100 * (9 * 9 / 10 + 1 * 1 / 10) / 10),
        ass_pr=pytest.approx(100),
    )


def test_hota_is_told_by_threshold() -> None:
    truth = TrackTable([1], [1], [[0, 0, 100, 100]])
    evaluation = evaluate(truth, TrackTable([1], [1], [[0, 0, 100, 62]]))
    np.testing.assert_array_equal(evaluation.hota["HOTA"], evaluation.thresholds <= 0.62)
    np.testing.assert_allclose(evaluation.thresholds, np.linspace(0.05, 0.95, 19))


def test_a_box_that_overlaps_by_less_than_half_is_a_miss_and_a_false_positive(score: ScoreRows) -> None:
    got = score(_truth(range(1, 5), "0,0,100,100"), _tracks(range(1, 5), box="0,0,100,45"))
    assert (got.false_positives, got.false_negatives, got.mota, got.idf1) == (4, 4, -100, 0)


@pytest.mark.parametrize("tail", ["0,1,1", "0,9,-1", "1,8,1", "0,-1,-1,-1"])
def test_rows_to_be_ignored_count_neither_when_found_nor_when_missed(score: ScoreRows, tail: str) -> None:
    columns = "1,-1,-1,-1" if tail.count(",") == 3 else "1,1,1"
    truth = _truth(range(1, 6), tail=columns) + _truth(range(1, 6), ELSEWHERE, tail, id_=2)
    assert score(truth, _tracks(range(1, 6))) == PERFECT
    assert score(truth, _tracks(range(1, 6)) + _tracks(range(1, 6), 2, ELSEWHERE)) == PERFECT


def test_an_ignored_row_excuses_only_the_boxes_that_overlap_it_by_half(score: ScoreRows) -> None:
    truth = _truth(range(1, 6)) + _truth(range(1, 6), "400,0,100,100", "0,1,1", id_=2)
    assert score(truth, _tracks(range(1, 6)) + _tracks(range(1, 6), 2, "400,0,100,51")) == PERFECT
    got = score(truth, _tracks(range(1, 6)) + _tracks(range(1, 6), 2, "400,0,100,49"))
    assert (got.false_positives, got.false_negatives) == (5, 0)
    far = score(truth, _tracks(range(1, 6)) + _tracks(range(1, 6), 2, "700,0,100,100"))
    assert (far.false_positives, far.false_negatives) == (5, 0)


def test_a_box_goes_to_the_row_it_overlaps_most(score: ScoreRows) -> None:
    wanted, ignored = "0,0,100,100", "20,0,100,100"
    truth = _truth(range(1, 6), wanted) + _truth(range(1, 6), ignored, "0,1,1", id_=2)
    assert score(truth, _tracks(range(1, 6), box=wanted)) == PERFECT
    got = score(truth, _tracks(range(1, 6), box=ignored))
    assert (got.false_positives, got.false_negatives) == (0, 5)


def test_only_the_chosen_classes_are_to_be_found(score: ScoreRows) -> None:
    truth = _truth(range(1, 6), tail="1,1,1") + _truth(range(1, 6), ELSEWHERE, "1,4,1", id_=2)
    tracks = _tracks(range(1, 6), 1, ELSEWHERE)
    assert score(truth, tracks, classes=("4",)) == PERFECT
    assert score(truth, tracks).false_negatives == 5
    assert score(truth, tracks).false_positives == 0
    assert score(truth, tracks, classes=("1", "4")).mota == 50


def test_no_tracks_at_all(score: ScoreRows) -> None:
    got = score(_truth(range(1, 6)), [])
    assert (got.hota, got.mota, got.idf1, got.false_negatives) == (0, 0, 0, 5)


def test_frames_far_apart_cost_nothing(score: ScoreRows) -> None:
    last = 10**15
    rows = range(last, last + 1)
    assert score(_truth(range(1, 2)) + _truth(rows), _tracks(range(1, 2)) + _tracks(rows)) == PERFECT


def test_truth_without_any_row_to_be_found_is_refused(score: ScoreRows) -> None:
    with pytest.raises(FormatError, match=r"gt.txt: no row has a flag other than 0 and.* the classes 1, 3$"):
        score(_truth(range(1, 6), tail="1,2,1"), _tracks(range(1, 6)))
    with pytest.raises(FormatError, match="no row has a flag"):
        score([], [])


# --- folders ---------------------------------------------------------------------------------------------


def _write(path: Path, rows: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows))


@pytest.mark.parametrize("truth_layout", ["{}/gt/gt.txt", "{}.txt"])
@pytest.mark.parametrize("tracks_layout", ["{}.txt", "{}/tracks.txt"])
def test_sequences_of_two_folders_are_combined_by_counts(tmp_path: Path, truth_layout: str, tracks_layout: str) -> None:
    truth, tracks = tmp_path / "truth", tmp_path / "tracks"
    _write(truth / truth_layout.format("seq.b"), _truth(range(1, 13)))
    _write(truth / truth_layout.format("a"), _truth(range(1, 5)))
    _write(tracks / tracks_layout.format("seq.b"), _tracks(range(1, 13)))
    _write(tracks / tracks_layout.format("a"), [])
    seen: list[tuple[str, int, int]] = []
    evaluations = evaluate_paths(truth, tracks, on_sequence=lambda *news: seen.append(news))
    assert seen == [("a", 1, 2), ("seq.b", 2, 2)]
    assert list(evaluations) == ["a", "seq.b"]
    assert evaluations["seq.b"].scores == PERFECT
    assert evaluations["a"].scores.false_negatives == 4
    combined = combine(evaluations).scores
    assert combined.mota == pytest.approx(75)  # 12 of 16; the mean of the two would be 50
    assert combined.det_a == pytest.approx(75)
    assert combined.idf1 == pytest.approx(100 * 2 * 12 / (12 + 16))


def test_names_that_do_not_pair_are_listed(tmp_path: Path) -> None:
    truth, tracks = tmp_path / "truth", tmp_path / "tracks"
    for name in ("a", "b", "c"):
        _write(truth / name / "gt" / "gt.txt", _truth(range(1, 3)))
    _write(tracks / "b.txt", _tracks(range(1, 3)))
    with pytest.raises(FormatError, match=r"tracks: has no results for a, c: neither"):
        evaluate_paths(truth, tracks)
    for name in ("a", "c", "d"):
        _write(tracks / f"{name}.txt", _tracks(range(1, 3)))
    with pytest.raises(FormatError, match=r"truth: has no truth for d: neither"):
        evaluate_paths(truth, tracks)
    (tracks / "d.txt").unlink()
    _write(tracks / "c" / "tracks.txt", _tracks(range(1, 3)))
    with pytest.raises(FormatError, match=r"are both sequence c; keep one"):
        evaluate_paths(truth, tracks)


def test_folders_without_sequences_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="none: is neither a file nor a folder"):
        evaluate_paths(tmp_path / "none", tmp_path)
    with pytest.raises(FormatError, match="holds no sequence: neither"):
        evaluate_paths(tmp_path, tmp_path)
    _write(tmp_path / "a.txt", _truth(range(1, 3), tail="0,1,1"))
    with pytest.raises(FormatError, match="no row has a flag"):
        evaluate_paths(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("truth_file", "tracks_file"),
    [
        ("{}/gt/gt.txt", "data/{}.txt"),
        ("training/label_02/{}.txt", "data/{}.txt"),
        ("label_02/{}.txt", "{}.txt"),
        ("{}.xml", "{}.json"),
        ("{}.csv", "{}.parquet"),
    ],
)
def test_layouts_of_benchmarks_and_other_formats(tmp_path: Path, truth_file: str, tracks_file: str) -> None:
    table = TrackTable([1, 2, 3], [1, 1, 1], [[10, 10, 20, 40]] * 3, classes=1, class_names={1: "Pedestrian"})
    for name in ("0001", "0000"):
        for path in (tmp_path / "truth" / truth_file.format(name), tmp_path / "tracks" / tracks_file.format(name)):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_table(path, table, "kitti" if "label_02" in truth_file else None)
    if tracks_file.startswith("data/"):
        _write(tmp_path / "tracks" / "pedestrian_summary.txt", ["as TrackEval leaves it beside the data"])
    evaluations = evaluate_paths(tmp_path / "truth", tmp_path / "tracks")
    assert list(evaluations) == ["0000", "0001"]
    assert combine(evaluations).scores == PERFECT


def test_a_file_of_several_videos_is_scored_against_a_folder(tmp_path: Path) -> None:
    images = [{"id": v, "video_id": v, "frame_id": 0} for v in (1, 2)]
    boxes = [{"id": v, "image_id": v, "track_id": 5, "category_id": 1, "bbox": [0, 0, 9, 9]} for v in (1, 2)]
    videos = [{"id": 1, "name": "b"}, {"id": 2, "name": "a"}]
    tree = {"videos": videos, "images": images, "annotations": boxes, "categories": [{"id": 1, "name": "dog"}]}
    (tmp_path / "truth.json").write_text(json.dumps(tree))
    for name in ("a", "b"):
        _write(tmp_path / "tracks" / f"{name}.txt", ["1,1,0,0,9,9,1"])
    evaluations = evaluate_paths(tmp_path / "truth.json", tmp_path / "tracks")
    assert list(evaluations) == ["a", "b"]
    assert combine(evaluations).scores == PERFECT

    (tmp_path / "truth").mkdir()
    (tmp_path / "truth.json").rename(tmp_path / "truth" / "a.json")
    (tmp_path / "tracks" / "b.txt").unlink()
    with pytest.raises(FormatError, match=r"a.json: holds 2 sequences; in a folder each has a file of its own"):
        evaluate_paths(tmp_path / "truth", tmp_path / "tracks")


# --- classes ---------------------------------------------------------------------------------------------


def _animals() -> tuple[TrackTable, TrackTable]:
    """A dog and a cat that are found, each by a box that says what it is, and a dog found by a box called cat."""
    boxes = [[0, 0, 9, 9], [50, 0, 9, 9], [99, 0, 9, 9]]
    truth = TrackTable([1] * 3, [1, 2, 3], boxes, classes=[4, 7, 4], class_names={4: "Dog", 7: "Cat"})
    tracks = TrackTable([1] * 3, [1, 2, 3], boxes, classes=[1, 2, 2], class_names={1: "dog", 2: "cat"})
    return truth, tracks


@pytest.mark.parametrize(
    ("criteria", "hits", "misses", "false"),
    [
        (Criteria(), 3, 0, 0),
        (Criteria(("dog",)), 1, 1, 0),
        (Criteria(("DOG", "cat")), 3, 0, 0),
        (Criteria(("cat",)), 1, 0, 0),  # the third box is excused: it covers a row that is not to be found
        (Criteria(("animal",), {"dog": "animal", "CAT": "animal"}), 3, 0, 0),
        (Criteria(("cat",), {"dog": "cat"}), 3, 0, 0),
        (Criteria(("cow",)), 0, 0, 0),
    ],
)
def test_classes_are_chosen_and_merged_by_name(criteria: Criteria, hits: int, misses: int, false: int) -> None:
    clear = evaluate(*_animals(), criteria).clear
    assert (clear["CLR_TP"], clear["CLR_FN"], clear["CLR_FP"]) == (hits, misses, false)


def test_a_class_that_nobody_names_is_refused(tmp_path: Path) -> None:
    for side, table in zip(("truth", "tracks"), _animals(), strict=True):
        write_table(tmp_path / f"{side}.csv", table)
    paths = tmp_path / "truth.csv", tmp_path / "tracks.csv"
    with pytest.raises(FormatError, match=r"truth.csv: has no class cow; named are Cat, Dog$"):
        evaluate_paths(*paths, Criteria(("dog", "cow")))
    evaluate_paths(*paths, Criteria(("dog", "cow"), {"cat": "cow"}))
    evaluate_paths(*paths, Criteria(("7", "DOG")))


def test_tracks_without_names_or_classes_are_compared_by_label_or_not_at_all() -> None:
    truth, tracks = _animals()
    by_label = TrackTable(tracks.frames, tracks.ids, tracks.boxes_ltwh, classes=[4, 7, 7])
    assert evaluate(truth, by_label, Criteria(("dog",))).clear["CLR_TP"] == 1
    silent = TrackTable(tracks.frames, tracks.ids, tracks.boxes_ltwh)
    assert evaluate(truth, silent, Criteria(("dog",))).clear["CLR_TP"] == 2
    assert evaluate(truth, silent, Criteria(("4",))).clear["CLR_TP"] == 2
    assert evaluate(truth, silent, Criteria(("4",), {"7": "4"})).clear["CLR_TP"] == 3


def test_the_threshold_of_a_hit_is_chosen(score: ScoreRows) -> None:
    truth, tracks = _truth(range(1, 5), "0,0,100,100"), _tracks(range(1, 5), box="0,0,100,60")
    strict, lenient = score(truth, tracks, iou=0.61), score(truth, tracks, iou=0.59)
    assert (strict.mota, strict.idf1) == (-100, 0)
    assert (lenient.mota, lenient.idf1) == (100, 100)
    assert strict.hota == lenient.hota


# --- several at a time, and how sure --------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Four sequences, of which each has its own faults."""
    for n, name in enumerate("abcd", 1):
        _write(tmp_path / "truth" / f"{name}.txt", _truth(range(1, 12)))
        tracks = _tracks(range(1, 4 + n), 1) + _tracks(range(5 + n, 12), 2) + _tracks(range(1, n), 3, ELSEWHERE)
        _write(tmp_path / "tracks" / f"{name}.txt", tracks)
    return tmp_path / "truth", tmp_path / "tracks"


def test_processes_change_nothing(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    alone = evaluate_paths(*folders, processes=2)  # so little that one process is enough
    monkeypatch.setattr(sequences, "_BYTES_PER_PROCESS", 1)
    seen: list[tuple[str, int, int]] = []
    together = evaluate_paths(*folders, processes=2, on_sequence=lambda *news: seen.append(news))
    assert list(together) == list(alone) == list("abcd")
    assert scores_dict(together) == scores_dict(alone)
    assert sorted(name for name, _, _ in seen) == list("abcd")
    assert [news[1:] for news in seen] == [(done, 4) for done in range(1, 5)]

    _write(folders[1] / "b.txt", ["1,1,1,1,0,1,1"])
    _write(folders[1] / "d.txt", ["1,1,1,1,1,nan,1"])
    with pytest.raises(FormatError, match=r"b.txt:1: box is 1, 1, 0, 1; width and height must be positive$") as caught:
        evaluate_paths(*folders, processes=2)
    assert caught.value.line == 1


def test_the_bootstrap_scores_bodies_of_drawn_sequences(folders: tuple[Path, Path]) -> None:
    evaluations = evaluate_paths(*folders)
    draws = np.random.default_rng(5).multinomial(4, np.full(4, 0.25), 60)
    bodies = []
    for counts in draws:
        body = {
            f"{name}{copy}": evaluations[name]
            for name, count in zip(evaluations, counts, strict=True)
            for copy in range(count)
        }
        whole = combine(body)
        bodies.append(asdict(whole.scores) | asdict(whole.details))
    intervals = bootstrap(evaluations, 60, seed=5)
    assert list(intervals) == list(HEADINGS)
    for field, ends in intervals.items():
        assert ends == pytest.approx(np.percentile([body[field] for body in bodies], [2.5, 97.5])), field
    assert intervals["hota"][0] < combine(evaluations).scores.hota < intervals["hota"][1]
    assert bootstrap(evaluations, 60, seed=5) == intervals
    assert bootstrap(evaluations, 60, seed=6) != intervals


def test_a_bootstrap_of_equal_sequences_knows_exactly_and_one_of_a_single_one_nothing(tmp_path: Path) -> None:
    for name in "ab":
        _write(tmp_path / "truth" / f"{name}.txt", _truth(range(1, 12)))
        _write(tmp_path / "tracks" / f"{name}.txt", _tracks(range(1, 7)))
    evaluations = evaluate_paths(tmp_path / "truth", tmp_path / "tracks")
    low, high = bootstrap(evaluations, 20)["hota"]
    assert low == high == pytest.approx(combine(evaluations).scores.hota)
    with pytest.raises(ValueError, match="over 1 sequences is none"):
        bootstrap({"a": evaluations["a"]}, 20)


# --- what people and programs see ------------------------------------------------------------------------


def test_table_and_json_hold_the_same_figures(tmp_path: Path) -> None:
    _write(tmp_path / "truth" / "[bold]a.txt", _truth(range(1, 11)))
    _write(tmp_path / "truth" / "b.txt", _truth(range(1, 11)))
    _write(tmp_path / "tracks" / "[bold]a.txt", _tracks(range(1, 11)))
    _write(tmp_path / "tracks" / "b.txt", _tracks(range(1, 10)) + _tracks(range(1, 2), 2, ELSEWHERE))
    evaluations = evaluate_paths(tmp_path / "truth", tmp_path / "tracks")

    tree = json.loads(json.dumps(scores_dict(evaluations)))
    assert list(tree["sequences"]) == ["[bold]a", "b"]
    assert tree["sequences"]["b"]["FP"] == tree["sequences"]["b"]["FN"] == 1
    assert tree["combined"]["MOTA"] == combine(evaluations).scores.mota == pytest.approx(90)

    printed = io.StringIO()
    Console(width=80, file=printed).print(scores_table(evaluations))
    lines = [line.split() for line in printed.getvalue().splitlines() if line.strip(" ─")]
    assert lines[0][1:] == list(SHOWN)
    assert [line[0] for line in lines[1:]] == ["[bold]a", "b", "COMBINED"]
    rows = [*tree["sequences"].values(), tree["combined"]]
    for line, row in zip(lines[1:], rows, strict=True):
        assert [float(cell) for cell in line[1:]] == pytest.approx([row[heading] for heading in SHOWN], abs=0.005)


def test_csv_and_markdown_hold_the_figures_of_the_table(folders: tuple[Path, Path]) -> None:
    evaluations = evaluate_paths(*folders)
    intervals = bootstrap(evaluations, 10)
    tree = scores_dict(evaluations, intervals)
    rows = list(csv.DictReader(io.StringIO(scores_csv(evaluations, intervals))))
    assert [row.pop("sequence") for row in rows] == [*"abcd", "COMBINED", "2.5 %", "97.5 %"]
    figures = [{heading: float(value) for heading, value in row.items()} for row in rows]
    assert figures[:5] == [*tree["sequences"].values(), tree["combined"]]
    for heading, ends in tree["intervals"].items():
        assert [figures[5][heading], figures[6][heading]] == pytest.approx(
            ends, abs=0.5 if heading in (*COUNTED_FAULTS, "MT", "PT") else 0
        )

    assert scores_markdown(evaluations).splitlines()[0] == f"| sequence | {' | '.join(SHOWN)} |"
    lines = scores_markdown(evaluations, intervals, tuple(HEADINGS.values())).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["sequence", *tree["combined"]]
    assert set(cells[1]) == {"---", "---:"}
    assert [float(cell) for cell in cells[6][1:]] == pytest.approx(list(tree["combined"].values()), abs=0.005)
    assert "a\\|b" in scores_markdown({"a|b": evaluations["a"]})


def test_nothing_is_printed_or_warned_of_on_the_way(tmp_path: Path) -> None:
    _write(tmp_path / "gt.txt", _truth(range(1, 6)))
    _write(tmp_path / "tracks.txt", _tracks(range(2, 4)))
    code = "from tracker.evaluation.sequences import evaluate_paths; evaluate_paths('gt.txt', 'tracks.txt')"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (run.stdout, run.stderr) == ("", "")


# --- an independent preparation --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(data_root: Path) -> ModuleType:
    """The script ``score.py`` beside the data, which masks frame by frame and is told the data set's name."""
    path = data_root.parent / "peers" / "score.py"
    if not path.is_file():
        pytest.skip("the reference score.py is not at hand")
    spec = importlib.util.spec_from_file_location("reference_score", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    disabled = logging.root.manager.disable
    with warnings.catch_warnings():
        spec.loader.exec_module(module)
    logging.disable(disabled)
    return module


def _chain(detections_path: Path, tracks_path: Path) -> None:
    """Write tracks that follow the largest overlap from frame to frame: crude, with plenty of faults."""
    rows, next_id, last_ids, last_boxes = [], 1, np.empty(0, np.int64), np.empty((0, 4))
    for frame, detections in read_detections(detections_path).items():
        boxes = xyxy_to_ltwh(detections.select(detections.scores >= 0.4).boxes_xyxy)
        ids = np.zeros(len(boxes), np.int64)
        overlap = intersection_over_union(last_boxes, boxes)
        while overlap.size and overlap.max() > 0.3:
            before, now = np.unravel_index(int(overlap.argmax()), overlap.shape)
            ids[now] = last_ids[before]
            overlap[before], overlap[:, now] = 0, 0
        fresh = np.flatnonzero(ids == 0)
        ids[fresh] = next_id + np.arange(len(fresh))
        next_id += len(fresh)
        rows += [f"{frame},{i},{','.join(f'{v:.2f}' for v in b)},1" for i, b in zip(ids, boxes, strict=True)]
        last_ids, last_boxes = ids, boxes
    tracks_path.write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize(
    ("dataset", "names"),
    [
        ("MOT17-val-half", ["MOT17-02", "MOT17-05"]),
        ("DanceTrack", ["dancetrack0004", "dancetrack0026"]),
        ("KITTI", ["car-0000", "car-0001", "car-0006", "ped-0013", "ped-0016"]),
        ("MOT15", ["PETS09-S2L1", "TUD-Campus"]),
        ("Detectors", ["MOT17-05-frcnn", "MOT17-11-yolov10", "PETS09-nanodet"]),
    ],
)
def test_scores_equal_the_reference_to_the_last_digit(
    data_root: Path, reference: ModuleType, tmp_path: Path, dataset: str, names: list[str]
) -> None:
    truth, tracks = tmp_path / "truth", tmp_path / "tracks"
    tracks.mkdir()
    for name in names:
        (truth / name).parent.mkdir(exist_ok=True)
        (truth / name).symlink_to(data_root / dataset / name)
        _chain(data_root / dataset / name / "det" / "det.txt", tracks / f"{name}.txt")
    evaluations = evaluate_paths(truth, tracks)

    expected: dict[str, Any] = reference.score(data_root, dataset, tracks, names)
    got = scores_dict(evaluations)["combined"]
    assert {key: got[key] for key in expected} == expected
    assert got["IDSW"] > 0  # the crude tracks do exercise the metrics
    for name in names:
        gt = reference.load_gt(data_root / dataset / name / "gt" / "gt.txt", dataset)
        rows = np.loadtxt(tracks / f"{name}.txt", delimiter=",")
        data = reference.prepare(gt, rows, int(max(gt[:, 0].max(), rows[:, 0].max())))
        for metric, ours in (
            (reference.H, evaluations[name].hota),
            (reference.C, evaluations[name].clear),
            (reference.I, evaluations[name].identity),
        ):
            theirs = metric.eval_sequence(data)
            for field in theirs.keys() - {"CLR_Frames", "FP_per_frame"}:  # these count empty frames, too
                np.testing.assert_array_equal(ours[field], theirs[field], err_msg=f"{name} {field}")
