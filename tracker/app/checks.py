"""What is told of inputs that can be used, but as a rule do not belong together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np

from tracker.config import Config, idle_keys
from tracker.formats.table import TrackTable
from tracker.media.sources import VideoSource
from tracker.structures import FloatArray

Notice: TypeAlias = Callable[[str], None]
"""Called with each line that the user should see."""

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with what is being done, how much of it is done, and of how much, None where that is not known."""

COUNT_SLACK_S = 1.0
"""What a video tells of its length beforehand may be an estimate."""
_SHARE_OUTSIDE = 0.1


def once(notice: Notice) -> Notice:
    """Return a function that passes each line on a single time."""
    told: set[str] = set()

    def tell(line: str) -> None:
        if line not in told:
            told.add(line)
            notice(line)

    return tell


def tell_idle_keys(config: Config, notice: Notice) -> None:
    """Tell where keys were changed that have no effect on what objects are followed by."""
    if idle := idle_keys(config):
        verb = "have" if len(idle) > 1 else "has"
        notice(f"tracking.observations is {config.tracking.observations}: {', '.join(idle)} {verb} no effect")


def tell_unknown_motion(source: str, motion: Mapping[int, FloatArray], frames: Collection[int], notice: Notice) -> None:
    """Tell where a camera's motion is given for some frames only; the first one needs none."""
    known = sum(frame in motion for frame in frames)
    if motion and known < len(frames) - 1:
        notice(
            f"camera motion: {source} tells of {known} of {len(frames)} frames; "
            "in the others the camera is taken to stand still"
        )


def tell_misfit(tracks: Path, table: TrackTable, video: Path, source: VideoSource, notice: Notice) -> None:
    """Tell where tracks and pictures do not look like one film: boxes outside the picture, frames after its end."""
    centres = table.boxes_ltwh[:, :2] + table.boxes_ltwh[:, 2:] / 2.0
    outside = ((centres < 0.0) | (centres > (source.width_px, source.height_px))).any(axis=1).sum() / max(len(table), 1)
    if outside > _SHARE_OUTSIDE:
        notice(
            f"{tracks}: {outside:.0%} of the boxes lie outside the {source.width_px}x{source.height_px} px of {video}; "
            "are these its tracks?"
        )
    last = int(np.max(table.frames, initial=0))
    if source.frame_count is not None and last > source.frame_count + COUNT_SLACK_S * source.frame_rate_hz:
        notice(
            f"{tracks}: goes to frame {last}, but {video} ends with frame {source.frame_count}; are these its tracks?"
        )
