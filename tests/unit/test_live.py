"""The live loop: what it does with sources that stall, detectors that fail, disks that fill, and time itself."""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from limits import files_up_to
from streams import PATIENCE_S, ManualClock, PictureServer, picture

from tracker import track_video
from tracker.app import fans
from tracker.app.fans import FanMaker
from tracker.app.hub import Hub, LiveFrame, LiveStats
from tracker.app.inputs import Job
from tracker.app.live import LiveJob, LiveSummary, run_live, track_live
from tracker.app.outputs import EVENTS
from tracker.app.pipeline import run
from tracker.config import Config, LiveConfig, OverlayConfig, RegionsConfig, TrackingConfig
from tracker.errors import ConfigurationError, DetectorError, FormatError, VideoError
from tracker.formats.motchallenge import read_detections
from tracker.media import camera
from tracker.media.regions import RegionCount
from tracker.structures import Detections, Image
from tracker.tracking.forecast import Fans

FRAMES, RATE_HZ = 30, 10
CONFIG = Config(live=LiveConfig(backoff_s=0.01, detector_failures=3), tracking=TrackingConfig(camera_motion="none"))
LOSSLESS = CONFIG.model_copy(update={"overlay": OverlayConfig(crf=0)})


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for reads that hang: here they end with the server."""
    monkeypatch.setattr(camera, "_GRACE_S", 0.0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE_HZ)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture(40 + 5 * index), "bgr24")
            frame.pts, frame.time_base = index, Fraction(1, RATE_HZ)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def server() -> Iterator[PictureServer]:
    with PictureServer() as server:
        yield server


def walkers(frames: int = FRAMES) -> dict[int, Detections]:
    """Return two objects that walk, by frame number; from frame 15 on there is a third."""
    boxes = {n: [[n, 10, n + 12, 40], [80 - n, 20, 92 - n, 55]] for n in range(1, frames + 1)}
    return {n: Detections(rows + [[40, 2, 50, 22]] * (n >= 15)) for n, rows in boxes.items()}


def one_there(image: Image) -> Detections:
    return Detections([[20, 10, 40, 60]], [0.9])


class Watcher(Hub):
    """A hub that keeps all it is given, and calls somebody after each frame."""

    def __init__(self, then: Callable[[LiveFrame], None] = lambda _: None) -> None:
        super().__init__()
        self.frames: list[LiveFrame] = []
        self.states: list[str] = []
        self._then = then

    def publish(self, frame: LiveFrame) -> None:
        super().publish(frame)
        self.frames.append(frame)
        self._then(frame)

    def report(self, stats: LiveStats, events: tuple = ()) -> None:
        super().report(stats, events)
        self.states.append(stats.state)

    @property
    def ids(self) -> list[list[int]]:
        return [frame.reported.ids.tolist() for frame in self.frames]

    @property
    def said(self) -> list[str]:
        return [event.text for _, event in self.snapshot().events]


def replay(
    clip: Path, detector: Callable[[Image], Detections] | None = None, config: Config = CONFIG, **options: object
) -> tuple[LiveSummary, Watcher]:
    """Run over the whole clip, each picture when the one before is done, so that none is dropped."""
    clock = ManualClock()
    watcher = Watcher()

    def look(image: Image) -> Detections:
        clock.wind(1.0 / RATE_HZ + 1e-6)
        assert detector is not None
        return detector(image)

    def progress(stats: LiveStats) -> None:
        if detector is None and stats.processed:
            clock.wind(1.0 / RATE_HZ + 1e-6)

    job = LiveJob(
        source=str(clip),
        config=config,
        detector=None if detector is None else look,
        detections=walkers() if detector is None else None,
        clock=clock,
    )
    return run_live(job, hub=watcher, progress=progress, **options), watcher  # type: ignore[arg-type]


def test_a_file_gives_what_it_gives_offline(clip: Path, tmp_path: Path) -> None:
    summary, watcher = replay(clip, record=tmp_path)
    offline = list(track_video(clip, CONFIG, detections=walkers()))
    assert len(watcher.frames) == len(offline) == FRAMES
    for live, (frame, tracks) in zip(watcher.frames, offline, strict=True):
        assert (live.index, live.time_s) == (frame.index, pytest.approx(frame.time_s))
        assert live.reported.ids.tolist() == tracks.ids.tolist()
        np.testing.assert_allclose(live.reported.boxes_xyxy, tracks.boxes_xyxy)
        np.testing.assert_array_equal(live.image, frame.image)
    rows = read_detections(tmp_path / "tracks.txt")
    assert {n: len(frame) for n, frame in rows.items()} == {
        live.index: len(live.reported) for live in watcher.frames if len(live.reported)
    }
    stats = summary.stats
    assert (stats.state, stats.captured, stats.processed, stats.dropped, stats.skipped) == ("ended", 30, 30, 0, 0)
    assert stats.identities == len({i for ids in watcher.ids for i in ids}) == 3
    assert summary.files == [tmp_path / "overlay.mp4", tmp_path / "tracks.txt"]
    assert watcher.closed
    assert watcher.snapshot().stats.state == "ended"


def test_fans_are_foretold_only_where_they_are_drawn(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foretold: list[int] = []

    class Counted(FanMaker):
        def __call__(self, *arguments: Any) -> Fans:
            foretold.append(1)
            return super().__call__(*arguments)

    monkeypatch.setattr(fans, "FanMaker", Counted)
    config = CONFIG.model_copy(update={"overlay": OverlayConfig(forecast_s=1.0)})
    _, unseen = replay(clip, config=config)
    assert not foretold
    _, seen = replay(clip, config=config, record=tmp_path)
    assert len(foretold) == FRAMES
    assert unseen.ids == seen.ids


def test_the_generator_yields_frames_and_tracks(server: PictureServer) -> None:
    server.send(picture(40))
    seen = []
    for frame, tracks in track_live(server.url, CONFIG, detector=one_there):
        seen.append((frame.index, tracks.ids.tolist()))
        if len(seen) == 4:
            break
        server.send(picture(80))
    assert seen == [(n, [1]) for n in (1, 2, 3, 4)]


def test_the_configured_detector_is_used(clip: Path) -> None:
    config = CONFIG.model_copy(update={"live": LiveConfig()})
    clock = ManualClock()
    watcher = Watcher(lambda _: clock.wind(0.2))
    summary = run_live(LiveJob(source=str(clip), config=config, clock=clock), hub=watcher)
    assert summary.stats.skipped == 0
    assert summary.stats.detector_ms > 0.0


# ------------------------------------------------------------------------------------- identities


def follow(
    server: PictureServer,
    script: Sequence[Callable[[], None]],
    clock: ManualClock | None = None,
    config: Config = CONFIG,
    **options: object,
) -> tuple[LiveSummary, Watcher]:
    """Run on a stream: after the n-th frame the n-th act of the script; after the last the run is stopped."""
    stop = threading.Event()
    acts = iter(script)

    def then(_: LiveFrame) -> None:
        act = next(acts, None)
        if act is None:
            stop.set()
        else:
            act()

    watcher = Watcher(then)
    job = LiveJob(source=server.url, config=config, detector=one_there, clock=clock or ManualClock())
    guard = threading.Timer(PATIENCE_S, stop.set)
    guard.start()
    summary = run_live(job, hub=watcher, stop=stop, **options)  # type: ignore[arg-type]
    guard.cancel()
    return summary, watcher


def test_identities_end_with_an_outage_and_are_never_used_again(server: PictureServer) -> None:
    clock = ManualClock()
    clock.in_a_hurry = True

    def next_picture() -> None:
        clock.wind(0.1)
        server.send(picture(40))

    def unplug_and_plug_in_again() -> None:
        server.hang_up()
        clock.wind(60.0)
        server.send(picture(40))

    server.send(picture(40))
    summary, watcher = follow(
        server, [next_picture, next_picture, unplug_and_plug_in_again, next_picture, next_picture], clock
    )
    # A newcomer is reported from its second detection on, but at the very beginning.
    assert watcher.ids == [[1], [1], [1], [], [2], [2]]
    assert (summary.stats.reconnects, summary.stats.identities) == (1, 2)
    assert "the source was silent: 1 identities end" in watcher.said


def test_identities_survive_a_short_loss(server: PictureServer) -> None:
    clock = ManualClock()
    clock.in_a_hurry = True

    def short_loss() -> None:
        server.hang_up()
        clock.wind(0.5)
        server.send(picture(40))

    server.send(picture(40))
    summary, watcher = follow(server, [short_loss, short_loss, short_loss], clock)
    assert watcher.ids == [[1]] * 4
    assert summary.stats.reconnects == 3


def test_another_resolution_ends_identities_and_begins_a_new_file(server: PictureServer, tmp_path: Path) -> None:
    large = picture(40, 160, 120)
    server.send(picture(40))
    script = [lambda: server.send(picture(40)), *[lambda: server.send(large)] * 3]
    summary, watcher = follow(server, script, record=tmp_path)
    assert watcher.ids == [[1], [1], [], [2], [2]]
    assert [frame.image.shape[:2] for frame in watcher.frames] == [(64, 96)] * 2 + [(120, 160)] * 3
    assert "the resolution is now 160x120: 1 identities end" in watcher.said
    sizes = []
    for path in summary.files[::2]:
        with av.open(str(path)) as container:
            sizes.append([(frame.width, frame.height) for frame in container.decode(video=0)])
    assert sizes == [[(96, 64)] * 2, [(160, 120)] * 3]
    assert sorted(read_detections(tmp_path / "tracks-2.txt")) == [2, 3]


def test_a_clock_that_jumps_back_or_stands_still_does_no_harm(server: PictureServer) -> None:
    clock = ManualClock()

    def jump(seconds: float) -> Callable[[], None]:
        def act() -> None:
            clock.wind(seconds)
            server.send(picture(40))

        return act

    server.send(picture(40))
    _, watcher = follow(server, [jump(0.1), jump(-900.0), jump(0.0), jump(0.1)], clock)
    assert watcher.ids == [[1]] * 5
    assert (np.diff([frame.time_s for frame in watcher.frames]) > 0).all()


def test_another_scene_ends_identities(server: PictureServer) -> None:
    floors = [np.random.default_rng(n).integers(0, 255, (15, 20, 3), np.uint8) for n in (1, 2)]
    before, after = (cv2.resize(floor, (320, 240), interpolation=cv2.INTER_NEAREST) for floor in floors)
    server.send(before)
    script = [lambda: server.send(before), *[lambda: server.send(after)] * 3]
    _, watcher = follow(server, script, config=CONFIG.model_copy(update={"tracking": TrackingConfig()}))
    assert watcher.ids == [[1], [1], [], [2], [2]]
    assert "the picture shows another scene: 1 identities end" in watcher.said


# ---------------------------------------------------------------------------------------- regions

WATCHED = CONFIG.model_copy(
    update={
        "regions": RegionsConfig.model_validate(
            {
                "areas": {"left": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]},
                "lines": {"middle": {"points": [[0.5, 0], [0.5, 1]], "to_right": "west", "to_left": "east"}},
            }
        )
    }
)


def events_in(path: Path) -> list[tuple[str, ...]]:
    rows = csv.DictReader(path.read_text().splitlines())
    return [tuple(row[name] for name in ("frame", "time_s", "event", "region", "id", "direction")) for row in rows]


def test_regions_are_counted_as_offline_recorded_and_told(clip: Path, tmp_path: Path) -> None:
    walk = {n: Detections([[3 * n, 10, 3 * n + 12, 40], [84 - 2 * n, 5, 96 - 2 * n, 50]]) for n in range(1, FRAMES)}
    run(Job(config=WATCHED, video=clip, detections=walk), tmp_path / "offline", overlay=False)
    clock = ManualClock()
    watcher = Watcher(lambda _: clock.wind(1.0 / RATE_HZ + 1e-6))
    job = LiveJob(source=str(clip), config=WATCHED, detections=walk, clock=clock)
    summary = run_live(job, hub=watcher, record=tmp_path / "live")
    assert summary.files == [tmp_path / "live" / name for name in ("overlay.mp4", "tracks.txt", "events.csv")]
    live = events_in(tmp_path / "live" / "events.csv")
    assert live == events_in(tmp_path / "offline" / EVENTS)
    assert {kind for _, _, kind, *_ in live} == {"enter", "exit", "cross", "end"}
    assert watcher.frames[-1].counts == (RegionCount("left", (1, 2)), RegionCount("middle", (1, 1)))
    assert [region.name for region in watcher.frames[0].regions] == ["left", "middle"]
    assert watcher.frames[0].regions[0].points.max(axis=0).tolist() == [48.0, 64.0]
    assert {"object 1 enters left", "object 1 crosses middle: east"} <= set(watcher.said)


def test_regions_in_shares_follow_another_resolution(server: PictureServer, tmp_path: Path) -> None:
    large = picture(40, 160, 120)
    server.send(picture(40))
    script = [lambda: server.send(picture(40)), *[lambda: server.send(large)] * 3]
    summary, watcher = follow(server, script, config=WATCHED, record=tmp_path)
    assert [frame.regions[1].points[0, 0] for frame in watcher.frames] == [48.0, 48.0, 80.0, 80.0, 80.0]
    assert [frame.counts[0].counts for frame in watcher.frames] == [(1, 1), (1, 1), (0, 1), (1, 2), (1, 2)]
    first, second = (events_in(path) for path in summary.files[2::3])
    # What ended with the resolution stands beside the pictures of which it was part.
    assert [(frame, kind, name) for frame, _, kind, _, name, _ in first] == [("1", "enter", "1"), ("2", "lost", "1")]
    assert [(frame, kind, name) for frame, _, kind, _, name, _ in second] == [("2", "enter", "2"), ("3", "end", "2")]


def test_regions_are_drawn_on_the_recording(clip: Path, tmp_path: Path) -> None:
    regions = {"areas": {"left": [[0, 0.3], [0.5, 0.3], [0.5, 1], [0, 1]]}}
    config = LOSSLESS.model_copy(update={"regions": RegionsConfig.model_validate(regions)})
    _, watcher = replay(clip, lambda _: Detections.empty(), config, record=tmp_path)
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        drawn = next(container.decode(video=0)).to_ndarray(format="bgr24").astype(int)
    change = abs(drawn - watcher.frames[0].image).mean(axis=2)
    assert change[30:60, 10:40].mean() > 15
    assert change[30:60, 60:90].mean() < 8


# --------------------------------------------------------------------------------------- detector


def failing(at: set[int]) -> Callable[[Image], Detections]:
    calls = iter(range(1, FRAMES + 1))

    def detect(image: Image) -> Detections:
        if next(calls) in at:
            raise RuntimeError("out of order")
        return one_there(image)

    return detect


def test_a_detector_that_fails_now_and_then_costs_those_pictures(clip: Path) -> None:
    notices: list[str] = []
    summary, watcher = replay(clip, failing({3, 4, 9}), notice=notices.append)
    assert (summary.stats.processed, summary.stats.skipped) == (FRAMES - 3, 3)
    assert watcher.ids == [[1]] * (FRAMES - 3)
    assert notices == ["the detector failed with RuntimeError: out of order; such pictures are skipped and counted"]


def test_a_detector_that_always_fails_ends_the_run_with_the_reason(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="failed 3 times in a row, last with RuntimeError: out of order") as raised:
        replay(clip, failing(set(range(8, 99))), record=tmp_path)
    assert isinstance(raised.value.__cause__, RuntimeError)
    assert sorted(read_detections(tmp_path / "tracks.txt")) == list(range(1, 8))
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert len(list(container.decode(video=0))) == 7


def test_a_detector_that_returns_something_else_is_told(clip: Path) -> None:
    with pytest.raises(DetectorError, match="it returned a list; it must return Detections"):
        replay(clip, lambda image: [])  # type: ignore[arg-type, return-value]


# ------------------------------------------------------------------------------------ pause and stop


def test_a_pause_lets_a_file_stand_still_and_keeps_identities(clip: Path) -> None:
    clock = ManualClock()

    def then(frame: LiveFrame) -> None:
        clock.wind(0.1 + 1e-6)
        if frame.index == 5:
            watcher.request_pause(True)

    def progress(stats: LiveStats) -> None:
        if stats.state == "paused":
            clock.wind(100.0)
            watcher.request_pause(False)

    watcher = Watcher(then)
    summary = run_live(
        LiveJob(source=str(clip), config=CONFIG, detector=one_there, clock=clock), hub=watcher, progress=progress
    )
    assert watcher.states.count("paused") == 1
    assert (summary.stats.processed, summary.stats.dropped) == (FRAMES, 0)
    assert watcher.ids == [[1]] * FRAMES


def test_a_stalled_source_is_told_once(server: PictureServer) -> None:
    clock = ManualClock()
    server.send(picture(40))

    def progress(stats: LiveStats) -> None:
        if stats.state == "stalled":
            server.send(picture(40))

    _, watcher = follow(server, [lambda: clock.wind(3.0)], clock, progress=progress)
    assert watcher.states.count("stalled") == 1
    assert len(watcher.frames) == 2


def test_a_run_that_is_stopped_completes_its_files(server: PictureServer, tmp_path: Path) -> None:
    server.send(picture(40))
    summary, watcher = follow(server, [lambda: server.send(picture(40))] * 5, record=tmp_path)
    assert len(watcher.frames) == 6
    assert summary.recording_fault is None
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert len(list(container.decode(video=0))) == 6


# ------------------------------------------------------------------------------------------- disk


@pytest.fixture(scope="module")
def half_bytes(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """Return half of what the video of a whole run takes: it ends within the second of three fragments."""
    folder = tmp_path_factory.mktemp("whole")
    replay(clip, config=LOSSLESS, record=folder)
    return (folder / "overlay.mp4").stat().st_size // 2


def test_a_full_disk_ends_the_recording_and_viewers_go_on(clip: Path, tmp_path: Path, half_bytes: int) -> None:
    with files_up_to(half_bytes):
        summary, watcher = replay(clip, config=LOSSLESS, record=tmp_path)
    assert summary.recording_fault == f"{tmp_path}/overlay.mp4: cannot be written: file too large"
    assert len(watcher.frames) == FRAMES
    assert f"recording stopped: {summary.recording_fault}; what was written before is kept" in watcher.said
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert len(list(container.decode(video=0))) == 10


def test_a_full_disk_ends_a_run_that_nobody_watches(clip: Path, tmp_path: Path, half_bytes: int) -> None:
    clock = ManualClock()
    with files_up_to(half_bytes):
        summary = run_live(
            LiveJob(source=str(clip), config=LOSSLESS, detections=walkers(), clock=clock),
            record=tmp_path,
            progress=lambda stats: clock.wind(0.1 + 1e-6),
        )
    assert summary.recording_fault is not None
    assert summary.stats.processed < FRAMES


# -------------------------------------------------------------------------------------- what is refused


def test_reports_cannot_wait_live(clip: Path) -> None:
    config = Config(tracking=TrackingConfig(smoothing="offline"))
    with pytest.raises(ConfigurationError, match="smoothing is offline; live it must be none or online"):
        run_live(LiveJob(source="0", config=config))
    config = Config(tracking=TrackingConfig(lag_frames=5))
    with pytest.raises(ConfigurationError, match="lag_frames is 5; live it must be 0"):
        run_live(LiveJob(source=str(clip), config=config))


def test_recorded_detections_go_with_a_file() -> None:
    with pytest.raises(ConfigurationError, match="recorded detections go with a file"):
        run_live(LiveJob(source="http://127.0.0.1:9/", detections=walkers()))


def test_recorded_detections_beyond_the_file_s_end_are_refused(clip: Path) -> None:
    there = {n: Detections([[10, 10, 20, 20]], [0.9]) for n in range(1, 3 * FRAMES)}
    with pytest.raises(FormatError, match="goes to frame 89, but the video ends with frame 30"):
        run_live(LiveJob(source=str(clip), detections=there))


def test_a_missing_source_closes_the_hub() -> None:
    hub = Hub()
    with pytest.raises(VideoError, match="no such video"):
        run_live(LiveJob(source="nothing.mp4"), hub=hub)
    assert hub.closed
