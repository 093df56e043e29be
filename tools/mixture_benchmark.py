"""Measure the mixture's estimator: a cold fit, a warm one of the next frame, and scikit-learn's beside them.

    python tools/mixture_benchmark.py [--points N] [--dimensions D] [--components K] [--frames T] [--drift SD]
                                       [--redrawn SHARE]

Points belong to Gaussians that move from frame to frame by ``--drift`` of their standard deviation; ``--redrawn`` is
the share of points that are others in each frame, as the pixels of an object are in part. A warm fit takes one step
where the frames differ by less than the tolerance, two or three where they differ by more.
Every fit is to the default tolerance, the cold ones from k-means++ with one start; of the warm ones and of those of
scikit-learn the frames are the same. Times are of the processor, all threads, medians over the frames; the first fit,
the best of three starts, does not count.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import sklearn.mixture
from rich.console import Console
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning

from tracker.mixture import GaussianMixture
from tracker.mixture.statistics import COVARIANCE_TYPES
from tracker.structures import FloatArray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000, metavar="N")
    parser.add_argument("--dimensions", type=int, default=4, metavar="D")
    parser.add_argument("--components", type=int, default=20, metavar="K")
    parser.add_argument("--frames", type=int, default=5, metavar="T")
    parser.add_argument("--drift", type=float, default=0.02, metavar="SD")
    parser.add_argument("--redrawn", type=float, default=0.1, metavar="SHARE")
    arguments = parser.parse_args()
    N, D, K = arguments.points, arguments.dimensions, arguments.components
    data = list(frames(N, D, K, arguments.frames + 1, arguments.drift, arguments.redrawn))
    table = Table(title=f"{N} x {D}, K = {K}: ms of the processor (iterations)")
    for column in ("covariances", "cold", "warm", "ratio", "scikit-learn cold", "warm", "ratio"):
        table.add_column(column, justify="right", no_wrap=True)
    warnings.simplefilter("ignore", ConvergenceWarning)
    for kind in COVARIANCE_TYPES:

        def ours(warm: bool, seed: int, kind: str = kind) -> GaussianMixture:
            return GaussianMixture(K, kind, random_state=seed, warm_start=warm)  # type: ignore[arg-type]

        def theirs(warm: bool, seed: int, kind: str = kind) -> sklearn.mixture.GaussianMixture:
            return sklearn.mixture.GaussianMixture(
                K, covariance_type=kind, init_params="k-means++", random_state=seed, warm_start=warm
            )

        (cold, warm), (their_cold, their_warm) = (measure(make, data) for make in (ours, theirs))
        row = (text(cold), text(warm), ratio(cold, warm), text(their_cold), text(their_warm))
        table.add_row(kind, *row, ratio(their_cold, their_warm))
    Console(width=max(Console().width, 110)).print(table)


def frames(N: int, D: int, K: int, count: int, drift: float, redrawn: float) -> list[FloatArray]:
    """Return the points of consecutive frames, (N, D) each."""
    rng = np.random.default_rng(7)
    means, factors = rng.uniform(-8.0, 8.0, (K, D)), rng.normal(0.0, 0.5, (K, D, D)) + np.eye(D)
    velocity = rng.normal(size=(K, D))
    velocity /= np.linalg.norm(velocity, axis=1, keepdims=True)
    result = []
    label, noise = rng.integers(K, size=N), rng.normal(size=(N, D))
    for frame in range(count):
        other = rng.random(N) < redrawn
        label[other], noise[other] = rng.integers(K, size=other.sum()), rng.normal(size=(other.sum(), D))
        z = noise + frame * drift * velocity[label]
        result.append(means[label] + np.einsum("nij,nj->ni", factors[label], z))
    return result


def measure(make: Callable[[bool, int], object], data: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Return median time and iterations of cold fits and of warm ones."""
    following = make(True, 0)
    following.n_init = 3  # type: ignore[attr-defined]
    fit(following, data[0])
    cold, warm = [], []
    for seed, points in enumerate(data[1:]):
        cold.append(fit(make(False, seed), points))
        warm.append(fit(following, points))
    return np.median(cold, axis=0), np.median(warm, axis=0)


def fit(estimator: object, points: FloatArray) -> tuple[float, int]:
    began_s = time.process_time()
    estimator.fit(points)  # type: ignore[attr-defined]
    return time.process_time() - began_s, estimator.n_iter_  # type: ignore[attr-defined]


def text(measured: FloatArray) -> str:
    return f"{1e3 * measured[0]:.0f} ({measured[1]:.0f})"


def ratio(cold: FloatArray, warm: FloatArray) -> str:
    return f"{cold[0] / warm[0]:.1f}"


if __name__ == "__main__":
    main()
