"""What refining keeps for any tracks."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker import Config
from tracker.config import OfflineConfig, TrackingConfig
from tracker.formats.table import TrackTable
from tracker.tracking.offline.refinement import refine

LINK_ALONE = Config(tracking=TrackingConfig(offline=OfflineConfig(smooth=0.0, fill=False, prune=0.0)))


@st.composite
def scenes(draw: st.DrawFn) -> TrackTable:
    """Return walkers that come and go: each track a walk with holes in it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = []
    for id_ in range(draw(st.integers(1, 6))):
        first, length = rng.integers(1, 30), rng.integers(1, 40)
        frames = np.arange(first, first + length)[rng.random(length) > draw(st.sampled_from([0.0, 0.2]))]
        size = rng.uniform(10, 80, 2)
        place = rng.uniform(0, 300, 2) + frames[:, None] * rng.normal(0, 4, 2) + rng.normal(0, 1, (len(frames), 2))
        rows += [[f, id_ + 1, *p, *size, rng.uniform(0.2, 1)] for f, p in zip(frames, place, strict=True)]
    data = np.array(rows).reshape(-1, 7)
    return TrackTable(data[:, 0].astype(int), data[:, 1].astype(int), data[:, 2:6], data[:, 6])


def same(a: TrackTable, b: TrackTable, atol: float = 0.0) -> None:
    assert a.frames.tolist() == b.frames.tolist()
    assert a.ids.tolist() == b.ids.tolist()
    assert a.imputed.tolist() == b.imputed.tolist()
    np.testing.assert_allclose(a.boxes_ltwh, b.boxes_ltwh, atol=atol, rtol=0.0)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)


@settings(max_examples=25)
@given(scenes(), st.randoms(use_true_random=False))
def test_the_result_is_sound_and_the_order_of_rows_does_not_matter(tracks: TrackTable, random) -> None:
    result = refine(tracks, Config(), frame_rate_hz=25.0)  # a TrackTable: finite boxes, no id twice in a frame
    assert set(result.ids.tolist()) <= set(tracks.ids.tolist())
    assert ((result.scores >= 0.0) & (result.scores <= 1.0)).all()
    observed = {(f, i) for f, i in zip(result.frames[~result.imputed], result.ids[~result.imputed], strict=True)}
    assert len(observed) <= len(tracks)
    assert {f for f, _ in observed} <= set(tracks.frames.tolist())
    order = list(range(len(tracks)))
    random.shuffle(order)
    same(refine(tracks.select(order), Config(), frame_rate_hz=25.0), result)


@settings(max_examples=15)
@given(scenes(), st.tuples(st.floats(-500, 500), st.floats(-500, 500)))
def test_a_shifted_scene_gives_shifted_tracks(tracks: TrackTable, shift: tuple[float, float]) -> None:
    by = np.array([*shift, 0.0, 0.0])
    moved = TrackTable(tracks.frames, tracks.ids, tracks.boxes_ltwh + by, tracks.scores)
    expected = refine(tracks, Config(), frame_rate_hz=25.0)
    result = refine(moved, Config(), frame_rate_hz=25.0)
    assert result.ids.tolist() == expected.ids.tolist()
    np.testing.assert_allclose(result.boxes_ltwh, expected.boxes_ltwh + by, atol=1e-6)


@settings(max_examples=15)
@given(scenes())
def test_linking_what_is_linked_changes_nothing(tracks: TrackTable) -> None:
    once = refine(tracks, LINK_ALONE, frame_rate_hz=25.0)
    same(refine(once, LINK_ALONE, frame_rate_hz=25.0), once, atol=1e-9)
