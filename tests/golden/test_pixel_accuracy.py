"""Pixels against boxes on real and rendered pictures: fewer identity switches, higher IDF1 and HOTA."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracker import load_config
from tracker.app.inputs import Job
from tracker.app.pipeline import run
from tracker.evaluation.scores import Scores
from tracker.evaluation.sequences import evaluate_paths

VIDEOS = Path(__file__).parents[2] / "videos"


def scored(video: Path, truth: Path, observations: str, folder: Path, start: int) -> Scores:
    config = load_config(overrides=[f"tracking.observations={observations}"])
    run(Job(config=config, video=video, start=start), folder, overlay=False)
    rows = [line for line in truth.read_text().splitlines(keepends=True) if int(line.split(",")[0]) >= start]
    (folder / "truth.txt").write_text("".join(rows))
    (evaluation,) = evaluate_paths(folder / "truth.txt", folder / "tracks.txt").values()
    return evaluation.scores


def compare(video: Path, truth: Path, folder: Path, starts: tuple[int, ...]) -> None:
    """Compare the means over several starts of the clip, since single events decide much on clips so short."""
    boxes, pixels = (
        [scored(video, truth, kind, folder / f"{kind}{start}", start) for start in starts]
        for kind in ("boxes", "pixels")
    )
    assert sum(s.id_switches for s in pixels) < sum(s.id_switches for s in boxes)
    assert sum(s.idf1 for s in pixels) > sum(s.idf1 for s in boxes)
    assert sum(s.hota for s in pixels) > sum(s.hota for s in boxes)


def test_pixels_keep_identities_better_on_the_plaza(tmp_path: Path) -> None:
    compare(VIDEOS / "plaza.mp4", VIDEOS / "plaza-truth.txt", tmp_path, (1, 41))


def test_pixels_keep_identities_better_on_vtest(tmp_path: Path, data_root: Path) -> None:
    video, truth = data_root / "videos" / "vtest.avi", data_root / "MOT15" / "PETS09-S2L1" / "gt" / "gt.txt"
    for path in (video, truth):
        if not path.is_file():
            pytest.skip(f"{path.name} is not at hand")
    compare(video, truth, tmp_path, (1,))
