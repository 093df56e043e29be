"""Which recordings are learned from: found however they lie, at their own rate, refused where they cannot teach."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulated import RATE_HZ, Truth, simulate
from tracker import Config, Detections, load_config
from tracker.app.fitting.recordings import Recording, find_recordings
from tracker.errors import ConfigurationError, FormatError
from tracker.geometry import xyxy_to_ltwh


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return [Recording(f"{seed}", RATE_HZ, simulate(Truth(), seed)) for seed in (1, 2)]


def write_sequence(folder: Path, frames: tuple[Detections, ...], rate_hz: float | None = RATE_HZ) -> None:
    (folder / "det").mkdir(parents=True)
    rows = [
        f"{n},-1,{','.join(map(str, box))},{score}\n"
        for n, d in enumerate(frames, 1)
        for box, score in zip(xyxy_to_ltwh(d.boxes_xyxy).tolist(), d.scores.tolist(), strict=True)
    ]
    (folder / "det" / "det.txt").write_text("".join(rows))
    if rate_hz is not None:
        (folder / "seqinfo.ini").write_text(f"[Sequence]\nframeRate={rate_hz:g}\nseqLength={len(frames) + 5}\n")


def test_sequences_are_found_however_they_lie(tmp_path: Path, recordings) -> None:
    for name in ("set/b", "set/a"):
        write_sequence(tmp_path / name, recordings[0].frames[:60])

    def found(path: Path) -> dict[str, tuple[float, int]]:
        one = find_recordings(path, None, frame_rate_hz=None, config=Config())
        return {r.name: (r.frame_rate_hz, len(r.frames)) for r in one}

    assert found(tmp_path / "set" / "a" / "det" / "det.txt") == {"a": (RATE_HZ, 65)}
    assert found(tmp_path / "set" / "a") == {"a": (RATE_HZ, 65)}
    assert found(tmp_path / "set") == {"a": (RATE_HZ, 65), "b": (RATE_HZ, 65)}
    assert found(tmp_path) == {"set/a": (RATE_HZ, 65), "set/b": (RATE_HZ, 65)}


def test_an_unknown_rate_is_said(tmp_path: Path, recordings) -> None:
    write_sequence(tmp_path / "a", recordings[0].frames[:60], None)
    said: list[str] = []
    one = find_recordings(tmp_path / "a", None, frame_rate_hz=None, config=Config(), notice=said.append)
    assert one[0].frame_rate_hz == 30.0
    assert len(said) == 1
    assert "30 Hz (tracking.frame_rate_hz) is assumed" in said[0]


def test_the_rate_of_the_run_that_wrote_the_detections_counts(tmp_path: Path, recordings) -> None:
    write_sequence(tmp_path / "a", recordings[0].frames[:60])
    (tmp_path / "a" / "det" / "run.yaml").write_text(
        "{program: gmm-tracker, input: {frame_rate_hz: 12.5}, files: {}}\n"
    )
    said: list[str] = []
    one = find_recordings(tmp_path / "a", None, frame_rate_hz=None, config=Config(), notice=said.append)
    assert one[0].frame_rate_hz == 12.5
    assert len(said) == 1
    assert "run.yaml says 12.5 Hz" in said[0]


def test_what_cannot_teach_is_refused(tmp_path: Path, recordings) -> None:
    def refused(path: Path, truth: Path | None, message: str) -> None:
        with pytest.raises(FormatError, match=message):
            find_recordings(path, truth, frame_rate_hz=None, config=Config())

    refused(tmp_path / "none", None, "is neither a file nor a folder")
    refused(tmp_path, None, "holds no detections")
    write_sequence(tmp_path / "short", recordings[0].frames[:20])
    refused(tmp_path / "short", None, "has 25 frames with .* nothing to learn from fewer than 50 frames")
    write_sequence(tmp_path / "long", recordings[0].frames[:60])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.txt").write_text("1,1,10,10,20,40,1\n")
    (tmp_path / "other" / "y.txt").write_text("1,1,10,10,20,40,1\n")
    refused(tmp_path / "long", tmp_path / "other", "has no truth for long")
    hard = load_config(overrides=["tracking.association.responsibilities=assignment"])
    with pytest.raises(ConfigurationError, match="only exclusive ones have a likelihood"):
        find_recordings(tmp_path / "long", None, frame_rate_hz=None, config=hard)


def test_an_empty_sequence_among_others_teaches_nothing(tmp_path: Path, recordings) -> None:
    write_sequence(tmp_path / "full", recordings[0].frames[:60])
    write_sequence(tmp_path / "empty", (), None)
    found = find_recordings(tmp_path, None, frame_rate_hz=None, config=Config())
    assert [r.name for r in found] == ["full"]
