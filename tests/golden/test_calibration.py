"""The default configuration's promises on real sequences: as sure as it should be, and not more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tracker.evaluation.consistency import LEVELS, calibration_error, reliability

CENTRE_GAP = 0.05
"""Between the share of the truth that ellipses of the position hold, and the share they promise."""
SIZE_GAP, BOX_GAP = 0.09, 0.07
IDENTITY_ERROR = 0.015


@pytest.fixture(scope="module")
def sets(data_root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
        import calibration

        yield calibration, calibration.by_set(data_root, 2)


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
        assert gaps["centre"] < CENTRE_GAP, (kind, gaps)
        assert max(gaps["width"], gaps["height"]) < SIZE_GAP, (kind, gaps)
        assert gaps["box"] < BOX_GAP, (kind, gaps)
    told = measured[name].identities
    assert calibration_error(reliability(told.promised, told.same.astype(np.int64))) < IDENTITY_ERROR
    # Innovations have the size that the tracker takes them to have, within a third.
    assert calibration.clipped_innovations(measured[name].innovations).mean() == pytest.approx(1.0, abs=1 / 3)
