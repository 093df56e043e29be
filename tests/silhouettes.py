"""Drawn silhouettes: the foreground of scenes whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from tracker.structures import Detections, Foreground

HEIGHT, WIDTH = 140, 240
Ellipse = tuple[float, float, float, float]
"""Centre x, centre y, width, height."""


def drawn(ellipses: Sequence[Ellipse]) -> Foreground:
    """Return every pixel inside at least one of the ellipses; connected ones are one silhouette."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for centre_x, centre_y, width, height in ellipses:
        mask |= (((x - centre_x) * 2 / width) ** 2 + ((y - centre_y) * 2 / height) ** 2 <= 1.0).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    rows, columns = np.nonzero(labels)
    boxes = stats[1:, :4].astype(float)
    boxes[:, 2:] += boxes[:, :2]
    points = np.column_stack([columns, rows]) + 0.5
    return Foreground(points, np.ones(len(points)), labels[rows, columns] - 1, Detections(boxes, [0.9] * len(boxes)))
