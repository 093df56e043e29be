"""The sample clip: its maker is deterministic, its truth exact, its scene as hard as promised."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
NAMES = ("plaza.mp4", "plaza-truth.txt", "plaza-detections.txt", "seqinfo.ini")


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_sample_video", ROOT / "tools" / "make_sample_video.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shipped_truth() -> np.ndarray:
    return np.loadtxt(ROOT / "videos" / "plaza-truth.txt", delimiter=",")


def test_the_seed_decides_every_picture_and_every_row(maker: ModuleType, tmp_path: Path) -> None:
    """The clip's own bytes are not compared: x264 may choose differently for the same pictures."""
    camera = maker.Camera(192, 108)
    films, folders = [], [tmp_path / name for name in ("first", "again", "other")]
    for folder, seed in zip(folders, (5, 5, 6), strict=True):
        folder.mkdir()
        maker.write_clip(folder, seed, camera, frames=6, people=5)
        films.append(np.stack([image for image, _ in maker.make_frames(seed, camera, 6, 5)]))
    np.testing.assert_array_equal(films[0], films[1])
    assert (films[0] != films[2]).any()
    for name in NAMES[1:]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    for name in NAMES[1:3]:
        assert (folders[0] / name).read_bytes() != (folders[2] / name).read_bytes()


def test_truth_is_the_silhouette(maker: ModuleType) -> None:
    """A figure drawn half out of the picture and half covered: box cut at the edge, a quarter visible."""
    owner = np.zeros((50, 60), np.int64)
    image = np.zeros((50, 60, 3), np.uint8)
    person = np.full((20, 10, 4), 255, np.uint8)
    maker.paste(image, owner, person, (-5, 10), 7)
    maker.paste(image, owner, np.full((10, 30, 4), 255, np.uint8), (0, 20), 0)
    assert maker.truth_row(owner, person, (-5, 10), 7) == [7, 0, 10, 5, 20, 0.25]
    assert maker.truth_row(owner, person, (-9, 10), 7) is None


def test_counts_on_hand_made_truth(maker: ModuleType) -> None:
    def rows(label: int, left: np.ndarray, visibility: np.ndarray) -> np.ndarray:
        n = len(left)
        box = np.column_stack([left, np.full((n, 3), [5.0, 10.0, 20.0])])
        return np.column_stack([np.arange(1, n + 1), np.full(n, label), box, np.ones((n, 2)), visibility])

    frames = np.arange(40.0)
    hidden_13, hidden_12 = np.ones(40), np.ones(40)
    hidden_13[5:18] = 0
    hidden_12[5:17] = 0
    walker, stander = rows(1, 2 * frames, hidden_13), rows(2, np.full(40, 40.0), hidden_12)
    assert maker.full_occlusions(np.concatenate([walker, stander])) == 1
    assert maker.crossings(np.concatenate([walker, stander])) == 1
    turns_back = rows(1, 40 - np.abs(frames - 20) - 5, np.ones(40))
    assert maker.crossings(np.concatenate([turns_back, stander])) == 0


def test_shipped_scene_is_hard_enough(maker: ModuleType, shipped_truth: np.ndarray) -> None:
    assert maker.full_occlusions(shipped_truth) >= 8
    assert maker.crossings(shipped_truth) >= 20
    assert len(np.unique(shipped_truth[:, 1])) >= 12


def test_shipped_truth_is_well_formed(shipped_truth: np.ndarray) -> None:
    left, top, width, height = shipped_truth[:, 2:6].T
    assert len(np.unique(shipped_truth[:, :2], axis=0)) == len(shipped_truth)
    assert set(shipped_truth[:, 0]) == set(range(1, 501))
    assert min(left.min(), top.min()) >= 0
    assert (left + width).max() <= 960
    assert (top + height).max() <= 540
    assert min(width.min(), height.min()) >= 1
    assert ((shipped_truth[:, 8] >= 0) & (shipped_truth[:, 8] <= 1)).all()


def test_shipped_files_are_small_and_agree() -> None:
    import av

    sizes = {name: (ROOT / "videos" / name).stat().st_size for name in NAMES}
    assert sizes["plaza.mp4"] < 3_000_000
    assert max(sizes["plaza-truth.txt"], sizes["plaza-detections.txt"]) < 300_000
    with av.open(str(ROOT / "videos" / "plaza.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.frames, stream.average_rate) == (500, 25)
        assert (stream.width, stream.height) == (960, 540)
    info = (ROOT / "videos" / "seqinfo.ini").read_text(encoding="utf-8")
    assert "frameRate=25\nseqLength=500\nimWidth=960\nimHeight=540\n" in info


def test_simulated_detector_is_imperfect_in_the_ways_promised(shipped_truth: np.ndarray) -> None:
    from tracker.geometry import intersection_over_union

    detections = np.loadtxt(ROOT / "videos" / "plaza-detections.txt", delimiter=",")
    found, hidden_found, false_alarms = 0, 0, 0
    for frame in range(1, 501):
        truth = shipped_truth[shipped_truth[:, 0] == frame]
        seen = detections[detections[:, 0] == frame]
        overlap = intersection_over_union(truth[:, 2:6], seen[:, 2:6])
        found += int((overlap.max(axis=1, initial=0) > 0.5).sum())
        hidden_found += int((overlap[truth[:, 8] == 0].max(axis=1, initial=0) > 0.9).sum())
        false_alarms += int((overlap.max(axis=0, initial=0) < 0.1).sum())
    assert 0.7 < found / len(shipped_truth) < 0.95
    assert hidden_found < 20
    assert 50 < false_alarms < 400
    assert ((detections[:, 6] > 0) & (detections[:, 6] < 1)).all()
