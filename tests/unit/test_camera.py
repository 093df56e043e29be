"""Live capture: always the newest picture, true and rising times, and a source that may go and come back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from streams import PATIENCE_S, ManualClock, PictureServer, eventually, jpeg, picture

from tracker.config import LiveConfig
from tracker.errors import VideoError
from tracker.media import camera
from tracker.media.camera import Captured, Clock, LiveCapture

CONFIG = LiveConfig(backoff_s=0.01)


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for reads that hang: here they end with the server."""
    monkeypatch.setattr(camera, "_GRACE_S", 0.0)


@pytest.fixture
def server() -> Iterator[PictureServer]:
    with PictureServer() as server:
        yield server


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Return a film of five pictures, ten a second."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(picture(40 * index), "bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def taken(capture: LiveCapture) -> Captured:
    captured = capture.newest(PATIENCE_S)
    assert captured is not None
    return captured


def brightness(captured: Captured) -> float:
    assert captured.frame.image is not None
    return float(captured.frame.image.mean())


def test_only_the_newest_is_kept_and_the_late_are_counted(server: PictureServer) -> None:
    server.send(*(picture(level) for level in (40, 80, 120, 160, 200)))
    with LiveCapture(server.url, CONFIG) as capture:
        eventually(lambda: capture.captured == 5)
        newest = taken(capture)
        assert newest.frame.index == 5
        assert brightness(newest) == pytest.approx(200, abs=5)
        assert (capture.captured, capture.dropped, capture.corrupt) == (5, 4, 0)
        assert capture.newest(0.0) is None
        assert not capture.ended


def test_times_are_those_of_arrival(server: PictureServer) -> None:
    clock = ManualClock()
    server.send(picture(40))
    with LiveCapture(server.url, CONFIG, clock) as capture:
        assert taken(capture).frame.time_s == 0.0
        clock.wind(1.5)
        server.send(picture(80))
        assert taken(capture).frame.time_s == 1.5
        assert capture.now_s() == 1.5


@pytest.mark.parametrize("jump_s", [0.0, -500.0])
def test_time_goes_on_whatever_the_clock_does(jump_s: float, server: PictureServer) -> None:
    clock = ManualClock()
    server.send(picture(40))
    times_s = []
    with LiveCapture(server.url, CONFIG, clock) as capture:
        for level in (80, 120, 160):
            times_s.append(taken(capture).frame.time_s)
            clock.wind(jump_s)
            server.send(picture(level))
        times_s.append(taken(capture).frame.time_s)
    assert (np.diff(times_s) > 0).all()


def test_what_cannot_be_decoded_is_counted_and_passed_over(server: PictureServer) -> None:
    good = jpeg(picture(80))
    server.send(picture(40), good[: len(good) // 2], b"no picture" * 300)
    with LiveCapture(server.url, CONFIG) as capture:
        taken(capture)
        eventually(lambda: capture.corrupt == 2)
        server.send(picture(200))
        assert brightness(taken(capture)) == pytest.approx(200, abs=5)
        assert (capture.captured, capture.corrupt, capture.reconnects) == (4, 2, 0)


def test_the_resolution_may_change(server: PictureServer) -> None:
    server.send(picture(40))
    with LiveCapture(server.url, CONFIG) as capture:
        assert taken(capture).frame.image.shape == (64, 96, 3)  # type: ignore[union-attr]
        server.send(picture(40, 160, 120))
        assert taken(capture).frame.image.shape == (120, 160, 3)  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------ gone and back


@pytest.mark.parametrize(("silence_s", "is_outage"), [(1.9, False), (2.1, True)])
def test_a_source_that_comes_back_is_an_outage_if_it_was_away_for_long(
    silence_s: float, is_outage: bool, server: PictureServer
) -> None:
    clock, notices = ManualClock(), list[str]()
    clock.in_a_hurry = True
    server.send(picture(40))
    with LiveCapture(server.url, CONFIG, clock, notices.append) as capture:
        assert not taken(capture).after_outage
        server.hang_up()
        clock.wind(silence_s)
        server.send(picture(80))
        back = taken(capture)
        assert back.after_outage is is_outage
        assert (back.frame.index, back.frame.time_s) == (2, pytest.approx(silence_s))
        assert capture.reconnects == 1
    lost, found = notices
    assert lost.startswith(f"{server.url}: ")
    assert lost.endswith("; trying to reconnect")
    assert found == f"{server.url}: connected again"


def test_an_outage_is_not_lost_with_a_picture_that_is(server: PictureServer) -> None:
    clock = ManualClock()
    server.send(picture(40))
    with LiveCapture(server.url, CONFIG, clock) as capture:
        taken(capture)
        clock.wind(5.0)
        server.send(picture(80), picture(120))
        eventually(lambda: capture.captured == 3)
        assert taken(capture).after_outage
        server.send(picture(160))
        assert not taken(capture).after_outage


def test_attempts_to_reconnect_come_at_growing_intervals_until_one_succeeds() -> None:
    clock = ManualClock()
    clock.in_a_hurry = True
    server = PictureServer()
    server.send(picture(40))
    with LiveCapture(server.url, LiveConfig(), clock) as capture:
        taken(capture)
        server.close()
        eventually(lambda: len(clock.waits_s) >= 8)
        assert capture.state == "connecting"
        with PictureServer(server.port) as again:
            again.send(picture(80))
            taken(capture)
            assert capture.state == "running"
    assert clock.waits_s[:8] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    assert capture.reconnects == 1


def test_a_stream_that_falls_silent_is_connected_anew(server: PictureServer) -> None:
    notices: list[str] = []
    server.send(picture(40))
    with LiveCapture(server.url, LiveConfig(backoff_s=0.01, timeout_s=0.2), notice=notices.append) as capture:
        taken(capture)
        eventually(lambda: bool(notices))
        eventually(lambda: capture.state == "connecting")
        server.hang_up()
        server.send(picture(80))
        taken(capture)
    assert notices[0] == f"{server.url}: reading stopped: nothing came for 0.2 s; trying to reconnect"


def test_what_a_silent_stream_had_left_is_no_picture(server: PictureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    class Demuxer:
        """Gives up after the timeout as that of RTSP does: it hands out what it had left, and waits as long again."""

        def demux(self, stream: object) -> Iterator[str]:
            nonlocal now_s
            for wait_s, packet in ((0.04, "first"), (4.9, "late"), (5.0, "left over"), (5.0, "never")):
                now_s += wait_s
                yield packet

        def close(self) -> None:
            pass

    server.send(picture(40))
    feed = camera._StreamFeed(server.url, 5.0, ManualClock())
    feed.close()
    monkeypatch.setattr(feed, "_container", Demuxer())
    monkeypatch.setattr(camera, "time", SimpleNamespace(monotonic=lambda: now_s))
    packets = feed._packets()
    assert [next(packets), next(packets)] == ["first", "late"]
    with pytest.raises(VideoError, match=r"reading stopped: nothing came for 5 s$"):
        next(packets)


def test_the_state_is_told(server: PictureServer) -> None:
    clock = ManualClock()
    server.send(picture(40))
    with LiveCapture(server.url, CONFIG, clock) as capture:
        taken(capture)
        assert capture.state == "running"
        clock.wind(CONFIG.stall_s + 0.1)
        assert capture.state == "stalled"


# ---------------------------------------------------------------------------- what cannot be opened


def test_an_unreachable_stream_is_told_at_once() -> None:
    server = PictureServer()
    server.close()
    with pytest.raises(VideoError, match=rf"^http://127.0.0.1:{server.port}/: cannot be opened: connection refused$"):
        LiveCapture(server.url, CONFIG)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[str]:
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_page_that_is_no_stream_is_told(files: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>Dear diary</p>" * 99)
    with pytest.raises(VideoError, match="cannot be opened: invalid data"):
        LiveCapture(f"{files}/index.html", CONFIG)
    with pytest.raises(VideoError, match=r"cannot be opened: .*404"):
        LiveCapture(f"{files}/other", CONFIG)


def test_a_recording_behind_a_url_is_refused_for_it_has_no_pace(files: str, clip: Path) -> None:
    with pytest.raises(VideoError, match="is a recording, not a stream"):
        LiveCapture(f"{files}/{clip.name}", CONFIG)


def test_a_url_of_an_unknown_kind_is_told() -> None:
    with pytest.raises(VideoError, match=r"^nonsense://x: cannot be opened: protocol not found"):
        LiveCapture("nonsense://x", CONFIG)


# ------------------------------------------------------------------------------ a file as if it were live


def test_a_file_is_replayed_at_its_own_pace(clip: Path) -> None:
    clock = ManualClock()
    with LiveCapture(str(clip), CONFIG, clock) as capture:
        for index in range(1, 6):
            captured = taken(capture)
            assert captured.frame.index == index
            assert captured.frame.time_s == pytest.approx((index - 1) / 10)
            assert captured.frame.time_s == pytest.approx(capture.now_s())
            assert not capture.ended
            clock.wind(0.1)
        assert capture.newest(PATIENCE_S) is None
        assert capture.ended
        assert (capture.captured, capture.dropped, capture.state) == (5, 0, "ended")


def test_a_file_skips_what_nobody_takes_in_time(clip: Path) -> None:
    clock = ManualClock()
    clock.wind(0.0)
    with LiveCapture(str(clip), CONFIG, clock) as capture:
        clock.wind(10.0)
        eventually(lambda: capture.captured == 5)
        assert taken(capture).frame.time_s == pytest.approx(0.4)
        assert capture.dropped == 4


def test_a_paused_file_stands_still_and_goes_on_where_it_stood(clip: Path) -> None:
    clock = ManualClock()
    with LiveCapture(str(clip), CONFIG, clock) as capture:
        taken(capture)
        capture.pause(True)
        clock.wind(100.0)
        assert capture.newest(0.1) is None
        assert (capture.state, capture.now_s()) == ("paused", 0.0)
        capture.pause(False)
        clock.wind(0.101)
        captured = taken(capture)
        assert (captured.frame.index, captured.after_outage) == (2, False)
        assert (captured.frame.time_s, capture.now_s()) == (pytest.approx(0.1), pytest.approx(0.101))


def test_an_unreadable_image_of_a_folder_is_raised_where_pictures_are_taken(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), picture(40))
    (tmp_path / "2.png").write_bytes(b"no picture")
    with LiveCapture(str(tmp_path), CONFIG, Clock(speed=100.0)) as capture:
        taken(capture)
        with pytest.raises(VideoError, match=r"2\.png: not an image"):
            capture.newest(PATIENCE_S)


# ---------------------------------------------------------------------------------- a camera by number


class FakeCamera:
    """Stands in for ``cv2.VideoCapture``: gives what ``script`` says, of which there is one for all."""

    script: list[Callable[[], tuple[bool, np.ndarray | None]] | None]
    opened = True

    def __init__(self, index: int) -> None:
        assert index == 0

    def isOpened(self) -> bool:  # noqa: N802
        return self.opened

    def set(self, key: int, value: float) -> bool:
        return True

    def grab(self) -> bool:
        self.next = self.script.pop(0) if self.script else None
        return self.next is not None

    def retrieve(self) -> tuple[bool, np.ndarray | None]:
        assert self.next is not None
        return self.next()

    def release(self) -> None:
        pass


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(camera, "_DEVICES", tmp_path)
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    (tmp_path / "video0").touch()
    return tmp_path / "video0"


def test_a_camera_gives_pictures_and_may_be_unplugged(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = [lambda: (True, picture(40)), lambda: (False, None), None]
    monkeypatch.setattr(FakeCamera, "script", script, raising=False)
    clock, notices = ManualClock(), list[str]()
    clock.in_a_hurry = True
    with LiveCapture("0", CONFIG, clock, notices.append) as capture:
        assert brightness(taken(capture)) == pytest.approx(40, abs=5)
        eventually(lambda: bool(notices))
        assert notices[0] == "camera 0: gives no more pictures; trying to reconnect"
        assert capture.corrupt == 1
        script.append(lambda: (True, picture(80)))
        assert brightness(taken(capture)) == pytest.approx(80, abs=5)
        assert capture.reconnects >= 1


def test_a_camera_that_is_not_there_is_told_with_those_that_are(device: Path) -> None:
    with pytest.raises(VideoError, match=r"^camera 3: not connected; cameras at hand: 0$"):
        LiveCapture("3", CONFIG)
    device.unlink()
    with pytest.raises(VideoError, match=r"^camera 3: not connected; cameras at hand: none$"):
        LiveCapture("3", CONFIG)


def test_a_camera_that_is_in_use_is_told(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeCamera, "opened", False)
    with pytest.raises(VideoError, match="another program may be using it"):
        LiveCapture("0", CONFIG)
