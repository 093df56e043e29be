"""Drawn silhouettes: the foreground of scenes whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from tracker.structures import Detections, Foreground

HEIGHT, WIDTH = 140, 240
COLOURS = 3
Ellipse = tuple[float, float, float, float]
"""Centre x, centre y, width, height."""


def drawn(ellipses: Sequence[Ellipse], colours: Sequence[int] | None = None) -> Foreground:
    """Return every pixel inside at least one of the ellipses; connected ones are one silhouette.

    ``colours`` are those of the ellipses, of :data:`COLOURS`; the later ones are nearer.
    """
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    shown = np.zeros((HEIGHT, WIDTH), np.int64)
    for n, (centre_x, centre_y, width, height) in enumerate(ellipses):
        inside = ((x - centre_x) * 2 / width) ** 2 + ((y - centre_y) * 2 / height) ** 2 <= 1.0
        mask |= inside.astype(np.uint8)
        shown[inside] = 0 if colours is None else colours[n]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    rows, columns = np.nonzero(labels)
    boxes = stats[1:, :4].astype(float)
    boxes[:, 2:] += boxes[:, :2]
    points = np.column_stack([columns, rows]) + 0.5
    return Foreground(
        points,
        np.ones(len(points)),
        labels[rows, columns] - 1,
        Detections(boxes, [0.9] * len(boxes)),
        colours=None if colours is None else np.eye(COLOURS)[shown[rows, columns]],
    )
