"""Pixels against boxes on real and rendered pictures: fewer identity switches, higher IDF1 and HOTA."""

from __future__ import annotations

from pathlib import Path

import pytest

VIDEOS = Path(__file__).parents[2] / "videos"


@pytest.fixture
def compare(monkeypatch):
    """Compare films from several starts."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    from pixel_benchmark import OBSERVATIONS, scored

    def compare(video: Path, truth: Path, starts: tuple[int, ...]) -> None:
        boxes, pixels = ([scored(video, truth, kind, start) for start in starts] for kind in OBSERVATIONS)
        for of_boxes, of_pixels in zip(boxes, pixels, strict=True):
            assert of_pixels.id_switches < of_boxes.id_switches
            assert of_pixels.idf1 > of_boxes.idf1
            assert of_pixels.hota > of_boxes.hota

    return compare


def test_pixels_keep_identities_better_on_the_plaza(compare) -> None:
    compare(VIDEOS / "plaza.mp4", VIDEOS / "plaza-truth.txt", (1, 41))


def test_pixels_keep_identities_better_on_vtest(compare, data_root: Path) -> None:
    video, truth = data_root / "videos" / "vtest.avi", data_root / "MOT15" / "PETS09-S2L1" / "gt" / "gt.txt"
    for path in (video, truth):
        if not path.is_file():
            pytest.skip(f"{path.name} is not at hand")
    compare(video, truth, (1,))
