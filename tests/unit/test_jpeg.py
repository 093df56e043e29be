"""Pictures for the wire."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tracker.media.jpeg import encode_jpeg
from tracker.structures import Image


def decoded(data: bytes) -> Image:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image  # type: ignore[return-value]


def test_a_picture_comes_back_in_its_colours() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30] = (200, 40, 20)  # blue
    image[:, 30:] = (20, 40, 200)  # red
    got = decoded(encode_jpeg(image)).astype(int)
    assert got.shape == image.shape
    assert np.abs(got[:, :24] - image[:, :24]).max() <= 6
    assert np.abs(got[:, 36:] - image[:, 36:]).max() <= 6


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 50), (100, 50)),
        ((101, 50), (100, 50)),
        ((400, 200), (100, 50)),
        ((200, 400), (50, 100)),
        ((3000, 1), (100, 1)),
    ],
)
def test_no_side_is_longer_than_asked_for(size: tuple[int, int], expected: tuple[int, int]) -> None:
    width, height = size
    data = encode_jpeg(np.full((height, width, 3), 90, np.uint8), longest_side_px=100)
    assert decoded(data).shape == (expected[1], expected[0], 3)


def test_less_quality_takes_fewer_bytes() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    assert len(encode_jpeg(noise, quality=30)) < len(encode_jpeg(noise, quality=80))
