"""Results of other libraries become detections."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
import supervision

from tracker.detection.adapters import (
    from_kitti,
    from_motchallenge,
    from_supervision,
    from_torchvision,
    from_ultralytics,
)
from tracker.formats.kitti import CLASSES
from tracker.structures import Detections

BOXES = np.array([[10.0, 20.0, 30.0, 60.0], [1.5, 2.5, 4.0, 8.0]])


class Tensor:
    """What of ``torch.Tensor`` matters here: an array only on the processor and without a gradient."""

    def __init__(self, values: Any, dtype: type = np.float32, device: str = "cuda", requires_grad: bool = True) -> None:
        self._values, self._device, self._requires_grad = np.array(values, dtype), device, requires_grad

    def _like(self, **changes: Any) -> Self:
        now = {"dtype": self._values.dtype, "device": self._device, "requires_grad": self._requires_grad}
        return type(self)(self._values, **{**now, **changes})

    def detach(self) -> Self:
        return self._like(requires_grad=False)

    def cpu(self) -> Self:
        return self._like(device="cpu")

    def numpy(self) -> np.ndarray:
        if self._device != "cpu":
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if self._requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad")
        return self._values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.numpy(), dtype)


def ultralytics_results(boxes: Any, conf: Any, cls: Any, kind: Any = Tensor) -> SimpleNamespace:
    """Return what of Ultralytics' ``Results`` (8.x) matters: its ``boxes``, whose parts are all float32."""
    parts = SimpleNamespace(xyxy=kind(boxes), conf=kind(conf), cls=kind(cls))
    return SimpleNamespace(boxes=parts, names={0: "person", 2: "car"})


def same(found: Detections, scores: list[float], classes: list[int], boxes: np.ndarray = BOXES) -> None:
    assert isinstance(found, Detections)
    np.testing.assert_array_equal(found.boxes_xyxy, boxes)
    assert found.scores == pytest.approx(scores, abs=1e-7)
    assert found.classes.tolist() == classes


@pytest.mark.parametrize("kind", [Tensor, np.array], ids=["tensors", "after result.numpy()"])
def test_ultralytics(kind: Any) -> None:
    same(from_ultralytics(ultralytics_results(BOXES, [0.75, 0.5], [2.0, 0.0], kind)), [0.75, 0.5], [2, 0])
    assert len(from_ultralytics(ultralytics_results(np.empty((0, 4)), [], [], kind))) == 0


def test_ultralytics_without_boxes() -> None:
    results = [ultralytics_results(BOXES, [0.75, 0.5], [2.0, 0.0])]
    with pytest.raises(TypeError, match=r"a list has no boxes; what is needed is one Results"):
        from_ultralytics(results)
    with pytest.raises(TypeError, match="has no boxes"):
        from_ultralytics(SimpleNamespace(boxes=None, probs=Tensor([1.0])))


def test_supervision() -> None:
    full = supervision.Detections(BOXES, confidence=np.array([0.75, 0.5]), class_id=np.array([2, 0]))
    same(from_supervision(full), [0.75, 0.5], [2, 0])
    same(from_supervision(supervision.Detections(BOXES)), [1.0, 1.0], [0, 0])
    assert len(from_supervision(supervision.Detections.empty())) == 0
    with pytest.raises(TypeError, match="a ndarray has no xyxy"):
        from_supervision(BOXES)


def test_ultralytics_as_supervision_reads_it() -> None:
    results = ultralytics_results(BOXES, [0.75, 0.5], [2.0, 0.0], lambda values: Tensor(values, device="cpu").detach())
    results.obb, results.masks, results.boxes.id = None, None, None
    theirs = supervision.Detections.from_ultralytics(results)
    ours = from_ultralytics(results)
    same(from_supervision(theirs), ours.scores.tolist(), ours.classes.tolist(), ours.boxes_xyxy)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_torchvision(device: str) -> None:
    output = {
        "boxes": Tensor(BOXES, device=device),
        "labels": Tensor([3, 1], np.int64, device, requires_grad=False),
        "scores": Tensor([0.75, 0.5], device=device),
    }
    same(from_torchvision(output), [0.75, 0.5], [3, 1])


def test_torchvision_style_arrays_and_lists() -> None:
    same(from_torchvision({"boxes": BOXES.tolist(), "scores": [0.75, 0.5], "labels": [3, 1]}), [0.75, 0.5], [3, 1])
    same(from_torchvision({"boxes": BOXES}), [1.0, 1.0], [0, 0])
    assert len(from_torchvision({"boxes": [], "scores": [], "labels": []})) == 0
    with pytest.raises(TypeError, match="a list has no key boxes; what is needed is the dict of one picture"):
        from_torchvision([{"boxes": BOXES}])


def test_boxes_clipped_to_nothing_are_left_out_with_their_scores_and_labels() -> None:
    boxes = np.vstack([[5, 5, 5, 9], BOXES[0], [5, 9, 8, 9], BOXES[1]])
    found = from_torchvision({"boxes": boxes, "scores": [0.1, 0.75, 0.2, 0.5], "labels": [9, 3, 8, 1]})
    same(found, [0.75, 0.5], [3, 1])


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_boxes_that_are_not_numbers_are_refused(broken: float) -> None:
    boxes = BOXES.copy()
    for column in range(4):
        boxes[1] = BOXES[1]
        boxes[1, column] = broken
        with pytest.raises(ValueError, match="boxes_xyxy row 1"):
            from_torchvision({"boxes": boxes})


def test_classes_between_whole_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"classes row 1 is 0\.5; a class is a whole number"):
        from_ultralytics(ultralytics_results(BOXES, [0.75, 0.5], [2.0, 0.5]))


def test_what_is_handed_over_may_be_filled_again() -> None:
    boxes = BOXES.copy()
    found = from_torchvision({"boxes": boxes})
    boxes[:] = 0.0
    np.testing.assert_array_equal(found.boxes_xyxy, BOXES)


def test_adapters_import_none_of_the_libraries() -> None:
    code = "import sys, tracker.detection.adapters; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"ultralytics", "supervision", "torch", "torchvision", "cv2"} & set(done.stdout.split())


def test_scores_of_files_may_be_of_another_scale(tmp_path: Path) -> None:
    kitti, mot = tmp_path / "kitti.txt", tmp_path / "mot.txt"
    kitti.write_text("4 -1 Car -1 -1 -10 10 20 30 60 -1 -1 -1 -1000 -1000 -1000 -10 25\n")
    mot.write_text("5,-1,10,20,20,40,0\n")
    assert from_kitti(kitti, "percent")[5].scores.tolist() == [0.25]
    assert from_motchallenge(mot, "logit")[5].scores.tolist() == [0.5]


def test_files_by_frame(tmp_path: Path) -> None:
    kitti, mot = tmp_path / "kitti.txt", tmp_path / "mot.txt"
    kitti.write_text("4 -1 Car -1 -1 -10 10 20 30 60 -1 -1 -1 -1000 -1000 -1000 -10 0.25\n")
    mot.write_text("5,-1,10,20,20,40,0.25,3,-1,-1\n")
    for found in (from_kitti(kitti), from_motchallenge(str(mot))):
        assert list(found) == [5]
        same(found[5], [0.25], [CLASSES["Car"]], BOXES[:1])
