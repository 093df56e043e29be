"""The statistics of mixtures: no boxes, no video, no time.

The public names are loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracker.mixture.estimator import GaussianMixture
    from tracker.mixture.gaussian import Mixture
    from tracker.mixture.prior import Prior

__all__ = ["GaussianMixture", "Mixture", "Prior"]

_HOMES = {
    "GaussianMixture": "tracker.mixture.estimator",
    "Mixture": "tracker.mixture.gaussian",
    "Prior": "tracker.mixture.prior",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        from importlib import import_module

        value: object = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
