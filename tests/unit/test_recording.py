"""Recordings: files that are whole up to their last second, however their writing ends."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from limits import files_up_to
from streams import picture

from tracker.errors import OutputError
from tracker.formats.motchallenge import read_detections
from tracker.media.recording import FragmentedVideo, Recording
from tracker.media.regions import EVENTS_HEADER, EventKind, RegionEvent
from tracker.media.sources import open_video
from tracker.structures import Image, Tracks


def tracks_of(n: int) -> Tracks:
    boxes = np.arange(4.0 * n).reshape(n, 4) + np.array([0, 0, 20, 40])
    row, label = np.full(n, 0.5), np.arange(1, n + 1)
    return Tracks(label, boxes, row, 0 * label, label, np.zeros((n, 4, 4)), row, row, 0 * label + 1, row)


def times_s(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0) if frame.time is not None]


def test_pictures_and_times_survive(tmp_path: Path) -> None:
    steps_s = np.cumsum([0.0] + [0.01, 0.5, 0.033, 1.2, 0.04] * 3)
    levels = [40 + 10 * k for k in range(len(steps_s))]
    with Recording(tmp_path / "new" / "folder", 12, 60.0) as recording:
        for level, time_s in zip(levels, steps_s, strict=True):
            recording.write(picture(level, 95, 63), 5.0 + time_s, tracks_of(2))
    folder = tmp_path / "new" / "folder"
    assert recording.files == [folder / "overlay.mp4", folder / "tracks.txt"]
    with open_video(folder / "overlay.mp4") as video:
        frames = list(video)
    assert [frame.time_s for frame in frames] == pytest.approx(list(steps_s), abs=0.6 / 90_000)
    assert [float(frame.image.mean()) for frame in frames if frame.image is not None] == pytest.approx(levels, abs=3)
    assert [(frame, len(rows)) for frame, rows in read_detections(folder / "tracks.txt").items()] == [
        (frame, 2) for frame in range(1, 17)
    ]


@pytest.mark.parametrize("time_s", [1.0, 0.5])
def test_times_that_do_not_rise_are_made_to(time_s: float, tmp_path: Path) -> None:
    with Recording(tmp_path, 30, 60.0) as recording:
        recording.write(picture(40), 1.0, tracks_of(0))
        recording.write(picture(40), time_s, tracks_of(0))
    first_s, second_s = times_s(tmp_path / "overlay.mp4")
    assert second_s > first_s


def test_a_video_that_is_never_closed_plays_up_to_its_last_second(tmp_path: Path) -> None:
    video = FragmentedVideo(tmp_path / "o.mp4", 96, 64, 23)
    for index in range(35):
        video.write(picture(40 + index), index / 10)
        if index % 10 == 0:
            # The fragment before is in the file as soon as the next one begins.
            assert len(times_s(tmp_path / "o.mp4")) == index if index else True
    assert times_s(tmp_path / "o.mp4")[-1] == pytest.approx(2.9)
    video.close()
    assert len(times_s(tmp_path / "o.mp4")) == 35


def write_all(recording: Recording, pictures: list[Image], rate_hz: float = 10.0) -> None:
    for index, image in enumerate(pictures):
        recording.write(image, index / rate_hz, tracks_of(1))


def test_another_size_and_a_full_hour_begin_new_files(tmp_path: Path) -> None:
    with Recording(tmp_path, 30, 1.0) as recording:
        write_all(recording, [picture(40)] * 5 + [picture(40, 64, 48)] * 15)
    lengths = {path.name: len(times_s(path)) for path in recording.files[::2]}
    assert lengths == {"overlay.mp4": 5, "overlay-2.mp4": 10, "overlay-3.mp4": 5}
    # Frames count anew in every file, as those of the video beside it do.
    for path, count in zip(recording.files[1::2], lengths.values(), strict=True):
        assert sorted(read_detections(path)) == list(range(1, count + 1))


def event(frame: int, time_s: float, kind: EventKind = "cross") -> RegionEvent:
    return RegionEvent(frame, time_s, kind, "gate", 7, 2, "in", None, 1.0, 2.0)


def test_events_stand_beside_the_pictures_they_belong_to(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("mine")
    with Recording(tmp_path, 30, 1.0, class_names={2: "car"}, with_events=True) as recording:
        for index in range(1, 21):
            recording.write(picture(40), 5.0 + index / 10, tracks_of(1))
            recording.write_events([event(index, 5.0 + index / 10)] if index in (3, 13) else [])
        recording.write_events([event(4, 5.4, "lost")])
    assert [path.name for path in recording.files] == [
        "overlay-2.mp4", "tracks-2.txt", "events-2.csv", "overlay-3.mp4", "tracks-3.txt", "events-3.csv",
    ]  # fmt: skip
    first, second = (path.read_text() for path in recording.files[2::3])
    assert first == EVENTS_HEADER + "3,0.200,cross,gate,7,car,in,,1.00,2.00\n"
    assert second == (
        EVENTS_HEADER + "3,0.200,cross,gate,7,car,in,,1.00,2.00\n" + "-6,-0.700,lost,gate,7,car,in,,1.00,2.00\n"
    )
    assert (tmp_path / "events.csv").read_text() == "mine"
    # With names of classes, the rows tell classes.
    assert (tmp_path / "tracks-2.txt").read_text().splitlines()[0].split(",")[7] == "0"


def test_earlier_recordings_stay(tmp_path: Path) -> None:
    (tmp_path / "tracks-2.txt").write_text("mine")
    for _ in range(2):
        with Recording(tmp_path, 30, 60.0) as recording:
            write_all(recording, [picture(40)])
    assert [path.name for path in recording.files] == ["overlay-3.mp4", "tracks-3.txt"]
    assert (tmp_path / "tracks-2.txt").read_text() == "mine"
    assert len(times_s(tmp_path / "overlay.mp4")) == 1


def test_without_a_picture_there_is_no_file(tmp_path: Path) -> None:
    with Recording(tmp_path, 30, 60.0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_leaves_whole_fragments(tmp_path: Path) -> None:
    recording = Recording(tmp_path, 0, 60.0)
    with files_up_to(1_500_000), pytest.raises(OutputError, match=r"overlay.mp4: cannot be written: file too large"):
        write_all(recording, [picture(40 + k % 100, 192, 128) for k in range(400)])
    with pytest.raises(OutputError, match="file too large"):
        recording.close()
    played = times_s(tmp_path / "overlay.mp4")
    assert len(played) >= 10
    assert len(played) % 10 == 0
    rows = read_detections(tmp_path / "tracks.txt")
    assert len(played) <= max(rows) <= len(played) + 10 + 1
    assert (tmp_path / "tracks.txt").read_bytes().endswith(b"\n")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file/folder: cannot be written: not a directory"):
        Recording(tmp_path / "file" / "folder", 30, 60.0)
    with pytest.raises(OutputError, match="file: cannot be written: file exists"):
        Recording(tmp_path / "file", 30, 60.0)
