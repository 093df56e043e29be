"""Exclusive responsibilities: each component claims at most one observation, and the reverse.

In an ordinary mixture every observation divides itself among the components and a component may own many.
Here the association is one-to-one, and the responsibilities are the marginals of that association,

    p(a) ~ prod over claimed pairs (k, j) of psi_kj,     psi_kj = exp(log odds of "k claims j" against neither),

found by belief propagation on the sparse graph of gated pairs. The graph is given by rows (components): the
pairs of row ``k`` are ``row_start[k]:row_start[k + 1]``, and ``column`` holds each pair's observation.
"""

from __future__ import annotations

import math

import numpy as np

from tracker.mixture.kernels import kernel
from tracker.structures import FloatArray, IntArray

MAX_SWEEPS = 100
CONVERGED = 1e-4
UNCLAIMED_COST = 20.0
"""Cost of leaving a component without an observation, in nats; dearer than any pair that is worth claiming."""
NEGLIGIBLE = 1e-4
"""Pairs whose responsibility is not above this are never claimed."""
MOST_RATIO = 1e100


@kernel(inline="always")
def banked(log_sum: float, ratio: float) -> tuple[float, float]:
    """Return both anew: a product of ratios goes on until floating point ends; then its logarithm joins the sum."""
    if 1.0 / MOST_RATIO < ratio < MOST_RATIO:
        return log_sum, ratio
    return log_sum + math.log(ratio), 1.0


@kernel()
def by_column(column: IntArray, columns: int) -> tuple[IntArray, IntArray]:
    """Group pairs by observation: pairs of column ``j`` are ``pair[start[j]:start[j + 1]]``, rows ascending."""
    start = np.zeros(columns + 1, np.int64)
    for e in range(len(column)):
        start[column[e]] += 1
    for j in range(1, columns + 1):
        start[j] += start[j - 1]
    # From the last pair of each column to its first, so that no second set of counters is needed.
    pair = np.empty(len(column), np.int64)
    for e in range(len(column) - 1, -1, -1):
        start[column[e]] -= 1
        pair[start[column[e]]] = e
    return start, pair


@kernel()
def association_marginals(
    row_start: IntArray, column: IntArray, log_odds: FloatArray, columns: int, with_evidence: bool = True
) -> tuple[FloatArray, float]:
    """Return the responsibility of every pair and the logarithm of the association's evidence.

    Belief propagation runs on each connected component of the graph by itself until no message moves by more than
    1e-4 of itself (at most 100 sweeps), so that far-away objects never touch each other's result; a lone pair, and two
    rows that share two observations, are closed form. Sums that leave one term out are built from both ends, never by
    subtraction, which would cancel where one pair dominates. The evidence is Bethe's approximation, exact on trees.

    Parameters
    ----------
    row_start
        (K + 1,) first pair of each row.
    column
        (E,) observation of each pair.
    log_odds
        (E,) log psi.
    columns
        Number of observations.
    with_evidence
        Whether the evidence is wanted; its logarithms are a good part of the work.

    Returns
    -------
    responsibilities
        (E,) marginal probability of each pair.
    log_evidence
        log of the sum over all one-to-one associations of the product of their psi; 0 where it is not wanted.

    References
    ----------
    Williams and Lau, "Approximate evaluation of marginal association probabilities with belief propagation",
    IEEE Trans. AES 50(4), 2014; the convergence is guaranteed there.
    """
    rows = len(row_start) - 1
    pairs = len(column)
    room = np.empty((5, pairs))
    beta, psi, mu, nu, before = room[0], room[1], room[2], room[3], room[4]
    pair_row = np.empty(pairs, np.int64)
    for k in range(rows):
        for e in range(row_start[k], row_start[k + 1]):
            psi[e], nu[e], pair_row[e] = math.exp(log_odds[e]), 1.0, k
    column_start, column_pair = by_column(column, columns)
    row_seen, column_seen = np.zeros(rows, np.bool_), np.zeros(columns, np.bool_)
    row_list, column_list = np.empty(rows, np.int64), np.empty(columns, np.int64)
    log_evidence, ratio = 0.0, 1.0

    for seed in range(rows):
        if row_seen[seed] or row_start[seed] == row_start[seed + 1]:
            continue
        first = row_start[seed]
        j = column[first]
        if row_start[seed + 1] - first == 1 and column_start[j + 1] - column_start[j] == 1:
            beta[first] = psi[first] / (1.0 + psi[first])
            if with_evidence:
                log_evidence, ratio = banked(log_evidence, ratio * (1.0 + psi[first]))
            continue

        # Collect the connected component, breadth first.
        row_seen[seed] = True
        row_list[0] = seed
        row_count, column_count, next_row = 1, 0, 0
        while next_row < row_count:
            k = row_list[next_row]
            next_row += 1
            for e in range(row_start[k], row_start[k + 1]):
                j = column[e]
                if not column_seen[j]:
                    column_seen[j] = True
                    column_list[column_count] = j
                    column_count += 1
                    for c in range(column_start[j], column_start[j + 1]):
                        other = pair_row[column_pair[c]]
                        if not row_seen[other]:
                            row_seen[other] = True
                            row_list[row_count] = other
                            row_count += 1

        settled = row_count == 2 and _settle_square(row_start, column, row_list[0], row_list[1], psi, mu, nu)
        for _ in range(0 if settled else MAX_SWEEPS):
            settled = True
            # mu_kj = psi_kj / (1 + sum over j' != j of psi_kj' nu_kj')
            for r in range(row_count):
                start, stop = row_start[row_list[r]], row_start[row_list[r] + 1]
                total = 1.0
                for e in range(start, stop):
                    before[e - start] = total
                    total += psi[e] * nu[e]
                after = 0.0
                for e in range(stop - 1, start - 1, -1):
                    mu[e] = psi[e] / (before[e - start] + after)
                    after += psi[e] * nu[e]
            # nu_kj = 1 / (1 + sum over k' != k of mu_k'j)
            for r in range(column_count):
                start, stop = column_start[column_list[r]], column_start[column_list[r] + 1]
                total = 1.0
                for c in range(start, stop):
                    before[c - start] = total
                    total += mu[column_pair[c]]
                after = 0.0
                for c in range(stop - 1, start - 1, -1):
                    e = column_pair[c]
                    message = 1.0 / (before[c - start] + after)
                    if abs(message - nu[e]) >= CONVERGED * message:
                        settled = False
                    nu[e] = message
                    after += mu[e]
            if settled:
                break

        # beta_kj = psi_kj nu_kj / (1 + sum over j of psi_kj nu_kj)
        for r in range(row_count):
            start, stop = row_start[row_list[r]], row_start[row_list[r] + 1]
            total = 1.0
            for e in range(start, stop):
                total += psi[e] * nu[e]
            for e in range(start, stop):
                beta[e] = psi[e] * nu[e] / total
            if with_evidence:
                for e in range(start, stop):
                    total /= 1.0 + mu[e] * nu[e]
                log_evidence, ratio = banked(log_evidence, ratio * total)
        # Where more rows than columns are all but sure of having one, messages creep: what is missing is taken off.
        for r in range(0 if settled else column_count):
            start, stop = column_start[column_list[r]], column_start[column_list[r] + 1]
            total = 0.0
            for c in range(start, stop):
                total += beta[column_pair[c]]
            for c in range(start, stop if total > 1.0 else start):
                beta[column_pair[c]] /= total
        for r in range(column_count if with_evidence else 0):
            total = 1.0
            for c in range(column_start[column_list[r]], column_start[column_list[r] + 1]):
                total += mu[column_pair[c]]
            log_evidence, ratio = banked(log_evidence, ratio * total)
    return beta, log_evidence + math.log(ratio)


@kernel()
def _settle_square(
    row_start: IntArray, column: IntArray, one: int, other: int, psi: FloatArray, mu: FloatArray, nu: FloatArray
) -> bool:
    """Write the messages of two rows that are paired with the same two observations; return whether they are.

    A message passes through the other three pairs and comes back to its own: the sweeps repeat

        mu_11 = psi_11 (1 + mu_22) / (1 + mu_22 + psi_12),   mu_22 = psi_22 (1 + mu_11) / (1 + mu_11 + psi_21),

    and the like for mu_12 and mu_21, whose fixed point is the positive root of a quadratic in 1 + mu_11.
    """
    a, b = row_start[one], row_start[other]
    if row_start[one + 1] != a + 2 or row_start[other + 1] != b + 2:
        return False
    if column[a] != column[b] or column[a + 1] != column[b + 1]:
        return False
    for side in range(2):
        e, f, g, h = a + side, a + 1 - side, b + side, b + 1 - side
        square = 1.0 + psi[h] + psi[f]
        linear = psi[g] * (1.0 + psi[f]) - square - psi[e] * (1.0 + psi[h])
        constant = psi[g] * (1.0 + psi[f] + psi[e])
        root = math.sqrt(linear * linear + 4.0 * square * constant)
        grown = 2.0 * constant / (linear + root) if linear > 0.0 else (root - linear) / (2.0 * square)
        mu[h] = psi[h] * grown / (grown + psi[g])
        nu[f] = 1.0 / (1.0 + mu[h])
        mu[e] = psi[e] * (1.0 + mu[h]) / (1.0 + mu[h] + psi[f])
        nu[g] = 1.0 / (1.0 + mu[e])
    return True


@kernel()
def independent_marginals(row_start: IntArray, log_odds: FloatArray) -> tuple[FloatArray, float]:
    """Return the responsibilities, and the log evidence, when each row chooses by itself.

    ::

        beta_kj = psi_kj / (1 + sum over j of psi_kj),   evidence = prod over k of (1 + sum over j of psi_kj)
    """
    psi = np.exp(log_odds)
    log_evidence, ratio = 0.0, 1.0
    for k in range(len(row_start) - 1):
        total = 1.0
        for e in range(row_start[k], row_start[k + 1]):
            total += psi[e]
        for e in range(row_start[k], row_start[k + 1]):
            psi[e] /= total
        log_evidence, ratio = banked(log_evidence, ratio * total)
    return psi, log_evidence + math.log(ratio)


@kernel()
def most_probable_claims(row_start: IntArray, column: IntArray, responsibilities: FloatArray, columns: int) -> IntArray:
    """Return for each row the pair it claims, -1 for none: the assignment of least total -log responsibility.

    A row may stay without an observation at a cost of 20 nats. Solved exactly by successive shortest
    augmenting paths (Jonker and Volgenant 1987) on the sparse graph: each row owns a private "unclaimed"
    column, so that nothing dense is ever built and far-away rows are never visited.

    Parameters
    ----------
    row_start, column
        The graph, see :func:`association_marginals`.
    responsibilities
        (E,) in [0, 1]; pairs at or below 1e-4 are never claimed.
    columns
        Number of observations.

    Returns
    -------
    (K,) index of the claimed pair, -1 where the row stays without.
    """
    rows = len(row_start) - 1
    claim, owner = np.empty(rows, np.int64), np.empty(columns, np.int64)
    claim[:], owner[:] = -1, -1
    # Who comes first takes his best, which is all there is to do for most rows.
    loser, losers = np.empty(rows, np.int64), 0
    for k in range(rows):
        best = -1
        for e in range(row_start[k], row_start[k + 1]):
            if responsibilities[e] > (NEGLIGIBLE if best < 0 else responsibilities[best]):
                best = e
        if best >= 0 and owner[column[best]] < 0:
            claim[k] = best
            owner[column[best]] = k
        elif best >= 0:
            loser[losers] = k
            losers += 1
    if losers:
        _settle(row_start, column, responsibilities, claim, owner, loser[:losers])
    return claim


@kernel(inline="always")
def is_worth_claiming(
    row_start: IntArray, responsibilities: FloatArray, row: int, pair: int, least_responsibility: float
) -> bool:
    """Tell whether a row is to have the pair that it claims (-1: it claims none, and has none).

    A small responsibility may mean two things: the row owns nothing, or it owns something, and many rows that are
    alike share many observations alike. In a knot of K objects every responsibility is about 1/K, and still each of
    them is seen: a row that is more likely to own an observation than none may have one that hardly any other excels.

    Parameters
    ----------
    row_start
        The graph, see :func:`association_marginals`.
    responsibilities
        (E,) of the pairs.
    row, pair
        Who claims which.
    least_responsibility
        Above this a claim stands whatever the others are.
    """
    if pair < 0:
        return False
    if responsibilities[pair] > least_responsibility:
        return True
    total, best = 0.0, 0.0
    for e in range(row_start[row], row_start[row + 1]):
        total += responsibilities[e]
        best = max(best, responsibilities[e])
    return total > 0.5 and responsibilities[pair] > 0.5 * best


@kernel()
def _settle(
    row_start: IntArray,
    column: IntArray,
    responsibilities: FloatArray,
    claim: IntArray,
    owner: IntArray,
    loser: IntArray,
) -> None:
    """Complete an assignment in which every row has its best column but for the losers, who have none."""
    rows, columns = len(claim), len(owner)
    row_potential, column_potential = np.empty(rows), np.zeros(columns)
    distance, scanned, touched = np.empty(columns), np.zeros(columns, np.bool_), np.empty(columns, np.int64)
    reached_by, from_row = np.empty(columns, np.int64), np.empty(columns, np.int64)  # by which pair, from which row
    distance[:] = math.inf
    for k in range(rows):
        row_potential[k] = UNCLAIMED_COST
        for e in range(row_start[k], row_start[k + 1]):
            if responsibilities[e] > NEGLIGIBLE:
                row_potential[k] = min(row_potential[k], -math.log(responsibilities[e]))

    for start_row in loser:
        count = 0
        row, length = start_row, 0.0
        end_column, end_row = -1, -1
        unclaimed_length, unclaimed_row = math.inf, -1
        while True:
            for e in range(row_start[row], row_start[row + 1]):
                j = column[e]
                if responsibilities[e] <= NEGLIGIBLE or scanned[j]:
                    continue
                reduced = length - math.log(responsibilities[e]) - row_potential[row] - column_potential[j]
                if reduced < distance[j]:
                    if distance[j] == math.inf:
                        touched[count] = j
                        count += 1
                    distance[j] = reduced
                    reached_by[j] = e
                    from_row[j] = row
            if length + UNCLAIMED_COST - row_potential[row] < unclaimed_length:
                unclaimed_length = length + UNCLAIMED_COST - row_potential[row]
                unclaimed_row = row
            nearest = -1
            for t in range(count):
                j = touched[t]
                if not scanned[j] and (nearest < 0 or distance[j] < distance[nearest]):
                    nearest = j
            if nearest < 0 or unclaimed_length < distance[nearest]:
                length = unclaimed_length
                end_row = unclaimed_row
                break
            length = distance[nearest]
            if owner[nearest] < 0:
                end_column = nearest
                break
            scanned[nearest] = True
            row = owner[nearest]

        row_potential[start_row] += length
        for t in range(count):
            j = touched[t]
            if scanned[j]:
                row_potential[owner[j]] += length - distance[j]
                column_potential[j] -= length - distance[j]

        # Flip the path: from its end back to the row that started it.
        if end_column < 0 and end_row != start_row:
            end_column = column[claim[end_row]]
            claim[end_row] = -1
        while end_column >= 0:
            row = from_row[end_column]
            previous = claim[row]
            claim[row] = reached_by[end_column]
            owner[end_column] = row
            end_column = -1 if row == start_row else column[previous]

        for t in range(count):
            distance[touched[t]] = math.inf
            scanned[touched[t]] = False
