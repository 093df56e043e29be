"""The default configuration's promises on real sequences: as sure as it should be, and not more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tracker.confidence import EXPECTED_CLIPPED_SQUARE
from tracker.evaluation.consistency import LEVELS, calibration_error, clipped_squares, held_shares, reliability

CENTRE_GAP = {"observed": 0.05, "filtered": 0.065, "coasting": 0.05}
"""Between the share of the truth that ellipses of the position hold, and the share they promise."""
SIZE_GAP, BOX_GAP = {"observed": 0.1, "filtered": 0.165, "coasting": 0.25}, 0.095
IDENTITY_ERROR = 0.015
INNOVATION_GAP, SQUARE_GAP = 0.03, 0.25


@pytest.fixture(scope="module")
def sets(data_root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
        import calibration
        from measuring import find_sequences

        yield calibration, calibration.by_set(calibration.measure_all(find_sequences(data_root), 2))


@pytest.mark.parametrize("name", ["MOT17-val-half", "DanceTrack", "KITTI"])
def test_reports_keep_what_they_promise(name, sets):
    calibration, measured = sets
    if name not in measured:
        pytest.skip(f"{name} is not among the sequences at hand")
    for kind in calibration.KINDS:
        promises = measured[name].promises[kind]
        gaps = {
            part: np.abs(calibration.coverage(promises, part) - np.array(LEVELS)).max() for part in calibration.PARTS
        }
        assert gaps["centre"] < CENTRE_GAP[kind], (kind, gaps)
        assert max(gaps["width"], gaps["height"]) < SIZE_GAP[kind], (kind, gaps)
        assert gaps["box"] < BOX_GAP, (kind, gaps)
    told = measured[name].identities
    assert calibration_error(reliability(told.promised, told.same.astype(np.int64))) < IDENTITY_ERROR
    z = measured[name].innovations
    for columns in (slice(0, 2), slice(2, 4)):
        assert np.abs(held_shares((z[:, columns] ** 2).sum(axis=1), 2) - LEVELS).max() < INNOVATION_GAP
    np.testing.assert_allclose(clipped_squares(z), EXPECTED_CLIPPED_SQUARE, rtol=SQUARE_GAP)
