"""The loop from source to sinks, with a source and a detector made for the test."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import yaml

from tracker import Detections, Frame, Tracks, track_video
from tracker.app.inputs import Job, open_input
from tracker.app.outputs import DETECTIONS, EVENTS, OVERLAY, RECORD, TRACKS
from tracker.app.pipeline import Progress, run
from tracker.config import load_config
from tracker.errors import ConfigurationError, DetectorError, FormatError, OutputError, VideoError
from tracker.media.overlay import OverlayPainter
from tracker.media.sinks import OverlayVideo, TrackFile
from tracker.media.sources import open_video
from tracker.structures import Image
from tracker.tracking.forecast import Fans

WIDTH_PX, HEIGHT_PX = 64, 48


class FakeVideo:
    """What `open_video` returns: frames whose top left pixel tells their number."""

    def __init__(self, count: int, *, start: int = 1, rate_hz: float = 10.0, told: bool = True) -> None:
        self.name = "fake"
        self.width_px, self.height_px, self.frame_rate_hz = WIDTH_PX, HEIGHT_PX, rate_hz
        self.frame_count = count - start + 1 if told else None
        self.loss: str | None = None
        self.closed = False
        self._frames = self._make(start, count)

    def _make(self, start: int, count: int) -> Generator[Frame, None, None]:
        for index in range(start, count + 1):
            image = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
            image[0, 0] = index
            yield Frame(index, (index - 1) / self.frame_rate_hz, image)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def __next__(self) -> Frame:
        return next(self._frames)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before  # threads of others may end meanwhile


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., FakeVideo]:
    """Let every path, such as that of the empty file any.mp4, open the fake video that the test asks for."""
    folder = tmp_path_factory.mktemp("current")
    (folder / "any.mp4").touch()
    monkeypatch.chdir(folder)

    def prepare(count: int, **about: Any) -> FakeVideo:
        video = FakeVideo(count, **about)
        monkeypatch.setattr("tracker.app.inputs.open_video", lambda *_, **__: video)
        return video

    return prepare


def box_at(index: int) -> Detections:
    return Detections([[index, 10.0, index + 10.0, 30.0]], [0.9])


def read_number(image: np.ndarray) -> Detections:
    return box_at(int(image[0, 0, 0]))


def test_frames_come_in_order_with_the_tracks_of_their_own_image(play: Callable[..., FakeVideo]) -> None:
    play(40)
    steps = list(track_video("any.mp4", detector=read_number))
    assert [frame.index for frame, _ in steps] == list(range(1, 41))
    assert [tracks.boxes_xyxy[0, 0] for _, tracks in steps] == list(range(1, 41))
    assert {int(tracks.ids[0]) for _, tracks in steps} == {1}


class Looking:
    def detect(self, image: np.ndarray) -> Detections:
        return read_number(image)


@pytest.mark.parametrize(
    "given",
    [{"detector": Looking()}, {"detections": {n: box_at(n) for n in range(1, 21)}}],
    ids=["an object with detect", "detections by frame"],
)
def test_detections_may_come_from(given: dict[str, Any], play: Callable[..., FakeVideo]) -> None:
    def boxes(steps: Iterator[tuple[Frame, Tracks]]) -> list[list[float]]:
        return [tracks.boxes_xyxy[0].tolist() for _, tracks in steps]

    play(20)
    expected = boxes(track_video("any.mp4", detector=read_number))
    play(20)
    assert boxes(track_video("any.mp4", **given)) == expected


def test_the_video_s_own_times_reach_the_tracker(play: Callable[..., FakeVideo]) -> None:
    # Time that stands still is refused by the tracker: the proof that it is handed on.
    video = play(5)
    video._frames = (Frame(n, 0.0, np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)) for n in (1, 2))
    with pytest.raises(ValueError, match="time_s"):
        list(track_video("any.mp4", detector=read_number))


def test_camera_motion_reaches_the_tracker_by_frame_number(play: Callable[..., FakeVideo]) -> None:
    play(6)
    with pytest.raises(ValueError, match="camera_affine"):
        list(track_video("any.mp4", detector=read_number, camera_motion={5: np.zeros((3, 3))}))
    play(6)
    jump = np.array([[1.0, 0.0, 300.0], [0.0, 1.0, 0.0]])
    there = {n: box_at(n if n < 4 else n + 300) for n in range(1, 7)}
    ids = [t.ids.tolist() for _, t in track_video("any.mp4", detections=there, camera_motion={4: jump})]
    assert ids == [[1]] * 6


@pytest.mark.parametrize("count", [3, 5, 6, 40])
@pytest.mark.parametrize("lag_frames", [0, 1, 5])
def test_frames_wait_for_their_own_reports(count: int, lag_frames: int, play: Callable[..., FakeVideo]) -> None:
    def blinking(image: np.ndarray) -> Detections:
        return Detections.empty() if image[0, 0, 0] in (20, 31) else read_number(image)

    play(count)
    config = load_config(overrides=[f"tracking.lag_frames={lag_frames}"])
    steps = list(track_video("any.mp4", config, detector=blinking))
    assert [frame.index for frame, _ in steps] == list(range(1, count + 1))
    for frame, tracks in steps:
        assert frame.image is not None
        assert frame.image[0, 0, 0] == frame.index
        if lag_frames or frame.index not in (20, 31):
            assert tracks.boxes_xyxy[0, 0] == pytest.approx(frame.index)
        else:
            assert not len(tracks)


def test_no_more_frames_wait_than_the_lag(play: Callable[..., FakeVideo]) -> None:
    video = play(200)
    steps = track_video("any.mp4", load_config(overrides=["tracking.lag_frames=20"]), detector=read_number)
    assert [frame.index for frame, _ in islice(steps, 3)] == [1, 2, 3]
    steps.close()
    # Frames 4 to 23 wait; decoding and detection work a few frames ahead of that.
    assert 24 <= next(video._frames, Frame(24, 0.0, None)).index <= 40


def test_leaving_the_loop_closes_the_video(play: Callable[..., FakeVideo]) -> None:
    video = play(1000)
    steps = track_video("any.mp4", detector=read_number)
    assert [frame.index for frame, _ in islice(steps, 3)] == [1, 2, 3]
    steps.close()
    assert video.closed


def test_a_detector_s_own_error_surfaces(play: Callable[..., FakeVideo]) -> None:
    def blind(image: np.ndarray) -> Detections:
        if image[0, 0, 0] == 7:
            raise LookupError("frame seven")
        return box_at(1)

    video = play(1000)
    seen = []
    with pytest.raises(LookupError, match="frame seven"):
        seen.extend(frame.index for frame, _ in track_video("any.mp4", detector=blind))
    assert video.closed


def test_a_detector_must_return_detections(play: Callable[..., FakeVideo]) -> None:
    play(3)
    with pytest.raises(DetectorError, match="returned a list; it must return Detections"):
        list(track_video("any.mp4", detector=lambda image: []))  # type: ignore[arg-type, return-value]


def test_a_job_has_one_source_of_detections() -> None:
    with pytest.raises(ValueError, match="not both"):
        next(track_video("any.mp4", detector=read_number, detections={}))
    with pytest.raises(ValueError, match="video or recorded detections"):
        Job()


def test_recorded_detections_need_a_file(play: Callable[..., FakeVideo]) -> None:
    play(3)
    config = load_config(overrides=["detection.kind=recorded"])
    with pytest.raises(ConfigurationError, match="--detections"):
        next(track_video("any.mp4", config))


# ------------------------------------------------------------------------- what does not fit together


@pytest.mark.parametrize("told", [True, False], ids=["length known", "length not known"])
@pytest.mark.parametrize("kind", ["detections", "camera_motion"])
def test_data_beyond_the_last_frame(kind: str, told: bool, play: Callable[..., FakeVideo]) -> None:
    data: dict[str, Any] = {
        "detections": {9: box_at(9)},
        "camera_motion": {9: np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])},
    }
    given = {"detections": {}} | {kind: data[kind]}
    play(8, told=told)
    with pytest.raises(FormatError, match="goes to frame 9, but the video ends with frame 8"):
        list(track_video("any.mp4", **given))
    play(9, told=told)
    assert len(list(track_video("any.mp4", **given))) == 9


def test_data_far_beyond_the_last_frame_are_refused_at_once(play: Callable[..., FakeVideo]) -> None:
    video = play(20)
    with pytest.raises(FormatError, match="goes to frame 40, but the video ends with frame 20"):
        next(track_video("any.mp4", detections={40: box_at(1)}))
    assert next(video).index == 1  # nothing was read


def test_data_of_frames_that_were_lost_or_not_asked_for_are_no_fault(play: Callable[..., FakeVideo]) -> None:
    video = play(8)
    video.loss = "half of it"
    assert len(list(track_video("any.mp4", detections={9: box_at(9)}))) == 8
    play(3)
    assert len(list(track_video("any.mp4", detections={9: box_at(9)}, frames=3))) == 3


def test_frame_rates_by_precedence(tmp_path: Path, play: Callable[..., FakeVideo]) -> None:
    file = tmp_path / "det" / "det.txt"
    file.parent.mkdir()
    file.write_text("2,-1,10,10,10,20,0.9\n")
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nframeRate=14\nseqLength=4\n")

    def settle(**job: Any) -> tuple[float, list[float], list[str]]:
        said: list[str] = []
        with open_input(Job(detections=file, **job), notice=said.append) as source:
            return source.frame_rate_hz, [source.time_s(frame) for frame in source.frames], said

    video = tmp_path / "a.mp4"
    video.touch()
    play(3, rate_hz=10.0)
    rate_hz, times_s, said = settle(video=video, frame_rate_hz=5.0)
    assert (rate_hz, times_s) == (5.0, [0.0, 0.2, 0.4])
    assert said == [
        f"frame rate: --fps says 5 Hz, {tmp_path}/seqinfo.ini 14 Hz; 5 Hz is used",
        f"frame rate: --fps says 5 Hz, {video} 10 Hz; 5 Hz is used",
    ]

    play(3, rate_hz=10.0)
    rate_hz, times_s, said = settle(video=video)
    assert (rate_hz, times_s) == (14.0, [0.0, 1 / 14, 2 / 14])
    assert said == [f"frame rate: {tmp_path}/seqinfo.ini says 14 Hz, {video} 10 Hz; 14 Hz is used"]

    play(3, rate_hz=13.99)  # the same rate, rounded: the video's own times count
    rate_hz, times_s, said = settle(video=video)
    assert times_s == [0.0, 1 / 13.99, 2 / 13.99]
    assert said == []

    rate_hz, times_s, said = settle()  # without a video, to the length that seqinfo.ini tells
    assert (rate_hz, times_s, said) == (14.0, [0.0, 1 / 14, 2 / 14, 3 / 14], [])

    (tmp_path / "seqinfo.ini").unlink()
    rate_hz, times_s, said = settle()
    assert (rate_hz, len(times_s)) == (30.0, 2)
    assert said == ["frame rate: not known; 30 Hz (tracking.frame_rate_hz) is assumed, --fps gives it"]


def test_images_take_the_settled_rate_for_the_overlay_too(tmp_path: Path, play: Callable[..., FakeVideo]) -> None:
    said: list[str] = []

    def times_s(**job: Any) -> list[float]:
        said.clear()
        play(3, rate_hz=30.0)
        with open_input(Job(video=tmp_path, detector=read_number, **job), notice=said.append) as source:
            return [frame.time_s for frame in source.frames]

    assert times_s(frame_rate_hz=2.0) == [0.0, 0.5, 1.0]
    assert said == []  # images without seqinfo.ini say nothing that could disagree
    assert times_s(config=load_config(overrides=["tracking.frame_rate_hz=4"])) == [0.0, 0.25, 0.5]
    assert said == ["frame rate: not known; 4 Hz (tracking.frame_rate_hz) is assumed, --fps gives it"]
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nframeRate=30\n")
    assert times_s(frame_rate_hz=2.0) == [0.0, 0.5, 1.0]
    assert said == [f"frame rate: --fps says 2 Hz, {tmp_path} 30 Hz; 2 Hz is used"]


@pytest.mark.parametrize(
    ("path", "name"),
    [("A/det/det.txt", "A"), ("A/det.txt", "A"), ("A/det/frcnn.txt", "frcnn"), ("A.txt", "A")],
)
def test_recorded_detections_name_the_output(path: str, name: str, tmp_path: Path) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("1,-1,10,10,10,20,0.9\n")
    with open_input(Job(detections=file)) as source:
        assert source.name == name


# ------------------------------------------------------------------------------------------ whole runs


def run_fake(
    folder: Path, play: Callable[..., FakeVideo], count: int = 12, **options: Any
) -> tuple[Any, list[Progress]]:
    play(count)
    seen: list[Progress] = []
    progress = options.pop("progress", seen.append)
    detector, config = options.pop("detector", read_number), options.pop("config", load_config())
    job = Job(video=Path("any.mp4"), detector=detector, config=config)
    return run(job, folder, progress=progress, **options), seen


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_run_writes_and_tells_what_it_did(tmp_path: Path, play: Callable[..., FakeVideo]) -> None:
    summary, seen = run_fake(tmp_path, play, command="track --video any.mp4")
    assert names(tmp_path) == {OVERLAY, TRACKS, RECORD}
    assert [path.name for path in summary.files] == [OVERLAY, TRACKS, RECORD]
    rows = (tmp_path / TRACKS).read_text().splitlines()
    assert [row.split(",")[:2] for row in rows] == [[str(n), "1"] for n in range(1, 13)]
    assert (summary.frames, summary.tracks, summary.boxes, summary.detections) == (12, 1, 12, 12)
    assert [state.done for state in seen if state.activity == "tracking"] == list(range(1, 13))
    record = yaml.safe_load((tmp_path / RECORD).read_text())
    assert record["counts"] == {
        "first_frame": 1, "last_frame": 12, "frames": 12, "detections": 12, "boxes": 12, "tracks": 1, "cuts": 0
    }  # fmt: skip
    assert set(record["time"]["stages"]) == {"decode", "detect", "camera", "track", "draw", "encode", "write"}
    assert record["command"] == "track --video any.mp4"
    assert load_config().model_dump(mode="json") == record["configuration"]
    assert set(record["files"]) == {OVERLAY, TRACKS}


@pytest.mark.parametrize("lag_frames", [0, 7])
def test_a_stopped_run_completes_its_files(lag_frames: int, tmp_path: Path, play: Callable[..., FakeVideo]) -> None:
    stop = threading.Event()

    def progress(state: Progress) -> None:
        if state.done == 5:
            stop.set()

    config = load_config(overrides=[f"tracking.lag_frames={lag_frames}"])
    summary, _ = run_fake(tmp_path, play, count=200, progress=progress, stop=stop, config=config)
    assert summary.interrupted
    assert 5 + lag_frames <= summary.frames < 200
    assert names(tmp_path) == {OVERLAY, TRACKS, RECORD}
    rows = (tmp_path / TRACKS).read_text().splitlines()
    assert [int(row.split(",")[0]) for row in rows] == list(range(1, summary.frames + 1))
    assert yaml.safe_load((tmp_path / RECORD).read_text())["interrupted"] is True


def test_a_run_draws_and_writes_the_reports_that_waited(
    tmp_path: Path, play: Callable[..., FakeVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, from_feet = [], []
    paint = OverlayPainter.paint

    def watched(painter: OverlayPainter, frame: Frame, tracks: Tracks, counts: object, fans: Fans) -> Any:
        drawn.append((frame.index, tracks.boxes_xyxy[0, 0]))
        from_feet.append(fans.centres[0, 0, 0] - tracks.boxes_xyxy[0, [0, 2]].mean())
        return paint(painter, frame, tracks, counts, fans)

    monkeypatch.setattr(OverlayPainter, "paint", watched)
    waiting = load_config(overrides=["tracking.lag_frames=4", "overlay.forecast_s=0.06"])
    summary, seen = run_fake(tmp_path, play, config=waiting)
    assert drawn == [(n, n) for n in range(1, 13)]
    assert np.abs(from_feet).max() < 2.0, "the fan is that of the frame it is drawn on, four frames before the newest"
    rows = (tmp_path / TRACKS).read_text().splitlines()
    assert [row.split(",")[:3] for row in rows] == [[str(n), "1", f"{n}.00"] for n in range(1, 13)]
    assert (summary.frames, summary.boxes) == (12, 12)
    assert [state.done for state in seen if state.activity == "tracking"] == list(range(1, 13))


@pytest.mark.parametrize("lag_frames", [0, 30])
def test_a_run_holds_few_pictures_however_long_it_is(
    lag_frames: int, tmp_path: Path, play: Callable[..., FakeVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: set[int] = set()
    most = 0

    def watched(image: Image) -> Image:
        nonlocal most
        mark = id(image)
        alive.add(mark)
        weakref.finalize(image, alive.discard, mark)
        most = max(most, len(alive))
        return image

    make, paint = FakeVideo._make, OverlayPainter.paint

    def frames(video: FakeVideo, start: int, count: int) -> Generator[Frame, None, None]:
        for frame in make(video, start, count):
            assert frame.image is not None
            watched(frame.image)
            yield frame

    monkeypatch.setattr(FakeVideo, "_make", frames)
    monkeypatch.setattr(OverlayPainter, "paint", lambda *given: watched(paint(*given)))
    config = load_config(overrides=[f"tracking.lag_frames={lag_frames}"])
    summary, _ = run_fake(tmp_path, play, count=250, config=config)
    assert summary.frames == 250
    # Four hand-overs hold three items each, six stages one; behind the painter there are two pictures to an item.
    assert most <= 2 * (4 * 3 + 6) + lag_frames


def stopping_at(stop: threading.Event, activity: str, done: int = 0) -> Callable[[Progress], None]:
    """Return what is told of progress and stops at a place: after so many frames since another activity began."""
    reached: list[str] = []

    def progress(state: Progress) -> None:
        if state.activity == activity:
            reached.append(activity)
        if reached and state.done >= done:
            stop.set()

    return progress


@pytest.mark.parametrize("overlay", [True, False])
def test_a_stop_in_the_second_pass_keeps_all_tracks(
    overlay: bool, tmp_path: Path, play: Callable[..., FakeVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    count, stop = 200, threading.Event()
    monkeypatch.setattr("tracker.app.pipeline.open_video", lambda *_, **__: FakeVideo(count))
    config = load_config(overrides=["tracking.smoothing=offline"])
    progress = stopping_at(stop, "refining", done=20)
    summary, _ = run_fake(
        tmp_path, play, count=count, config=config, progress=progress, stop=stop, overlay=overlay, detector=read_number
    )
    rows = (tmp_path / TRACKS).read_text().splitlines()
    assert {int(row.split(",")[0]) for row in rows} == set(range(1, count + 1))
    assert (summary.first_frame, summary.last_frame) == (1, count)
    assert summary.interrupted == overlay
    if overlay:
        assert 20 <= summary.last_drawn < count
        with open_video(tmp_path / OVERLAY) as drawn:
            assert len(list(drawn)) == summary.last_drawn


def test_a_stop_while_tracks_are_refined_leaves_a_picture(
    tmp_path: Path, play: Callable[..., FakeVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    monkeypatch.setattr("tracker.app.pipeline.open_video", lambda *_, **__: FakeVideo(40))
    config = load_config(overrides=["tracking.smoothing=offline"])
    summary, _ = run_fake(tmp_path, play, count=40, config=config, progress=stopping_at(stop, "refining"), stop=stop)
    assert (summary.interrupted, summary.last_frame, summary.last_drawn) == (True, 40, 1)


def test_a_stop_that_comes_too_late_is_none(tmp_path: Path, play: Callable[..., FakeVideo]) -> None:
    stop = threading.Event()
    summary, _ = run_fake(tmp_path, play, progress=stopping_at(stop, "completing"), stop=stop)
    assert stop.is_set()
    assert (summary.interrupted, summary.last_frame) == (False, 12)
    assert yaml.safe_load((tmp_path / RECORD).read_text())["interrupted"] is False


def test_what_a_killed_run_left_is_removed(tmp_path: Path, play: Callable[..., FakeVideo]) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for process in (gone.pid, os.getppid()):
        for name in (OVERLAY, TRACKS, EVENTS):
            (tmp_path / f".{name}.{process}.part").touch()
    (tmp_path / ".notes.txt.part").touch()
    run_fake(tmp_path, play, overlay=False)
    alive = {f".{name}.{os.getppid()}.part" for name in (OVERLAY, TRACKS, EVENTS)}
    assert names(tmp_path) == {TRACKS, RECORD, ".notes.txt.part", *alive}


def test_an_input_is_not_replaced(tmp_path: Path, play: Callable[..., FakeVideo]) -> None:
    summary, _ = run_fake(tmp_path, play, diagnostics=True)
    given = tmp_path / DETECTIONS
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for detections, diagnostics in ((given, True), (given, False), (tmp_path / TRACKS, False)):
        with pytest.raises(OutputError, match=rf"{detections.name}: the output is the input {detections}"):
            run(Job(detections=detections), tmp_path, diagnostics=diagnostics)
    with pytest.raises(OutputError, match=rf"{OVERLAY}: the output is the input"):
        run(Job(video=tmp_path / OVERLAY, detections={1: box_at(1)}), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert summary.last_drawn == 12


def test_links_are_followed(tmp_path: Path, play: Callable[..., FakeVideo]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / TRACKS).symlink_to(tmp_path / "elsewhere.txt")
    run_fake(tmp_path / "run", play, overlay=False)
    assert (tmp_path / "run" / TRACKS).is_symlink()
    assert len((tmp_path / "elsewhere.txt").read_text().splitlines()) == 12


@pytest.mark.parametrize(("motion", "told"), [(range(2, 13), None), (range(3, 6), "3 of 12"), ((), None)])
def test_a_camera_s_motion_of_few_frames_is_noticed(
    motion: Iterable[int], told: str | None, play: Callable[..., FakeVideo]
) -> None:
    play(12)
    affine = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    lines: list[str] = []
    job = Job(video=Path("any.mp4"), detector=read_number, camera_motion=dict.fromkeys(motion, affine))
    with open_input(job, notice=lines.append):
        assert len(lines) == (told is not None)
        assert told is None or f"tells of {told} frames; in the others" in lines[0]


def test_a_run_stopped_before_its_first_frame_leaves_nothing(tmp_path: Path, play: Callable[..., FakeVideo]) -> None:
    stop = threading.Event()
    stop.set()
    summary, _ = run_fake(tmp_path / "new", play, stop=stop)
    assert (summary.interrupted, summary.frames, summary.files) == (True, 0, [])
    assert names(tmp_path) == set()


def failing(function: Callable[..., Any], error: BaseException, call: int = 6) -> Callable[..., Any]:
    """Return the function, raising the error at its sixth call."""
    calls = iter(range(1, 1000))

    def wrapper(*arguments: Any) -> Any:
        if next(calls) == call:
            raise error
        return function(*arguments)

    return wrapper


@pytest.mark.parametrize("folder", [".", "new/deep"], ids=["after an earlier run", "in a new folder"])
@pytest.mark.parametrize("stage", ["detect", "draw", "encode", "write", "progress"])
def test_whatever_fails_nothing_is_left_and_earlier_files_stay(
    stage: str,
    folder: str,
    tmp_path: Path,
    play: Callable[..., FakeVideo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_fake(tmp_path, play)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    # What breaks into progress is Ctrl-C, unless somebody handles it.
    error = KeyboardInterrupt() if stage == "progress" else OutputError("the disk is full")
    options: dict[str, Any] = {}
    if stage == "detect":
        options["detector"] = failing(read_number, error)
    elif stage == "progress":
        options["progress"] = failing(lambda _: None, error)
    else:
        owner, name = {
            "draw": (OverlayPainter, "paint"),
            "encode": (OverlayVideo, "write"),
            "write": (TrackFile, "write"),
        }[stage]
        monkeypatch.setattr(owner, name, failing(getattr(owner, name), error))
    with pytest.raises(type(error)) as caught:
        run_fake(tmp_path / folder, play, **options)
    assert caught.value is error
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_failing_last_step_leaves_nothing(
    tmp_path: Path, play: Callable[..., FakeVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OutputError("the disk is full")
    monkeypatch.setattr(OverlayVideo, "finish", failing(OverlayVideo.finish, error, call=1))
    with pytest.raises(OutputError, match="disk is full"):
        run_fake(tmp_path / "new", play)
    assert names(tmp_path) == set()


def test_a_source_that_fails_on_the_way(tmp_path: Path, play: Callable[..., FakeVideo]) -> None:
    video = play(12)
    frames = video._frames

    def breaking() -> Generator[Frame, None, None]:
        yield from islice(frames, 4)
        raise VideoError("image 5 cannot be read")

    video._frames = breaking()
    with pytest.raises(VideoError, match="image 5"):
        run(Job(video=Path("any.mp4"), detector=read_number), tmp_path / "new")
    assert names(tmp_path) == set()


def test_a_run_without_overlay_removes_the_earlier_one(tmp_path: Path, play: Callable[..., FakeVideo]) -> None:
    run_fake(tmp_path, play)
    summary, _ = run_fake(tmp_path, play, overlay=False)
    assert names(tmp_path) == {TRACKS, RECORD}
    assert set(summary.stages) == {"decode", "detect", "camera", "track", "write"}
    run_fake(tmp_path, play)
    assert names(tmp_path) == {OVERLAY, TRACKS, RECORD}


@pytest.mark.parametrize("name", [OVERLAY, TRACKS, RECORD])
def test_foreign_files_are_not_touched(name: str, tmp_path: Path, play: Callable[..., FakeVideo]) -> None:
    (tmp_path / name).write_text("mine\n")
    with pytest.raises(OutputError, match=f"{name}: is not, or no longer, what a run of track wrote"):
        run_fake(tmp_path, play)
    assert names(tmp_path) == {name}
    assert (tmp_path / name).read_text() == "mine\n"


def test_an_own_file_that_was_changed_is_not_touched(tmp_path: Path, play: Callable[..., FakeVideo]) -> None:
    run_fake(tmp_path, play)
    with (tmp_path / TRACKS).open("a") as file:
        file.write("99,1,0,0,1,1,1,-1,-1,-1\n")
    changed = (tmp_path / TRACKS).read_bytes()
    with pytest.raises(OutputError, match="no longer"):
        run_fake(tmp_path, play)
    assert (tmp_path / TRACKS).read_bytes() == changed


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path, play: Callable[..., FakeVideo]) -> None:
    (tmp_path / "notes.txt").write_text("mine\n")
    run_fake(tmp_path, play)
    run_fake(tmp_path, play)
    assert names(tmp_path) == {OVERLAY, TRACKS, RECORD, "notes.txt"}
