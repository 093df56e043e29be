"""Objects that are followed by their pixels, on drawn silhouettes whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from silhouettes import Ellipse, drawn

from tracker import Forecaster, forecast, load_config, track_video
from tracker.config import Config
from tracker.errors import ConfigurationError
from tracker.structures import BlobTracks, Detections, Foreground, Status, TypicalSize
from tracker.tracking.blobs import first_state
from tracker.tracking.online import Tracker
from tracker.tracking.pixels import PixelTracker, step

RATE_HZ = 25.0


def followed(
    scene: Callable[[int], Sequence[Ellipse]], frames: int, config: Config | None = None
) -> tuple[PixelTracker, list[dict[int, np.ndarray]]]:
    """Return the tracker after the frames, and the boxes by id of each."""
    tracker, reports = PixelTracker(config), []
    for n in range(frames):
        tracks = tracker.update(drawn(scene(n)), n / RATE_HZ)
        reports.append(dict(zip(tracks.ids.tolist(), tracks.boxes_xyxy, strict=True)))
    return tracker, reports


def id_at(report: dict[int, np.ndarray], x: float) -> int:
    return min(report, key=lambda i: abs((report[i][0] + report[i][2]) / 2 - x))


def crossing(n: int) -> list[Ellipse]:
    """Two walkers that pass each other; their silhouettes are one for about twenty frames."""
    return [(50.0 + 1.25 * n, 60.0, 24.0, 60.0), (190.0 - 1.25 * n, 72.0, 24.0, 60.0)]


def test_two_whose_silhouettes_merge_keep_their_identities() -> None:
    merged = sum(len(drawn(crossing(n)).silhouettes) == 1 for n in range(112))
    assert 15 <= merged <= 30
    tracker, reports = followed(crossing, 112)
    assert tracker.state.next_id == 3
    first, second = id_at(reports[5], 60.0), id_at(reports[5], 180.0)
    assert first != second
    assert (id_at(reports[-1], 188.0), id_at(reports[-1], 52.0)) == (first, second)
    assert set(reports[-1]) == {first, second}


def test_side_by_side_in_one_silhouette_both_are_reported() -> None:
    def scene(n: int) -> list[Ellipse]:
        gap = max(60.0 - 2.0 * n, 20.0)
        return [(100.0 - gap / 2, 60.0, 24.0, 60.0), (100.0 + gap / 2, 60.0, 24.0, 60.0)]

    assert len(drawn(scene(59)).silhouettes) == 1
    tracker, reports = followed(scene, 60)
    assert tracker.state.next_id == 3
    assert all(set(report) == {1, 2} for report in reports[2:])
    for left, report in zip((78.0, 98.0), (reports[-1][1], reports[-1][2]), strict=True):
        np.testing.assert_allclose(report, [left, 30.0, left + 24.0, 90.0], atol=6.0)


def test_boxes_follow_a_lone_walker() -> None:
    _, reports = followed(lambda n: [(40.0 + 2.0 * n, 60.0, 24.0, 60.0)], 50)
    np.testing.assert_allclose(reports[-1][1], [126.0, 30.0, 150.0, 90.0], atol=2.0)


def test_birth_is_confirmed_by_the_second_hit_and_death_follows_the_misses() -> None:
    walker = [(60.0, 60.0, 24.0, 60.0)]
    config = load_config(overrides=["tracking.lifecycle.max_misses_frames=5"])
    tracker, reports = followed(lambda n: walker if 3 <= n < 10 else [], 14, config)
    assert [set(report) for report in reports] == [set()] * 4 + [{1}] * 6 + [set()] * 4
    assert tracker.tracks(coasting=True).status.tolist() == [Status.COASTING]
    existence = tracker.tracks(coasting=True).existence[0]
    tracker.update(drawn([]))
    assert tracker.tracks(coasting=True).existence[0] < existence
    tracker.update(drawn([]))
    assert len(tracker.tracks(coasting=True)) == 0


def test_a_speck_of_one_frame_is_never_reported() -> None:
    walker, speck = (60.0, 60.0, 24.0, 60.0), (160.0, 60.0, 24.0, 60.0)
    _, reports = followed(lambda n: [walker, speck] if n == 5 else [walker], 10)
    assert set().union(*reports) == {1}


def test_who_divides_has_a_parent() -> None:
    def cell(n: int) -> list[Ellipse]:
        apart = max(2.0 * (n - 10), 0.0)
        return [(120.0 - apart, 60.0, 30.0, 30.0), (120.0 + apart, 60.0, 30.0, 30.0)]

    tracker, _ = followed(cell, 40)
    tracks = tracker.tracks()
    assert len(tracks) == 2
    assert sorted(tracks.parent_ids.tolist()) == [0, 1]
    assert tracks.ids[tracks.parent_ids == 1] > 1


def test_a_cell_divides_within_one_silhouette() -> None:
    """A bridge holds the halves together; the test must hold for several frames, and is not repeated for ever."""

    def cell(n: int) -> list[Ellipse]:
        apart = min(max(n - 10.0, 0.0), 20.0)
        bridge = (120.0, 60.0, 2.0 * apart + 1.0, 8.0)
        return [(120.0 - apart, 60.0, 30.0, 30.0), (120.0 + apart, 60.0, 30.0, 30.0), bridge]

    tracker, reports = followed(cell, 90)
    assert all(len(drawn(cell(n)).silhouettes) == 1 for n in range(90))
    sizes = [len(report) for report in reports[2:]]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 2
    tracks = tracker.tracks()
    assert tracks.ids.tolist() == [1, 2]
    assert tracks.parent_ids.tolist() == [0, 1]
    assert tracker.state.next_id == 3
    centres = sorted((tracks.boxes_xyxy[:, 0] + tracks.boxes_xyxy[:, 2]) / 2.0)
    np.testing.assert_allclose(centres, [100.0, 140.0], atol=4.0)


def test_a_lone_body_does_not_divide() -> None:
    """It changes its shape as a walker does, and is two for a moment."""

    def walker(n: int) -> list[Ellipse]:
        stride = 6.0 * np.sin(n / 2.0)
        legs = [(60.0 + n + side * stride, 85.0, 8.0, 30.0) for side in (-1.0, 1.0)]
        other = [(60.0 + n + 30.0, 60.0, 20.0, 60.0)] if n == 30 else []
        return [(60.0 + n, 60.0, 20.0, 50.0), *legs, *other]

    tracker, _ = followed(walker, 60)
    assert tracker.tracks().ids.tolist() == [1]


def test_two_blobs_that_one_explains_as_well_merge() -> None:
    """A body seen as two for a frame: four later the younger blob ends, and the older is the body."""
    typical = TypicalSize(60.0, 0.0, 60.0, 0.5, 0.1)

    def seen(n: int) -> Foreground:
        if n == 0:
            return drawn([(100.0, 50.0, 30.0, 40.0), (100.0, 80.0, 28.0, 16.0)])
        return replace(drawn([(100.0, 60.0, 30.0, 60.0)]), typical_size=typical)

    tracker = PixelTracker()
    counts = [len(tracker.update(seen(n))) for n in range(60)]
    assert counts[:4] == [2] * 4
    assert counts[4:] == [1] * 56
    assert len(tracker.state.components) == 1
    tracks = tracker.tracks()
    assert tracks.ids.tolist() == [1]
    np.testing.assert_allclose(tracks.boxes_xyxy[0], [85.0, 30.0, 115.0, 90.0], atol=3.0)


def test_frames_that_are_missing_cost_no_identity() -> None:
    """A walker is further on than any prediction, by most of the own width."""
    _, reports = followed(lambda n: [(40.0 + n + (17.0 if n >= 20 else 0.0), 60.0, 24.0, 60.0)], 40)
    assert all(set(report) == {1} for report in reports)
    np.testing.assert_allclose(reports[20][1], [65.0, 30.0, 89.0, 90.0], atol=3.0)


def test_a_jump_is_the_innovation_that_is_told() -> None:
    tracker, _ = followed(lambda n: [(40.0 + n + (17.0 if n >= 20 else 0.0), 60.0, 24.0, 60.0)], 21)
    assert tracker.info is not None
    assert tracker.info.innovations[0, 0] > 1.5


def test_the_cameras_motion_is_nobodys() -> None:
    """Told of a pan, who stands has not moved; who coasts goes with the picture."""
    pan = np.array([[1.0, 0.0, 5.0], [0.0, 1.0, 0.0]])
    tracker = PixelTracker()
    for n in range(20):
        tracker.update(drawn([(60.0 + 5.0 * n, 60.0, 24.0, 60.0)]), camera_affine=pan if n else None)
    c = tracker.state.components
    assert c["id"].tolist() == [1]
    assert not c["moved"].any()
    np.testing.assert_allclose(c["velocity"], 0.0, atol=0.05)
    for _ in range(4):
        tracker.update(Foreground.empty(), camera_affine=pan)
    c = tracker.state.components
    for name in ("box", "silhouette"):
        np.testing.assert_allclose(c[name][0, [0, 2]], [60 + 5 * 23 - 12, 60 + 5 * 23 + 12], atol=2.0)
    np.testing.assert_allclose(c["birthplace"][0], [60 + 5 * 23, 60], atol=2.0)


def test_a_birth_is_of_the_region_that_shows_most_of_it() -> None:
    """A pole reaches into somebody's box, and its points come first."""
    pole, man = drawn([(100.0, 30.0, 6.0, 40.0)]), drawn([(110.0, 80.0, 44.0, 80.0)])
    both = Foreground(
        np.vstack([pole.points_px, man.points_px]),
        np.ones(len(pole) + len(man)),
        np.repeat([0, 1], [len(pole), len(man)]),
        man.silhouettes,
    )
    assert PixelTracker().update(both).detection_indices.tolist() == [1]


def test_forecasts_begin_at_the_feet() -> None:
    tracker, reports = followed(lambda n: [(60.0 + n, 60.0, 24.0, 60.0)], 12)
    for config in (Config(), load_config(overrides=["tracking.observations=pixels"])):
        (box,) = np.median(forecast(tracker.state, [1e-3], np.random.default_rng(0), 300, config=config)[:, :, 0], 0)
        np.testing.assert_allclose(box, reports[-1][1], atol=3.0)
        forecaster = Forecaster(config)
        forecaster.observe(tracker.state)
        left, _, right, bottom = reports[-1][1]
        feet = forecaster.fans(tracker.state, [1e-3]).centres[0, 0]
        np.testing.assert_allclose(feet, [(left + right) / 2.0, bottom], atol=2.0)


def test_fragments_of_who_is_alone_belong_to_the_outline() -> None:
    """Shoes below trousers that are no foreground: in one region, and no other object's."""

    def seen(n: int) -> Foreground:
        body, shoes = drawn([(60.0 + n, 45.0, 24.0, 50.0)]), drawn([(60.0 + n, 97.0, 16.0, 6.0)])
        return Foreground(
            np.vstack([body.points_px, shoes.points_px]),
            np.ones(len(body) + len(shoes)),
            silhouettes=Detections([[48.0 + n, 20.0, 72.0 + n, 100.0]], [0.9]),
        )

    tracker = PixelTracker()
    for n in range(20):
        tracks = tracker.update(seen(n))
    np.testing.assert_allclose(tracks.boxes_xyxy, [[67.0, 20.0, 91.0, 100.0]], atol=1.0)


def test_who_walks_in_has_none() -> None:
    tracker, _ = followed(lambda n: [(60.0, 60.0, 24.0, 60.0), (170.0, 60.0, 24.0, 60.0)][: 1 + (n > 5)], 12)
    assert tracker.tracks().parent_ids.tolist() == [0, 0]


def test_two_blobs_on_one_body_become_one() -> None:
    """Two that merge for good: the one that is not needed coasts, and ends."""

    def scene(n: int) -> list[Ellipse]:
        gap = max(60.0 - 2.0 * n, 0.0)
        return [(100.0 - gap / 2, 60.0, 24.0, 60.0), (100.0 + gap / 2, 60.0, 24.0, 60.0)]

    tracker, reports = followed(scene, 110)
    assert set(reports[20]) == {1, 2}
    assert len(reports[-1]) == 1
    assert len(tracker.state.components) == 1


def test_a_silhouette_shared_is_told_by_its_number() -> None:
    tracker, _ = followed(crossing, 30)
    apart = tracker.tracks()
    assert len(set(apart.detection_indices.tolist())) == 2
    tracker, _ = followed(crossing, 55)
    shared = tracker.tracks()
    assert set(shared.detection_indices.tolist()) == {0}


def test_a_step_is_pure_and_a_run_repeats_itself() -> None:
    tracker, reports = followed(crossing, 40)
    state, components = tracker.state, tracker.state.components.copy()
    tracker.update(drawn(crossing(40)))
    assert state.components.tobytes() == components.tobytes()
    _, again = followed(crossing, 40)
    for report, same in zip(reports, again, strict=True):
        assert report.keys() == same.keys()
        assert all((report[i] == same[i]).all() for i in report)


def test_going_back_to_a_state_goes_on_as_before() -> None:
    tracker, _ = followed(crossing, 20)
    state = tracker.state
    first = tracker.update(drawn(crossing(20)))
    tracker.state = state
    np.testing.assert_array_equal(tracker.update(drawn(crossing(20))).boxes_xyxy, first.boxes_xyxy)


def test_a_cut_ends_all_and_identities_go_on() -> None:
    tracker, _ = followed(crossing, 10)
    tracker.cut()
    assert len(tracker.tracks(coasting=True)) == 0
    for _ in range(2):
        tracks = tracker.update(drawn(crossing(10)))
    assert tracks.ids.tolist() == [3, 4]
    tracker.reset()
    assert tracker.state.next_id == 1


def test_reports_that_wait_show_births_from_the_start() -> None:
    config = load_config(overrides=["tracking.lag_frames=3"])
    tracker = PixelTracker(config)
    walker = [(60.0, 60.0, 24.0, 60.0)]
    reports = [tracker.update(drawn(walker if n >= 4 else [])) for n in range(10)] + tracker.flush()
    assert [len(report) for report in reports[3:]] == [0] * 4 + [1] * 6


def test_places_of_those_who_have_moved_are_kept() -> None:
    tracker, _ = followed(lambda n: [(40.0 + 2.0 * n, 60.0, 24.0, 60.0), (180.0, 60.0, 24.0, 60.0)], 30)
    kept = tracker.occupied_xyxy
    assert len(kept) == 1
    left, _, right, _ = kept[0]
    assert left < 98.0 < right
    config = load_config(overrides=["tracking.pixels.keep_visible=false"])
    tracker, _ = followed(lambda n: [(40.0 + 2.0 * n, 60.0, 24.0, 60.0)], 30, config)
    assert tracker.occupied_xyxy.shape == (0, 4)


def test_the_tracker_takes_the_steps_that_the_function_takes() -> None:
    tracker, state, config = PixelTracker(), first_state(), Config()
    for n in (*range(6), 8, 9, 13, 14, 15):  # steps of several lengths
        tracker.update(drawn(crossing(n)), n / RATE_HZ)
        state, info, _ = step(state, drawn(crossing(n)), config, time_s=n / RATE_HZ)
        assert tracker.state.components.tobytes() == state.components.tobytes()
        assert tracker.info is not None
        assert tracker.info.log_likelihood == info.log_likelihood
    assert state.next_id == 3


def test_nothing_to_see_is_ordinary() -> None:
    tracker = PixelTracker()
    for _ in range(3):
        assert len(tracker.update(Foreground.empty())) == 0
    with pytest.raises(ValueError, match="later than the last frame"):
        tracker.update(Foreground.empty(), time_s=0.0)


@pytest.mark.parametrize(
    ("points", "weights", "message"),
    [
        ([[1.0, 2.0]], [0.0], "weights row 0 is 0.0"),
        ([[1.0, np.nan]], [1.0], "points_px row 0"),
        ([[1.0, 2.0]], [1.0, 1.0], "weights has shape"),
    ],
)
def test_foreground_that_is_none(points: list[list[float]], weights: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Foreground(points, weights)


def test_regions_are_counted_from_zero() -> None:
    with pytest.raises(ValueError, match=r"regions row 1 is -1; .* regions from 0"):
        Foreground([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0], [0, -1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"detections": {}}, "recorded detections are boxes"),
        ({"detector": lambda image: image}, "a function has no segment"),
    ],
)
def test_pixels_need_something_that_segments(arguments: dict[str, object], message: str) -> None:
    config = load_config(overrides=["tracking.observations=pixels"])
    with pytest.raises(ConfigurationError, match=message):
        next(track_video(Path("none.mp4"), config, **arguments))


def test_a_network_has_no_pixels() -> None:
    config = load_config(overrides=["tracking.observations=pixels", "detection.kind=onnx"])
    with pytest.raises(ConfigurationError, match=r"detection\.kind is onnx; only background"):
        next(track_video(Path("none.mp4"), config))


def test_a_tracker_of_boxes_refuses_pixels() -> None:
    config = load_config(overrides=["tracking.observations=pixels"])
    with pytest.raises(ConfigurationError, match=r"observations is pixels; .* tracker\.PixelTracker"):
        Tracker(config)
    PixelTracker(config)


def test_pixels_have_no_looks() -> None:
    config = load_config(overrides=["tracking.observations=pixels", "tracking.appearance=histogram"])
    with pytest.raises(ConfigurationError, match=r"tracking\.appearance is histogram; it must be none"):
        next(track_video(Path("none.mp4"), config))


def test_no_blobs_are_blobs_too() -> None:
    assert BlobTracks.empty().parent_ids.shape == (0,)
    with pytest.raises(AttributeError, match="has no attribute 'parents'"):
        _ = BlobTracks.empty().parents


def test_boxes_and_pixels_do_not_disturb_each_other() -> None:
    boxes, pixels = Tracker(), PixelTracker()
    for n in range(10):
        foreground = drawn(crossing(n))
        assert len(boxes.update(foreground.silhouettes)) == len(foreground.silhouettes)
        pixels.update(foreground)
    assert pixels.tracks().ids.tolist() == [1, 2]
