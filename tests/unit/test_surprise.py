"""What is unusual: ranks that mean what they say, and nobody who explains himself."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tracker.evaluation.surprise import learn_ordinary, surprise
from tracker.formats.table import TrackTable

RATE_HZ = 10.0


def drawn(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Draw from a mixture of two Gaussians in five dimensions."""
    first = rng.random(n) < 0.6
    return np.where(first[:, None], rng.normal(0, 1, (n, 5)), rng.normal(4, [0.5, 1, 2, 1, 0.7], (n, 5)))


def test_p_is_uniform_for_what_comes_from_the_same_law() -> None:
    rng = np.random.default_rng(11)
    ordinary, _ = learn_ordinary(drawn(rng, 3000), np.arange(3000))
    assert ordinary.mixture.n_components == 2
    scores, p = ordinary.judge(drawn(rng, 2000))
    assert stats.kstest(p, "uniform").pvalue > 0.05
    assert abs(np.median(scores)) < 0.1
    assert (np.argsort(-scores, kind="stable") == np.argsort(p, kind="stable")).mean() > 0.5
    # Of rows that lack their motion just as much is known of those that they are ranked among.
    partly = drawn(rng, 2000)
    partly[:, 2:4] = np.nan
    assert stats.kstest(ordinary.judge(partly)[1], "uniform").pvalue > 0.05


def test_what_is_unlike_all_has_the_least_p() -> None:
    rng = np.random.default_rng(1)
    ordinary, _ = learn_ordinary(drawn(rng, 500), np.arange(500))
    scores, p = ordinary.judge(np.full((1, 5), 30.0))
    assert p[0] == pytest.approx(1 / 501)
    assert scores[0] > 50


def walkers(odd: str | None = None) -> TrackTable:
    """Return twenty who walk along a street; the odd one of id 99 crosses the lawn, runs, or is a giant."""
    rng = np.random.default_rng(3)
    rows = []
    for k in range(21):
        if k == 20 and odd is None:
            break
        speed, y, height = (1 if k % 2 else -1) * rng.uniform(25, 35), rng.normal(200, 5), rng.normal(60, 2)
        start, name = rng.uniform(100, 500), k
        if k == 20:
            name = 99
            y = 420.0 if odd == "place" else y
            speed = 160.0 if odd == "motion" else speed
            height = 150.0 if odd == "size" else height
        for n in range(60):
            x, jitter = start + speed * n / RATE_HZ, rng.normal(0, 0.5, 2)
            x = 600 - abs((x % 1200) - 600) if abs(speed) < 100 else x % 600
            rows.append((5 * k + n + 1, name, x + jitter[0] - height / 5, y + jitter[1] - height, height / 2.5, height))
    table = np.array(rows)
    return TrackTable(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:])


@pytest.mark.parametrize("odd", ["place", "motion", "size"])
def test_the_odd_one_comes_first_and_is_told_why(odd: str) -> None:
    table = walkers(odd)
    found, _ = surprise(table, RATE_HZ)
    assert found.ids[0] == 99
    assert found.track_p[0] < 0.01
    assert found.aspects[0] == odd
    assert table.ids[found.worst_rows[0]] == 99
    others = found.p[table.ids != 99]
    assert found.p[table.ids == 99].mean() < 0.05
    assert others.mean() == pytest.approx(0.5, abs=0.06)


def test_a_track_does_not_explain_itself_however_long_it_is() -> None:
    """The odd one is seen in as many frames as all others together, which would earn it a component of its own."""
    table = walkers("place")
    long = np.repeat(np.flatnonzero(table.ids == 99), 20)
    frames = np.concatenate([table.frames[table.ids != 99], np.arange(len(long)) + 1])
    rows = np.concatenate([np.flatnonzero(table.ids != 99), long])
    stretched = TrackTable(frames, table.ids[rows], table.boxes_ltwh[rows])
    found, _ = surprise(stretched, RATE_HZ)
    assert found.ids[0] == 99
    assert found.track_p[0] < 0.01


def test_every_track_is_ranked_once_and_equal_seeds_agree() -> None:
    table = walkers()
    first, again = (surprise(table, RATE_HZ, seed=4)[0] for _ in range(2))
    assert sorted(first.ids.tolist()) == list(range(20))
    assert (np.diff(first.track_p) >= 0).all()
    np.testing.assert_array_equal(first.scores, again.scores)
    assert ((first.p > 0) & (first.p <= 1)).all()


def test_tracks_of_one_row_have_no_motion_and_are_judged_all_the_same() -> None:
    table = walkers()
    single = TrackTable([*table.frames, 3], [*table.ids, 50], [*table.boxes_ltwh, [300.0, 400.0, 24.0, 60.0]])
    found, _ = surprise(single, RATE_HZ)
    assert np.isfinite(found.scores).all()
    assert found.ids[0] == 50


@pytest.mark.parametrize("moving", [2, 3])
def test_hardly_anybody_moves(moving: int) -> None:
    """Thirty tracks of one row, and a few of several: those are kept apart, so that each is judged by the others."""
    table = walkers()
    kept = np.isin(table.ids, range(moving))
    frames, ids = [*table.frames[kept], *[3] * 30], [*table.ids[kept], *range(100, 130)]
    boxes = [*table.boxes_ltwh[kept], *[[300.0 + 9.0 * n, 400.0, 24.0, 60.0] for n in range(30)]]
    hardly = TrackTable(frames, ids, boxes)
    if moving == 2:
        with pytest.raises(ValueError, match="only 2 tracks have several rows"):
            surprise(hardly, RATE_HZ)
    else:
        for seed in range(5):
            assert np.isfinite(surprise(hardly, RATE_HZ, seed)[0].scores).all()


def test_two_tracks_do_not_say_what_is_ordinary() -> None:
    with pytest.raises(ValueError, match="there are 2 tracks"):
        learn_ordinary(np.zeros((10, 5)), np.arange(10) % 2)
