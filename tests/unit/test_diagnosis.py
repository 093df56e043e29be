"""What became of the truth, what faults cost and why: hand-worked cases, and the counts of TrackEval."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tracker.confidence import DEGREES_OF_FREEDOM, EXPECTED_CLIPPED_SQUARE, ellipse_squared_radius
from tracker.errors import FormatError
from tracker.evaluation.consistency import (
    LEVELS,
    brier_score,
    calibration_error,
    clipped_squares,
    consistency,
    held_shares,
    reliability,
)
from tracker.evaluation.diagnosis import (
    Coverage,
    Fate,
    Span,
    Surroundings,
    coverage,
    detected,
    fragmentation_rows,
    lost_frames,
    main_tracks,
    quantile_edges,
    recall_by,
    repaired_hota,
    spans,
    surroundings,
    without_faults,
)
from tracker.evaluation.moments import Scene, false_tracks, misses, switches
from tracker.evaluation.preparation import Prepared, match, prepare
from tracker.evaluation.scores import evaluate
from tracker.formats.diagnostics import HEADER, Diagnostics, format_diagnostics, read_diagnostics
from tracker.formats.table import TrackTable
from tracker.structures import Detections

WIDTH, HEIGHT = 10.0, 20.0


def table(*rows: tuple[int, int, float, float]) -> TrackTable:
    """Boxes of 10 x 20 px: frame, id, left, top."""
    frames, ids, lefts, tops = (list(column) for column in zip(*rows, strict=True))
    boxes = [[left, top, WIDTH, HEIGHT] for left, top in zip(lefts, tops, strict=True)]
    return TrackTable(frames, ids, boxes, scores=[0.5] * len(frames))


def looked_into(truth: TrackTable, tracks: TrackTable) -> tuple[Prepared, Coverage]:
    prepared = prepare(truth, tracks)
    return prepared, coverage(prepared, match(prepared))


def scene_of(
    truth: TrackTable,
    tracks: TrackTable,
    picture_px: tuple[int, int] | None = None,
    seen: dict[int, Detections] | None = None,
) -> Scene:
    prepared, cover = looked_into(truth, tracks)
    found = None if seen is None else detected(prepared, cover, seen, 0.5)
    return Scene(prepared, cover, surroundings(cover, prepared), picture_px, found)


# One identity for ten frames: track 1 for four, nothing in the fifth, a box 4 px off (IoU 60/140) in the sixth, then
# track 2. Track 9 is on nobody in frames 3 to 5.
TRUTH = table(*((frame, 7, 100.0, 50.0) for frame in range(1, 11)))
TRACKS = table(
    *((frame, 1, 100.0, 50.0) for frame in range(1, 5)),
    (6, 1, 104.0, 50.0),
    *((frame, 2, 100.0, 50.0) for frame in range(7, 11)),
    *((frame, 9, 300.0, 50.0) for frame in range(3, 6)),
)


def test_what_became_of_each_box() -> None:
    prepared, cover = looked_into(TRUTH, TRACKS)
    covered, missed, loose = Fate.COVERED, Fate.MISSED, Fate.LOOSE
    assert cover.fates.tolist() == [covered] * 4 + [missed, loose] + [covered] * 4
    assert cover.tracks.tolist() == [1] * 4 + [-1, 1] + [2] * 4
    assert cover.ious[5] == pytest.approx(60 / 140)
    assert cover.frames[cover.switched].tolist() == [7]
    assert prepared.tracks.ids[cover.false_rows].tolist() == [9, 9, 9]
    assert cover.frames[fragmentation_rows(cover, prepared)].tolist() == [7]
    assert spans(cover) == [
        Span(7, 0, 3, 1, 4, covered, 1),
        Span(7, 4, 4, 5, 5, missed, -1),
        Span(7, 5, 5, 6, 6, loose, 1),
        Span(7, 6, 9, 7, 10, covered, 2),
    ]


def test_the_main_track_covers_most_and_the_rest_is_lost() -> None:
    _, cover = looked_into(TRUTH, table(*((frame, 1 + (frame > 6), 100.0, 50.0) for frame in range(1, 10))))
    assert main_tracks(cover) == {7: 1}
    assert lost_frames(cover) == {7: 4}  # three frames of track 2, and the last


def test_an_absence_ends_a_span_and_is_no_miss() -> None:
    truth = table(
        (1, 7, 0.0, 0.0), (2, 7, 0.0, 0.0), (4, 7, 0.0, 0.0), *((frame, 8, 200.0, 0.0) for frame in range(1, 5))
    )
    _, cover = looked_into(truth, truth)
    assert [(s.identity, s.first_frame, s.last_frame) for s in spans(cover)] == [(7, 1, 2), (7, 4, 4), (8, 1, 4)]
    assert (cover.fates == Fate.COVERED).all()


def random_sequence(seed: int, *, frames: int = 40, gaps: float = 0.2) -> tuple[TrackTable, TrackTable]:
    """People who walk, come and go, and tracks of them that shift, change, vanish and double."""
    rng = np.random.default_rng(seed)
    truth, tracks = [], []
    for identity in range(5):
        place, step = rng.uniform(0, 120, 2), rng.uniform(-2, 2, 2)
        track = 10 * identity
        for frame in range(1, frames + 1):
            place = place + step
            present = rng.random() > 0.05 and not 18 <= frame <= 20  # frames in which nobody is there
            if present:
                truth.append((frame, identity, *place))
            track += rng.random() < 0.06
            if rng.random() > gaps and frame not in (25, 26):  # and frames without any track
                tracks.append((frame, track, *(place + rng.normal(0, 2.5, 2))))
            if rng.random() < 0.05:
                tracks.append((frame, 1000 + track, *rng.uniform(0, 120, 2)))
    return table(*truth), table(*tracks)


@pytest.mark.parametrize("seed", range(12))
def test_counts_are_those_of_trackeval(seed: int) -> None:
    truth, tracks = random_sequence(seed)
    prepared, cover = looked_into(truth, tracks)
    scores = evaluate(truth, tracks).scores
    loose = int((cover.fates == Fate.LOOSE).sum())
    assert loose > 0
    assert int(cover.switched.sum()) == scores.id_switches > 0
    assert len(fragmentation_rows(cover, prepared)) == scores.fragmentations > 0
    assert int((cover.fates == Fate.MISSED).sum()) + loose == scores.false_negatives
    assert len(cover.false_rows) + loose == scores.false_positives


@pytest.mark.parametrize("seed", range(6))
def test_a_result_without_faults_is_perfect_and_none_is_made_better_by_them(seed: int) -> None:
    truth, tracks = random_sequence(seed)
    prepared, cover = looked_into(truth, tracks)
    hota = np.mean(evaluate(truth, tracks).hota["HOTA"])
    assert without_faults(prepared, cover)["HOTA"] == pytest.approx(np.ones(19))
    for fields in repaired_hota(prepared, cover).values():
        assert np.mean(fields["HOTA"]) > hota


def test_what_each_fault_costs() -> None:
    rows = [(frame, 7, 100.0, 50.0) for frame in range(1, 11)]
    truth = table(*rows)

    def costs(tracks: TrackTable) -> dict[str, float]:
        prepared, cover = looked_into(truth, tracks)
        hota = float(np.mean(evaluate(truth, tracks).hota["HOTA"]))
        fields = repaired_hota(prepared, cover).items()
        return {"": hota} | {fault: float(np.mean(part["HOTA"])) for fault, part in fields}

    half = 0.5**0.5
    # Two halves: every hit shares its track with half of its identity, AssA is 1/2.
    split = costs(table(*((frame, 1 + (frame > 5), 100.0, 50.0) for frame in range(1, 11))))
    assert split == pytest.approx({"": half, "identity": 1, "missed": half, "false": half, "loose": half})
    # Half is missed: DetA and AssA are 1/2 each.
    missed = costs(table(*((frame, 1, 100.0, 50.0) for frame in range(1, 6))))
    assert missed == pytest.approx({"": 0.5, "identity": 0.5, "missed": 1, "false": 0.5, "loose": 0.5})
    # As many false boxes as true ones: DetA is 1/2.
    false = costs(table(*((f, 1, 100.0, 50.0) for f in range(1, 11)), *((f, 2, 300.0, 50.0) for f in range(1, 11))))
    assert false == pytest.approx({"": half, "identity": half, "missed": half, "false": 1, "loose": half})
    # 2 px off: IoU 160/240, a hit at 13 of the 19 thresholds.
    loose = costs(table(*((frame, 1, 102.0, 50.0) for frame in range(1, 11))))
    assert loose == pytest.approx({"": 13 / 19, "identity": 13 / 19, "missed": 13 / 19, "false": 13 / 19, "loose": 1})


# ----------------------------------------------------------------------------------------- circumstances


def around(*rows: tuple[int, int, float, float]) -> tuple[Coverage, Surroundings]:
    truth = table(*rows)
    prepared, cover = looked_into(truth, truth)
    return cover, surroundings(cover, prepared)


def test_neighbours_and_who_hides_whom() -> None:
    # 2 stands 4 px to the right of 1 and 5 px lower, nearer to the camera: 6 x 15 px of 1 are hidden.
    cover, found = around((1, 1, 0.0, 0.0), (1, 2, 4.0, 5.0), (1, 3, 90.0, 0.0))
    assert cover.ids.tolist() == [1, 2, 3]
    assert found.neighbours.tolist() == [2, 1, -1]
    assert found.neighbour_ious == pytest.approx([90 / 310, 90 / 310, 0])
    assert found.hiders.tolist() == [2, -1, -1]
    assert found.hidden == pytest.approx([90 / 200, 0, 0])
    assert found.sizes_px == pytest.approx([200**0.5] * 3)


def test_speed_is_in_own_sizes_per_frame_whatever_is_annotated() -> None:
    _, found = around(*((frame, 1, 3.0 * frame, 4.0 * frame) for frame in (1, 2, 4, 5, 9)), (1, 2, 99.0, 0.0))
    assert found.speeds[:5] == pytest.approx([5 / 200**0.5] * 5)
    assert np.isnan(found.speeds[5])


def test_recall_by_bins() -> None:
    recall = recall_by(
        np.array([0.0, 1.0, 1.5, 2.0, 9.0, np.nan]),
        np.array([True, False, True, True, False, True]),
        np.array([0.0, 1.0, 2.0, 3.0, 4.0]),
    )
    assert recall.counts.tolist() == [2, 2, 0, 1]
    assert recall.found.tolist() == [1, 2, 0, 0]
    assert recall.shares == pytest.approx([0.5, 1.0, np.nan, 0.0], nan_ok=True)


def test_quantile_edges_hold_equally_many_and_bear_equal_values() -> None:
    assert quantile_edges(np.arange(11.0), 5) == pytest.approx([0, 2, 4, 6, 8, 10])
    assert quantile_edges(np.array([3.0, 3.0, np.nan])).tolist() == [3, 4]
    assert quantile_edges(np.array([np.nan])).tolist() == [0, 1]


def test_detections_are_assigned_to_true_boxes() -> None:
    truth = table((1, 1, 0.0, 0.0), (1, 2, 50.0, 0.0), (2, 1, 0.0, 0.0))
    prepared, cover = looked_into(truth, truth)
    seen = {1: Detections([[1, 0, 11, 20], [2, 0, 12, 20], [58, 0, 68, 20]], [0.3, 0.9, 0.8])}
    assert detected(prepared, cover, seen, 0.5) == pytest.approx([0.3, np.nan, np.nan], nan_ok=True)


# ---------------------------------------------------------------------------------------- moments and causes


def test_the_weight_of_a_switch_is_what_it_cuts_off() -> None:
    rows = [(f, 1 if f <= 6 else 2 if f <= 8 else 3, 0.0, 0.0) for f in range(1, 21)]
    found = switches(scene_of(table(*((f, 7, 0.0, 0.0) for f in range(1, 21))), table(*rows)))
    assert [(m.last_frame, m.tracks, m.frames) for m in found] == [(7, (1, 2), 2), (9, (2, 3), 2)]
    rows = [(f, 1 if f <= 6 else 2, 0.0, 0.0) for f in range(1, 21)]
    (found_one,) = switches(scene_of(table(*((f, 7, 0.0, 0.0) for f in range(1, 21))), table(*rows)))
    assert found_one.frames == 6
    assert found_one.headline == "Identity 7: track 1 becomes 2 in frame 7"
    assert "with nobody near" in found_one.because
    assert "track 1 ended in frame 6" in found_one.facts
    assert "track 2 begins in frame 7" in found_one.facts


def crossing_rows() -> tuple[list[tuple[int, int, float, float]], list[tuple[int, int, float, float]]]:
    """Two who walk through each other in frames 1 to 21 and meet in 11, one 2 px lower."""
    one = [(frame, 1, 4.0 * frame, 0.0) for frame in range(1, 22)]
    two = [(frame, 2, 88.0 - 4.0 * frame, 2.0) for frame in range(1, 22)]
    return one, two


def test_an_exchange_is_told_with_whom_and_where_they_crossed() -> None:
    one, two = crossing_rows()
    tracks = [(frame, 10 if (identity == 1) == (frame <= 11) else 20, x, y) for frame, identity, x, y in one + two]
    first, second = switches(scene_of(table(*one, *two), table(*tracks)))
    assert {first.identity, second.identity} == {1, 2}
    because = {moment.identity: moment.because for moment in (first, second)}
    assert because[1] == "It exchanged tracks with identity 2, hidden by identity 2 (90% of the box in frame 11)."
    assert because[2].startswith("It exchanged tracks with identity 1, crossing identity 1 (IoU 0.82 in frame 11)")


def test_a_track_that_comes_over_is_told_with_whom_it_left() -> None:
    one, two = crossing_rows()
    tracks = [(f, 10 if f <= 11 else 20, x, y) for f, _, x, y in one] + [
        (f, 20 if f <= 11 else 30, x, y) for f, _, x, y in two
    ]
    because = {moment.identity: moment.because for moment in switches(scene_of(table(*one, *two), table(*tracks)))}
    assert because[1] == "Track 20 left identity 2 for it, hidden by identity 2 (90% of the box in frame 11)."
    assert because[2].startswith("Its track 20 went over to identity 1, crossing identity 1")


def test_a_gap_is_told_with_what_the_detector_saw() -> None:
    truth = table(*((f, 7, 2.0 * f, 0.0) for f in range(1, 31)))
    tracks = table(*((f, 1 if f < 10 else 2, 2.0 * f, 0.0) for f in range(1, 31) if not 10 <= f < 20))
    seen = {f: Detections([[2.0 * f, 0, 2.0 * f + 10, 20]], [0.25]) for f in (10, 11, 12)}
    (moment,) = switches(scene_of(truth, tracks, seen=seen))
    assert moment.because == "No detection for 10 frames."
    assert "the detector saw it in 3 of 10 frames with a mean score of 0.25 in between" in moment.facts
    assert "moved 1.6 of its size meanwhile" in moment.facts
    assert (moment.first_frame, moment.last_frame, moment.shown_frames) == (9, 20, (9, 14, 20))
    (miss,) = misses(scene_of(truth, tracks, seen=seen))
    assert (miss.headline, miss.because) == (
        "Identity 7: lost for 10 frames from frame 10",
        "The detector seldom sees it.",
    )
    (unknown,) = misses(scene_of(truth, tracks))
    assert unknown.because == "No box is near it."


def test_who_stands_still_at_the_edge_is_said_to() -> None:
    truth = table(*((f, 7, 0.0, 5.0) for f in range(1, 31)), *((f, 8, 50.0 + f, 5.0) for f in range(1, 31)))
    tracks = table(*((f, 2, 50.0 + f, 5.0) for f in range(1, 31)))
    (moment,) = misses(scene_of(truth, tracks, picture_px=(200, 100)))
    assert moment.headline == "Identity 7: never found for 30 frames from frame 1"
    assert moment.because == "No box is near it, while it stands still."
    assert "at the left edge of the picture" in moment.facts


def test_one_box_for_two_is_told() -> None:
    # 8 walks 3 px beside 7; the only box is that of 7.
    truth = table(*((f, 7, 2.0 * f, 0.0) for f in range(1, 21)), *((f, 8, 2.0 * f + 3, 0.0) for f in range(1, 21)))
    (moment,) = misses(scene_of(truth, table(*((f, 1, 2.0 * f, 0.0) for f in range(1, 21)))))
    assert moment.identity == 8
    assert moment.because == "One box for two: in 20 of 20 frames the box around it is the hit of identity 7."


def test_a_loose_fit_is_no_lack_of_boxes() -> None:
    truth = table(*((f, 7, 2.0 * f, 0.0) for f in range(1, 21)))
    (moment,) = misses(scene_of(truth, table(*((f, 1, 2.0 * f + 5, 0.0) for f in range(1, 21)))))
    assert moment.because == "A box is there but fits loosely: IoU 0.33 on average, a hit needs more."
    assert moment.tracks == (1,)


def test_false_tracks_are_ghosts_or_doubles() -> None:
    ghost, double = false_tracks(
        scene_of(
            TRUTH,
            table(
                *((f, 1, 100.0, 50.0) for f in range(1, 11)),
                *((f, 2, 102.0, 50.0) for f in range(4, 8)),
                *((f, 3, 300.0 + 20 * f, 50.0) for f in range(1, 10)),
            ),
        )
    )
    assert (ghost.tracks, ghost.frames, ghost.because) == ((3,), 9, "Nothing of the truth is beneath it.")
    assert ghost.facts == ("never covers anybody", "mean score 0.50")
    assert double.headline == "Track 2: 4 boxes on nobody from frame 4"
    assert double.because == "A second box on identity 7, which another track covers (IoU 0.67 on average)."
    assert "hardly moves" in double.facts


# --------------------------------------------------------------------------------------- promises and their file


def diagnostics(
    frames: list[int], ids: list[int], means: list[list[float]], variance: float = 4.0, rate_hz: float = 2.0
) -> Diagnostics:
    n = len(frames)
    return Diagnostics(
        np.array(frames),
        np.array(ids),
        np.tile([1.0, -1.0, 0.5, 0.5], (n, 1)),
        np.array(means, float).reshape(n, 4),
        np.full((n, 4), variance),
        np.full(n, 0.9),
        np.linspace(0.1, 0.9, n),
        np.linspace(0.2, 0.8, n),
        np.array(frames) / rate_hz,
    )


def test_promises_are_compared_with_the_truth_under_the_same_track() -> None:
    # The true box is centred at (105, 60) and 10 x 20 px. The last row is on nobody.
    told = diagnostics(
        [1, 2, 4, 3], [1, 1, 1, 9], [[107, 60, 10, 20], [105, 56, 10, 20], [105, 60, 12, 20], [305, 60, 10, 20]]
    )
    kept = consistency(*looked_into(TRUTH, TRACKS), told)
    assert kept.position_innovations_squared == pytest.approx([2] * 4)
    assert kept.size_innovations_squared == pytest.approx([0.5] * 4)
    assert kept.position_errors_squared == pytest.approx([1, 4, 0])
    assert kept.size_errors_squared == pytest.approx([0, 0, 1])
    # At 2 Hz: frame 2 is younger than a second and looks back at frame 1, frame 4 at frame 2.
    assert kept.continuity == pytest.approx(told.continuity[1:3])
    assert kept.identities_kept.tolist() == [1, 1]


def test_innovations_that_are_what_they_promise_fill_their_ellipses() -> None:
    rng = np.random.default_rng(3)
    drawn = rng.standard_t(DEGREES_OF_FREEDOM, (200_000, 4)) * np.sqrt(1 - 2 / DEGREES_OF_FREEDOM)
    np.testing.assert_allclose(clipped_squares(drawn), EXPECTED_CLIPPED_SQUARE, atol=0.01)
    pairs = rng.standard_normal((200_000, 2)) / np.sqrt(rng.chisquare(DEGREES_OF_FREEDOM, (200_000, 1)))
    # Of unit variance: 3 / 1 times 1 / 3.
    held = held_shares((pairs**2).sum(axis=1), 2)
    np.testing.assert_allclose(held, LEVELS, atol=0.005)


def test_an_innovation_counts_up_to_three_standard_deviations() -> None:
    assert clipped_squares(np.array([[30.0, -4.0, 3.0, 1.0]])) == pytest.approx([9, 9, 9, 1])


def test_a_track_that_leaves_its_identity_within_a_second_is_not_kept() -> None:
    truth = table((1, 1, 0.0, 0.0), (1, 2, 50.0, 0.0), (2, 1, 0.0, 0.0), (2, 2, 50.0, 0.0))
    tracks = table((1, 10, 0.0, 0.0), (2, 10, 50.0, 0.0))
    told = diagnostics([1, 2], [10, 10], [[5, 10, 10, 20], [55, 10, 10, 20]], rate_hz=1.0)
    assert consistency(*looked_into(truth, tracks), told).identities_kept.tolist() == [0]


def test_what_a_track_covered_longer_ago_does_not_count() -> None:
    frames = [1, 2, 3, 5]
    truth = table(*((frame, 1, 0.0, 0.0) for frame in frames))
    tracks = table(*((frame, 10, 0.0, 0.0) for frame in frames))
    told = diagnostics(frames, [10] * 4, [[5, 10, 10, 20]] * 4, rate_hz=1.0)
    # Frames 2 and 3 look back a second; in frame 4, a second before frame 5, there was nothing.
    assert consistency(*looked_into(truth, tracks), told).continuity == pytest.approx(told.continuity[1:3])


def test_ellipses_of_a_true_report_hold_what_they_promise() -> None:
    rng = np.random.default_rng(1)
    errors = stats.multivariate_t.rvs(
        shape=(DEGREES_OF_FREEDOM - 2) / DEGREES_OF_FREEDOM * np.eye(4),
        df=DEGREES_OF_FREEDOM,
        size=20_000,
        random_state=rng,
    )
    for dimensions in (1, 2, 4):
        squares = (errors[:, :dimensions] ** 2).sum(axis=1)
        for share, level in zip(held_shares(squares, dimensions), LEVELS, strict=True):
            # Five standard errors of a binomial share.
            assert abs(share - level) < 5 * math.sqrt(level * (1 - level) / len(squares))
        assert (held_shares(4 * squares, dimensions) < held_shares(squares, dimensions)).all()
    assert np.isnan(held_shares(np.empty(0), 2)).all()


def test_the_radius_of_ellipses_is_that_of_their_law() -> None:
    for level in LEVELS:
        radius = ellipse_squared_radius(level)
        assert held_shares(np.array([radius - 1e-9, radius + 1e-9]), 2, (level,)) == pytest.approx([0.5])
    assert ellipse_squared_radius(0.0) == 0.0
    assert [ellipse_squared_radius(level) for level in LEVELS] == sorted(map(ellipse_squared_radius, LEVELS))
    with pytest.raises(ValueError, match=r"share is 1\.0; it must be at least 0 and below 1"):
        ellipse_squared_radius(1.0)


def test_reliability_by_bins() -> None:
    bars = reliability(np.array([0.05, 0.95, 0.97, 1.0]), np.array([0, 1, 1, 0]))
    assert bars.promised == pytest.approx([0.05, 2.92 / 3])
    assert bars.kept == pytest.approx([0, 2 / 3])
    assert bars.counts.tolist() == [1, 3]
    # (1 |0.05 - 0| + 3 |2.92 / 3 - 2 / 3|) / 4
    assert calibration_error(bars) == pytest.approx((0.05 + 0.92) / 4)
    assert brier_score(np.array([0.05, 0.95, 0.97, 1.0]), np.array([0, 1, 1, 0])) == pytest.approx(
        (0.0025 + 0.0025 + 0.0009 + 1.0) / 4
    )
    nothing = reliability(np.empty(0), np.empty(0, np.int64))
    assert np.isnan([calibration_error(nothing), brier_score(np.empty(0), np.empty(0, np.int64))]).all()


def test_diagnostics_come_back_from_their_file(tmp_path: Path) -> None:
    told = diagnostics([1, 2], [3, 4], [[1.5, 2, 3, 4], [5, 6, 7, 8]], 0.25)
    file = tmp_path / "diagnostics.csv"
    file.write_text(HEADER + format_diagnostics(told))
    back = read_diagnostics(file)
    for column in dataclasses.fields(Diagnostics):
        assert getattr(back, column.name) == pytest.approx(getattr(told, column.name)), column.name
    file.write_text(HEADER)
    assert len(read_diagnostics(file)) == 0


def test_times_of_a_camera_that_has_run_for_days_stay_apart(tmp_path: Path) -> None:
    told = diagnostics([1, 2], [3, 3], [[1.5, 2, 3, 4], [5, 6, 7, 8]], 0.25)
    told = dataclasses.replace(told, times_s=np.array([432_000.04, 432_000.0733]))
    file = tmp_path / "diagnostics.csv"
    file.write_text(HEADER + format_diagnostics(told))
    assert read_diagnostics(file).times_s.tolist() == [432_000.04, 432_000.0733]


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", None, "has not the header frame,id,z_x"),
        ("frame,id\n", 1, "has not the header frame,id,z_x"),
        (HEADER + "1,2,3\n", 2, "must be 18 numbers"),
        (HEADER + "1,1,0,0,0,0,1,1,1,1,1,1,1,x,1,1,1,1\n", 2, "must be 18 numbers"),
        (HEADER + "1,1,0,0,0,0,1,1,1,1,1,1,1,nan,1,1,1,1\n", 2, "holds a number that is not finite"),
        (HEADER + "0,1,0,0,0,0,1,1,1,1,1,1,1,1,1,1,1,1\n", 2, "frame must be a whole number from 1"),
        (HEADER + "1,-1,0,0,0,0,1,1,1,1,1,1,1,1,1,1,1,1\n", 2, "id must be a whole number from 0"),
        (HEADER + "1,1,0,0,0,0,1,1,1,1,1,1,1,0,1,1,1,1\n", 2, "variances must be positive"),
        (
            HEADER + "\n1,1,0,0,0,0,1,1,1,1,1,1,1,1,1,1,2,1\n",
            3,
            "existence, responsibility and continuity must be in [0, 1]",
        ),
    ],
)
def test_bad_diagnostics_name_the_line(tmp_path: Path, text: str, line: int | None, problem: str) -> None:
    file = tmp_path / "diagnostics.csv"
    file.write_text(text)
    with pytest.raises(FormatError) as caught:
        read_diagnostics(file)
    assert caught.value.line == line
    assert str(caught.value).startswith(str(file))
    assert problem in str(caught.value)


def test_nothing_at_all_is_borne() -> None:
    truth = table((1, 1, 0.0, 0.0))
    nobody = TrackTable([], [], np.empty((0, 4)))
    prepared, cover = looked_into(truth, nobody)
    assert (cover.fates.tolist(), lost_frames(cover), main_tracks(cover)) == ([Fate.MISSED], {1: 1}, {1: -1})
    scene = Scene(prepared, cover, surroundings(cover, prepared))
    assert (len(misses(scene)), switches(scene), false_tracks(scene)) == (1, [], [])
    assert np.mean(repaired_hota(prepared, cover)["missed"]["HOTA"]) == pytest.approx(1.0)
    prepared, cover = looked_into(nobody, truth)
    assert (len(cover), spans(cover), lost_frames(cover), len(cover.false_rows)) == (0, [], {}, 1)
    scene = Scene(prepared, cover, surroundings(cover, prepared))
    assert (misses(scene), switches(scene), len(false_tracks(scene))) == ([], [], 1)
