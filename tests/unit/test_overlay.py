"""The painter: what is drawn where, in which colour, and what is left alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tracker.confidence import ellipse_squared_radius
from tracker.config import OverlayConfig
from tracker.media import overlay
from tracker.media.overlay import OverlayPainter, track_color
from tracker.structures import BlobTracks, Frame, Image, Status, Tracks
from tracker.tracking.forecast import Fans

ALL_OFF = OverlayConfig(boxes=False, labels=False, ellipses=False, trail_s=0.0)
GROUND = np.random.default_rng(0).integers(90, 110, (240, 320, 3), dtype=np.uint8)
BOX = (100.0, 80.0, 140.0, 180.0)


def tracks_of(
    boxes: Sequence[Sequence[float]],
    *,
    ids: Sequence[int] | None = None,
    status: Status = Status.CONFIRMED,
    classes: int = 0,
    position_covariance: Sequence[Sequence[float]] = ((16.0, 0.0), (0.0, 16.0)),
) -> Tracks:
    n = len(boxes)
    covariances = np.zeros((n, 4, 4))
    covariances[:, :2, :2] = position_covariance
    label = np.zeros(n, np.int64)
    return Tracks(
        ids=np.arange(1, n + 1) if ids is None else np.array(ids, np.int64),
        boxes_xyxy=np.array(boxes, float).reshape(n, 4),
        scores=np.ones(n),
        classes=label + classes,
        detection_indices=label,
        covariances=covariances,
        existence=np.ones(n),
        responsibilities=np.ones(n),
        status=label + status,
        continuity=np.ones(n),
    )


def paint(tracks: Tracks, image: Image = GROUND, **drawn: object) -> Image:
    config = ALL_OFF.model_copy(update=drawn) if drawn else OverlayConfig()
    return OverlayPainter(config).paint(Frame(1, 0.0, image), tracks)


def changed(image: Image, ground: Image = GROUND) -> NDArray[np.bool_]:
    return (image != ground).any(axis=2)


def written(monkeypatch: pytest.MonkeyPatch, classes: int, names: dict[int, str] | None) -> str:
    """Return the label that an object of this class gets."""
    texts: list[str] = []
    put = overlay.cv2.putText
    monkeypatch.setattr(overlay.cv2, "putText", lambda ink, text, *rest: texts.append(text) or put(ink, text, *rest))
    painter = OverlayPainter(ALL_OFF.model_copy(update={"labels": True}), names)
    painter.paint(Frame(1, 0.0, GROUND), tracks_of([BOX], ids=[7], classes=classes))
    monkeypatch.undo()
    return texts[-1]


def of_color(image: Image, track_id: int) -> NDArray[np.bool_]:
    return (image == track_color(track_id)).all(axis=2)


def test_nothing_is_drawn_for_nobody() -> None:
    image = paint(Tracks.empty())
    np.testing.assert_array_equal(image, GROUND)
    assert not np.shares_memory(image, GROUND)


def test_nothing_is_drawn_when_everything_is_off() -> None:
    image = OverlayPainter(ALL_OFF).paint(Frame(1, 0.0, GROUND), tracks_of([BOX]))
    np.testing.assert_array_equal(image, GROUND)


@pytest.mark.parametrize("status", list(Status))
def test_input_is_never_changed(status: Status) -> None:
    ground = GROUND.copy()
    ground.flags.writeable = False
    painter = OverlayPainter(OverlayConfig())
    for k in range(5):
        tracks = tracks_of([BOX, (-20.0, 150.0 + 5 * k, 30.0, 260.0)], status=status)
        assert changed(painter.paint(Frame(k + 1, k / 10, ground), tracks)).any()
    np.testing.assert_array_equal(ground, GROUND)


def test_frame_without_image_is_refused() -> None:
    with pytest.raises(ValueError, match="frame 7 has no image"):
        OverlayPainter(OverlayConfig()).paint(Frame(7, 0.0, None), Tracks.empty())


def test_colour_belongs_to_the_id_whatever_else_is_in_the_picture() -> None:
    other = (200.0, 80.0, 240.0, 180.0)
    alone = paint(tracks_of([BOX], ids=[5]), boxes=True)
    together = paint(tracks_of([other, BOX], ids=[2, 5]), boxes=True)
    assert of_color(alone, 5).any()
    np.testing.assert_array_equal(of_color(alone, 5), of_color(together, 5))


@given(st.integers(1, 10**9))
def test_every_colour_stands_out_from_black_and_from_neighbouring_ids(track_id: int) -> None:
    near = [track_color(track_id + k) for k in range(5)]
    assert all(0 <= level <= 255 for level in near[0])
    blue, green, red = np.array(near[0]) / 255.0
    assert 0.0722 * blue**2.2 + 0.7152 * green**2.2 + 0.2126 * red**2.2 > 0.2
    assert min(np.abs(np.subtract(near[0], color)).max() for color in near[1:]) >= 30


def test_box_lies_on_its_edges() -> None:
    image = paint(tracks_of([BOX]), boxes=True)
    y, x = np.nonzero(of_color(image, 1))
    assert (x.min() + x.max()) / 2 == pytest.approx(120, abs=1)
    assert (y.min() + y.max()) / 2 == pytest.approx(130, abs=1)
    assert x.max() - x.min() == pytest.approx(40, abs=2)
    assert y.max() - y.min() == pytest.approx(100, abs=2)
    assert not changed(image)[90:170, 110:130].any(), "the inside stays free"


def test_line_is_cased_in_dark() -> None:
    white = np.full_like(GROUND, 255)
    image = paint(tracks_of([BOX]), white, boxes=True)
    colored = of_color(image, 1)
    dark = image.max(axis=2) < 40
    row = 130
    left, right = np.nonzero(colored[row])[0][[0, -1]]
    assert dark[row, left - 1]
    assert dark[row, right + 1]


def test_coasting_is_dashed_with_whole_corners() -> None:
    full = of_color(paint(tracks_of([BOX]), boxes=True), 1)
    dashed = of_color(paint(tracks_of([BOX], status=Status.COASTING), boxes=True), 1)
    assert (dashed <= full).all(), "dashes lie on the full line"
    assert 0.4 < dashed.sum() / full.sum() < 0.8
    edge = dashed[80, 100:141].astype(int)
    assert edge[0] == 1
    assert edge[-1] == 1
    assert (np.diff(edge) == -1).sum() >= 2, "several gaps"


def test_dashes_of_a_long_side_are_few() -> None:
    long = paint(tracks_of([(10, 20, 310, 220)], status=Status.COASTING), boxes=True)
    edge = of_color(long, 1)[20, 10:311].astype(int)
    assert (np.diff(edge) == -1).sum() == 3
    assert 0.5 < edge.mean() < 0.65


def test_coasting_can_be_left_out() -> None:
    image = paint(tracks_of([BOX], status=Status.COASTING), boxes=True, labels=True, coasting=False)
    np.testing.assert_array_equal(image, GROUND)


def test_tentative_is_thin_and_faint_and_nothing_but_a_box() -> None:
    config = OverlayConfig()
    tentative = changed(OverlayPainter(config).paint(Frame(1, 0.0, GROUND), tracks_of([BOX], status=Status.TENTATIVE)))
    box = changed(paint(tracks_of([BOX]), boxes=True))
    assert (tentative <= box).all()
    assert 0 < tentative.sum() < 0.5 * box.sum()
    image = paint(tracks_of([BOX], status=Status.TENTATIVE), boxes=True)
    assert not of_color(image, 1).any()


FAR = 1e7
outside = st.floats(-FAR, FAR, allow_nan=False)


@given(st.tuples(outside, outside, st.floats(0.1, FAR), st.floats(0.1, FAR)), st.sampled_from(list(Status)))
def test_boxes_anywhere_are_painted_without_harm(box: tuple[float, float, float, float], status: Status) -> None:
    left, top, width, height = box
    tracks = tracks_of(
        [(left, top, left + width, top + height)],
        status=status,
        position_covariance=((width**2, 0.0), (0.0, height**2)),
    )
    painter = OverlayPainter(OverlayConfig())
    for k in range(2):
        assert painter.paint(Frame(k + 1, float(k), GROUND), tracks).shape == GROUND.shape
        tracks = tracks_of([(left + k, -top, left + width + k, -top + height)], status=status)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize(
    "box",
    [
        (-30, 200, 60, 280),
        (290, -40, 350, 80),
        (0, 0, 320, 240),
        (1, 1, 318, 238),
        (-1, -1, 321, 241),
        (-2, 5, 322, 90),
    ],
)
def test_box_partly_outside_is_clipped_where_the_picture_ends(box: tuple[float, ...], status: Status) -> None:
    wide = np.pad(GROUND, ((50, 50), (50, 50), (0, 0)))
    inside = paint(tracks_of([box], status=status), boxes=True)
    around = paint(tracks_of([np.array(box) + 50.0], status=status), wide, boxes=True)
    np.testing.assert_array_equal(inside, around[50:-50, 50:-50])


@pytest.mark.parametrize("box", [(-90, 50, -10, 90), (330, 50, 400, 90), (50, -90, 90, -10), (50, 250, 90, 300)])
def test_box_outside_the_picture_leaves_no_mark(box: tuple[float, ...]) -> None:
    np.testing.assert_array_equal(paint(tracks_of([box])), GROUND)


@pytest.mark.parametrize("box", [BOX, (-20, -20, 30, 60), (300, 2, 380, 80), (-20, 220, 30, 300), (310, 235, 420, 300)])
def test_label_stays_whole_in_the_picture(box: tuple[float, ...]) -> None:
    reference = changed(paint(tracks_of([BOX], ids=[1234]), labels=True)).sum()
    assert changed(paint(tracks_of([box], ids=[1234]), labels=True)).sum() == pytest.approx(reference, rel=0.02)


def test_label_sits_on_the_box() -> None:
    y, x = np.nonzero(changed(paint(tracks_of([BOX]), labels=True)))
    assert y.max() < 80
    assert y.max() >= 75
    assert 95 <= x.min() <= 100


def test_label_tells_the_class_when_there_is_one() -> None:
    plain = changed(paint(tracks_of([BOX]), labels=True))
    with_class = changed(paint(tracks_of([BOX], classes=3), labels=True))
    assert with_class.sum() > 1.3 * plain.sum()


@pytest.mark.parametrize("status", [Status.CONFIRMED, Status.COASTING])
@pytest.mark.parametrize("track_id", range(1, 13))
def test_label_is_readable_on_its_own_ground(track_id: int, status: Status) -> None:
    image = paint(tracks_of([BOX], ids=[track_id], status=status), labels=True)
    levels = image[changed(image)].astype(float) @ (0.0722, 0.7152, 0.2126)
    assert np.ptp(levels) > 80


def test_ellipse_of_a_blob_is_its_outline() -> None:
    """Evenly filled, an ellipse with half axes a and b has variances a^2/4 and b^2/4."""
    tracks = tracks_of([BOX])
    fields = {name: getattr(tracks, name) for name in Tracks.__slots__}
    blobs = BlobTracks(**fields, parent_ids=np.zeros(1, np.int64), blob_covariances=np.diag([144.0, 400.0])[None])
    rows, columns = np.nonzero(changed(paint(blobs, ellipses=True)))
    x, y = (BOX[0] + BOX[2]) / 2, (BOX[1] + BOX[3]) / 2
    np.testing.assert_allclose([columns.min(), columns.max()], [x - 24.0, x + 24.0], atol=2.5)
    np.testing.assert_allclose([rows.min(), rows.max()], [y - 40.0, y + 40.0], atol=2.5)


def test_ellipse_holds_95_percent_of_the_position() -> None:
    angle = 0.5
    axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    covariance = axes @ np.diag([400.0, 100.0]) @ axes.T
    image = paint(tracks_of([BOX], position_covariance=covariance.tolist()), ellipses=True)
    y, x = np.nonzero(changed(image))
    offset = np.stack([x - 120.0, y - 130.0])
    distance = np.einsum("in,ij,jn->n", offset, np.linalg.inv(covariance), offset)
    assert len(x) > 50
    assert np.sqrt(distance).mean() == pytest.approx(np.sqrt(ellipse_squared_radius(0.95)), rel=0.02)
    assert np.ptp(np.sqrt(distance)) < 0.6


def walk(painter: OverlayPainter, frames: int, *, rate_hz: float = 25.0, speed_px_s: float = 100.0) -> Image:
    """Walk to the right along y = 120; the last frame has the feet at x = 250."""
    for k in range(frames):
        x = 250.0 - (frames - 1 - k) / rate_hz * speed_px_s
        image = painter.paint(Frame(k + 1, k / rate_hz, GROUND), tracks_of([(x - 10, 80, x + 10, 120)]))
    return image


@pytest.mark.parametrize("rate_hz", [5.0, 25.0, 60.0])
def test_trail_follows_the_feet_for_its_length_in_seconds(rate_hz: float) -> None:
    painter = OverlayPainter(ALL_OFF.model_copy(update={"trail_s": 1.0}))
    image = walk(painter, round(2.2 * rate_hz), rate_hz=rate_hz)
    y, x = np.nonzero(changed(image))
    assert np.abs(y - 120).max() <= 4
    assert x.max() == pytest.approx(250, abs=4)
    assert x.min() == pytest.approx(150, abs=1.1 * 100 / rate_hz + 4)


def test_trail_is_smooth_though_the_boxes_jitter() -> None:
    def painted(jitter_px: float) -> NDArray[np.bool_]:
        painter = OverlayPainter(ALL_OFF.model_copy(update={"trail_s": 2.0}))
        for k in range(50):
            x, y = 50.0 + 4.0 * k, 120.0 + jitter_px * (-1) ** k
            image = painter.paint(Frame(k + 1, k / 25, GROUND), tracks_of([(x - 10, 80, x + 10, y)]))
        return changed(image)[:, 70:230]

    rows = np.nonzero(painted(6.0))[0]
    assert np.ptp(rows) <= np.ptp(np.nonzero(painted(0.0))[0]) + 4, "a third of the jitter at most"


def test_trail_looks_transparent() -> None:
    ends = []
    for level in (30, 220):
        ground = np.full_like(GROUND, level)
        painter = OverlayPainter(ALL_OFF.model_copy(update={"trail_s": 2.0}))
        for k in range(50):
            x = 50.0 + 4.0 * k
            image = painter.paint(Frame(k + 1, k / 25, ground), tracks_of([(x - 10, 80, x + 10, 120)]))
        ends.append((image[120, 60].astype(float), image[120, 240].astype(float)))
    (old_on_dark, new_on_dark), (old_on_light, new_on_light) = ends
    np.testing.assert_array_equal(new_on_dark, new_on_light)
    np.testing.assert_array_equal(new_on_dark, track_color(1))
    np.testing.assert_allclose(old_on_light - old_on_dark, 0.75 * (220 - 30), atol=2)


def test_trail_fades() -> None:
    painter = OverlayPainter(ALL_OFF.model_copy(update={"trail_s": 2.0}))
    image = walk(painter, 50)
    strength = np.abs(image[120].astype(int) - track_color(1)).sum(axis=1)
    old, middle, new = (strength[x : x + 20].mean() for x in (70, 150, 228))
    assert new < 10
    assert new < middle < old


def test_trail_of_one_who_left_is_forgotten() -> None:
    painter = OverlayPainter(ALL_OFF.model_copy(update={"trail_s": 1.0}))
    walk(painter, 30)
    gone = painter.paint(Frame(31, 1.2, GROUND), Tracks.empty())
    np.testing.assert_array_equal(gone, GROUND)
    back = painter.paint(Frame(90, 3.6, GROUND), tracks_of([(20, 80, 40, 120)]))
    np.testing.assert_array_equal(back, GROUND)


def test_nearer_ones_are_painted_over_farther_ones() -> None:
    far, near = (100.0, 60.0, 160.0, 120.0), (130.0, 60.0, 190.0, 160.0)
    for boxes, ids in (([far, near], [1, 2]), ([near, far], [2, 1])):
        image = paint(tracks_of(boxes, ids=ids), boxes=True)
        assert of_color(image, 2)[60, 130:190].all()


@pytest.mark.parametrize(
    ("width", "height", "line_px"), [(320, 240, 2), (768, 576, 2), (1920, 1080, 4), (3840, 2160, 7)]
)
def test_lines_grow_with_the_picture(width: int, height: int, line_px: int) -> None:
    ground = np.full((height, width, 3), 100, np.uint8)
    box = (0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height)
    column = of_color(paint(tracks_of([box]), ground, boxes=True), 1)[: height // 2, width // 2]
    assert column.sum() == line_px


def test_grey_ground_of_any_size_is_painted() -> None:
    for size in ((1, 1), (2, 3), (16, 16)):
        ground = np.zeros((*size, 3), np.uint8)
        assert paint(tracks_of([(0, 0, size[1], size[0])], ids=[123456]), ground).shape == (*size, 3)


def test_labels_name_the_class_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {0: "person", 2: "car"}
    assert written(monkeypatch, 0, names) == "7 person"
    assert written(monkeypatch, 2, names) == "7 car"
    assert written(monkeypatch, 5, names) == "7 c5"
    assert written(monkeypatch, 2, {2: "car"}) == "7"
    assert [written(monkeypatch, label, None) for label in (0, 2)] == ["7", "7 c2"]


def fans_of(ids: Sequence[int], centres: Sequence[Sequence[float]], half_px: float = 10.0) -> Fans:
    """Return fans of one object after the other, each with two circles of 50 and 90 % that grow with time."""
    K, T = len(ids), 2
    axes = np.full((2, K, T, 2), half_px) * np.array([0.5, 1.0])[:, None, None, None]
    places = np.broadcast_to(np.array(centres, float)[:, None], (K, T, 2)) + np.array([[0.0, 0.0], [40.0, 0.0]])
    return Fans(np.array(ids), np.array([0.5, 1.0]), np.array([0.5, 0.9]), places, axes)


def painted_fans(tracks: Tracks, fans: Fans, image: Image = GROUND) -> Image:
    return OverlayPainter(ALL_OFF).paint(Frame(1, 0.0, image), tracks, fans=fans)


def test_a_fan_covers_what_its_bands_sweep_and_nothing_else() -> None:
    image = painted_fans(tracks_of([BOX], ids=[3]), fans_of([3], [[120, 180]])).astype(int)
    y, x = np.nonzero((image != GROUND).any(axis=2))
    assert (x.min(), x.max()) == (pytest.approx(110, abs=1), pytest.approx(170, abs=1))
    assert (y.min(), y.max()) == (pytest.approx(170, abs=1), pytest.approx(190, abs=1))
    color = np.array(track_color(3))
    assert (image[180, 120:161] == color).all(), "a line from now to then"
    toward = np.abs(image - GROUND).sum(axis=2)
    assert toward[184, 120] > toward[172, 120] > 0, "the likelier band is the stronger"
    assert toward[184, 120] > toward[184, 160] > 0, "what is farther ahead is paler"
    # Beside the line, each pixel lies between the ground and the track's colour: one can see through.
    beside = np.abs(np.arange(image.shape[0]) - 180) > 3
    low, high = np.minimum(GROUND, color) - 1, np.maximum(GROUND, color) + 1
    assert ((image >= low) & (image <= high))[beside].all()
    assert not (image == color).all(axis=2)[beside].any()


def test_a_fan_ends_where_a_place_is_known_no_better_than_to_an_object() -> None:
    fans = fans_of([3], [[120, 180]])
    longest_px = max(BOX[2] - BOX[0], BOX[3] - BOX[1])
    fans.axes[1, 0, 1] = longest_px / 2 + 1
    x = np.nonzero((painted_fans(tracks_of([BOX], ids=[3]), fans) != GROUND).any(axis=(0, 2)))[0]
    assert (x.min(), x.max()) == (pytest.approx(110, abs=1), pytest.approx(130, abs=1))
    fans.axes[1, 0, 0] = longest_px / 2 + 1
    np.testing.assert_array_equal(painted_fans(tracks_of([BOX], ids=[3]), fans), GROUND)


def test_fans_of_nobody_or_of_the_tentative_are_not_drawn() -> None:
    fans = fans_of([3], [[120, 180]])
    np.testing.assert_array_equal(painted_fans(tracks_of([BOX], ids=[4]), fans), GROUND)
    np.testing.assert_array_equal(painted_fans(tracks_of([BOX], ids=[3], status=Status.TENTATIVE), fans), GROUND)
    assert changed(painted_fans(tracks_of([BOX], ids=[3], status=Status.COASTING), fans)).any()


@pytest.mark.parametrize("centre", [(-500.0, 100.0), (0.0, 0.0), (319.0, 239.0), (1e7, 1e7)])
def test_a_fan_may_leave_the_picture(centre: tuple[float, float]) -> None:
    image = painted_fans(tracks_of([BOX], ids=[3]), fans_of([3], [centre], half_px=40.0))
    assert changed(image).any() == (max(centre) < 1000 and min(centre) >= 0)


def test_a_wide_fan_does_not_overflow() -> None:
    everywhere = tracks_of([(-1e9, -1e9, 1e9, 1e9)], ids=[3])
    assert changed(painted_fans(everywhere, fans_of([3], [(160.0, 120.0)], half_px=1e8))).all()


def test_no_ellipse_is_drawn_where_the_place_is_not_known_to_a_box() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    only = {"boxes": False, "labels": False, "trail_s": 0.0, "ellipses": True}

    def drawn(variance_px2: float) -> bool:
        one, number = np.ones(1), np.ones(1, np.int64)
        box = np.array([[80.0, 60.0, 120.0, 140.0]])
        tracks = Tracks(number, box, one, number, number, variance_px2 * np.eye(4)[None], one, one, number, one)
        return bool(OverlayPainter(OverlayConfig(**only)).paint(Frame(1, 0.0, image), tracks).any())

    assert drawn(100.0)
    assert not drawn(10000.0)
