"""Points to fit mixtures to."""

from __future__ import annotations

import numpy as np

from tracker.structures import FloatArray


def blobs(n: int, seed: int = 0) -> FloatArray:
    """Return (n, 2) points of three Gaussians that are correlated and apart."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [5.0, 1.0], [2.0, 6.0]])
    return centres[rng.integers(3, size=n)] + rng.normal(size=(n, 2)) @ np.array([[1.0, 0.4], [0.0, 0.7]])
