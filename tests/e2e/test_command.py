"""The `track` command as people use it, in a process of its own."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import yaml

from tracker import track_video

Track = Callable[..., "subprocess.CompletedProcess[str]"]
TRACK = Path(sys.executable).with_name("track")
FILES = {"overlay.mp4", "tracks.txt", "run.yaml"}
FRAMES = 30


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def frames_of(tracks: Path) -> list[int]:
    return sorted({int(row.split(",")[0]) for row in tracks.read_text().splitlines()})


def times_s(video: Path) -> list[float]:
    with av.open(str(video)) as container:
        return [frame.time for frame in container.decode(video=0)]


# ----------------------------------------------------------------------------------------------- runs


def test_a_video_becomes_an_overlay_tracks_and_a_record(track: Track, cwd: Path, clip: Path, recorded: Path) -> None:
    done = track("--video", clip, "--config", "default.yaml", "--detections", recorded)
    assert (done.returncode, done.stderr) == (0, "")
    folder = cwd / "block-tracks"
    assert names(folder) == FILES
    for word in ("overlay.mp4", "tracks.txt", "run.yaml", "frames/s", "decode", "encode"):
        assert word in done.stdout

    rows = [[float(value) for value in row.split(",")] for row in (folder / "tracks.txt").read_text().split()]
    assert [row[:2] for row in rows] == [[n, 1] for n in range(1, FRAMES + 1)]
    assert [row[2:7] for row in rows] == [[2 * n, 20, 14, 30, 0.9] for n in range(FRAMES)]
    assert all(row[7:] == [-1, -1, -1] for row in rows)

    with av.open(str(folder / "overlay.mp4")) as overlay, av.open(str(clip)) as source:
        stream, original = overlay.streams.video[0], source.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (original.width, original.height)
    assert times_s(folder / "overlay.mp4") == pytest.approx(times_s(clip))

    record = yaml.safe_load((folder / "run.yaml").read_text())
    assert record["counts"]["frames"] == FRAMES
    assert record["counts"]["tracks"] == 1
    assert record["input"]["video"] == str(clip)
    assert record["command"].startswith(f"track --video {clip}")
    assert set(record["versions"]) == {"gmm-tracker", "python", "numpy", "opencv", "av", "numba"}
    assert None not in record["versions"].values()


def test_the_default_detector_needs_nothing_but_the_video(track: Track, cwd: Path, clip: Path) -> None:
    done = track("--video", clip, "--no-video", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert names(cwd / "block-tracks") == {"tracks.txt", "run.yaml"}
    assert yaml.safe_load((cwd / "block-tracks" / "run.yaml").read_text())["counts"]["frames"] == FRAMES


def test_the_command_and_python_agree(track: Track, cwd: Path, clip: Path, recorded: Path) -> None:
    assert track("--video", clip, "--detections", recorded, "--no-video").returncode == 0
    rows = np.loadtxt(cwd / "block-tracks" / "tracks.txt", delimiter=",", ndmin=2)
    boxes = [
        [frame.index, track_id, box[0], box[1]]
        for frame, tracks in track_video(clip, detections=recorded)
        for track_id, box in zip(tracks.ids, tracks.boxes_xyxy, strict=True)
    ]
    assert rows[:, :4].tolist() == boxes


def test_detections_alone(track: Track, cwd: Path, tmp_path: Path, recorded: Path) -> None:
    sequence = tmp_path / "SEQ"
    (sequence / "det").mkdir(parents=True)
    (sequence / "det" / "det.txt").write_bytes(recorded.read_bytes())
    (sequence / "seqinfo.ini").write_text("[Sequence]\nframeRate=10\nseqLength=40\n")
    done = track("--detections", sequence / "det" / "det.txt")
    assert (done.returncode, done.stderr) == (0, "")
    assert names(cwd / "SEQ-tracks") == {"tracks.txt", "run.yaml"}
    assert frames_of(cwd / "SEQ-tracks" / "tracks.txt") == list(range(1, FRAMES + 1))
    record = yaml.safe_load((cwd / "SEQ-tracks" / "run.yaml").read_text())
    assert (record["counts"]["frames"], record["input"]["frame_rate_hz"]) == (40, 10.0)


def test_detections_that_name_their_classes(track: Track, cwd: Path, tmp_path: Path, clip: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text(
        "".join(
            f"{n} -1 {kind} -1 -1 -10 {left} 20 {left + 14} 50 -1 -1 -1 -1000 -1000 -1000 -10 0.9\n"
            for n in range(10)
            for kind, left in (("Car", 2 * n), ("Cyclist", 60))
        )
    )
    done = track("--video", clip, "--detections", labels, "--classes", "car", "--output", "out", "--frames", "10")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split(",") for line in (cwd / "out" / "tracks.txt").read_text().splitlines()]
    assert [(int(row[0]), float(row[2]), row[7]) for row in rows] == [(n + 1, 2.0 * n, "3") for n in range(10)]
    assert yaml.safe_load((cwd / "out" / "run.yaml").read_text())["classes"] == {3: "Car"}
    wrong = track("--video", clip, "--detections", labels, "--classes", "cars")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "error: detection.recorded.classes: labels.txt has no class cars; did you mean Car?\n"


def test_a_disagreement_of_rates_is_told(track: Track, clip: Path, recorded: Path) -> None:
    done = track("--video", clip, "--detections", recorded, "--no-video", "--fps", "5")
    assert done.returncode == 0
    assert done.stderr == f"frame rate: --fps says 5 Hz, {clip} 10 Hz; 5 Hz is used\n"


@pytest.mark.parametrize("as_pattern", [False, True], ids=["folder", "pattern"])
def test_images_are_a_video(
    as_pattern: bool, track: Track, cwd: Path, tmp_path: Path, images: list[np.ndarray], recorded: Path
) -> None:
    folder = tmp_path / "walk"
    folder.mkdir()
    for number, image in enumerate(images, 1):
        cv2.imwrite(str(folder / f"{number:04d}.png"), image)
    source = folder / "%04d.png" if as_pattern else folder
    done = track("--video", source, "--detections", recorded, "--fps", "10")
    assert (done.returncode, done.stderr) == (0, "")
    assert frames_of(cwd / "walk-tracks" / "tracks.txt") == list(range(1, FRAMES + 1))
    assert times_s(cwd / "walk-tracks" / "overlay.mp4") == pytest.approx([n / 10 for n in range(FRAMES)])


def test_a_span_keeps_the_video_s_frame_numbers(track: Track, cwd: Path, clip: Path, recorded: Path) -> None:
    arguments = ["--video", clip, "--detections", recorded, "--start", "11", "--frames", "5"]
    assert track(*arguments).returncode == 0
    assert frames_of(cwd / "block-tracks" / "tracks.txt") == [11, 12, 13, 14, 15]
    assert len(times_s(cwd / "block-tracks" / "overlay.mp4")) == 5
    assert track("--detections", recorded, *arguments[4:], "--fps", "10").returncode == 0
    assert frames_of(cwd / "boxes-tracks" / "tracks.txt") == [11, 12, 13, 14, 15]


def test_settings_and_output_are_taken(track: Track, cwd: Path, clip: Path) -> None:
    settings = ["--set", "overlay.crf=40", "--set", "tracking.smoothing=online"]
    assert track("--video", clip, "--output", "deep/er", *settings).returncode == 0
    record = yaml.safe_load((cwd / "deep" / "er" / "run.yaml").read_text())
    assert record["configuration"]["overlay"]["crf"] == 40
    assert record["configuration"]["tracking"]["smoothing"] == "online"


def test_running_again_replaces_own_files_and_refuses_others(
    track: Track, cwd: Path, clip: Path, recorded: Path
) -> None:
    folder = cwd / "block-tracks"
    arguments = ["--video", clip, "--detections", recorded]
    assert track(*arguments).returncode == 0
    assert track(*arguments, "--frames", "3").returncode == 0
    assert frames_of(folder / "tracks.txt") == [1, 2, 3]
    assert len(times_s(folder / "overlay.mp4")) == 3

    (folder / "tracks.txt").write_text("corrected by hand\n")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    done = track(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: block-tracks/tracks.txt: is not, or no longer,")
    assert len(done.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_what_decodes_of_a_truncated_file_is_tracked(
    track: Track, cwd: Path, tmp_path: Path, make_clip: Callable[[Path, str], Path], recorded: Path
) -> None:
    whole = make_clip(tmp_path / "whole.avi", "mpeg4").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) * 3 // 4])
    done = track("--video", tmp_path / "cut.avi", "--detections", recorded)
    assert done.returncode == 0
    (warning,) = done.stderr.splitlines()
    assert warning.startswith(f"warning: {tmp_path}/cut.avi: ")
    record = yaml.safe_load((cwd / "cut-tracks" / "run.yaml").read_text())
    assert record["loss"] in warning
    assert 0 < record["counts"]["frames"] < FRAMES
    assert len(times_s(cwd / "cut-tracks" / "overlay.mp4")) == record["counts"]["frames"]


def test_a_terminal_shows_progress(cwd: Path, clip: Path, recorded: Path) -> None:
    ours, its = os.openpty()
    command = [TRACK, "--video", clip, "--detections", recorded]
    shown = b""
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=its) as process:
        os.close(its)
        with suppress(OSError):  # as which Linux reports that the other side was closed
            while part := os.read(ours, 4096):
                shown += part
    os.close(ours)
    assert process.returncode == 0
    for words in (b"loading", b"tracking", b"30/30", b"frames/s", b"1 tracks", b"completing"):
        assert words in shown
    assert b"compiling" not in shown  # all is compiled already


def test_a_long_path_is_one_line_where_nobody_looks(track: Track, cwd: Path, clip: Path, recorded: Path) -> None:
    output = Path("/".join(["a-folder-with-a-long-name"] * 6))
    done = track("--video", clip, "--detections", recorded, "-o", output, "--frames", "2")
    lines = done.stdout.splitlines()
    assert lines[0] == f"written  {', '.join(str(output / name) for name in ('overlay.mp4', 'tracks.txt', 'run.yaml'))}"
    assert [line.split()[0] for line in lines] == ["written", "tracks", "frames", "stages"]
    assert all(line == line.rstrip() for line in lines)


def test_a_run_is_repeated_by_its_record(track: Track, cwd: Path, clip: Path, recorded: Path) -> None:
    arguments = ["--video", clip, "--detections", recorded, "--no-video", "--quiet"]
    assert track(*arguments, "--set", "tracking.lifecycle.birth_score=0.95").returncode == 0
    first = (cwd / "block-tracks" / "tracks.txt").read_bytes()
    done = track(*arguments, "--config", "block-tracks/run.yaml", "-o", "again")
    assert (done.returncode, done.stderr) == (0, "")
    assert (cwd / "again" / "tracks.txt").read_bytes() == first
    configuration = yaml.safe_load((cwd / "again" / "run.yaml").read_text())["configuration"]
    assert configuration["tracking"]["lifecycle"]["birth_score"] == 0.95


@pytest.mark.parametrize(
    ("rows", "classes", "code", "said"),
    [
        (
            "{n},-1,{n},20,14,30,0.9\n",
            "1",
            2,
            "error: detection.recorded.classes: d.txt states no classes, so that none",
        ),
        ("{n},-1,{n},20,14,30,0.9,1\n", "7", 0, "d.txt: no detection is of the classes chosen, 7; there are 1\n"),
        ("{n},-1,{n},20,14,30,0.9,1\n", "7,1", 0, ""),
    ],
)
def test_classes_that_are_not_there_are_told(
    rows: str, classes: str, code: int, said: str, track: Track, cwd: Path
) -> None:
    (cwd / "d.txt").write_text("".join(rows.format(n=n) for n in range(1, 11)))
    done = track("--detections", "d.txt", "--fps", "10", "--classes", classes, "-o", "out")
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == bool(said)


def rescaled(recorded: Path, score: float) -> str:
    """Return the rows of the recorded detections, whose scores are .9, with another score."""
    return recorded.read_text().replace(",0.9\n", f",{score!r}\n")


def test_scores_of_another_scale_are_read_by_every_command(track: Track, cwd: Path, recorded: Path) -> None:
    (cwd / "det.txt").write_text(rescaled(recorded, 90.0))
    (cwd / "truth.txt").write_text("".join(f"{n},1,{2 * n - 2},20,14,30,1,1,1\n" for n in range(1, 31)))
    three = (f"{n},{k},{2 * n + 9 * k},20,14,30,1\n" for n in range(1, 31) for k in (1, 2, 3))
    (cwd / "three.txt").write_text("".join(three))
    (cwd / "percent.yaml").write_text("detection: {recorded: {score_scale: percent}}\n")
    commands = [
        ("--fps", "10", "-o", "out"),
        ("refine", "--tracks", "three.txt", "--fps", "10", "-o", "refined.txt"),
        ("anomaly", "--tracks", "three.txt", "--fps", "10", "-o", "odd.csv"),
        ("report", "--truth", "truth.txt", "--tracks", "three.txt", "-o", "page.html"),
        ("fit", "--fps", "10", "-o", "fitted.yaml"),
    ]
    for command in commands:
        given = (*command, "--detections", "det.txt")
        refused = track(*given)
        assert (refused.returncode, refused.stderr) == (
            2,
            "error: det.txt:1: score is 90; a score is in [0, 1]; "
            "detection.recorded.score_scale=percent or logit reads others\n",
        ), command
        done = track(*given, "--config", "percent.yaml")
        if command[0] == "fit":  # one object of 30 frames was read, and is too little to learn from
            assert "det.txt: has 30 frames with 30 detections scored 0.2 or more" in done.stderr
        else:
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("scale", "score"), [("percent", 90.0), ("logit", math.log(9.0))])
def test_scores_of_another_scale_give_the_same_tracks(
    scale: str, score: float, track: Track, cwd: Path, recorded: Path
) -> None:
    (cwd / "det.txt").write_text(rescaled(recorded, score))
    settings = ("--fps", "10", "--diagnostics", "--set", f"detection.recorded.score_scale={scale}")
    assert track("--detections", "det.txt", *settings, "-o", "scaled").returncode == 0
    assert track("--detections", recorded, *settings[:3], "-o", "plain").returncode == 0
    for name in ("tracks.txt", "detections.txt"):
        assert (cwd / "scaled" / name).read_bytes() == (cwd / "plain" / name).read_bytes()


def test_the_detections_of_a_run_are_taken_as_it_left_them(track: Track, cwd: Path) -> None:
    rows = (f"{n},-1,{2 * n + 9 * k},20,14,30,{90 - k},{1 + k // 4}\n" for n in range(1, 31) for k in (1, 2, 3, 4))
    (cwd / "det.txt").write_text("".join(rows))
    (cwd / "mine.yaml").write_text("detection: {recorded: {score_scale: percent, classes: ['1']}}\n")
    made = track("--detections", "det.txt", "--fps", "10", "--diagnostics", "--config", "mine.yaml", "-o", "out")
    assert made.returncode == 0, made.stderr
    given = ("refine", "--tracks", "out/tracks.txt", "--detections", "out/detections.txt")
    for name, configuration in (("as-run", "out/run.yaml"), ("as-is", "default.yaml")):
        done = track(*given, "--config", configuration, "-o", f"{name}.txt")
        assert done.returncode == 0, done.stderr
    assert (cwd / "as-run.txt").read_bytes() == (cwd / "as-is.txt").read_bytes()
    refused = track(*given, "--set", "detection.recorded.score_scale=percent", "-o", "other.txt")  # not the run's
    assert refused.returncode == 2
    assert "detections.txt:1: score is 0.89, and none exceeds 1" in refused.stderr


def test_classes_that_are_not_there_are_told_by_every_command(track: Track, cwd: Path) -> None:
    rows = [(n, k, 2 * n + 9 * k) for n in range(1, 31) for k in (1, 2, 3)]
    (cwd / "det.txt").write_text("".join(f"{n},-1,{x},20,14,30,0.9,1\n" for n, _, x in rows))
    (cwd / "three.txt").write_text("".join(f"{n},{k},{x},20,14,30,1\n" for n, k, x in rows))
    (cwd / "truth.txt").write_text("".join(f"{n},{k},{x},20,14,30,1,1,1\n" for n, k, x in rows))
    for command in (
        ("refine", "--tracks", "three.txt", "--fps", "10", "-o", "refined.txt"),
        ("anomaly", "--tracks", "three.txt", "--fps", "10", "-o", "odd.csv"),
        ("report", "--truth", "truth.txt", "--tracks", "three.txt", "-o", "page.html"),
    ):
        done = track(*command, "--detections", "det.txt", "--set", "detection.recorded.classes=['7']")
        assert done.returncode == 0, done.stderr
        assert "det.txt: no detection is of the classes chosen, 7; there are 1" in done.stderr, command


# ------------------------------------------------------------------------------------------ bad input


def no_frames(folder: Path) -> Path:
    with av.open(str(folder / "none.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.start_encoding()
    return folder / "none.mp4"


def written(name: str, content: str | bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def made(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).mkdir()
        return folder / name

    return make


def two_images(folder: Path) -> Path:
    (folder / "img").mkdir()
    for name in ("0.jpg", "0.png", "1.jpg"):
        cv2.imwrite(str(folder / "img" / name), np.zeros((8, 8, 3), np.uint8))
    return folder / "img"


def absent(name: str) -> Callable[[Path], Path]:
    return lambda folder: folder / name


GOOD_ROW = "1,-1,0,20,14,30,0.9\n"
BAD_INPUT: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    "an address": ("--video", lambda _: Path("rtsp://camera/stream"), "track live --camera rtsp://camera/stream"),
    "a missing video": ("--video", absent("a.mp4"), "no such video"),
    "an empty file": ("--video", written("a.mp4", ""), "cannot be opened"),
    "a text file named .mp4": ("--video", written("a.mp4", "Dear diary,\n" * 99), "video"),
    "bytes without meaning": ("--video", written("a.mp4", bytes(range(256)) * 40), "cannot be opened"),
    "a video without frames": ("--video", no_frames, "holds no"),
    "a folder without images": ("--video", made("a"), "without images"),
    "a pattern without images": ("--video", absent("%03d.png"), "pattern"),
    "an unknown preset": ("--config", absent("other.yaml"), "presets: "),
    "an unknown key": ("--config", written("c.yaml", "overlay: {crff: 1}"), "did you mean overlay.crf?"),
    "a value out of range": ("--config", written("c.yaml", "overlay: {crf: 99}"), "overlay.crf is 99"),
    "a duplicate key": ("--config", written("c.yaml", "overlay: {crf: 1, crf: 2}"), "stands twice"),
    "missing detections": ("--detections", absent("d.txt"), "cannot be read"),
    "a malformed row": ("--detections", written("d.txt", GOOD_ROW + "2,-1,zero,0,1,1,1\n"), "d.txt:2: "),
    "a row too short": ("--detections", written("d.txt", GOOD_ROW + "2,-1,0\n"), "d.txt:2: "),
    "a NaN": ("--detections", written("d.txt", GOOD_ROW + "2,-1,nan,0,1,1,1\n"), "d.txt:2: "),
    "a negative size": ("--detections", written("d.txt", GOOD_ROW + "2,-1,0,0,-1,1,1\n"), "d.txt:2: "),
    "a row beyond the last frame": (
        "--detections",
        written("d.txt", "31,-1,0,20,14,30,0.9\n"),
        "goes to frame 31, but the video ends with frame 30",
    ),
    "a malformed camera motion": ("--camera-motion", written("m.txt", "1 1 0 0 0 1\n"), "m.txt:1: "),
    "an output that is a file": ("--output", written("o", ""), "is a file"),
    "an output inside a file": ("--output", lambda folder: written("o", "")(folder) / "p", "cannot be"),
    "a start beyond the end": ("--start", lambda _: Path("31"), "beyond the last frame"),
    "a mistyped setting": (
        "--set",
        lambda _: Path("overlay.crf=high"),
        "--set overlay.crf=high: overlay.crf is 'high'",
    ),
    "a missing mask": (
        "--set",
        lambda folder: Path(f"detection.background.ignore_mask={folder}/none.png"),
        "none.png",
    ),
    "a frame far away": (
        "--detections",
        written("d.txt", GOOD_ROW + "99999999,-1,0,0,1,1,1\n"),
        "d.txt:2: frame 99999999 lies far beyond frame 1, the last one before it",
    ),
    "two images for a frame": ("--video", two_images, "holds both 0.jpg and 0.png; each frame must be one image"),
    "a class that the detections do not tell": (
        "--set",
        lambda _: Path("regions.lines.gate={points: [[0, 0], [1, 1]], classes: [car]}"),
        "regions.lines.gate.classes: the detector tells no classes",
    ),
    "a detector without its file": ("--set", lambda _: Path("detection.kind=recorded"), "--detections"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_gets_one_line_and_leaves_nothing(
    case: str, track: Track, cwd: Path, tmp_path: Path, clip: Path
) -> None:
    option, prepare, words = BAD_INPUT[case]
    value = prepare(tmp_path)
    video = [] if option == "--video" else ["--video", clip]
    before = names(tmp_path)
    done = track(*video, option, value)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert names(cwd) == set()
    assert names(tmp_path) == before


def test_a_malformed_truth_gets_one_line(track: Track, tmp_path: Path, recorded: Path) -> None:
    truth = written("gt.txt", "1,1,0,0,10,10,1,1,1\n1,2,0,0,10,ten,1,1,1\n")(tmp_path)
    done = track("eval", "--truth", truth, "--tracks", recorded)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {truth}:2: ")


def test_a_disk_that_fills_up_gets_one_line_and_leaves_the_earlier_run(
    track: Track, cwd: Path, clip: Path, recorded: Path
) -> None:
    arguments = ["--video", clip, "--detections", recorded, "--set", "overlay.crf=0"]
    assert track(*arguments).returncode == 0
    folder = cwd / "block-tracks"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    limit = len(before[folder / "overlay.mp4"]) // 2
    for output in ("block-tracks", "fresh"):
        done = track(
            *arguments,
            "--output",
            output,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: {output}/overlay.mp4: cannot be written: ")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert names(cwd) == {"block-tracks"}


def test_a_missing_system_library_is_named_with_its_package(track: Track, tmp_path: Path, clip: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cv2.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')\n"
    )
    done = track("--video", clip, env={**os.environ, "PYTHONPATH": str(tmp_path / "broken")})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "libGL.so.1" in line
    assert line.endswith("apt-get install libgl1 libglib2.0-0")


# ------------------------------------------------------------------------------------------ interrupt


@contextmanager
def long_run(
    cwd: Path, tmp_path: Path, image: np.ndarray, count: int, **options: object
) -> Iterator[subprocess.Popen[str]]:
    """Yield a run that has begun to write its tracks; it ends by itself after minutes only."""
    folder = tmp_path / "long"
    folder.mkdir()
    picture = tmp_path / "one.png"
    cv2.imwrite(str(picture), image)
    for index in range(1, count + 1):
        (folder / f"{index}.png").symlink_to(picture)
    rows = tmp_path / "rows.txt"
    rows.write_text("".join(f"{n},-1,0,20,14,30,0.9\n" for n in range(1, count + 1)))

    command = [TRACK, "--video", folder, "--detections", rows]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=cwd, **{**pipes, **options}) as process:  # type: ignore[call-overload]
        try:
            # A track file that has grown tells that frames have passed through every stage.
            while not any(part.stat().st_size for part in cwd.glob("long-tracks/.tracks.txt.*")):
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(timeout=0.01)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["Ctrl-C", "SIGTERM", "a closed terminal"]
)
def test_an_interrupt_completes_the_files(
    number: signal.Signals, cwd: Path, tmp_path: Path, images: list[np.ndarray]
) -> None:
    count = 20_000
    with long_run(cwd, tmp_path, images[0], count) as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 128 + number
    results = cwd / "long-tracks"
    assert names(results) == FILES
    record = yaml.safe_load((results / "run.yaml").read_text())
    last = record["counts"]["last_frame"]
    assert record["interrupted"] is True
    assert 0 < last < count
    assert frames_of(results / "tracks.txt") == list(range(1, last + 1))
    assert len(times_s(results / "overlay.mp4")) == last
    assert errors.splitlines()[-1] == f"interrupted: the files hold frames 1 to {last}"


def test_a_terminal_that_is_closed_loses_nothing(cwd: Path, tmp_path: Path, images: list[np.ndarray]) -> None:
    ours, its = os.openpty()
    # A terminal reads what is written, or else the progress bar waits for it; a process of its own can be ended.
    with subprocess.Popen(["cat"], stdin=ours, stdout=subprocess.DEVNULL) as terminal:
        os.close(ours)
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), its)
        with long_run(cwd, tmp_path, images[0], 20_000, **streams, preexec_fn=os.setsid) as process:
            os.close(its)
            terminal.kill()
            terminal.wait()
            process.send_signal(signal.SIGHUP)  # as the shell of a terminal that is closed does
            process.wait(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP
    assert names(cwd / "long-tracks") == FILES
    assert yaml.safe_load((cwd / "long-tracks" / "run.yaml").read_text())["interrupted"] is True


def test_who_is_to_outlive_the_terminal_does(cwd: Path, tmp_path: Path, images: list[np.ndarray]) -> None:
    def as_nohup_does() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with long_run(cwd, tmp_path, images[0], 20_000, preexec_fn=as_nohup_does) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


def test_an_interrupt_of_the_first_moment_is_one_line(track: Track, tmp_path: Path) -> None:
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "typer.py").write_text("raise KeyboardInterrupt\n")
    paths = [str(tmp_path / "early"), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = track("--help", env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted: nothing written\n")


# ---------------------------------------------------------------------------------- the other commands


def test_without_arguments_the_help_is_shown(track: Track) -> None:
    done = track()
    assert "--video" in done.stdout + done.stderr
    assert track("--help").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [["--nonsense"], ["--start", "0"], ["--frames", "0"], ["--fps", "0"], ["--fps", "nan"], ["--quiet"]],
    ids=" ".join,
)
def test_usage_errors_exit_with_two(arguments: list[str], track: Track, cwd: Path, clip: Path) -> None:
    video = [] if arguments == ["--quiet"] else ["--video", clip]
    done = track(*video, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert arguments[0] in line or "nothing to track: give --video" in line
    assert names(cwd) == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--fps", "7", "heatmap", "--tracks", "t.txt"],
            "--fps: stands before heatmap, where it means nothing; write it",
        ),
        (["--set", "overlay.crf=3", "config"], "--set: stands before config"),
        (["--config", "nope.yaml", "config"], "--config: stands before config"),
        (["--quiet", "heatmap"], "--quiet: stands before heatmap, where it means nothing; heatmap has none"),
        (["--output", "foo", "eval"], "--output: stands before eval"),
        (
            ["-o", "foo", "fit"],
            "--output: stands before fit, where it means nothing; write it behind: track fit --output",
        ),
        (["eval", "--tracks", "t.txt"], "missing option '--truth'"),
        (["evall"], "no such command 'evall'. Did you mean 'eval'?"),
        (
            ["fit", "--detections", "d", "-o", "f.yaml", "--max-iterations", "0"],
            "--max-iterations: must be greater than",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_with_options_is_one_line(arguments: list[str], said: str, track: Track, cwd: Path) -> None:
    done = track(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {said}")


def test_flags_take_no_value_in_the_help(track: Track) -> None:
    for command in ([], ["eval"], ["live"]):
        assert "<bool>" not in track(*command, "--help").stdout


@pytest.mark.parametrize("command", [["config"], ["--version"], ["--help"]], ids=" ".join)
def test_output_that_cannot_be_written_is_one_line(command: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([TRACK, *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: standard output: cannot be written: no space left on device\n"


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([TRACK, "config"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_shells_can_complete(track: Track) -> None:
    asked = {"_TRACK_COMPLETE": "complete_bash", "COMP_WORDS": "track heat", "COMP_CWORD": "1"}
    assert track(env={**os.environ, **asked}).stdout.split() == ["heatmap"]


def test_detections_that_are_none_are_one_line(track: Track, cwd: Path) -> None:
    (cwd / "empty.txt").write_text("")
    done = track("--detections", "empty.txt")
    assert (done.returncode, done.stderr) == (2, "error: empty.txt: holds no row\n")


def test_the_version_is_told(track: Track) -> None:
    from importlib.metadata import version

    assert track("--version").stdout == f"gmm-tracker {version('gmm-tracker')}\n"


def test_the_printed_configuration_is_one_to_run_with(track: Track, cwd: Path) -> None:
    printed = track("config", "--set", "overlay.trail_s=4").stdout
    assert yaml.safe_load(printed)["overlay"]["trail_s"] == 4.0
    assert "# length of the fading trail in seconds; 0 for none" in printed
    (cwd / "mine.yaml").write_text(printed)
    assert track("config", "--config", "mine.yaml").stdout == printed


def test_tracks_are_scored(track: Track, cwd: Path, tmp_path: Path, recorded: Path) -> None:
    assert track("--detections", recorded, "--fps", "10", "--quiet").returncode == 0
    truth = tmp_path / "gt.txt"
    truth.write_text("".join(f"{n + 1},1,{2 * n},20,14,30,1,1,1\n" for n in range(FRAMES)))
    arguments = ["eval", "--truth", truth, "--tracks", cwd / "boxes-tracks" / "tracks.txt"]
    scores = json.loads(track(*arguments, "--json", "-").stdout)["combined"]
    assert (scores["HOTA"], scores["MOTA"], scores["IDF1"], scores["IDSW"]) == (100.0, 100.0, 100.0, 0)
    assert "HOTA" in track(*arguments).stdout
