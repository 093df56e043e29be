"""The background detector on drawn scenes whose truth is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tracker.config import BackgroundConfig
from tracker.detection.background import BackgroundDetector
from tracker.errors import DetectorError
from tracker.geometry import intersection_over_union, xyxy_to_ltwh
from tracker.structures import Detections, FloatArray, Image

HEIGHT, WIDTH = 240, 320
WARM_UP_FRAMES = 20


class Scene:
    """A textured ground with sensor noise; rectangles (left, top, right, bottom) stand out from it."""

    def __init__(self, seed: int = 0, scale: int = 1) -> None:
        self._rng = np.random.default_rng(seed)
        texture = self._rng.integers(90, 150, (HEIGHT // 8, WIDTH // 8, 3)).astype(np.uint8)
        size = (WIDTH * scale, HEIGHT * scale)
        self._ground = cv2.resize(texture, size, interpolation=cv2.INTER_CUBIC).astype(np.float64)

    def picture(self, boxes: list[tuple[int, int, int, int]], shadow: tuple[int, int, int, int] | None = None) -> Image:
        image = self._ground.copy()
        if shadow is not None:
            image[shadow[1] : shadow[3], shadow[0] : shadow[2]] *= 0.7
        for left, top, right, bottom in boxes:
            image[top:bottom, left:right] = (30, 40, 220)
        return np.clip(image + self._rng.normal(0, 2.5, image.shape), 0, 255).astype(np.uint8)


def warmed_up(scene: Scene, config: BackgroundConfig | None = None) -> BackgroundDetector:
    detector = BackgroundDetector(config or BackgroundConfig())
    for _ in range(WARM_UP_FRAMES):
        detector.detect(scene.picture([]))
    return detector


def overlaps(truth: list[tuple[int, int, int, int]], found: Detections) -> FloatArray:
    return intersection_over_union(xyxy_to_ltwh(np.array(truth, float)), xyxy_to_ltwh(found.boxes_xyxy))


def test_nothing_on_a_still_scene() -> None:
    scene, detector = Scene(), BackgroundDetector(BackgroundConfig())
    assert [len(detector.detect(scene.picture([]))) for _ in range(40)] == [0] * 40


def test_moving_rectangles_are_found_where_they_are() -> None:
    scene = Scene()
    detector = warmed_up(scene)
    for step in range(0, 60, 3):
        truth = [(40 + step, 60, 60 + step, 110), (250 - step, 150, 275 - step, 210)]
        found = detector.detect(scene.picture(truth))
        assert len(found) == 2
        assert overlaps(truth, found).max(axis=1).min() > 0.9
        assert found.scores.min() > 0.8


@pytest.mark.parametrize("scale", [1, 4])
def test_one_configuration_serves_all_resolutions(scale: int) -> None:
    scene = Scene(scale=scale)
    detector = warmed_up(scene)
    for step in range(0, 12, 3):
        left, top, right, bottom = (scale * side for side in (40 + step, 60, 60 + step, 110))
        found = detector.detect(scene.picture([(left, top, right, bottom)]))
        assert len(found) == 1
        assert overlaps([(left, top, right, bottom)], found)[0, 0] > 0.85


def test_shadow_is_not_part_of_the_object() -> None:
    scene = Scene()
    detector = warmed_up(scene)
    for step in range(0, 30, 3):
        truth = (100 + step, 80, 120 + step, 130)
        found = detector.detect(scene.picture([truth], shadow=(120 + step, 118, 165 + step, 130)))
        assert overlaps([truth], found)[0].max() > 0.85


def test_ignored_pixels_are_never_foreground(tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, : WIDTH // 2] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    scene = Scene()
    detector = warmed_up(scene, BackgroundConfig(ignore_mask=tmp_path / "mask.png"))
    for step in range(0, 30, 3):
        seen = (200 + step, 80, 220 + step, 130)
        found = detector.detect(scene.picture([(40 + step, 80, 60 + step, 130), seen]))
        assert len(found) == 1
        assert overlaps([seen], found)[0, 0] > 0.9


def test_ignore_mask_that_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), np.zeros((20, 10), np.uint8))
    detector = BackgroundDetector(BackgroundConfig(ignore_mask=path))
    with pytest.raises(DetectorError, match=r"mask\.png: the ignore mask is 10x20 pixels; it must be 320x240"):
        detector.detect(Scene().picture([]))


def test_ignore_mask_that_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_text("no image", encoding="utf-8")
    with pytest.raises(DetectorError, match=r"mask\.png: the ignore mask cannot be read"):
        BackgroundDetector(BackgroundConfig(ignore_mask=path))


def lone_walkers(step: int) -> list[tuple[int, int, int, int]]:
    return [(20 + 4 * step, 60, 36 + 4 * step, 100), (280 - 4 * step, 150, 296 - 4 * step, 190)]


def with_known_sizes(scene: Scene) -> BackgroundDetector:
    """Return a detector that has watched two lone walkers for a while and then the empty scene."""
    detector = warmed_up(scene)
    for step in range(60):
        detector.detect(scene.picture(lone_walkers(step)))
    for _ in range(10):
        detector.detect(scene.picture([]))
    return detector


def test_fragments_of_one_object_are_merged() -> None:
    """A walker behind a rail: the two halves are one object of the size seen before."""
    scene = Scene()
    detector = with_known_sizes(scene)
    for step in range(5):
        left = 100 + 4 * step
        found = detector.detect(scene.picture([(left, 100, left + 16, 114), (left, 124, left + 16, 140)]))
        assert len(found) == 1
        assert overlaps([(left, 100, left + 16, 140)], found)[0, 0] > 0.85


def test_fragments_stay_apart_while_sizes_are_unknown() -> None:
    scene = Scene()
    detector = warmed_up(scene)
    assert len(detector.detect(scene.picture([(100, 100, 116, 114), (100, 124, 116, 140)]))) == 2


def test_walkers_side_by_side_are_split() -> None:
    scene = Scene()
    detector = with_known_sizes(scene)
    for step in range(5):
        left = 100 + 4 * step
        truth = [(left, 100, left + 16, 140), (left + 16, 100, left + 32, 140)]
        found = detector.detect(scene.picture(truth))
        assert len(found) == 2
        assert overlaps(truth, found).max(axis=1).min() > 0.75


def test_small_fragment_scores_below_a_whole_object() -> None:
    scene = Scene()
    detector = with_known_sizes(scene)
    found = detector.detect(scene.picture([(100, 100, 116, 140), (200, 100, 216, 114)]))
    whole, part = (
        found.scores[overlaps([box], found)[0].argmax()] for box in [(100, 100, 116, 140), (200, 100, 216, 114)]
    )
    assert whole > 0.8
    assert part < 0.4


def test_place_that_somebody_left_scores_low() -> None:
    """What stood there from the first frame is background; its absence is no object."""
    scene = Scene()
    detector = BackgroundDetector(BackgroundConfig())
    for _ in range(60):
        detector.detect(scene.picture([(100, 100, 130, 170)]))
    found = detector.detect(scene.picture([]))
    assert len(found) == 1
    assert found.scores[0] < 0.4


def test_change_of_light_is_not_an_object() -> None:
    scene = Scene()
    detector = warmed_up(scene)
    brighter = np.clip(scene.picture([]).astype(int) + 60, 0, 255).astype(np.uint8)
    assert len(detector.detect(brighter)) == 0


def test_detectors_are_deterministic_and_independent() -> None:
    pictures = [Scene().picture(lone_walkers(step)) for step in range(50)]
    others = [Scene(seed=1).picture([(3 * step, 20, 3 * step + 30, 90)]) for step in range(50)]
    alone = BackgroundDetector(BackgroundConfig())
    expected = [alone.detect(picture) for picture in pictures]
    mine, other = BackgroundDetector(BackgroundConfig()), BackgroundDetector(BackgroundConfig())
    for picture, foreign, want in zip(pictures, others, expected, strict=True):
        other.detect(foreign)
        have = mine.detect(picture)
        np.testing.assert_array_equal(have.boxes_xyxy, want.boxes_xyxy)
        np.testing.assert_array_equal(have.scores, want.scores)


def test_the_picture_is_not_changed() -> None:
    scene = Scene()
    detector = warmed_up(scene)
    picture = scene.picture([(40, 60, 60, 110)])
    before = picture.copy()
    picture.flags.writeable = False
    detector.detect(picture)
    np.testing.assert_array_equal(picture, before)


def test_foreground_is_thinned_and_keeps_its_mass() -> None:
    scene = Scene()
    detector = warmed_up(scene, BackgroundConfig(foreground_points=200))
    for _ in range(3):
        foreground = detector.segment(scene.picture([(40, 60, 60, 110), (150, 60, 250, 200)]), np.empty((0, 4)))
    assert len(foreground.silhouettes) == 2
    assert len(foreground) <= 300
    for region in (0, 1):
        mine = foreground.regions == region
        low, high = foreground.points_px[mine].min(axis=0), foreground.points_px[mine].max(axis=0)
        small = high[0] < 70
        assert mine.sum() > 30  # by area, the smaller would keep 13
        assert foreground.weights[mine].sum() == pytest.approx(20 * 50 if small else 100 * 140, rel=0.05)
        centre = foreground.weights[mine] @ foreground.points_px[mine] / foreground.weights[mine].sum()
        np.testing.assert_allclose(centre, (50, 85) if small else (200, 130), atol=1.0)
        assert (high - low < ((20, 50) if small else (100, 140))).all()


def test_who_is_known_to_stand_stays_visible_and_leaves_no_hole() -> None:
    """Without being told, the background would learn him in about fifty frames; he may stand as long as it was bare."""
    box, told, nobody = (100, 60, 130, 120), np.array([[95.0, 55.0, 135.0, 125.0]]), np.empty((0, 4))
    scenes = Scene(), Scene()
    knows, guesses = (BackgroundDetector(BackgroundConfig()) for _ in range(2))
    for _ in range(150 + WARM_UP_FRAMES):
        for scene, detector in zip(scenes, (knows, guesses), strict=True):
            detector.segment(scene.picture([]), nobody)
    for _ in range(150):
        kept = knows.segment(scenes[0].picture([box]), told)
        lost = guesses.segment(scenes[1].picture([box]), nobody)
    assert kept.weights.sum() == pytest.approx(30 * 60, rel=0.05)
    assert lost.weights.sum() < 0.2 * 30 * 60
    assert knows.segment(scenes[0].picture([]), nobody).weights.sum() < 0.05 * 30 * 60


def test_a_hole_closes_though_it_is_taken_for_an_object() -> None:
    """What stood there from the first frame is background; when it leaves, the hole is not kept."""
    told, scene = np.array([[95.0, 95.0, 135.0, 175.0]]), Scene()
    detector = BackgroundDetector(BackgroundConfig())
    for _ in range(40):
        detector.segment(scene.picture([(100, 100, 130, 170)]), np.empty((0, 4)))
    for _ in range(100):
        foreground = detector.segment(scene.picture([]), told)
    assert foreground.weights.sum() < 0.1 * 30 * 70


def test_nothing_is_kept_for_longer_than_its_place_was_seen_bare() -> None:
    """Somebody comes after 40 frames; what stands there for much longer is the background's."""
    told, nobody, box = np.array([[95.0, 55.0, 135.0, 125.0]]), np.empty((0, 4)), (100, 60, 130, 120)
    scene, detector = Scene(), BackgroundDetector(BackgroundConfig())
    for _ in range(40):
        detector.segment(scene.picture([]), nobody)
    masses = [detector.segment(scene.picture([box]), told).weights.sum() for _ in range(120)]
    assert min(masses[:40]) > 0.9 * 30 * 60
    assert max(masses[-20:]) < 0.1 * 30 * 60


@pytest.mark.parametrize("history_frames", [2, 10, 500])
def test_the_background_is_learned_at_its_pace_around_objects(history_frames: int) -> None:
    """Wherever somebody stands, what changes elsewhere becomes background as soon as where nobody is."""
    told, nobody, box = np.array([[5.0, 5.0, 25.0, 25.0]]), np.empty((0, 4)), (100, 60, 130, 120)
    scenes = Scene(), Scene()
    detectors = [BackgroundDetector(BackgroundConfig(history_frames=history_frames)) for _ in range(2)]
    seen = np.zeros((2, 120))
    for n in range(-WARM_UP_FRAMES, 120):
        for i, (scene, detector, occupied) in enumerate(zip(scenes, detectors, (told, nobody), strict=True)):
            mass = detector.segment(scene.picture([box] if n >= 0 else []), occupied).weights.sum()
            if n >= 0:
                seen[i, n] = mass
    ends = (seen > 0.5 * 30 * 60).sum(axis=1)
    assert abs(ends[0] - ends[1]) <= 3
    assert ends[1] < 100
