"""The ellipses that pictures show of objects, the overlay's and the page's alike."""

from __future__ import annotations

import math

import numpy as np

from tracker.confidence import ellipse_squared_radius
from tracker.structures import BlobTracks, FloatArray, Tracks

_SHARE = 0.95
_OUTLINE = 2.0  # Mahalanobis radius of the outline of an ellipse that is filled evenly


def ellipses_of(tracks: Tracks) -> tuple[FloatArray, FloatArray]:
    """Return which ellipse about the middle of its box each object is to be shown with.

    Of boxes it holds the centre with 95 % probability, where the ellipse is no longer than the box: a larger one
    would only hide the picture. Of blobs it is the outline.

    Returns
    -------
    covariances
        (n, 2, 2) of x and y in px^2.
    radii
        (n,) Mahalanobis radii; 0 where no ellipse is to be shown.
    """
    if isinstance(tracks, BlobTracks):
        covariances, radius = tracks.blob_covariances, _OUTLINE
    else:
        covariances, radius = tracks.covariances[:, :2, :2], math.sqrt(ellipse_squared_radius(_SHARE))
    reach_px = radius * np.sqrt(np.diagonal(covariances, axis1=1, axis2=2).max(axis=1, initial=0.0))
    box_px = (tracks.boxes_xyxy[:, 2:] - tracks.boxes_xyxy[:, :2]).max(axis=1, initial=0.0)
    return covariances, np.where(2.0 * reach_px <= box_px, radius, 0.0)
