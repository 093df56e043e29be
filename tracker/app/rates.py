"""The frame rate of recordings that tell none."""

from __future__ import annotations

from collections.abc import Callable

from tracker.config import Config


def assumed_rate_hz(config: Config, notice: Callable[[str], None]) -> float:
    """Return ``tracking.frame_rate_hz``, and tell the user that nothing better is known."""
    rate_hz = config.tracking.frame_rate_hz
    notice(f"frame rate: not known; {rate_hz:g} Hz (tracking.frame_rate_hz) is assumed, --fps gives it")
    return rate_hz
