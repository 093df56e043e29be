"""H.264 that plays anywhere: what the finished overlay video and the live recording have in common."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tracker.structures import Image

ENCODER: Final = "libx264"
TICKS_PER_S = 90_000
_TIME_BASE = Fraction(1, TICKS_PER_S)
_BT709 = 1  # AVCOL_SPC_BT709, AVCOL_PRI_BT709, AVCOL_TRC_BT709 and SWS_CS_ITU709 alike
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG
_ACCURATE_BILINEAR = 0x40002  # SWS_BILINEAR | SWS_ACCURATE_RND; without the latter all colours lose 2 levels


class Ticks:
    """Times of pictures as the stream counts them: from 0 at the first, always increasing."""

    __slots__ = ("_last", "_start_s")

    def __init__(self) -> None:
        self._start_s: float | None = None
        self._last = -1

    def of(self, time_s: float) -> int:
        """Return the ticks of the next picture; a time that does not increase by 1/90000 s is made to."""
        if self._start_s is None:
            self._start_s = time_s
        self._last = max(round((time_s - self._start_s) * TICKS_PER_S), self._last + 1)
        return self._last


def describe(stream: VideoStream, width_px: int, height_px: int) -> None:
    """Tell a stream the size (odd sides made even), the time base and the colours of its pictures."""
    stream.width, stream.height = width_px + width_px % 2, height_px + height_px % 2
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = _TIME_BASE
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED_RANGE


def picture_of(image: Image, ticks: int) -> VideoFrame:
    """Return an image (height, width, 3), blue-green-red, as the encoder takes it: odd sides repeat their last line."""
    height_px, width_px = image.shape[:2]
    if width_px % 2 or height_px % 2:
        image = np.pad(image, ((0, height_px % 2), (0, width_px % 2), (0, 0)), mode="edge")
    picture = VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), "bgr24").reformat(
        format="yuv420p",
        dst_colorspace=_BT709,
        dst_color_range=_LIMITED_RANGE,
        interpolation=_ACCURATE_BILINEAR,
    )
    picture.pts, picture.time_base = ticks, _TIME_BASE
    return picture
