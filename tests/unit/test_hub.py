"""The hand-over from the live loop to its viewers."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from tests.moments import tracks_of
from tracker.app.hub import Event, Hub, LiveFrame, LiveStats
from tracker.formats.motchallenge import format_rows, read_tracks
from tracker.structures import Tracks

IMAGE = np.zeros((48, 64, 3), np.uint8)


def frame_of(index: int, *ids: int, reported: Tracks | None = None, events: tuple[Event, ...] = ()) -> LiveFrame:
    tracks = tracks_of(*ids)
    stats = LiveStats("running", processed=index)
    return LiveFrame(index, index / 10, IMAGE, tracks, tracks if reported is None else reported, stats, events)


def test_before_the_first_frame_there_is_nothing_but_a_state() -> None:
    hub = Hub()
    moment = hub.snapshot()
    assert (moment.frame, moment.ages_s, moment.events) == (None, (), ())
    assert (moment.stats.state, moment.paused, moment.closed) == ("connecting", False, False)
    assert hub.newest is None
    assert hub.tracks_text() == ""


def test_only_the_newest_frame_is_kept() -> None:
    hub = Hub()
    frames = [frame_of(1, 7), frame_of(2, 7)]
    for frame in frames:
        hub.publish(frame)
    assert hub.newest is hub.snapshot().frame is frames[1]
    assert hub.snapshot().stats is frames[1].stats


def test_ages_count_from_an_object_s_first_frame_and_end_with_it() -> None:
    hub = Hub()
    hub.publish(frame_of(1, 7))
    hub.publish(frame_of(4, 9, 7))
    assert hub.snapshot().ages_s == pytest.approx((0.0, 0.3))
    hub.publish(frame_of(5))
    hub.publish(frame_of(6, 7))
    assert hub.snapshot().ages_s == pytest.approx((0.0,))


def test_rows_of_every_reported_track_are_kept(tmp_path: Path) -> None:
    hub = Hub()
    hub.publish(frame_of(1, 1, 2, reported=tracks_of(2)))
    hub.publish(frame_of(2, 1))
    assert hub.tracks_text() == format_rows(1, tracks_of(2)) + format_rows(2, tracks_of(1))
    path = tmp_path / "tracks.txt"
    path.write_text(hub.tracks_text())
    table = read_tracks(path)
    assert list(zip(table.frames.tolist(), table.ids.tolist(), strict=True)) == [(1, 2), (2, 1)]


def test_the_oldest_rows_go_first_and_go_by_whole_frames() -> None:
    two_frames = len(format_rows(1, tracks_of(1, 2))) * 2
    hub = Hub(rows_bytes=two_frames)
    for index in range(1, 10):
        hub.publish(frame_of(index, 1, 2))
        assert len(hub.tracks_text()) <= two_frames
    assert hub.tracks_text() == format_rows(8, tracks_of(1, 2)) + format_rows(9, tracks_of(1, 2))


def test_events_are_numbered_and_bounded() -> None:
    hub = Hub()
    hub.report(LiveStats("connecting"), (Event(0, 0.0, "source opened"),))
    for index in range(1, 301):
        hub.publish(frame_of(index, events=(Event(index, index / 10, f"{index} enters", (index,)),)))
    events = hub.snapshot().events
    assert [number for number, _ in events] == list(range(102, 302))
    assert events[-1][1] == Event(300, 30.0, "300 enters", (300,))


def test_objects_that_come_and_go_are_events() -> None:
    hub = Hub()
    own = Event(2, 0.2, "source lost")
    hub.publish(frame_of(1, 7, 8, reported=tracks_of()))  # tentative
    hub.publish(frame_of(2, 7, 8, reported=tracks_of(7, 8), events=(own,)))
    hub.publish(frame_of(5, 7, 8, reported=tracks_of(7)))
    hub.publish(frame_of(9, 8, reported=tracks_of()))  # coasting
    hub.publish(frame_of(10))
    assert [event for _, event in hub.snapshot().events] == [
        own,
        Event(2, 0.2, "object 7 appears", (7,)),
        Event(2, 0.2, "object 8 appears", (8,)),
        Event(9, 0.9, "object 7 is gone, seen for 0.3 s", (7,)),
        Event(10, 1.0, "object 8 is gone, seen for 0.0 s", (8,)),
    ]


def test_a_report_changes_the_state_and_leaves_the_frame() -> None:
    hub = Hub()
    hub.publish(frame_of(1, 7))
    hub.report(LiveStats("stalled"))
    moment = hub.snapshot()
    assert moment.stats.state == "stalled"
    assert moment.frame is hub.newest is not None


def test_silence_is_the_time_since_the_newest_frame() -> None:
    now_s = 100.0
    hub = Hub(clock=lambda: now_s)
    now_s = 103.0
    assert hub.snapshot().silence_s == 3.0
    hub.publish(frame_of(1))
    now_s = 104.5
    hub.report(LiveStats("stalled"))
    assert hub.snapshot().silence_s == 1.5


def test_pausing_is_a_wish_that_the_loop_reads() -> None:
    hub = Hub()
    hub.request_pause(True)
    assert hub.paused
    assert hub.snapshot().paused
    assert hub.snapshot().stats.state == "connecting"  # only the loop says how it is
    hub.request_pause(False)
    assert not hub.paused


def test_closing_ends_the_state_and_keeps_the_last_frame() -> None:
    hub = Hub()
    hub.publish(frame_of(3, 7))
    hub.close()
    moment = hub.snapshot()
    assert (moment.closed, hub.closed, moment.stats.state, moment.stats.processed) == (True, True, "ended", 3)
    assert moment.frame is hub.newest is not None


def test_listeners_are_called_after_every_change_until_they_leave() -> None:
    hub = Hub()
    versions: list[int] = []
    # The change is there, and nothing is locked, when a listener is called.
    leave = hub.subscribe(lambda: versions.append(hub.snapshot().version))
    hub.publish(frame_of(1))
    hub.report(LiveStats("stalled"))
    hub.request_pause(True)
    hub.close()
    assert versions == [1, 2, 3, 4] == list(range(1, hub.version + 1))
    leave()
    leave()
    hub.publish(frame_of(2))
    assert versions == [1, 2, 3, 4]


def test_readers_in_other_threads_see_whole_moments() -> None:
    hub = Hub()
    faults: list[str] = []

    def read() -> None:
        news = threading.Event()
        hub.subscribe(news.set)
        version, index = -1, 0
        while not hub.closed:
            news.wait()
            news.clear()
            moment = hub.snapshot()
            frame = moment.frame
            if frame is None:
                continue
            if moment.version < version or frame.index < index:
                faults.append("time went back")
            if len(moment.ages_s) != len(frame.tracks) or frame.stats.processed != frame.index:
                faults.append(f"frame {frame.index} does not fit its ages")
            version, index = moment.version, frame.index

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for index in range(1, 1500):
        hub.publish(frame_of(index, *range(1, 1 + index % 5)))
    hub.close()
    for reader in readers:
        reader.join()
    assert faults == []
