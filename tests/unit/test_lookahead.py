"""Reports that wait: births shown from the start, gaps closed, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from tracker.config import Config
from tracker.structures import Detections, Status, Tracks
from tracker.tracking.lookahead import Held, hold
from tracker.tracking.online import Tracker

STILL = np.eye(2, 3)
BOX = np.array([100.0, 100.0, 140.0, 200.0])
ELSEWHERE = np.array([600.0, 300.0, 640.0, 400.0])
NOTHING = Detections.empty()
TENTATIVE, CONFIRMED, COASTING = Status
FIELDS = Tracks.__slots__


def held(time_s, *objects, affine=STILL, reported=None):
    """Return a frame of objects (id, status, box, score, variance, existence); coasting ones have no detection."""
    ids, status, boxes, scores, variances, existence = (np.array(column) for column in zip(*objects, strict=True))
    seen = status != COASTING
    tracks = Tracks(
        ids=ids,
        boxes_xyxy=boxes.astype(float),
        scores=scores,
        classes=ids + 10,
        detection_indices=np.where(seen, np.arange(len(ids)), -1),
        covariances=variances[:, None, None] * np.eye(4),
        existence=existence,
        responsibilities=np.where(seen, 0.9, 0.0),
        status=status,
        continuity=existence,
    )
    return Held(time_s, affine, tracks, status == CONFIRMED if reported is None else np.array(reported))


def hold_all(frames, lag_frames):
    window = ()
    for frame in frames:
        window = hold(window, frame, lag_frames)
    return window


def waiting(lag_frames, **lifecycle):
    return Tracker(Config.model_validate({"tracking": {"lag_frames": lag_frames, "lifecycle": lifecycle}}))


def seen(*boxes):
    return Detections(np.array(boxes), np.full(len(boxes), 0.9))


def reports(tracker, frames):
    """Return the report of every frame, flushed at the end."""
    given = [tracker.update(detections) for detections in frames] + tracker.flush()
    return given[len(given) - len(frames) :]


def assert_same(a, b):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


# Gaps


def test_a_gap_by_hand():
    """w = 1/4: the frame lies a quarter of the time between the claims, not half of the frames."""
    window = hold_all(
        [
            held(0.0, (7, CONFIRMED, [0, 0, 10, 20], 0.8, 4.0, 0.99)),
            held(1.0, (7, COASTING, [3, 3, 9, 9], 0.8, 16.0, 0.4)),
            held(4.0, (7, CONFIRMED, [40, 8, 58, 36], 0.4, 8.0, 0.9)),
        ],
        lag_frames=1,
    )
    assert len(window) == 2
    gap = window[0].report
    np.testing.assert_allclose(gap.boxes_xyxy, [[10.0, 2.0, 22.0, 24.0]])
    # 3/4 * 4 + 1/4 * 8 + 3/16 * 16
    np.testing.assert_allclose(gap.covariances, [8.0 * np.eye(4)])
    np.testing.assert_allclose(gap.scores, [0.7])
    assert gap.ids.tolist() == [7]
    assert gap.classes.tolist() == [17]
    assert gap.status.tolist() == [COASTING]
    assert gap.detection_indices.tolist() == [-1]
    assert gap.responsibilities.tolist() == [0.0]
    assert gap.existence.tolist() == [0.9]


def test_every_gap_has_its_own_ends_and_others_stay_as_they_are():
    def objects(n, *status):
        boxes = [[0, n, 10, n + 10], [100, 2 * n, 110, 2 * n + 10], [200, 0, 210, 10], [300, 0, 310, 10]]
        return [(i + 1, s, box, 0.5, 1.0, 0.9) for i, (s, box) in enumerate(zip(status, boxes, strict=True))]

    frames = [
        held(0.0, *objects(0, CONFIRMED, CONFIRMED, CONFIRMED, COASTING)),
        held(1.0, *objects(50, COASTING, CONFIRMED, CONFIRMED, COASTING)),
        held(2.0, *objects(50, COASTING, COASTING, COASTING, COASTING)),
        held(3.0, *objects(3, CONFIRMED, CONFIRMED, COASTING, CONFIRMED)),
    ]
    window = hold_all(frames, lag_frames=3)
    assert [frame.report.ids.tolist() for frame in window] == [[1, 2, 3], [1, 2, 3], [1, 2], [1, 2, 4]]
    np.testing.assert_allclose(window[1].report.boxes_xyxy[0], [0, 1, 10, 11])
    np.testing.assert_allclose(window[2].report.boxes_xyxy[0], [0, 2, 10, 12])
    np.testing.assert_allclose(window[2].report.boxes_xyxy[1], [100, (100 + 6) / 2, 110, (100 + 6) / 2 + 10])
    for frame, before in zip(window, frames, strict=True):
        kept = np.isin(frame.report.ids, before.report.ids)
        assert_same(frame.report.select(kept), before.report)
    assert frames[1].report.ids.tolist() == [2, 3]  # what was given is not changed


@pytest.mark.parametrize("lag_frames", [1, 2, 5])
@pytest.mark.parametrize("beyond", [0, 1])
def test_a_gap_is_closed_up_to_its_limit(lag_frames, beyond):
    """Claims lag + 1 frames apart are joined, one more are not."""
    missed = lag_frames + beyond
    walk = [seen(BOX + 2.0 * n) for n in range(20)]
    walk[8 : 8 + missed] = [NOTHING] * missed
    told = reports(waiting(lag_frames), walk)
    assert [len(t) for t in told] == [0 if beyond and 8 <= n < 8 + missed else 1 for n in range(20)]
    for n, tracks in enumerate(told):
        if len(tracks):
            assert tracks.ids.tolist() == [1]
            np.testing.assert_allclose(tracks.boxes_xyxy, [BOX + 2.0 * n])


def test_a_gap_that_does_not_end_stays_one():
    told = reports(waiting(5), [seen(BOX)] * 6 + [NOTHING] * 3)
    assert [len(t) for t in told] == [1] * 6 + [0] * 3


def test_a_gap_follows_the_real_times():
    tracker = waiting(3)
    for n in range(5):
        tracker.update(seen(BOX), time_s=n / 25.0)
    for time_s in (0.2, 0.21):
        tracker.update(NOTHING, time_s=time_s)
    tracker.update(seen(BOX + 4.0), time_s=0.26)
    told = tracker.flush()
    np.testing.assert_allclose(told[0].boxes_xyxy, [BOX + 4.0 * 0.4])
    np.testing.assert_allclose(told[1].boxes_xyxy, [BOX + 4.0 * 0.5])


def test_a_gap_is_closed_in_the_pixels_of_its_frame():
    """Something moves steadily in the world while the camera pans, turns and zooms: the gap lies on its way."""
    rng = np.random.default_rng(3)
    to_frame, frames, expected, variances = np.eye(3), [], [], []
    for n in range(6):
        turn, zoom = rng.uniform(-0.3, 0.3), rng.uniform(0.8, 1.25)
        affine = np.eye(3)
        affine[:2, :2] = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        affine[:2, 2] = rng.uniform(-80.0, 80.0, 2)
        to_frame = affine @ to_frame
        centre = (to_frame @ [50.0 + 3.0 * n, 80.0 - 2.0 * n, 1.0])[:2]
        half = np.sqrt(np.linalg.det(to_frame[:2, :2])) * np.array([5.0 + n, 10.0])
        expected.append(np.concatenate([centre - half, centre + half]))
        variance = np.linalg.det(to_frame[:2, :2]) * 4.0
        if 2 <= n < 5:
            frames.append(held(n, (1, COASTING, [0, 0, 1, 1], 0.9, 0.0, 0.9), affine=affine[:2]))
        else:
            frames.append(held(n, (1, CONFIRMED, expected[-1], 0.9, variance, 0.9), affine=affine[:2]))
        variances.append(variance)
    window = hold_all(frames, lag_frames=5)
    for n in range(6):
        np.testing.assert_allclose(window[n].report.boxes_xyxy, [expected[n]])
        np.testing.assert_allclose(window[n].report.covariances, [variances[n] * np.eye(4)])


def test_the_camera_given_to_the_tracker_carries_the_gap():
    jump = np.array([[1.0, 0.0, 300.0], [0.0, 1.0, -40.0]])
    moved = BOX + np.tile([300.0, -40.0], 2)
    tracker = waiting(3)
    for n in range(8):
        box = BOX if n < 5 else moved
        tracker.update(NOTHING if n in (4, 5, 6) else seen(box), camera_affine=jump if n == 5 else None)
    told = tracker.flush()  # frames 5 to 7; 4 was given with the last update
    np.testing.assert_allclose([t.boxes_xyxy[0] for t in told], [moved] * 3)


# Births


@pytest.mark.parametrize(("lag_frames", "first"), [(1, 6), (2, 5), (3, 5), (9, 5)])
def test_a_birth_is_reported_from_the_first_detection_that_still_waits(lag_frames, first):
    """First seen in frame 5 and confirmed by its third detection, in frame 7."""
    frames = [seen(BOX)] * 5 + [seen(BOX, ELSEWHERE)] * 6
    told = reports(waiting(lag_frames, confirmation_hits=3), frames)
    assert [2 in t.ids for t in told] == [n >= first for n in range(11)]
    for tracks in told[first:]:
        row = tracks.ids.tolist().index(2)
        np.testing.assert_array_equal(tracks.boxes_xyxy[row], ELSEWHERE)
        assert tracks.detection_indices[row] == 1
        assert tracks.responsibilities[row] > 0.5
        assert tracks.status[row] == CONFIRMED


def test_what_is_not_confirmed_is_not_reported():
    frames = [seen(BOX)] * 5 + [seen(BOX, ELSEWHERE)] + [seen(BOX)] * 5
    assert {i for t in reports(waiting(5), frames) for i in t.ids.tolist()} == {1}


def test_the_first_two_frames_are_reported_as_without_waiting():
    frames = [seen(BOX, ELSEWHERE), seen(BOX)] + [seen(BOX)] * 4
    at_once, later = reports(waiting(0), frames), reports(waiting(4), frames)
    assert at_once[0].status.tolist() == [TENTATIVE] * 2
    for a, b in zip(at_once, later, strict=True):
        assert_same(a, b)


# The tracker


def test_reports_come_in_order_and_each_once():
    frames = [seen(BOX + n) for n in range(7)]
    tracker = waiting(3)
    given = [tracker.update(detections) for detections in frames]
    assert [len(t) for t in given] == [0, 0, 0, 1, 1, 1, 1]
    rest = tracker.flush()
    assert len(rest) == 3
    assert [t.boxes_xyxy[0, 0] for t in given[3:] + rest] == [100.0 + n for n in range(7)]
    assert tracker.flush() == []
    assert [len(tracker.update(seen(BOX + n))) for n in range(7, 12)] == [0, 0, 0, 1, 1]


def test_fewer_frames_than_wait_are_all_flushed():
    tracker = waiting(250)
    assert [len(tracker.update(seen(BOX + n))) for n in range(4)] == [0] * 4
    assert [t.boxes_xyxy[0, 0] for t in tracker.flush()] == [100.0, 101.0, 102.0, 103.0]


def test_nothing_is_joined_across_a_flush():
    tracker = waiting(3)
    told = reports(tracker, [seen(BOX)] * 5)
    told += reports(tracker, [NOTHING, seen(BOX)])
    assert [len(t) for t in told] == [1] * 5 + [0, 1]


def test_without_lag_every_report_is_that_of_the_newest_frame_and_none_waits():
    tracker = Tracker()
    for detections in [seen(BOX), NOTHING, seen(BOX, ELSEWHERE), seen(BOX), NOTHING, seen(BOX)]:
        assert_same(tracker.update(detections), tracker.tracks())
        assert tracker.flush() == []


def test_waiting_changes_neither_the_mixture_nor_what_is_told_of_the_newest_frame():
    at_once, later = waiting(0), waiting(4)
    for n in range(12):
        detections = NOTHING if n in (5, 6) else seen(BOX + n, ELSEWHERE)
        at_once.update(detections)
        later.update(detections)
        assert at_once.state.components.tobytes() == later.state.components.tobytes()
        for coasting in (False, True):
            assert_same(at_once.tracks(coasting), later.tracks(coasting))


@pytest.mark.parametrize("how", ["reset", "an earlier state"])
def test_waiting_reports_end_with_the_frames_they_speak_of(how):
    tracker = waiting(3)
    start = tracker.state
    frames = [seen(BOX), NOTHING, seen(BOX), seen(BOX), NOTHING, seen(BOX)]
    first = reports(tracker, frames)
    for detections in frames:
        tracker.update(detections)
    if how == "reset":
        tracker.reset()
    else:
        tracker.state = start
    assert tracker.flush() == []
    for a, b in zip(first, reports(tracker, frames), strict=True):
        assert_same(a, b)
