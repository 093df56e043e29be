"""Sinks: files that play, that carry the times given, and that appear whole or not at all."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import numpy as np
import pytest

from tracker.errors import OutputError
from tracker.formats.motchallenge import format_rows
from tracker.media.sinks import OverlayVideo, PendingFile, TrackFile
from tracker.media.sources import open_video
from tracker.structures import Image, Tracks


def grey(level: int, width: int = 64, height: int = 48) -> Image:
    return np.full((height, width, 3), level, np.uint8)


def tracks_of(n: int) -> Tracks:
    boxes = np.arange(4.0 * n).reshape(n, 4) + np.array([0, 0, 20, 40])
    row, label = np.full(n, 0.5), np.arange(1, n + 1)
    return Tracks(label, boxes, row, 0 * label, label, np.zeros((n, 4, 4)), row, row, 0 * label + 1, row)


def write_video(path: Path, images: Sequence[Image], times_s: Sequence[float], rate_hz: float = 25.0) -> Path:
    height, width = images[0].shape[:2]
    with OverlayVideo(path, width, height, rate_hz, 18) as video:
        for image, time_s in zip(images, times_s, strict=True):
            video.write(image, time_s)
    return path


@pytest.mark.parametrize(
    "times_s",
    [
        [k / 25 for k in range(30)],
        [k / 29.97 for k in range(30)],
        list(np.cumsum([0.0] + [0.01, 0.5, 0.033, 0.0667, 0.04] * 5)),
    ],
    ids=["constant", "ntsc", "variable"],
)
def test_frames_and_times_survive_a_round_trip(tmp_path: Path, times_s: list[float]) -> None:
    levels = [20 + 7 * k for k in range(len(times_s))]
    path = write_video(tmp_path / "o.mp4", [grey(level) for level in levels], times_s)
    with open_video(path) as source:
        assert source.frame_count == len(times_s)
        frames = list(source)
    assert [f.time_s for f in frames] == pytest.approx(times_s, abs=0.6 / 90_000)
    assert [f.image.mean() for f in frames if f.image is not None] == pytest.approx(levels, abs=2)
    assert source.loss is None


def test_constant_rate_comes_out_exact_to_the_last_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "o.mp4", [grey(k) for k in range(10)], [k / 12.5 for k in range(10)], 12.5)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 12.5
        assert stream.duration is not None
        assert stream.time_base is not None
        assert float(stream.duration * stream.time_base) == pytest.approx(10 / 12.5)


def test_first_time_becomes_zero(tmp_path: Path) -> None:
    path = write_video(tmp_path / "o.mp4", [grey(k) for k in range(5)], [100 + k / 25 for k in range(5)])
    with av.open(str(path)) as container:
        assert container.streams.video[0].start_time == 0
    with open_video(path) as source:
        assert [f.time_s for f in source] == pytest.approx([k / 25 for k in range(5)])


def test_times_that_do_not_increase_are_made_to(tmp_path: Path) -> None:
    path = write_video(tmp_path / "o.mp4", [grey(k) for k in range(4)], [0.0, 0.0, 1e-9, 0.04])
    with open_video(path) as source:
        times_s = [f.time_s for f in source]
    assert times_s == pytest.approx([0, 1 / 90_000, 2 / 90_000, 0.04], abs=1e-9)


def test_video_is_one_that_browsers_play(tmp_path: Path) -> None:
    path = write_video(tmp_path / "o.mp4", [grey(k) for k in range(5)], [k / 25 for k in range(5)])
    data = path.read_bytes()
    assert data[4:8] == b"ftyp"
    assert data.index(b"moov") < data.index(b"mdat"), "the index stands in front"
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        told = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        assert told == (1, 1, 1, 1), "BT.709 throughout, limited range"


def test_odd_sizes_are_padded_by_the_edge(tmp_path: Path) -> None:
    image = grey(60, 45, 31)
    image[:, 40:] = 200
    path = write_video(tmp_path / "o.mp4", [image] * 3, [0.0, 0.1, 0.2])
    with open_video(path) as source:
        assert (source.width_px, source.height_px) == (46, 32)
        padded = next(source).image
    assert padded is not None
    assert np.abs(padded[:31, :45].astype(int) - image).mean() < 2
    assert np.abs(padded[31].astype(int) - padded[30]).mean() < 3
    assert np.abs(padded[:, 45].astype(int) - 200).mean() < 6


@pytest.mark.parametrize("size", [(64, 48), (1280, 720)])
def test_colours_do_not_shift(tmp_path: Path, size: tuple[int, int]) -> None:
    colors = np.array([(0, 0, 0), (255, 255, 255), (200, 40, 40), (40, 200, 40), (40, 40, 200), (128, 128, 128)])
    flat = [np.full((size[1], size[0], 3), color, np.uint8) for color in colors]
    path = write_video(tmp_path / "o.mp4", flat, [k / 5 for k in range(len(flat))], 5.0)
    with open_video(path) as source:
        seen = [f.image.mean(axis=(0, 1)) for f in source if f.image is not None]
    np.testing.assert_allclose(seen, colors, atol=3)


def test_image_of_another_size_is_refused(tmp_path: Path) -> None:
    with OverlayVideo(tmp_path / "o.mp4", 64, 48, 25.0, 23) as video:
        with pytest.raises(ValueError, match="image is 80x48 px"):
            video.write(grey(0, width=80), 0.0)
        video.write(grey(0), 0.0)


def test_image_may_be_a_view_and_may_change_once_written(tmp_path: Path) -> None:
    board = np.zeros((48, 128, 3), np.uint8)
    with OverlayVideo(tmp_path / "o.mp4", 64, 48, 25.0, 18) as video:
        for k in range(5):
            board[:] = 40 * k
            video.write(board[:, ::2], k / 25)
    with open_video(tmp_path / "o.mp4") as source:
        levels = [f.image.mean() for f in source if f.image is not None]
    assert levels == pytest.approx([0, 40, 80, 120, 160], abs=2)


def test_image_written_is_not_changed(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (31, 45, 3), dtype=np.uint8)
    before = image.copy()
    write_video(tmp_path / "o.mp4", [image], [0.0])
    np.testing.assert_array_equal(image, before)


def test_track_file_holds_the_rows_in_order(tmp_path: Path) -> None:
    with TrackFile(tmp_path / "t.txt") as file:
        file.write(3, tracks_of(2))
        file.write(4, tracks_of(0))
        file.write(9, tracks_of(1))
    expected = format_rows(3, tracks_of(2)) + format_rows(9, tracks_of(1))
    assert (tmp_path / "t.txt").read_bytes() == expected.encode()


Opener = Callable[[Path], PendingFile]


def started_video(path: Path) -> OverlayVideo:
    video = OverlayVideo(path, 64, 48, 25.0, 23)
    for k in range(3):
        video.write(grey(50 * k), k / 25)
    return video


def started_tracks(path: Path) -> TrackFile:
    file = TrackFile(path)
    file.write(1, tracks_of(2))
    return file


both = pytest.mark.parametrize("start", [started_video, started_tracks])


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@both
def test_final_name_appears_with_publish_alone(tmp_path: Path, start: Opener) -> None:
    path = tmp_path / "result"
    path.write_text("of an earlier run")
    sink = start(path)
    sink.finish()
    assert path.read_text() == "of an earlier run"
    (partial,) = (entry for entry in tmp_path.iterdir() if entry != path)
    whole = partial.read_bytes()
    sink.publish()
    assert names(tmp_path) == ["result"]
    assert path.read_bytes() == whole
    sink.publish()
    sink.discard()
    assert path.read_bytes() == whole, "what is published stays"


def test_finished_video_plays_under_its_temporary_name(tmp_path: Path) -> None:
    sink = started_video(tmp_path / "o.mp4")
    sink.finish()
    (partial,) = tmp_path.iterdir()
    with open_video(partial) as source:
        assert len(list(source)) == 3
    sink.discard()
    assert names(tmp_path) == []


@both
def test_discard_leaves_an_earlier_file(tmp_path: Path, start: Opener) -> None:
    path = tmp_path / "result"
    path.write_text("of an earlier run")
    start(path).discard()
    assert names(tmp_path) == ["result"]
    assert path.read_text() == "of an earlier run"


@both
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_exception_leaves_nothing(tmp_path: Path, start: Opener, error: type[BaseException]) -> None:
    with pytest.raises(error), start(tmp_path / "result"):
        raise error
    assert names(tmp_path) == []


@both
def test_block_publishes_unless_discarded(tmp_path: Path, start: Opener) -> None:
    with start(tmp_path / "kept"):
        pass
    with start(tmp_path / "dropped") as sink:
        sink.discard()
    assert names(tmp_path) == ["kept"]


@both
def test_what_was_written_before_an_interruption_can_be_kept(tmp_path: Path, start: Opener) -> None:
    with suppress(KeyboardInterrupt), start(tmp_path / "result") as sink:
        sink.publish()
        raise KeyboardInterrupt
    assert names(tmp_path) == ["result"]


def test_video_without_frames_is_closed_in_order(tmp_path: Path) -> None:
    with OverlayVideo(tmp_path / "o.mp4", 64, 48, 25.0, 23):
        pass
    assert names(tmp_path) == ["o.mp4"]


@both
def test_folder_that_cannot_be_written_is_told_at_once(tmp_path: Path, start: Opener) -> None:
    with pytest.raises(OutputError, match=r"nowhere/result: cannot be written: no such file or directory$"):
        start(tmp_path / "nowhere" / "result")


@both
def test_final_name_that_is_a_folder_is_told(tmp_path: Path, start: Opener) -> None:
    (tmp_path / "result").mkdir()
    with pytest.raises(OutputError, match=r"result: cannot be written: is a directory$"), start(tmp_path / "result"):
        pass
    assert names(tmp_path) == ["result"]


def test_size_that_the_encoder_refuses_is_told(tmp_path: Path) -> None:
    wide = grey(0, 20_000, 2)
    with (
        pytest.raises(OutputError, match=r"o\.mp4: cannot be written: "),
        OverlayVideo(tmp_path / "o.mp4", 20_000, 2, 25.0, 23) as video,
    ):
        video.write(wide, 0.0)
    assert names(tmp_path) == []


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """Let the system refuse larger files, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_noise(path: Path) -> None:
    noise = np.random.default_rng(0)
    with OverlayVideo(path, 640, 480, 25.0, 10) as video:
        for k in range(40):
            video.write(noise.integers(0, 256, (480, 640, 3), dtype=np.uint8), k / 25)


def add_rows(file: TrackFile) -> None:
    for frame in range(1, 3000):
        file.write(frame, tracks_of(10))


def write_many_rows(path: Path) -> None:
    with TrackFile(path) as file:
        add_rows(file)


@pytest.mark.parametrize("write", [write_noise, write_many_rows])
@pytest.mark.parametrize("size_bytes", [0, 100_000])
def test_full_disk_gives_one_line_and_leaves_nothing(
    tmp_path: Path, write: Callable[[Path], None], size_bytes: int
) -> None:
    with (
        file_size_limit(size_bytes),
        pytest.raises(OutputError, match=r"result: cannot be written: file too large$"),
    ):
        write(tmp_path / "result")
    assert names(tmp_path) == []


def test_file_with_a_gap_is_never_published(tmp_path: Path) -> None:
    sink = TrackFile(tmp_path / "result")
    with file_size_limit(10_000), pytest.raises(OutputError, match="cannot be written"):
        add_rows(sink)
    with pytest.raises(OutputError, match=r"result: .*not complete"):
        sink.publish()
    sink.discard()
    assert names(tmp_path) == []


def test_finished_video_takes_no_more(tmp_path: Path) -> None:
    with OverlayVideo(tmp_path / "o.mp4", 64, 48, 25.0, 23) as video:
        video.write(grey(9), 0.0)
        video.finish()
        with pytest.raises(ValueError, match="is finished"):
            video.write(grey(9), 1.0)


def test_missing_encoder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.media.sinks.ENCODER", "libx26x")
    with pytest.raises(OutputError, match=r"o\.mp4: PyAV comes without libx26x"):
        OverlayVideo(tmp_path / "o.mp4", 64, 48, 25.0, 23)
    assert names(tmp_path) == []
