"""Sources: what is in the file is what comes out, and what cannot be read says so in one line."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tracker.errors import VideoError
from tracker.media.sources import open_video
from tracker.structures import Image

LEVELS = [40 + 8 * k for k in range(20)]  # grey levels that tell frames apart after lossy coding


def grey(level: int, width: int = 64, height: int = 48) -> Image:
    return np.full((height, width, 3), level, np.uint8)


def write_video(
    path: Path,
    images: Sequence[Image],
    *,
    ticks: Sequence[int] | None = None,
    rate: int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    colorspace: int = 5,
    **options: str,
) -> Path:
    """Encode ``images``; ``ticks`` are time stamps in 1/1000 s, else the rate's."""
    base = Fraction(1, rate) if ticks is None else Fraction(1, 1000)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = base
        for k, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "bgr24").reformat(format=pix_fmt, dst_colorspace=colorspace)
            frame.pts = k if ticks is None else ticks[k]
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "steps.mp4", [grey(level) for level in LEVELS], movflags="+faststart")


def levels(images: Sequence[Image | None]) -> list[int]:
    """The index in LEVELS that each image is nearest to."""
    return [int(np.argmin(np.abs(np.array(LEVELS) - image.mean()))) for image in images if image is not None]


def test_file_yields_every_frame_in_order_with_its_time(video: Path) -> None:
    with open_video(str(video)) as source:
        about = (source.name, source.width_px, source.height_px, source.frame_rate_hz, source.frame_count)
        frames = list(source)
    assert about == ("steps", 64, 48, 25.0, 20)
    assert [f.index for f in frames] == list(range(1, 21))
    assert [f.time_s for f in frames] == pytest.approx([k / 25 for k in range(20)], abs=1e-12)
    assert levels([f.image for f in frames]) == list(range(20))
    assert all(f.image is not None and f.image.dtype == np.uint8 for f in frames)
    assert source.loss is None


def test_variable_rate_is_honoured_and_times_start_at_zero(tmp_path: Path) -> None:
    ticks = [500, 540, 580, 900, 910, 1500]
    write_video(tmp_path / "v.mkv", [grey(k) for k in LEVELS[:6]], ticks=ticks)
    with open_video(tmp_path / "v.mkv") as source:
        assert [f.time_s for f in source] == pytest.approx([(t - 500) / 1000 for t in ticks], abs=1e-9)


def test_equal_time_stamps_are_spread_at_the_average_rate(tmp_path: Path) -> None:
    # Matroska counts milliseconds: at 4000 frames a second four frames share a stamp.
    write_video(tmp_path / "fast.mkv", [grey(k) for k in LEVELS], rate=4000, codec="mjpeg", pix_fmt="yuvj420p")
    with open_video(tmp_path / "fast.mkv") as source:
        times = np.array([f.time_s for f in source])
    assert len(times) == 20
    assert (np.diff(times) > 0).all()
    assert times == pytest.approx(np.arange(20) / 4000, abs=2e-3)


def test_stream_without_time_stamps_falls_back_to_the_rate(tmp_path: Path) -> None:
    write_video(tmp_path / "bare.h264", [grey(k) for k in LEVELS])
    with open_video(tmp_path / "bare.h264") as source:
        assert source.frame_count is None
        times = [f.time_s for f in source]
    assert times == pytest.approx([k / source.frame_rate_hz for k in range(20)])


@pytest.mark.parametrize(
    ("matrix", "quarter_turns_clockwise"),
    [((0, 1, -1, 0), 1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 3)],
)
def test_rotation_metadata_is_honoured(
    tmp_path: Path, matrix: tuple[int, int, int, int], quarter_turns_clockwise: int
) -> None:
    image = grey(40)
    image[:24, :32] = 220
    path = write_video(tmp_path / "turned.mp4", [image] * 3)
    # A film's place on the screen, in its track header: x' = a x + c y, y' = b x + d y, in 1/65536.
    data = path.read_bytes()
    one, none = (65536).to_bytes(4, "big"), bytes(4)
    upright = one + bytes(12) + one + bytes(12) + (1 << 30).to_bytes(4, "big")
    at = data.index(upright, data.index(b"tkhd"))
    a, b, c, d = ((65536 * entry).to_bytes(4, "big", signed=True) for entry in matrix)
    turned = a + b + none + c + d + none + bytes(8) + (1 << 30).to_bytes(4, "big")
    path.write_bytes(data[:at] + turned + data[at + len(turned) :])

    expected = np.rot90(image, -quarter_turns_clockwise)
    with open_video(path) as source:
        assert (source.height_px, source.width_px) == expected.shape[:2]
        for frame in source:
            assert frame.image is not None
            assert frame.image.flags.c_contiguous
            assert np.abs(frame.image.astype(int) - expected).mean() < 4


def test_odd_sizes_and_lossless_pixels_come_through_exactly(tmp_path: Path) -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (3, 31, 45, 3), dtype=np.uint8))
    write_video(tmp_path / "odd.mkv", images, codec="ffv1", pix_fmt="bgr0")
    with open_video(tmp_path / "odd.mkv") as source:
        assert (source.width_px, source.height_px) == (45, 31)
        for frame, image in zip(source, images, strict=True):
            np.testing.assert_array_equal(frame.image, image)


@pytest.mark.parametrize(("size", "matrix"), [((64, 48), 5), ((1280, 720), 1)])
def test_untold_colour_matrix_follows_the_picture_height(tmp_path: Path, size: tuple[int, int], matrix: int) -> None:
    image = np.full((size[1], size[0], 3), (40, 60, 200), np.uint8)
    with av.open(str(write_video(tmp_path / "red.mp4", [image], colorspace=matrix))) as container:
        assert container.streams.video[0].codec_context.colorspace == 2  # nothing is said in the file
    with open_video(tmp_path / "red.mp4") as source:
        frame = next(source)
    assert frame.image is not None
    assert frame.image.mean(axis=(0, 1)) == pytest.approx((40, 60, 200), abs=4)


def test_span_keeps_numbers_and_times(video: Path) -> None:
    with open_video(video, start=6, frames=3) as source:
        assert source.frame_count == 3
        frames = list(source)
    assert [f.index for f in frames] == [6, 7, 8]
    assert [f.time_s for f in frames] == pytest.approx([5 / 25, 6 / 25, 7 / 25])
    assert levels([f.image for f in frames]) == [5, 6, 7]
    assert source.loss is None


def test_span_may_reach_beyond_the_end(video: Path) -> None:
    with open_video(video, start=19, frames=10) as source:
        assert source.frame_count == 2
        assert [f.index for f in source] == [19, 20]
    assert source.loss is None


def test_start_beyond_the_end_is_told(video: Path) -> None:
    with pytest.raises(VideoError, match=r"steps\.mp4: start is 21, beyond the last frame, 20$"):
        open_video(video, start=21)


@pytest.mark.parametrize("span", [{"start": 0}, {"frames": 0}])
def test_spans_count_from_one(video: Path, span: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        open_video(video, **span)


def test_truncated_file_yields_what_decodes_and_says_what_is_lost(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "cut.mp4", list(noise), movflags="+faststart")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_video(path) as source:
        assert source.frame_count == 40
        assert source.loss is None
        numbers = [f.index for f in source]
    assert 5 < len(numbers) < 35
    assert numbers == list(range(1, len(numbers) + 1))
    assert source.loss is not None
    assert f"cut.mp4: {len(numbers)} of 40 promised frames could be decoded" in source.loss
    assert "\n" not in source.loss


def test_truncated_matroska_says_where_the_frames_end(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (100, 48, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "cut.mkv", list(noise))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_video(path) as source:
        last_s = [f.time_s for f in source][-1]
    assert last_s < 3.0
    assert source.loss is not None
    assert f"the frames end after {last_s + 0.04:.1f} s of 4.0 s" in source.loss


def test_damaged_packets_are_counted(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "hurt.mp4", list(noise), movflags="+faststart")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)
    with open_video(path) as source:
        decoded = len(list(source))
    assert decoded < 40
    assert source.loss is not None
    assert "damaged packets: " in source.loss


def test_frames_cut_off_by_an_edit_list_are_no_loss(tmp_path: Path) -> None:
    ticks = [40 * (k - 5) for k in range(20)]  # an MP4 hides what lies before time 0
    path = write_video(tmp_path / "edited.mp4", [grey(k) for k in LEVELS], ticks=ticks)
    with open_video(path) as source:
        frames = list(source)
    assert levels([f.image for f in frames]) == list(range(5, 20))
    assert (frames[0].index, frames[0].time_s) == (1, 0.0)
    assert source.loss is None


def test_closing_ends_iteration(video: Path) -> None:
    source = open_video(video)
    next(source)
    source.close()
    assert list(source) == []


def no_video(folder: Path, kind: str) -> Path:
    path = folder / {"text": "notes.mp4", "long text": "notes.txt", "sound": "sound.wav"}.get(kind, "input.mp4")
    if kind in ("text", "long text"):
        path.write_text("frames,go,here\n" * 4000)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "sound":
        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(bytes(8000))
    elif kind == "index only":
        write_video(path, [grey(90)] * 3, movflags="+faststart")
        data = path.read_bytes()
        path.write_bytes(data[: data.index(b"mdat") + 4])
    elif kind == "folder":
        path.mkdir()
        (path / "readme.txt").write_text("no images here")
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no such video file or folder of images"),
        ("text", "cannot be opened as a video"),
        ("long text", "no video stream|cannot be opened as a video"),
        ("empty", "cannot be opened as a video"),
        ("sound", "holds no video stream"),
        ("index only", "holds no frame that can be decoded"),
        ("folder", "a folder without images"),
    ],
)
def test_what_is_no_video_is_told_in_one_line(tmp_path: Path, kind: str, message: str) -> None:
    path = no_video(tmp_path, kind)
    with pytest.raises(VideoError, match=message) as caught:
        open_video(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def write_images(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, level in zip(names, LEVELS, strict=False):
        assert cv2.imwrite(str(folder / name), grey(level))


def test_folder_comes_in_natural_order_at_the_assumed_rate(tmp_path: Path) -> None:
    write_images(tmp_path / "shots.v2", ["a1.png", "a2.jpg", "a10.bmp", "b1.tif", "b2.webp"])
    (tmp_path / "shots.v2" / "readme.txt").write_text("not a frame")
    (tmp_path / "shots.v2" / "._a1.png").write_text("left behind by a file manager")
    with open_video(tmp_path / "shots.v2") as source:
        assert (source.name, source.frame_count, source.frame_rate_hz) == ("shots.v2", 5, 30.0)
        frames = list(source)
    assert levels([f.image for f in frames]) == [0, 1, 2, 3, 4]
    assert [f.time_s for f in frames] == pytest.approx([k / 30 for k in range(5)])


@pytest.mark.parametrize("place", ["MOT", "MOT/img1"])
def test_images_take_the_rate_of_their_sequence(tmp_path: Path, place: str) -> None:
    write_images(tmp_path / "MOT" / "img1", ["000001.png", "000002.png"])
    (tmp_path / place / "seqinfo.ini").write_text("[Sequence]\nframeRate=14\n")
    for path in (tmp_path / "MOT" / "img1", tmp_path / "MOT" / "img1" / "%06d.png"):
        with open_video(path) as source:
            assert (source.name, source.frame_rate_hz) == ("img1", 14.0)
            assert [f.time_s for f in source] == pytest.approx([0, 1 / 14])


@pytest.mark.parametrize(
    ("pattern", "names", "expected"),
    [
        ("f%03d.png", ["f009.png", "f010.png", "f1000.png", "f11.png", "g010.png"], [0, 1, 2]),
        ("%d.png", ["9.png", "10.png", "x1.png", "007.png"], [0, 1]),
    ],
)
def test_pattern_takes_the_names_that_printf_would_write(
    tmp_path: Path, pattern: str, names: list[str], expected: list[int]
) -> None:
    write_images(tmp_path, names)
    with open_video(tmp_path / pattern) as source:
        frames = list(source)
    assert [f.index for f in frames] == list(range(1, len(expected) + 1))
    assert levels([f.image for f in frames]) == expected


def test_pattern_without_images_is_told(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"%06d\.jpg: no such file, and no image"):
        open_video(tmp_path / "%06d.jpg")
    with pytest.raises(VideoError, match="cannot be read"):
        open_video(tmp_path / "nowhere" / "%06d.jpg")


def test_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.png", "2.png"])
    for data in (b"", b"not an image"):
        (tmp_path / "2.png").write_bytes(data)
        with open_video(tmp_path) as source:
            next(source)
            with pytest.raises(VideoError, match=r"2\.png: not an image that can be read$"):
                next(source)


def test_image_of_another_size_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, ["1.png", "2.png"])
    cv2.imwrite(str(tmp_path / "3.png"), grey(90, width=80))
    with open_video(tmp_path) as source, pytest.raises(VideoError, match="frame 3 is 80x48 px"):
        list(source)


@pytest.mark.parametrize(
    ("name", "count", "rate_hz", "size"),
    [
        ("vtest.avi", 795, 10.0, (768, 576)),
        ("TUD-Campus.mp4", 71, 25.0, (640, 480)),
        ("car-detection.mp4", 377, 12.5, (768, 432)),
    ],
)
def test_real_videos_are_read_whole(
    data_root: Path, name: str, count: int, rate_hz: float, size: tuple[int, int]
) -> None:
    with open_video(data_root / "videos" / name) as source:
        assert (source.frame_count, source.frame_rate_hz) == (count, rate_hz)
        assert (source.width_px, source.height_px) == size
        times = [f.time_s for f in source]
    assert len(times) == count
    assert times[-1] == pytest.approx((count - 1) / rate_hz, abs=0.1)
    assert source.loss is None
