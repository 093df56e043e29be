"""The tracker's public face: time, reports, state, classes, gaps."""

from __future__ import annotations

import copy
import doctest
import pickle
from pathlib import Path

import numpy as np
import pytest

import tracker.tracking.online as module
from tracker.app.warming import warm_up
from tracker.config import Config
from tracker.structures import Detections, Status
from tracker.tracking.motion import bring_to_step, measurement_variance, predict
from tracker.tracking.online import Tracker, step
from tracker.tracking.pixels import PixelTracker
from tracker.tracking.state import initial_state, parameters

BOX = np.array([100.0, 100.0, 140.0, 200.0])
ELSEWHERE = np.array([600.0, 300.0, 640.0, 400.0])
NOTHING = Detections.empty()
STILL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def config(**sections):
    return Config.model_validate({"tracking": sections})


def seen(*boxes, scores=0.9, classes=0):
    n = len(boxes)
    return Detections(np.array(boxes), np.broadcast_to(scores, n), np.broadcast_to(classes, n))


def walk(frames, speed_px=4.0, box=BOX):
    """Return the detections of one walker, a frame each."""
    return [seen(box + np.array([speed_px * n, 0.0, speed_px * n, 0.0])) for n in range(frames)]


def run(tracker, frames):
    return [tracker.update(detections) for detections in frames]


def test_the_examples_of_the_documentation_are_true():
    results = doctest.testmod(module, raise_on_error=False)
    assert results.attempted > 0
    assert results.failed == 0


def test_warm_up_leaves_nothing_behind():
    warm_up()
    assert Tracker().update(seen(BOX)).ids.tolist() == [1]


# Time


def test_without_times_a_frame_is_one_period():
    tracker = Tracker(config(frame_rate_hz=12.5))
    assert np.isnan(tracker.state.time_s)
    times = []
    for detections in walk(4):
        tracker.update(detections)
        times.append(tracker.state.time_s)
    np.testing.assert_allclose(times, [0.0, 0.08, 0.16, 0.24])
    tracker.update(NOTHING, time_s=5.0)
    tracker.update(NOTHING)
    assert tracker.state.time_s == pytest.approx(5.08)


def test_assumed_and_given_times_are_the_same_thing():
    assumed, given = Tracker(config(frame_rate_hz=25.0)), Tracker()
    for n, detections in enumerate(walk(10)):
        a, b = assumed.update(detections), given.update(detections, time_s=n / 25.0)
        assert a.ids.tolist() == b.ids.tolist()
    np.testing.assert_allclose(assumed.state.components["velocity"], given.state.components["velocity"], rtol=1e-9)


@pytest.mark.parametrize("time_s", [1.0, 0.5, -3.0, float("nan"), float("-inf")])
def test_time_must_increase(time_s):
    tracker = Tracker()
    tracker.update(seen(BOX), time_s=1.0)
    before = tracker.state
    with pytest.raises(ValueError, match="time_s is"):
        tracker.update(seen(BOX), time_s=time_s)
    assert tracker.state is before
    assert len(tracker.update(seen(BOX), time_s=1.04)) == 1


@pytest.mark.parametrize(
    ("frames", "time_s"), [(0, float("nan")), (0, float("inf")), (0, float("-inf")), (1, float("inf"))]
)
def test_time_must_be_finite(frames, time_s):
    tracker = Tracker()
    run(tracker, walk(frames))
    with pytest.raises(ValueError, match="time_s is"):
        tracker.update(seen(BOX), time_s=time_s)


def test_any_finite_first_time_will_do():
    tracker = Tracker()
    tracker.update(seen(BOX), time_s=-1e6)
    assert tracker.update(seen(BOX), time_s=-1e6 + 0.04).ids.tolist() == [1]


def test_velocity_is_measured_in_real_time():
    """The same walk filmed at 10 and at 30 frames a second has one speed: 60 px a second."""
    for rate_hz in (10.0, 30.0):
        tracker = Tracker(config(frame_rate_hz=rate_hz))
        run(tracker, walk(40, speed_px=60.0 / rate_hz))
        assert tracker.state.components["velocity"][0, 0] == pytest.approx(60.0 / 25.0, rel=0.02)


# What is reported


def test_reports_are_the_claimed_detections():
    tracker = Tracker()
    run(tracker, [seen(BOX, ELSEWHERE), seen(BOX, ELSEWHERE)])
    weak = np.array([300.0, 100.0, 340.0, 200.0])
    detections = seen(weak, ELSEWHERE + 1.0, weak + 200.0, BOX - 1.0, scores=[0.1, 0.8, 0.3, 0.6])
    tracks = tracker.update(detections)
    assert tracks.ids.tolist() == [1, 2]
    assert tracks.detection_indices.tolist() == [3, 1]
    np.testing.assert_array_equal(tracks.boxes_xyxy, detections.boxes_xyxy[[3, 1]])
    np.testing.assert_array_equal(tracks.scores, [0.6, 0.8])
    assert (tracks.responsibilities > 0.9).all()
    assert tracks.status.tolist() == [Status.CONFIRMED] * 2


def test_smoothed_reports_are_the_filtered_mean():
    noise = np.random.default_rng(1).normal(0.0, 4.0, (60, 4))
    frames = [Detections(d.boxes_xyxy + e) for d, e in zip(walk(60), noise, strict=True)]
    raw, smooth = Tracker(), Tracker(config(smoothing="online"))
    truth = np.array([d.boxes_xyxy[0] for d in walk(60)])
    raw_boxes = np.array([t.boxes_xyxy[0] for t in run(raw, frames)])
    smooth_boxes = np.array([t.boxes_xyxy[0] for t in run(smooth, frames)])
    assert raw.state.components.tobytes() == smooth.state.components.tobytes()
    x, bottom, w, h = smooth.state.components["mean"][0]
    np.testing.assert_allclose(smooth_boxes[-1], [x - w / 2, bottom - h, x + w / 2, bottom])
    assert np.abs(smooth_boxes[10:] - truth[10:]).mean() < 0.8 * np.abs(raw_boxes[10:] - truth[10:]).mean()


def standard_deviations(tracker, law, claimed):
    """What the configuration says of the only object, written down once more; ``claimed`` is its detected box."""
    c, scene = tracker.state.components[0], tracker.state.scene[0]
    left, top, right, bottom = tracker.tracks(coasting=True).boxes_xyxy[0]
    width, height = right - left, bottom - top
    g = np.sqrt(width * height)
    sides = np.sqrt(g * np.array([width, height, width, height]))
    open_at = [q / (1.0 + 5.0 * q) for q in (1.0 - c["score"], 0.1)]
    ratio = scene["measurement_position"] / scene["process_position"]
    detector = np.array(law.detector) * sides * (open_at[0] / open_at[1]) ** law.score * ratio**law.scene
    if claimed is not None:
        seen = np.array([claimed[0] + claimed[2], claimed[1] + claimed[3]]) / 2.0
        told = np.array([left + right, top + bottom]) / 2.0
        off = np.array([*(told - seen), width - claimed[2] + claimed[0], height - claimed[3] + claimed[1]])
        return np.hypot(detector, law.lag * off)
    own = np.sqrt(c["p00"] + [0.0, 0.25 * c["p00"][3], 0.0, 0.0])  # the state's y is the bottom edge
    coasting = (
        g
        * np.array(law.coasting)
        * (own / (0.03 * g)) ** law.spread
        * scene["measurement_size"] ** law.coasting_scene
        * np.sqrt(0.1 + (np.clip(c["z"], -3.0, 3.0) ** 2).mean()) ** law.surprise
        * ((np.hypot(*c["velocity"][:2]) / g + 0.003) / 0.01) ** law.speed
    )
    return np.hypot(detector, coasting)


@pytest.mark.parametrize("smoothing", ["none", "online"])
def test_covariances_are_those_of_the_configured_law(smoothing):
    tracker = Tracker(config(smoothing=smoothing))
    law = config().tracking.uncertainty
    # Long enough for the scores, all of them below the highest bin, to have proved that they are spread.
    film = list(walk(30))
    run(tracker, film)
    expected = standard_deviations(tracker, law, film[-1].boxes_xyxy[0])
    np.testing.assert_allclose(tracker.tracks().covariances[0], np.diag(expected**2))
    for _ in range(3):
        tracker.update(NOTHING)
    expected = standard_deviations(tracker, law, None)
    np.testing.assert_allclose(tracker.tracks(coasting=True).covariances[0], np.diag(expected**2))


@pytest.mark.parametrize(("ordinary", "told"), [(0.9, True), (0.99, False)])
def test_a_score_tells_how_exact_a_box_is_where_scores_are_spread(ordinary, told):
    deviations = []
    for last in (0.8, 0.94):
        tracker = Tracker()
        film = [Detections(frame.boxes_xyxy, [ordinary]) for frame in walk(30)]
        run(tracker, [*film[:-1], Detections(film[-1].boxes_xyxy, [last])])
        deviations.append(np.sqrt(tracker.tracks().covariances[0, 0, 0]))
    assert (deviations[0] > 1.5 * deviations[1]) == told
    if not told:
        assert deviations[0] == pytest.approx(deviations[1])


def test_the_reported_error_does_not_touch_tracking():
    law = {"detector": [9.0, 8.0, 7.0, 6.0], "score": 2.0, "change_scale": 5.0}
    plain, other = Tracker(), Tracker(config(uncertainty=law))
    here, there = run(plain, walk(20)), run(other, walk(20))
    assert plain.state.components.tobytes() == other.state.components.tobytes()
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(a.ids, b.ids)
        np.testing.assert_array_equal(a.boxes_xyxy, b.boxes_xyxy)
    assert (here[-1].covariances != there[-1].covariances).any()
    assert here[-1].continuity[0] > there[-1].continuity[0]


def test_doubt_is_the_surprise_of_the_claims_and_fades_in_a_second():
    tracker = Tracker()
    responsibilities = []
    for detections in walk(6):
        tracks = tracker.update(detections)
        responsibilities.append(tracks.responsibilities[0])
    doubt = 0.0
    for responsibility in responsibilities[1:]:  # the first made the object
        doubt = doubt * np.exp(-1.0 / 30.0) - np.log(min(responsibility, 1.0))
    assert tracker.state.components["doubt"][0] == pytest.approx(doubt)
    settings = config().tracking.uncertainty
    odds = settings.change_scale * (doubt + settings.change_floor) ** settings.change_exponent
    assert tracker.tracks().continuity[0] == pytest.approx(1.0 / (1.0 + odds))
    tracker.update(NOTHING)
    assert tracker.state.components["doubt"][0] == pytest.approx(doubt * np.exp(-1.0 / 30.0))


def test_an_identity_that_could_be_another_is_less_sure():
    alone, crowded = Tracker(), Tracker()
    run(alone, walk(20))
    both = [
        seen(first.boxes_xyxy[0], second.boxes_xyxy[0])
        for first, second in zip(walk(20), walk(20, box=BOX + np.array([6.0, 2.0, 6.0, 2.0])), strict=True)
    ]
    run(crowded, both)
    assert crowded.tracks().continuity.max() < alone.tracks().continuity[0]


def test_coasting_objects_are_listed_on_request():
    tracker = Tracker()
    run(tracker, walk(10))
    assert not len(tracker.update(NOTHING))
    tracks = tracker.tracks(coasting=True)
    assert tracks.ids.tolist() == [1]
    assert tracks.status.tolist() == [Status.COASTING]
    assert tracks.detection_indices.tolist() == [-1]
    assert tracks.responsibilities.tolist() == [0.0]
    assert tracks.scores.tolist() == [0.9]
    # It goes on at 4 px a frame, a little damped.
    assert tracks.boxes_xyxy[0, 0] == pytest.approx(BOX[0] + 40.0, abs=1.0)
    np.testing.assert_array_equal(tracker.tracks().ids, [])


def test_before_the_first_frame_there_is_nothing():
    tracker = Tracker()
    assert tracker.info is None
    assert len(tracker.tracks()) == len(tracker.tracks(coasting=True)) == 0


def test_existence_rises_with_detections_and_falls_without():
    tracker = Tracker()
    run(tracker, walk(2, speed_px=0.0))
    seen_twice = tracker.tracks().existence[0]
    tracker.update(NOTHING)
    missed = tracker.tracks(coasting=True).existence[0]
    assert 0.0 < missed < seen_twice <= 1.0


def test_existence_falls_however_often_an_object_was_seen():
    tracker = Tracker()
    run(tracker, walk(50, speed_px=0.0))
    before = tracker.tracks().existence[0]
    run(tracker, [NOTHING] * 20)
    assert tracker.tracks(coasting=True).existence[0] < before


def test_the_step_tells_who_was_responsible_for_what():
    tracker = Tracker()
    run(tracker, [seen(BOX, ELSEWHERE)] * 8)
    tracks = tracker.update(seen(ELSEWHERE, [0.0, 0.0, 9.0, 9.0], BOX, scores=[0.9, 0.1, 0.9]))
    info = tracker.info
    assert info.rows.tolist() == [0, 1]
    assert info.columns.tolist() == [2, 0]
    np.testing.assert_array_equal(info.responsibilities, tracks.responsibilities)
    assert info.ids.tolist() == [1, 2]
    assert np.isfinite(info.log_likelihood)
    np.testing.assert_array_equal(info.before["id"], info.after["id"])
    tracker.update(seen(BOX))
    assert np.isnan(tracker.info.innovations).any(axis=1).tolist() == [False, True]


def test_a_lone_object_moves_by_kalmans_gain_and_its_responsibility():
    """The whole frame by hand: prediction, closed-form responsibility, MAP update."""
    settings = config(adaptation={"inflation": False})
    p, state = parameters(settings)[0], initial_state()
    bring_to_step(p, 2.0)
    for n, detections in enumerate(walk(3)):
        state, _ = step(state, detections, settings, time_s=n / 25.0)
    detections = seen(BOX + np.array([20.0, 4.0, 22.0, 1.0]))
    after, info = step(state, detections, settings, time_s=4 / 25.0)
    predicted = np.zeros_like(state.components)
    predict(state.components, state.scene, STILL, 2.0, p, predicted)
    c = predicted[0]
    left, top, right, bottom = detections.boxes_xyxy[0]
    e = np.array([(left + right) / 2, bottom, right - left, bottom - top]) - c["mean"]
    S = c["p00"] + [measurement_variance(i, c["scale"], state.scene, p) for i in range(4)]
    beta = info.responsibilities[0]
    assert 0.5 < beta < 1.0
    scale = info.scene["innovation_scale"][0]
    np.testing.assert_allclose(info.innovations[0], e / (scale * np.sqrt(S)), rtol=1e-9)
    np.testing.assert_allclose(after.components["mean"][0], c["mean"] + c["p00"] / S * beta * e, rtol=1e-9)
    np.testing.assert_allclose(after.components["velocity"][0], c["velocity"] + c["p01"] / S * beta * e, rtol=1e-9)
    np.testing.assert_allclose(after.components["p00"][0], c["p00"] * (1.0 - c["p00"] / S), rtol=1e-9)


# Gaps


@pytest.mark.parametrize("at", [2, 3, 10])
def test_a_missing_frame_costs_no_identity(at):
    """The frame is never delivered: one longer step."""
    tracker = Tracker()
    for n, detections in enumerate(walk(20)):
        if n != at:
            assert tracker.update(detections, time_s=n / 25.0).ids.tolist() == [1]
    assert tracker.state.components["velocity"][0, 0] == pytest.approx(4.0, rel=0.02)


@pytest.mark.parametrize("misses", [1, 5, 30])
def test_missing_detections_cost_no_identity(misses):
    tracker = Tracker()
    frames = walk(30 + misses, speed_px=1.0)
    run(tracker, frames[:20])
    run(tracker, [NOTHING] * misses)
    assert [t.ids.tolist() for t in run(tracker, frames[20 + misses :])] == [[1]] * 10


def test_two_that_pass_each_other_keep_their_identities():
    """They cross 30 px apart in depth; for a few frames only the nearer one is seen."""
    tracker, ids = Tracker(), []
    for n in range(60):
        near, far = BOX + np.array([6.0 * n, 30.0, 6.0 * n, 30.0]), BOX + np.array([340.0 - 6.0 * n, 0.0] * 2)
        boxes = [near] if abs(near[0] - far[0]) < 15.0 else [near, far]
        ids.append(tracker.update(seen(*boxes)).ids.tolist())
    assert ids[0] == ids[-1] == [1, 2]
    assert max(map(max, ids)) == 2
    assert sum(i == [1] for i in ids) == 2


# Classes


def test_classes_do_not_mix():
    tracker = Tracker()
    run(tracker, [seen(BOX, classes=1)] * 5)
    for _ in range(3):
        tracks = tracker.update(seen(BOX, classes=2))
    assert tracks.ids.tolist() == [2]
    assert tracks.classes.tolist() == [2]


def test_classes_mix_when_they_may():
    tracker = Tracker(config(class_agnostic=True))
    run(tracker, [seen(BOX, classes=1)] * 5)
    tracks = tracker.update(seen(BOX, classes=2))
    assert tracks.ids.tolist() == [1]
    assert tracks.classes.tolist() == [1]


def test_two_classes_in_one_place_are_two_objects():
    tracker = Tracker()
    for _ in range(6):
        tracks = tracker.update(seen(BOX, BOX, classes=[5, -7]))
    assert tracks.ids.tolist() == [1, 2]
    assert tracks.classes.tolist() == [5, -7]


# State


def test_reset_begins_anew():
    tracker = Tracker()
    first = run(tracker, walk(5))
    tracker.reset()
    assert tracker.info is None
    assert tracker.state.frame_index == 0
    for a, b in zip(first, run(tracker, walk(5)), strict=True):
        assert a.ids.tolist() == b.ids.tolist() == [1]


@pytest.mark.parametrize("save", [lambda state: state, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_saved_state_goes_on_as_if_nothing_had_been(save):
    tracker, frames = Tracker(), walk(12)
    run(tracker, frames[:6])
    saved = save(tracker.state)
    first = run(tracker, frames[6:])
    other = Tracker()
    other.state = saved
    for a, b in zip(first, run(other, frames[6:]), strict=True):
        assert a.ids.tolist() == b.ids.tolist()
        np.testing.assert_array_equal(a.covariances, b.covariances)
    assert other.state.components.tobytes() == tracker.state.components.tobytes()
    assert other.state.scene.tobytes() == tracker.state.scene.tobytes()


# Crowds


@pytest.mark.parametrize("count", [9, 12, 40])
def test_a_knot_of_objects_that_nothing_tells_apart_is_seen_whole(count):
    """Each owns any of the detections with a responsibility of 1/count, and all of them are seen in every frame."""
    rng, tracker = np.random.default_rng(5), Tracker()
    for n in range(30):
        boxes = np.tile(BOX + n * np.array([1.0, 0.0] * 2), (count, 1)) + rng.normal(0.0, 0.3, (count, 4))
        tracks = tracker.update(seen(*boxes))
    assert tracks.ids.tolist() == list(range(1, count + 1))


# Camera


def test_a_pan_known_from_the_camera_is_not_motion_of_the_object():
    tracker = Tracker()
    pan = np.array([[1.0, 0.0, 25.0], [0.0, 1.0, -10.0]])
    for n in range(15):
        tracks = tracker.update(seen(BOX + n * np.array([25.0, -10.0] * 2)), camera_affine=pan if n else None)
        assert tracks.ids.tolist() == [1]
    np.testing.assert_allclose(tracker.state.components["velocity"][0], 0.0, atol=1e-9)


def test_a_jump_of_the_camera_costs_no_identity():
    jump = np.array([[2.0, 0.0, -900.0], [0.0, 2.0, 300.0]])
    moved = seen((BOX.reshape(2, 2) * 2.0 + [-900.0, 300.0]).ravel())
    told, untold = Tracker(), Tracker()
    for tracker in (told, untold):
        run(tracker, walk(5, speed_px=0.0))
    assert told.update(moved, camera_affine=jump.tolist()).ids.tolist() == [1]
    assert untold.update(moved).ids.tolist() == []


@pytest.mark.parametrize(
    "affine", [np.eye(3), [[1, 0], [0, 1]], [[1, 0, np.nan], [0, 1, 0]], [[1, 0, 0], [0, np.inf, 0]]]
)
def test_a_map_that_is_none_is_refused(affine):
    tracker = Tracker()
    tracker.update(seen(BOX))
    before = tracker.state
    with pytest.raises(ValueError, match="camera_affine is"):
        tracker.update(seen(BOX), camera_affine=affine)
    assert tracker.state is before


def test_a_map_that_flattens_the_image_is_refused():
    tracker = Tracker()
    tracker.update(seen(BOX))
    with pytest.raises(ValueError, match="camera_affine is"):
        tracker.update(seen(BOX), camera_affine=np.zeros((2, 3)))


# Compiled code is compiled once


def test_no_kind_of_input_makes_the_code_compile_anew():
    warm_up()
    compiled = len(module.advance.signatures)
    tracker = Tracker()
    for n, boxes in enumerate([BOX[None], BOX[None].astype(np.float32), BOX[None].astype(int), BOX[None].tolist()]):
        tracker.update(
            Detections(boxes, [0.9], np.array([3], np.int16)), time_s=n, camera_affine=np.asfortranarray(STILL)
        )
    tracker.update(
        Detections(np.asfortranarray(np.tile(BOX, (3, 1)))), time_s=np.float64(9.0), camera_affine=STILL.tolist()
    )
    tracker.update(NOTHING, time_s=10)
    assert len(module.advance.signatures) == compiled


def test_a_time_of_single_precision_is_a_time():
    tracker = Tracker()
    tracker.update(seen(BOX), time_s=np.float32(1.0))
    assert type(tracker.state.time_s) is float


def test_what_is_no_configuration_and_no_detections_is_told():
    with pytest.raises(TypeError, match=r"^config is a str; it must be a Config, as load_config returns it$"):
        Tracker("default.yaml")
    for given, kind in ((np.ones((2, 4)), "ndarray"), (([[0, 0, 9, 9]], [0.9]), "tuple"), (None, "NoneType")):
        tracker = Tracker()
        with pytest.raises(TypeError, match=rf"^detections is a {kind}; it must be Detections\(boxes_xyxy, scores\)$"):
            tracker.update(given)
        assert tracker.update(seen(BOX)).ids.tolist() == [1]
    with pytest.raises(TypeError, match=r"^foreground is a Detections; it must be Foreground\(points_px, weights\)$"):
        PixelTracker().update(seen(BOX))


# Size


def test_a_step_of_two_thousand_objects_holds_no_table(tmp_path):
    """A dense table of them would hold 32 MB in double precision, 4 MB in single bytes."""
    peak = Path("/proc/self/clear_refs")
    if not peak.exists():
        pytest.skip("needs Linux, which can forget the highest use of memory")

    def memory_kb(name):
        status = Path("/proc/self/status").read_text()
        return int(status.partition(f"{name}:")[2].split()[0])

    rng = np.random.default_rng(1)
    side = np.sqrt(2000 * 40.0 * 80.0 / 0.1)
    corner = rng.uniform(0.0, side, (2000, 2))
    boxes = np.concatenate([corner, corner + np.array([40.0, 80.0])], axis=1)
    # One box as large as the image touches everything.
    boxes[0] = [0.0, 0.0, side, side]
    tracker = Tracker()
    for n in range(3):
        tracker.update(Detections(boxes + n))
    detections = Detections(boxes + 3.0)
    peak.write_text("5")
    before_kb = memory_kb("VmRSS")
    assert len(tracker.update(detections)) > 1900
    assert memory_kb("VmHWM") - before_kb < 12_000
