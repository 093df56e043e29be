"""Exclusive responsibilities against enumeration, and claims against a dense assignment."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.special import expit, logsumexp, softmax

from tracker.mixture.exclusive import (
    NEGLIGIBLE,
    UNCLAIMED_COST,
    association_marginals,
    by_column,
    independent_marginals,
    is_worth_claiming,
    most_probable_claims,
)


def sparse(log_odds):
    """Turn a (K, N) table with -inf for "no pair" into the graph that the code takes."""
    paired = log_odds > -np.inf
    row_start = np.concatenate([[0], np.cumsum(paired.sum(axis=1))]).astype(np.int64)
    return row_start, np.nonzero(paired)[1].astype(np.int64), log_odds[paired]


def marginals(log_odds):
    """Return the code's responsibilities as a dense table, and its log evidence."""
    row_start, column, values = sparse(log_odds)
    beta, log_evidence = association_marginals(row_start, column, values, log_odds.shape[1])
    dense = np.zeros(log_odds.shape)
    dense[log_odds > -np.inf] = beta
    return dense, log_evidence


def enumerated(log_odds):
    """Return the exact marginals and log evidence by listing every one-to-one association."""
    rows, columns = log_odds.shape
    choices = [[-1, *np.flatnonzero(log_odds[k] > -np.inf)] for k in range(rows)]
    weights, tables = [], []
    for choice in product(*choices):
        taken = [(k, j) for k, j in enumerate(choice) if j >= 0]
        if len({j for _, j in taken}) < len(taken):
            continue
        table = np.zeros((rows, columns))
        for pair in taken:
            table[pair] = 1.0
        weights.append(sum(log_odds[pair] for pair in taken))
        tables.append(table)
    return np.tensordot(softmax(weights), tables, axes=1), logsumexp(weights)


def random_scene(rng, rows, columns, spread=3.0, missing=0.3):
    log_odds = rng.normal(1.0, spread, (rows, columns))
    log_odds[rng.random((rows, columns)) < missing] = -np.inf
    return log_odds


def random_tree(rng, rows, columns):
    """Return log odds on a random tree: each new node, row or column, is tied to one node of the other kind."""
    log_odds = np.full((rows, columns), -np.inf)
    log_odds[0, 0] = rng.normal(0.0, 2.0)
    rest = [("row", k) for k in range(1, rows)] + [("column", j) for j in range(1, columns)]
    seen_rows, seen_columns = [0], [0]
    for i in rng.permutation(len(rest)):
        kind, n = rest[i]
        pair = (n, rng.choice(seen_columns)) if kind == "row" else (rng.choice(seen_rows), n)
        (seen_rows if kind == "row" else seen_columns).append(n)
        log_odds[pair] = rng.normal(0.0, 2.0)
    return log_odds


def test_marginals_are_close_to_enumeration_and_far_closer_than_a_plain_mixture():
    rng = np.random.default_rng(1)
    error, plain_error, evidence_error = [], [], []
    for _ in range(150):
        log_odds = random_scene(rng, *rng.integers(1, 5, 2))
        exact, log_evidence = enumerated(log_odds)
        beta, bethe = marginals(log_odds)
        psi = np.exp(log_odds)
        plain = psi / (1.0 + psi.sum(axis=0))  # each detection divides itself, without regard to the others
        error.append(np.abs(beta - exact).max())
        plain_error.append(np.abs(plain - exact).max())
        evidence_error.append(abs(bethe - log_evidence))
    assert np.mean(error) < 0.02
    assert np.max(error) < 0.25
    assert np.mean(error) < np.mean(plain_error) / 8.0
    assert np.mean(evidence_error) < 0.03


def test_trees_are_exact_with_their_evidence():
    rng = np.random.default_rng(2)
    for _ in range(60):
        log_odds = random_tree(rng, *rng.integers(2, 5, 2))
        exact, log_evidence = enumerated(log_odds)
        beta, bethe = marginals(log_odds)
        np.testing.assert_allclose(beta, exact, atol=2e-4)
        assert bethe == pytest.approx(log_evidence, abs=1e-5)


@pytest.mark.parametrize("log_odds", [-50.0, -3.0, 0.0, 2.5, 50.0])
def test_a_lone_pair_is_closed_form(log_odds):
    beta, log_evidence = marginals(np.array([[log_odds]]))
    assert beta[0, 0] == pytest.approx(expit(log_odds), rel=1e-12)
    assert log_evidence == pytest.approx(np.logaddexp(0.0, log_odds), rel=1e-12)


@pytest.mark.parametrize("spread", [1.0, 5.0, 20.0])
def test_two_objects_that_share_two_detections_are_where_endless_sweeps_would_end(spread):
    rng = np.random.default_rng(0)
    for _ in range(50):
        log_odds = np.clip(rng.normal(0.0, spread, (2, 2)), -50.0, 50.0)
        psi, nu = np.exp(log_odds), np.ones((2, 2))
        for _ in range(20000):
            mu = psi / (1.0 + (psi * nu)[:, ::-1])
            before, nu = nu, 1.0 / (1.0 + mu[::-1])
            if np.allclose(nu, before, rtol=1e-15, atol=0.0):
                break
        expected = psi * nu / (1.0 + (psi * nu).sum(axis=1, keepdims=True))
        dense, _ = marginals(log_odds)
        np.testing.assert_allclose(dense, expected, rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("strength", [0.0, 5.0, 50.0])
def test_objects_that_compete_for_one_detection_share_it_as_a_mixture_would(strength):
    log_odds = strength + np.array([[0.0], [-1.0], [-2.0]])
    beta, log_evidence = marginals(log_odds)
    total = np.logaddexp(0.0, logsumexp(log_odds))
    np.testing.assert_allclose(beta, np.exp(log_odds - total), rtol=1e-9)
    assert log_evidence == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("strength", [0.0, 5.0, 50.0])
def test_an_object_divides_itself_among_its_detections(strength):
    log_odds = strength + np.array([[0.0, -1.0, -2.0]])
    beta, log_evidence = marginals(log_odds)
    total = np.logaddexp(0.0, logsumexp(log_odds))
    np.testing.assert_allclose(beta, np.exp(log_odds - total), rtol=1e-9)
    assert log_evidence == pytest.approx(total, rel=1e-9)


def test_extreme_log_odds_stay_finite():
    rng = np.random.default_rng(3)
    for _ in range(50):
        shape = rng.integers(1, 7, 2)
        log_odds = rng.choice([-50.0, -10.0, 0.0, 10.0, 50.0], shape)
        log_odds[rng.random(shape) < 0.2] = -np.inf
        beta, log_evidence = marginals(log_odds)
        assert np.isfinite(beta).all()
        assert np.isfinite(log_evidence)
        assert (beta >= 0.0).all()
        assert (beta.sum(axis=1) <= 1.0 + 1e-12).all()


@pytest.mark.parametrize(
    "strength",
    [5.0, 8.0, 11.0, 50.0],
)
def test_more_objects_than_detections_never_share_out_more_than_there_is(strength):
    """Three objects that all fit two detections get two thirds each, however well they fit."""
    log_odds = np.full((3, 2), strength)
    exact, _ = enumerated(log_odds)
    beta, _ = marginals(log_odds)
    assert (beta.sum(axis=0) <= 1.0 + 1e-3).all()
    np.testing.assert_allclose(beta, exact, atol=2e-3)


def test_scenes_that_do_not_touch_do_not_change_each_other():
    rng = np.random.default_rng(4)
    for _ in range(20):
        a, b = random_scene(rng, 4, 3), random_scene(rng, 3, 5)
        both = np.full((7, 8), -np.inf)
        both[:4, :3], both[4:, 3:] = a, b
        beta, log_evidence = marginals(both)
        beta_a, evidence_a = marginals(a)
        beta_b, evidence_b = marginals(b)
        np.testing.assert_array_equal(beta[:4, :3], beta_a)
        np.testing.assert_array_equal(beta[4:, 3:], beta_b)
        assert log_evidence == pytest.approx(evidence_a + evidence_b, abs=1e-12)


def test_numbering_does_not_matter():
    rng = np.random.default_rng(5)
    for _ in range(20):
        log_odds = random_scene(rng, 6, 5)
        k, j = rng.permutation(6), rng.permutation(5)
        beta, log_evidence = marginals(log_odds)
        other, other_evidence = marginals(log_odds[np.ix_(k, j)])
        np.testing.assert_allclose(other, beta[np.ix_(k, j)], rtol=1e-10, atol=1e-14)
        assert other_evidence == pytest.approx(log_evidence, rel=1e-10)


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (0, 3), (3, 0), (3, 2)])
def test_scenes_without_pairs(rows, columns):
    row_start, column, log_odds = sparse(np.full((rows, columns), -np.inf))
    beta, log_evidence = association_marginals(row_start, column, log_odds, columns)
    assert beta.shape == (0,)
    assert log_evidence == 0.0
    np.testing.assert_array_equal(most_probable_claims(row_start, column, beta, columns), np.full(rows, -1))


def test_independent_objects_know_nothing_of_each_other():
    log_odds = random_scene(np.random.default_rng(8), 6, 4)
    row_start, _, values = sparse(log_odds)
    before = values.copy()
    expected = np.exp(log_odds - np.logaddexp(0.0, logsumexp(log_odds, axis=1, keepdims=True)))
    beta, log_evidence = independent_marginals(row_start, values)
    np.testing.assert_allclose(beta, expected[log_odds > -np.inf])
    assert log_evidence == pytest.approx(np.logaddexp(0.0, logsumexp(log_odds, axis=1)).sum())
    np.testing.assert_array_equal(values, before)


def test_pairs_are_grouped_by_detection():
    rng = np.random.default_rng(6)
    _, column, _ = sparse(random_scene(rng, 9, 6))
    start, pair = by_column(column, 6)
    for j in range(6):
        np.testing.assert_array_equal(pair[start[j] : start[j + 1]], np.flatnonzero(column == j))


def private_columns_assignment(beta):
    """Return the least cost: each row has a column of its own, at 20 nats, in which it stays without a detection."""
    rows = len(beta)
    forbidden = 1e6
    cost = np.full(beta.shape, forbidden)
    allowed = beta > NEGLIGIBLE
    cost[allowed] = -np.log(beta[allowed])
    unclaimed = np.where(np.eye(rows, dtype=bool), UNCLAIMED_COST, forbidden)
    table = np.concatenate([cost, unclaimed], axis=1)
    k, j = linear_sum_assignment(table)
    return np.where(j < beta.shape[1], j, -1), table[k, j].sum()


@pytest.mark.parametrize("spread", [1.0, 4.0, 9.0])
def test_claims_are_the_assignment_of_least_cost(spread):
    rng = np.random.default_rng(7)
    for _ in range(150):
        rows, columns = rng.integers(1, 12, 2)
        beta = expit(rng.normal(-2.0, spread, (rows, columns)))
        log_odds = np.where(rng.random((rows, columns)) < 0.5, np.log(beta), -np.inf)
        beta = np.where(log_odds > -np.inf, beta, 0.0)
        row_start, column, _ = sparse(log_odds)
        claim = most_probable_claims(row_start, column, beta[log_odds > -np.inf], columns)
        claimed = np.where(claim >= 0, column[claim] if len(column) else -1, -1)
        expected, cost = private_columns_assignment(beta)
        np.testing.assert_array_equal(claimed, expected)
        at = np.flatnonzero(claimed >= 0)
        assert len(set(claimed[at])) == len(at)
        assert all(row_start[k] <= claim[k] < row_start[k + 1] for k in at)
        assert -np.log(beta[at, claimed[at]]).sum() + UNCLAIMED_COST * (rows - len(at)) == pytest.approx(cost)


def test_negligible_pairs_are_never_claimed():
    log_odds = np.zeros((2, 2))
    log_odds[0, 1] = log_odds[1, 0] = -np.inf
    row_start, column, _ = sparse(log_odds)
    claim = most_probable_claims(row_start, column, np.array([NEGLIGIBLE, NEGLIGIBLE * 1.001]), 2)
    np.testing.assert_array_equal(claim, [-1, 1])


def test_an_object_gives_way_to_anothers_only_detection_when_it_has_a_second_one():
    beta = np.array([[0.9, 0.01], [0.8, 0.0]])
    row_start = np.array([0, 2, 3])
    claim = most_probable_claims(row_start, np.array([0, 1, 0]), np.array([0.9, 0.01, 0.8]), 2)
    np.testing.assert_array_equal(claim, [1, 2])
    expected, _ = private_columns_assignment(beta)
    np.testing.assert_array_equal(expected, [1, 0])


@pytest.mark.parametrize(
    ("beta", "expected"),
    [
        ([0.101], True),  # above the least
        ([0.1], False),  # by itself a row that most probably owns nothing
        ([0.1] * 5, False),  # as likely to own nothing as something
        ([0.1] * 6, True),
        ([0.05, 0.5], False),  # a tenth of what the row should have had
        ([0.08, 0.16, 0.16, 0.16], False),
        ([0.081, 0.16, 0.16, 0.16], True),
    ],
)
def test_small_responsibilities_are_worth_a_claim_where_many_share_alike(beta, expected):
    row_start = np.array([0, 1, 1 + len(beta)])
    assert is_worth_claiming(row_start, np.array([0.9, *beta]), 1, 1, 0.1) is expected
    assert not is_worth_claiming(row_start, np.array([0.9, *beta]), 1, -1, 0.1)


@pytest.mark.parametrize("log_odds", [12.0, 50.0])
def test_more_objects_than_detections_never_share_more_than_there_is(log_odds):
    """Ten objects, all but sure of being one of nine detections: the slowest case for the messages."""
    row_start, column, values = sparse(np.full((10, 9), log_odds))
    beta, _ = association_marginals(row_start, column, values, 9)
    assert np.bincount(column, beta).max() <= 1.0 + 1e-3
    np.testing.assert_allclose(beta, beta[0])
