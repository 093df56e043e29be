"""Recordings drawn from the tracker's own model, with known numbers, and plain scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracker import Config, Detections, load_config
from tracker.formats.table import TrackTable
from tracker.geometry import xyxy_to_ltwh

RATE_HZ = 25.0
REACH = np.array([1.5, 1.5, 0.7, 0.7])
"""Half the sides, in units of g, of the box space around each object that holds clutter."""


@dataclass(frozen=True)
class Truth:
    """The numbers of the model; log odds of scores are normal with deviation 1, so that their ratio is a power."""

    measurement: tuple[float, ...] = (0.05, 0.03, 0.04, 0.02)
    process: tuple[float, ...] = (0.03, 0.015, 0.002, 0.002)
    detected: float = 0.85
    clutter_density: float = 0.02
    object_logit: float = 1.6
    clutter_logit: float = 0.1

    @property
    def score_weight(self) -> float:
        return self.object_logit - self.clutter_logit

    @property
    def score_neutral(self) -> float:
        return float(1.0 / (1.0 + np.exp(-(self.object_logit + self.clutter_logit) / 2.0)))


def exact_model(*overrides: str) -> Config:
    """Return a configuration under which the tracker's model is the one that is simulated here.

    Tails are all but normal, and nothing is damped, adapted, hidden or preferred.
    """
    exact = [
        "motion.size_damping=1",
        "motion.coasting_damping=1",
        "motion.coasting_position_noise=1",
        "motion.coasting_size_noise=1",
        "association.degrees_of_freedom=[100, 100, 100, 100]",
        "association.coordinate_weight=[1, 1, 1, 1]",
        "association.detection_decay=1",
        "association.direction=0",
        "association.hiding=0",
        "association.score_floor=0",
        "adaptation.measurement_rate=0",
        "adaptation.process_rate=0",
        "adaptation.object_rate=0",
        "adaptation.inflation=false",
        "refinement.common_motion=false",
    ]
    return load_config(overrides=[f"tracking.{item}" for item in (*exact, *overrides)])


def simulate(truth: Truth, seed: int, objects: int = 8, frames: int = 400) -> tuple[Detections, ...]:
    """Return the detections of objects that are far apart, each in a cloud of clutter, by frame."""
    rng = np.random.default_rng(seed)
    size = 50.0
    mean = np.column_stack([2000.0 * np.arange(objects), np.full(objects, 5000.0), np.full((objects, 2), size)])
    velocity = rng.normal(0.0, 0.05 * size, (objects, 4)) * [1.0, 1.0, 0.0, 0.0]
    film = []
    for _ in range(frames):
        g = np.sqrt(mean[:, 2] * mean[:, 3])[:, None]
        # Sizes are pulled back to the first, weakly against their noise, or they would wander off in the long run.
        kick = rng.normal(0.0, truth.process, (objects, 4)) * g - [0, 0, 0.05, 0.05] * velocity
        kick -= [0, 0, 0.002, 0.002] * (mean - size)
        mean = mean + velocity + kick / 2.0
        velocity = velocity + kick
        seen = rng.random(objects) < truth.detected
        boxes = (mean + rng.normal(0.0, truth.measurement, (objects, 4)) * g)[seen]
        owner = np.repeat(np.arange(objects), rng.poisson(truth.clutter_density * (2.0 * REACH).prod(), objects))
        clutter = mean[owner] + rng.uniform(-REACH, REACH, (len(owner), 4)) * g[owner]
        logits = np.concatenate(
            [rng.normal(truth.object_logit, 1.0, len(boxes)), rng.normal(truth.clutter_logit, 1.0, len(clutter))]
        )
        x, bottom, width, height = np.concatenate([boxes, clutter]).T
        xyxy = np.column_stack([x - width / 2.0, bottom - height, x + width / 2.0, bottom])
        film.append(Detections(xyxy, 1.0 / (1.0 + np.exp(-logits))))
    return tuple(film)


def lone_walker(frames: int = 60) -> tuple[Detections, ...]:
    """Return an object that walks at an even pace, with a little noise."""
    rng = np.random.default_rng(5)
    x = 100.0 + 2.0 * np.arange(frames) + rng.normal(0.0, 0.5, frames)
    return tuple(Detections([[left, 100.0, left + 30.0, 180.0]], [0.9]) for left in x)


def labelled_scene() -> tuple[tuple[Detections, ...], TrackTable]:
    """Return objects of score .9 every frame, a false detection of score .3 beside each, and a missed one."""
    frames, rows = [], []
    for n in range(1, 41):
        box = np.array([100.0 + n, 100.0, 140.0 + n, 200.0])
        false = box + np.array([20.0, 40.0, 20.0, 40.0])
        frames.append(Detections([box, false], [0.9, 0.3]))
        rows += [(n, 1, *xyxy_to_ltwh(box[None])[0]), (n, 2, 900.0, 100.0, 40.0, 100.0)]
    table = np.array(rows)
    return tuple(frames), TrackTable(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:])
