"""Features ride in the detections."""

from __future__ import annotations

import numpy as np
import pytest

from tracker.structures import Detections

BOXES = [[0.0, 0.0, 10.0, 20.0], [5.0, 0.0, 15.0, 20.0], [9.0, 0.0, 19.0, 20.0]]
FEATURES = np.arange(6.0).reshape(3, 2)


def test_features_are_a_copy_that_cannot_be_changed_and_none_by_default() -> None:
    given = FEATURES.copy()
    detections = Detections(BOXES, features=given)
    given[0] = 9.0
    assert detections.features is not None
    np.testing.assert_array_equal(detections.features, FEATURES)
    with pytest.raises(ValueError, match="read-only"):
        detections.features[0] = 1.0
    assert Detections(BOXES).features is None
    assert Detections.empty().features is None


def test_features_are_selected_with_their_rows() -> None:
    chosen = Detections(BOXES, [0.1, 0.2, 0.3], features=FEATURES).select([2, 0])
    assert chosen.scores.tolist() == [0.3, 0.1]
    np.testing.assert_array_equal(chosen.features, FEATURES[[2, 0]])
    assert Detections(BOXES).select([1]).features is None


def test_features_are_added_to_detections_that_stay_as_they_are() -> None:
    plain = Detections(BOXES, [0.1, 0.2, 0.3], [1, 2, 3])
    told = plain.with_features(FEATURES)
    assert plain.features is None
    for name in ("boxes_xyxy", "scores", "classes"):
        np.testing.assert_array_equal(getattr(told, name), getattr(plain, name))
    np.testing.assert_array_equal(told.features, FEATURES)


@pytest.mark.parametrize(
    ("features", "problem"),
    [
        (FEATURES[:2], r"features has shape \(2, 2\); it must be \(3, D\)"),
        ([1.0, 2.0, 3.0], r"features has shape \(3,\)"),
        ([[1.0], [np.nan], [0.0]], "features row 1 is not finite"),
        ([[1.0], [0.0], [np.inf]], "features row 2 is not finite"),
    ],
)
def test_features_that_do_not_fit_are_refused(features: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Detections(BOXES, features=features)
