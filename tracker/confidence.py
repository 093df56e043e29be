"""What a reported covariance says: the errors are Student's t, heavier in the tails than a Gaussian of it.

References
----------
Kotz and Nadarajah, Multivariate t Distributions and Their Applications, 2004, section 1.7 (squared distances are F
distributed).
"""

from __future__ import annotations

DEGREES_OF_FREEDOM = 3.0
"""Of the errors of reported boxes, and of the filter's innovations."""


CLIPPED_AT = 3.0
"""Standard deviations at which innovations are clipped where their squares are averaged."""
EXPECTED_CLIPPED_SQUARE = 0.7288
"""Mean of min(z^2, 9) of Student's t with 3 degrees of freedom and unit variance."""


def ellipse_squared_radius(share: float) -> float:
    """Return the squared Mahalanobis radius of the ellipse that holds a share of the positions.

    For two of the coordinates of :attr:`tracker.Tracks.covariances`, such as the centre. With nu degrees of freedom,

        r^2 = (nu - 2) ((1 - share)^(-2 / nu) - 1).

    Parameters
    ----------
    share
        In [0, 1).

    Raises
    ------
    ValueError
        For a share outside of that.
    """
    if not 0.0 <= share < 1.0:
        raise ValueError(f"share is {share}; it must be at least 0 and below 1")
    return (DEGREES_OF_FREEDOM - 2.0) * float((1.0 - share) ** (-2.0 / DEGREES_OF_FREEDOM) - 1.0)
