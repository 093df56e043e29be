"""Camera motion on pictures whose motion is known: a large textured ground seen through a moving window."""

from __future__ import annotations

from collections.abc import Iterator
from math import cos, radians, sin
from pathlib import Path

import cv2
import numpy as np
import pytest

from tracker.app.inputs import Job, estimates_camera_motion
from tracker.app.pipeline import track_video
from tracker.config import Config
from tracker.errors import VideoError
from tracker.structures import Detections, FloatArray, Image
from tracker.tracking.camera import CameraMotion, CameraMotionEstimator
from tracker.tracking.online import Tracker

NOBODY = np.empty((0, 4))
SIZE = (640, 360)


def ground(seed: int, width: int = 1400, height: int = 1000, detail_px: float = 2.0, contrast: float = 45.0) -> Image:
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), detail_px)
    grey = np.clip(128.0 + contrast * noise / noise.std(), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)


def similarity(
    dx: float, dy: float, angle_deg: float = 0.0, zoom: float = 1.0, size: tuple[int, int] = SIZE
) -> FloatArray:
    """Return the map, in coordinates that count from the pixels' edges, that turns and zooms about the middle."""
    c, s = zoom * cos(radians(angle_deg)), zoom * sin(radians(angle_deg))
    linear, middle = np.array([[c, -s], [s, c]]), np.array(size) / 2.0
    return np.column_stack([linear, middle - linear @ middle + (dx, dy)])


def after(first: FloatArray, then: FloatArray) -> FloatArray:
    return np.vstack([then, [0, 0, 1]])[:2] @ np.vstack([first, [0, 0, 1]])


def view(picture: Image, affine: FloatArray, size: tuple[int, int] = SIZE) -> Image:
    """Show the ground, whose pixel (300, 200) is the window's first, moved by a map."""
    # From edges to the middles of pixels, which OpenCV counts from.
    to_edge, to_middle = np.array([[1, 0, 0.5 - 300], [0, 1, 0.5 - 200]]), np.array([[1, 0, -0.5], [0, 1, -0.5]])
    return np.asarray(cv2.warpAffine(picture, after(after(to_edge, affine), to_middle), size), np.uint8)


def furthest_apart(a: FloatArray | None, b: FloatArray, size: tuple[int, int] = SIZE) -> float:
    assert a is not None
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], size], float)
    return float(np.linalg.norm(corners @ (a - b)[:, :2].T + (a - b)[:, 2], axis=1).max())


def motions(pictures: list[Image], boxes: FloatArray = NOBODY) -> list[CameraMotion]:
    estimator = CameraMotionEstimator()
    return [estimator.update(picture, boxes) for picture in pictures]


@pytest.mark.parametrize(
    "motion",
    [
        similarity(6.0, -3.0),
        similarity(-20.0, 8.0),
        similarity(0.0, 0.0, angle_deg=1.5),
        similarity(0.0, 0.0, zoom=1.02),
        similarity(4.0, 5.0, angle_deg=-1.0, zoom=0.99),
    ],
    ids=["shift", "fast", "turn", "zoom", "all"],
)
def test_a_known_motion_is_found(motion: FloatArray) -> None:
    picture = ground(1)
    first, second = motions([view(picture, similarity(0, 0)), view(picture, motion)])
    assert first.affine is None
    assert not second.is_cut
    assert furthest_apart(second.affine, motion) < 0.5


@pytest.mark.parametrize("size", [(1920, 1080), (641, 363), (200, 150)])
def test_motion_is_told_in_the_pixels_of_the_picture(size: tuple[int, int]) -> None:
    scale = size[0] / 640
    picture = ground(2, 2600, 1600, detail_px=1.0 + scale)
    motion = similarity(6.0 * scale, -4.0 * scale, angle_deg=0.5, size=size)
    _, second = motions([view(picture, similarity(0, 0), size), view(picture, motion, size)])
    assert furthest_apart(second.affine, motion, size) < 0.5 * max(scale, 1.0)


def test_motions_add_up() -> None:
    picture, steps = ground(3), [similarity(3, 1, 0.2), similarity(5, -2, -0.3, 1.004), similarity(-4, 2, 0.1, 0.998)]
    whole, pictures = similarity(0, 0), [view(picture, similarity(0, 0))]
    found = similarity(0, 0)
    for step in steps:
        whole = after(whole, step)
        pictures.append(view(picture, whole))
    for motion in motions(pictures)[1:]:
        assert motion.affine is not None
        found = after(found, motion.affine)
    assert furthest_apart(found, whole) < 0.5


def crowd(rng: np.random.Generator, count: int) -> tuple[FloatArray, FloatArray]:
    corners = rng.uniform((0, 0), (560, 240), (count, 2))
    return np.column_stack([corners, corners + np.array([70.0, 110.0])]), rng.uniform(-9.0, 9.0, (count, 2))


def with_people(picture: Image, boxes: FloatArray, coats: Image) -> Image:
    picture = picture.copy()
    for k, (left, top, right, bottom) in enumerate(boxes.astype(int)):
        place = picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        place[:] = coats[150 * k : 150 * k + place.shape[0], : place.shape[1]]
    return picture


@pytest.mark.parametrize("pan", [0.0, 5.0])
@pytest.mark.parametrize("seen", [True, False], ids=["detected", "not detected"])
def test_who_moves_in_the_picture_does_not_move_the_camera(pan: float, seen: bool) -> None:
    picture, coats = ground(4), ground(5, detail_px=3.0)
    boxes, speeds = crowd(np.random.default_rng(6), 6)
    estimator = CameraMotionEstimator()
    for n in range(6):
        image = with_people(view(picture, similarity(n * pan, 0)), boxes + n * np.tile(speeds, 2), coats)
        motion = estimator.update(image, boxes + n * np.tile(speeds, 2) if seen else NOBODY)
        if n and pan:
            assert furthest_apart(motion.affine, similarity(pan, 0)) < 0.5
        else:
            assert motion.affine is None
        assert not motion.is_cut


def test_a_still_camera_gives_nothing_at_all_whatever_its_noise() -> None:
    picture, rng = view(ground(7), similarity(0, 0)).astype(np.float64), np.random.default_rng(8)
    noisy = [np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8) for _ in range(30)]
    assert all(motion.affine is None and not motion.is_cut for motion in motions(noisy))


def test_a_change_of_light_is_neither_motion_nor_cut() -> None:
    picture = view(ground(9, contrast=30.0), similarity(0, 0)).astype(np.float64)
    lit = [np.clip(gain * picture, 0, 255).astype(np.uint8) for gain in (0.8, 0.83, 0.86, 1.4, 0.8)]
    assert all(motion.affine is None and not motion.is_cut for motion in motions(lit))


def scenes(*seeds: int) -> list[Image]:
    return [view(ground(seed, detail_px=25.0) // 2 + ground(seed + 100) // 2, similarity(0, 0)) for seed in seeds]


def test_a_cut_is_told_once() -> None:
    a, b = scenes(10, 11)
    assert [motion.is_cut for motion in motions([a, a, b, b, a])] == [False, False, True, False, True]


def test_a_black_picture_is_passed_over() -> None:
    a, b = scenes(12, 13)
    black = np.zeros_like(a)
    shifted = view(ground(12, detail_px=25.0) // 2 + ground(112) // 2, similarity(4, 0))
    glitch = motions([a, black, shifted])
    assert not any(motion.is_cut for motion in glitch)
    assert furthest_apart(glitch[2].affine, similarity(4, 0)) < 0.5
    assert [motion.is_cut for motion in motions([a, black, black, b])] == [False, False, False, True]


def blurred() -> Iterator[tuple[Image, FloatArray]]:
    """Yield pictures without a corner: wide slopes of grey."""
    picture = ground(14, detail_px=60.0, contrast=30.0)
    for motion in (similarity(0, 0), similarity(7, 4)):
        yield view(picture, motion), motion


def test_without_corners_pictures_are_aligned_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "goodFeaturesToTrack", lambda *_, **__: None)
    (first, _), (second, motion) = blurred()
    assert furthest_apart(motions([first, second])[1].affine, motion) < 4.0
    assert motions([first, first])[1].affine is None


def test_somebody_before_a_bare_wall_does_not_move_the_camera() -> None:
    wall = np.full((360, 640, 3), 120, np.uint8)
    wall += np.linspace(0, 40, 640).astype(np.uint8)[None, :, None]
    pictures = []
    for x in range(100, 300, 10):
        pictures.append(wall.copy())
        cv2.circle(pictures[-1], (x, 200), 40, (230, 230, 230), -1)
    assert all(motion.affine is None and not motion.is_cut for motion in motions(pictures))


@pytest.mark.parametrize("size", [(1, 1), (16, 12), (5000, 20), (33, 33)])
def test_pictures_too_small_to_follow_anything_in_are_still(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(15)
    pictures = [rng.integers(0, 255, (size[1], size[0], 3), np.uint8) for _ in range(3)]
    assert all(motion.affine is None for motion in motions(pictures))


def test_a_detection_all_over_the_picture_hides_nothing() -> None:
    picture, motion = ground(16), similarity(5, 0)
    everything = np.array([[-5.0, -5.0, 645.0, 365.0]])
    _, second = motions([view(picture, similarity(0, 0)), view(picture, motion)], everything)
    assert furthest_apart(second.affine, motion) < 0.5


def test_where_all_is_hidden_nothing_moves() -> None:
    picture = ground(17)
    tiles = np.array([[x, y, x + 160, y + 180] for x in range(0, 640, 160) for y in (0, 180)], float)
    assert motions([view(picture, similarity(0, 0)), view(picture, similarity(5, 0))], tiles)[1].affine is None


def test_another_size_is_an_error_that_names_both() -> None:
    with pytest.raises(VideoError, match=r"^camera motion: the picture is 320x180 px, those before 640x360 px; all"):
        motions([np.zeros((360, 640, 3), np.uint8), np.zeros((180, 320, 3), np.uint8)])


def test_pictures_and_boxes_are_not_changed() -> None:
    image, boxes = view(ground(18), similarity(0, 0)), np.array([[10.0, 10.0, 50.0, 90.0]])
    image_before, boxes_before = image.copy(), boxes.copy()
    motions([image, image], boxes)
    assert np.array_equal(image, image_before)
    assert np.array_equal(boxes, boxes_before)


def walkers(n: int) -> Detections:
    x = 40.0 + 3.0 * n
    return Detections([[x, 50, x + 40, 150], [600 - x, 80, 640 - x, 180]])


@pytest.mark.parametrize("lag_frames", [0, 3])
def test_a_cut_ends_all_identities_and_none_comes_back(lag_frames: int) -> None:
    tracker = Tracker(Config.model_validate({"tracking": {"lag_frames": lag_frames}}))
    reports = [tracker.update(walkers(n)) for n in range(10)]
    tracker.cut()
    assert len(tracker.tracks(coasting=True)) == 0
    reports += [tracker.update(walkers(n)) for n in range(10, 20)]
    reports = (reports + tracker.flush())[lag_frames:]
    assert [set(report.ids.tolist()) for report in reports[:10]] == [{1, 2}] * 10
    assert [set(report.ids.tolist()) for report in reports[11:]] == [{3, 4}] * 9


def test_a_cut_keeps_what_was_learned_and_the_time() -> None:
    tracker = Tracker()
    for n in range(30):
        tracker.update(walkers(n))
    before = tracker.state
    tracker.cut()
    assert tracker.state.scene is before.scene
    assert (tracker.state.next_id, tracker.state.time_s) == (before.next_id, before.time_s)
    with pytest.raises(ValueError, match="later"):
        tracker.update(walkers(30), time_s=before.time_s)


@pytest.mark.parametrize(("camera_motion", "ids_after"), [("auto", {2}), ("none", {1})])
def test_a_cut_in_a_video_ends_identities(tmp_path: Path, camera_motion: str, ids_after: set[int]) -> None:
    for n, scene in enumerate(scenes(20, 20, 20, 20, 21, 21, 21, 21), 1):
        cv2.imwrite(str(tmp_path / f"{n}.png"), scene)
    there = dict.fromkeys(range(1, 9), Detections([[100, 100, 140, 200]], [0.9]))
    config = Config.model_validate({"tracking": {"camera_motion": camera_motion}})
    tracked = list(track_video(tmp_path / "%d.png", config, detections=there))
    assert [set(tracks.ids.tolist()) for _, tracks in tracked[:4]] == [{1}] * 4
    assert [set(tracks.ids.tolist()) for _, tracks in tracked[5:]] == [ids_after] * 3


@pytest.mark.parametrize(
    ("job", "estimates"),
    [
        (Job(video=Path("a"), detections={}), True),
        (Job(video=Path("a"), detector=lambda _: Detections.empty()), True),
        (Job(video=Path("a"), config=Config.model_validate({"detection": {"kind": "onnx"}})), True),
        (Job(video=Path("a")), False),
        (Job(video=Path("a"), detections={}, camera_motion={}), False),
        (
            Job(video=Path("a"), detections={}, config=Config.model_validate({"tracking": {"camera_motion": "none"}})),
            False,
        ),
    ],
    ids=["recorded", "own detector", "network", "background subtraction", "given", "none"],
)
def test_the_motion_is_looked_for_where_it_is_not_known_and_may_be(job: Job, estimates: bool) -> None:
    assert estimates_camera_motion(job) == estimates
