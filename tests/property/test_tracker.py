"""What holds for the tracker whatever it sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.config import Config
from tracker.structures import Detections, Status, Tracks
from tracker.tracking.online import Tracker, step
from tracker.tracking.state import initial_state

RATE_HZ = 25.0


class Film:
    """A few seconds of a crowd: objects that walk, enter and leave, misses, false boxes and a wavering score.

    Boxes are well above the pixel that the tracker takes for the least size, so that scaling down keeps them so.
    """

    def __init__(self, seed, objects=8, frames=12, side_px=500.0, misses=0.15, clutter=2.0, weakest=0.5):
        rng = np.random.default_rng(seed)
        position, velocity = rng.uniform(0.0, side_px, (objects, 2)), rng.normal(0.0, 4.0, (objects, 2))
        size = rng.uniform([30.0, 70.0], [60.0, 140.0], (objects, 2))
        label = rng.integers(0, 2, objects)
        enters = rng.integers(0, max(frames // 3, 1), objects)
        steps = rng.choice([1.0, 1.0, 1.0, 3.0], frames)
        self.times = np.cumsum(steps) / RATE_HZ
        self.frames = []
        for n in range(frames):
            position = position + velocity * steps[n]
            here = (rng.random(objects) > misses) & (enters <= n)
            false = rng.poisson(clutter)
            centre = np.concatenate([position[here], rng.uniform(0.0, side_px, (false, 2))])
            extent = np.concatenate([size[here], rng.uniform([30.0, 70.0], [60.0, 140.0], (false, 2))])
            centre, extent = centre + rng.normal(0.0, 2.0, centre.shape), extent + rng.normal(0.0, 1.5, extent.shape)
            boxes = np.concatenate([centre - extent / 2.0, centre + extent / 2.0], axis=1)
            scores = np.concatenate([rng.uniform(weakest, 1.0, here.sum()), rng.uniform(0.1, 0.8, false)])
            classes = np.concatenate([label[here], rng.integers(0, 2, false)])
            self.frames.append(Detections(boxes.reshape(-1, 4), scores, classes))

    def run(self, tracker=None, change=lambda n, detections: detections):
        """Return the report of every frame, each after ``change`` of its detections."""
        tracker = tracker or Tracker()
        return [
            tracker.update(change(n, detections), time_s=time)
            for n, (detections, time) in enumerate(zip(self.frames, self.times, strict=True))
        ]


films = st.builds(
    Film,
    seed=st.integers(0, 2**32 - 1),
    objects=st.integers(0, 20),
    frames=st.integers(1, 15),
    side_px=st.sampled_from([150.0, 400.0, 1500.0]),
    misses=st.sampled_from([0.0, 0.15, 0.5]),
    clutter=st.sampled_from([0.0, 2.0, 6.0]),
)


def assert_same_tracks(one, other):
    """Compare two runs bit by bit."""
    for a, b in zip(one, other, strict=True):
        for name in a.__slots__:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def assert_same_identities(one, other, row_of=lambda n, row: row):
    """Compare two runs that may number their objects differently.

    ``row_of(n, row)`` is the row in frame n of the other run that holds the detection ``row`` of the first.
    """
    to_other, to_one = {}, {}
    for n, (a, b) in enumerate(zip(one, other, strict=True)):
        theirs = dict(zip(b.detection_indices.tolist(), b.ids.tolist(), strict=True))
        ours = {int(row_of(n, row)): i for row, i in zip(a.detection_indices, a.ids.tolist(), strict=True)}
        assert ours.keys() == theirs.keys()
        for row, i in ours.items():
            assert to_other.setdefault(i, theirs[row]) == theirs[row]
            assert to_one.setdefault(theirs[row], i) == i


def mapped(detections, scale, shift=(0.0, 0.0)):
    return Detections(detections.boxes_xyxy * scale + np.tile(shift, 2), detections.scores, detections.classes)


@given(films)
def test_identities_are_unique_in_a_frame_and_never_used_again(film):
    tracker, seen, buried = Tracker(), set(), set()
    for detections, time in zip(film.frames, film.times, strict=True):
        tracker.update(detections, time_s=time)
        ids = tracker.tracks(coasting=True).ids.tolist()
        assert len(set(ids)) == len(ids)
        assert not buried & set(ids)
        assert all(i > max(seen, default=0) for i in set(ids) - seen)
        seen |= set(ids)
        buried = seen - set(ids)
    assert all(i > 0 for i in seen)


@given(films)
def test_reports_are_rows_of_the_detections_each_used_once(film):
    for detections, tracks in zip(film.frames, film.run(), strict=True):
        rows = tracks.detection_indices
        assert len(np.unique(rows)) == len(rows)
        np.testing.assert_array_equal(tracks.boxes_xyxy, detections.boxes_xyxy[rows])
        np.testing.assert_array_equal(tracks.scores, detections.scores[rows])
        np.testing.assert_array_equal(tracks.classes, detections.classes[rows])
        assert (tracks.scores >= 0.2).all()


@given(films, st.integers(0, 2**32 - 1))
def test_the_order_of_detections_does_not_matter(film, seed):
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(detections)) for detections in film.frames]
    places = [np.argsort(order) for order in orders]
    permuted = film.run(Tracker(), change=lambda n, detections: detections.select(orders[n]))
    assert_same_identities(film.run(Tracker()), permuted, lambda n, row: places[n][row])


@given(films, st.sampled_from([(1000.0, -300.0), (-4096.0, 2048.0), (0.125, 7.0)]))
def test_translating_the_image_translates_the_tracks(film, shift):
    here, there = film.run(), film.run(change=lambda n, detections: mapped(detections, 1.0, shift))
    assert_same_identities(here, there)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(b.boxes_xyxy, a.boxes_xyxy + np.tile(shift, 2))
        np.testing.assert_allclose(b.responsibilities, a.responsibilities, atol=1e-6)
        np.testing.assert_allclose(b.covariances, a.covariances, rtol=1e-6, atol=1e-6)


@given(films, st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_scaling_the_image_by_powers_of_two_scales_the_tracks_to_the_last_bit(film, scale):
    here, there = film.run(), film.run(change=lambda n, detections: mapped(detections, scale))
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(b.ids, a.ids)
        np.testing.assert_array_equal(b.boxes_xyxy, a.boxes_xyxy * scale)
        np.testing.assert_array_equal(b.responsibilities, a.responsibilities)
        np.testing.assert_array_equal(b.existence, a.existence)
        np.testing.assert_array_equal(b.covariances, a.covariances * scale**2)


@given(films, st.sampled_from([0.3, 1.7, 11.0]))
def test_scaling_the_image_scales_the_tracks(film, scale):
    here, there = film.run(), film.run(change=lambda n, detections: mapped(detections, scale))
    assert_same_identities(here, there)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(b.responsibilities, a.responsibilities, atol=1e-6)
        np.testing.assert_allclose(b.covariances, a.covariances * scale**2, rtol=1e-6, atol=1e-6)


@given(films, films)
@settings(max_examples=10)
def test_interleaved_trackers_are_separate(one, other):
    a, b = Tracker(), Tracker()
    reports = [], []
    for n in range(max(len(one.frames), len(other.frames))):
        for film, tracker, report in ((one, a, reports[0]), (other, b, reports[1])):
            if n < len(film.frames):
                report.append(tracker.update(film.frames[n], time_s=film.times[n]))
    assert_same_tracks(reports[0], one.run())
    assert_same_tracks(reports[1], other.run())


@given(films)
def test_the_same_film_gives_the_same_tracks_and_a_reset_tracker_too(film):
    tracker = Tracker()
    first = film.run(tracker)
    state = tracker.state
    tracker.reset()
    assert_same_tracks(first, film.run(tracker))
    assert_same_tracks(first, film.run())
    for name in ("components", "scene", "chains"):
        assert getattr(tracker.state, name).tobytes() == getattr(state, name).tobytes()


@given(films, st.sampled_from([1, 2, 4, 30]), st.sampled_from([1, 2, 3]))
def test_waiting_adds_births_and_gaps_to_the_reports_and_nothing_else(film, lag, hits):
    def waiting(lag_frames):
        lifecycle = {"confirmation_hits": hits}
        return Tracker(Config.model_validate({"tracking": {"lag_frames": lag_frames, "lifecycle": lifecycle}}))

    at_once, known = waiting(0), []
    for detections, time in zip(film.frames, film.times, strict=True):
        tracks = at_once.update(detections, time_s=time)
        known.append((tracks, at_once.tracks(coasting=True)))
    later = waiting(lag)
    reports = film.run(later)[lag:] + later.flush()
    confirmed, claims = {}, {}
    for n, (_, everybody) in enumerate(known):
        for i, status, detection in zip(
            everybody.ids.tolist(), everybody.status.tolist(), everybody.detection_indices.tolist(), strict=True
        ):
            if status == Status.CONFIRMED:
                confirmed.setdefault(i, n)
            if detection >= 0:
                claims.setdefault(i, []).append(n)
    assert len(reports) == len(known)
    for n, (report, (tracks, everybody)) in enumerate(zip(reports, known, strict=True)):
        assert_same_tracks([report.select(np.isin(report.ids, tracks.ids))], [tracks])
        added = report.select(~np.isin(report.ids, tracks.ids))
        born, gaps = added.select(added.detection_indices >= 0), added.select(added.detection_indices < 0)
        tentative = everybody.ids[(everybody.status == Status.TENTATIVE) & ~np.isin(everybody.ids, tracks.ids)]
        assert born.ids.tolist() == [i for i in tentative.tolist() if confirmed.get(i, np.inf) <= n + lag]
        before = everybody.select(np.isin(everybody.ids, born.ids))
        for name in set(Tracks.__slots__) - {"status"}:
            np.testing.assert_array_equal(getattr(born, name), getattr(before, name))
        assert (born.status == Status.CONFIRMED).all()
        expected = {}
        for i in everybody.ids[everybody.status == Status.COASTING].tolist():
            first = max(f for f in claims[i] if f < n)
            last = min((f for f in claims[i] if f > n), default=np.inf)
            if last - first <= lag + 1:
                w = (film.times[n] - film.times[first]) / (film.times[last] - film.times[first])
                boxes = [known[f][0].boxes_xyxy[known[f][0].ids == i] for f in (first, last)]
                expected[i] = (1.0 - w) * boxes[0] + w * boxes[1]
        assert gaps.ids.tolist() == list(expected)
        if expected:
            np.testing.assert_allclose(gaps.boxes_xyxy, np.concatenate(list(expected.values())))
        assert (gaps.status == Status.COASTING).all()
        assert (gaps.responsibilities == 0.0).all()
        assert (np.linalg.eigvalsh(report.covariances) > 0.0).all()
        assert ((report.existence >= 0.0) & (report.existence <= 1.0)).all()


@given(films)
def test_a_step_is_pure(film):
    config = Config()
    state = initial_state()
    for detections, time in zip(film.frames, film.times, strict=True):
        arrays = [state.components, state.scene, state.chains]
        arrays += [detections.boxes_xyxy, detections.scores, detections.classes]
        before = [array.tobytes() for array in arrays]
        once, info = step(state, detections, config, time_s=time)
        again, again_info = step(state, detections, config, time_s=time)
        assert [array.tobytes() for array in arrays] == before
        for name in ("components", "scene", "chains"):
            fresh = getattr(once, name)
            assert fresh.tobytes() == getattr(again, name).tobytes()
            assert not any(np.shares_memory(fresh, array) for array in arrays)
        np.testing.assert_array_equal(info.responsibilities, again_info.responsibilities)
        assert info.log_likelihood == again_info.log_likelihood
        state = once


@given(films)
def test_the_callers_arrays_stay_his_own(film):
    tracker = Tracker()
    for detections, time in zip(film.frames, film.times, strict=True):
        boxes, scores, affine = detections.boxes_xyxy.copy(), detections.scores.copy(), np.eye(2, 3) * 1.01
        copies = boxes.copy(), scores.copy(), affine.copy()
        tracks = tracker.update(Detections(boxes, scores), time_s=time, camera_affine=affine)
        for array, copy in zip((boxes, scores, affine), copies, strict=True):
            np.testing.assert_array_equal(array, copy)
            assert array.flags.writeable
            assert not any(np.shares_memory(array, getattr(tracks, name)) for name in tracks.__slots__)


@given(films, st.sets(st.integers(0, 14)))
def test_empty_frames_are_ordinary(film, empty):
    tracker = Tracker()
    reports = film.run(tracker, change=lambda n, detections: Detections.empty() if n in empty else detections)
    assert all(not len(reports[n]) for n in empty if n < len(reports))
    assert np.isfinite(tracker.info.log_likelihood)


@given(films, st.sampled_from([1, 2, 3]))
def test_responsibilities_are_probabilities_that_no_object_exceeds(film, rounds):
    tracker = Tracker(Config.model_validate({"tracking": {"association": {"rounds": rounds}}}))
    for detections, time in zip(film.frames, film.times, strict=True):
        tracker.update(detections, time_s=time)
        info = tracker.info
        assert ((info.responsibilities >= 0.0) & (info.responsibilities <= 1.0)).all()
        by_object = np.bincount(info.rows, info.responsibilities, minlength=1)
        by_detection = np.bincount(info.columns, info.responsibilities, minlength=1)
        assert by_object.max() <= 1.0 + 1e-6
        # Sweeps end when messages move by less than 1e-4.
        assert by_detection.max() <= 1.0 + 1e-3
        assert (info.rows < len(info.ids)).all()
        assert (info.columns < len(detections)).all()


@given(films)
def test_what_is_known_stays_finite_and_positive_definite(film):
    tracker = Tracker()
    for detections, time in zip(film.frames, film.times, strict=True):
        tracker.update(detections, time_s=time)
        c = tracker.state.components
        for name in c.dtype.names:
            assert np.isfinite(c[name]).all(), name
        assert (c["p00"] > 0.0).all()
        assert (c["p11"] > 0.0).all()
        assert (c["p00"] * c["p11"] > c["p01"] ** 2).all()
        tracks = tracker.tracks(coasting=True)
        np.testing.assert_array_equal(tracks.covariances, tracks.covariances.transpose(0, 2, 1))
        assert (np.linalg.eigvalsh(tracks.covariances) > 0.0).all()
        assert ((tracks.existence >= 0.0) & (tracks.existence <= 1.0)).all()
        assert (tracks.boxes_xyxy[:, 2:] > tracks.boxes_xyxy[:, :2]).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(6, 12))
def test_one_missing_frame_costs_no_identity(seed, objects, lost):
    """Steady walkers, all seen in every frame but one that never arrives."""
    film = Film(seed, objects, frames=14, side_px=3000.0, misses=0.0, clutter=0.0, weakest=0.8)
    tracker = Tracker()
    whole = film.run()
    for n, (detections, time) in enumerate(zip(film.frames, film.times, strict=True)):
        if n != lost:
            tracks = tracker.update(detections, time_s=time)
    assert len(tracks) == objects
    assert tracks.ids.tolist() == whole[-1].ids.tolist()


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_any_size_of_image_stays_finite(scale):
    """Below a pixel the floor of the scale takes over; nothing breaks."""
    film, tracker = Film(1), Tracker()
    film.run(tracker, change=lambda n, detections: mapped(detections, scale))
    for name in ("mean", "velocity", "p00", "p11", "existence"):
        assert np.isfinite(tracker.state.components[name]).all()
