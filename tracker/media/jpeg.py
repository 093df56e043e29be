"""Pictures for the wire."""

from __future__ import annotations

import cv2

from tracker.structures import Image


def encode_jpeg(image: Image, *, longest_side_px: int = 1280, quality: int = 80) -> bytes:
    """Return the picture as JPEG, made smaller where a side is longer than ``longest_side_px``.

    Parameters
    ----------
    image
        (height, width, 3) uint8, blue-green-red.
    longest_side_px
        Neither side of the result is longer; its proportions are those of ``image``, to the pixel.
    quality
        1 to 100, as libjpeg counts.
    """
    height, width = image.shape[:2]
    scale = longest_side_px / max(height, width)
    if scale < 1.0:
        size = (max(1, round(scale * width)), max(1, round(scale * height)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()
