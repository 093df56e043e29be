"""Multi-object video tracking with a Gaussian mixture carried through time.

The public names are loaded when first used, so that ``import tracker`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracker.app.live import track_live
    from tracker.app.pipeline import track_video
    from tracker.config import Config, load_config
    from tracker.errors import TrackerError
    from tracker.structures import Detections, Foreground, Frame, Status, Tracks
    from tracker.tracking.forecast import Forecaster, forecast
    from tracker.tracking.online import Tracker
    from tracker.tracking.pixels import PixelTracker

__all__ = [
    "Config",
    "Detections",
    "Forecaster",
    "Foreground",
    "Frame",
    "PixelTracker",
    "Status",
    "Tracker",
    "TrackerError",
    "Tracks",
    "__version__",
    "forecast",
    "load_config",
    "track_live",
    "track_video",
]

_HOMES = {
    "Config": "tracker.config",
    "Detections": "tracker.structures",
    "Forecaster": "tracker.tracking.forecast",
    "Foreground": "tracker.structures",
    "Frame": "tracker.structures",
    "PixelTracker": "tracker.tracking.pixels",
    "Status": "tracker.structures",
    "Tracker": "tracker.tracking.online",
    "TrackerError": "tracker.errors",
    "Tracks": "tracker.structures",
    "forecast": "tracker.tracking.forecast",
    "load_config": "tracker.config",
    "track_live": "tracker.app.live",
    "track_video": "tracker.app.pipeline",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("gmm-tracker")
    if name in _HOMES:
        from importlib import import_module

        value: object = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
