"""Scores: cases worked by hand, and equality with an independent preparation on real sequences."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tracker.errors import FormatError
from tracker.evaluation.preparation import Criteria
from tracker.evaluation.scores import Scores, combine
from tracker.evaluation.sequences import evaluate_paths
from tracker.evaluation.table import scores_dict, scores_table
from tracker.formats.motchallenge import read_detections
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
    assert lines[0][1:] == list(tree["combined"])
    assert [line[0] for line in lines[1:]] == ["[bold]a", "b", "COMBINED"]
    rows = [*tree["sequences"].values(), tree["combined"]]
    for line, row in zip(lines[1:], rows, strict=True):
        assert [float(cell) for cell in line[1:]] == pytest.approx(list(row.values()), abs=0.005)


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
