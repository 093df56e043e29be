"""Who was hidden, stumbled, or was filmed by a camera that drops frames, is found again where nobody explains pixels.

Blobs move little between frames, so that their pixels are sought near to where they are expected. Who is elsewhere may
claim an unexplained silhouette, as in box mode: the heavy tails and the exclusive responsibilities decide.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tracker.mixture.exclusive import association_marginals, is_worth_claiming, most_probable_claims
from tracker.mixture.kernels import kernel
from tracker.structures import FloatArray, IntArray
from tracker.tracking.blobs import ANCHOR, existence_of
from tracker.tracking.evidence import log_density_at_mode, observe, pair_log_likelihoods, pair_log_odds
from tracker.tracking.motion import innovation_variances, predicted_boxes, update
from tracker.tracking.state import CERTAIN, COMPONENT, PAIR, Records


def find_again(
    predicted: Records,
    lost: IntArray,
    visible: FloatArray,
    free: Records,
    nats: FloatArray,
    scene: Records,
    parameter: Records,
) -> tuple[Records, NDArray[np.bool_]]:
    """Let who was not seen claim a free silhouette, in place.

    Parameters
    ----------
    predicted
        (K,) records of :data:`tracker.tracking.blobs.BLOB`.
    lost
        (L,) rows of those not seen.
    visible
        (K,) P_D.
    free
        (J,) records of :data:`tracker.tracking.blobs.FREE`.
    nats
        (L, J) by which each silhouette's colours speak for each of the lost.
    scene, parameter
        See :mod:`tracker.tracking.state`; the second of the parameters is brought to the step.

    Returns
    -------
    pairs, taken
        Records of PAIR, and (J,) which silhouettes are somebody's.
    """
    taken = np.zeros(len(free), np.bool_)
    if not len(lost) or not len(free):
        return np.empty(0, PAIR), taken
    moved, of_boxes = predicted[lost], list(COMPONENT.names or ())
    boxes = moved[of_boxes].astype(COMPONENT)  # what box mode has compiled serves these too
    claimed, responsibility = _claim_silhouettes(
        boxes, visible[lost], free["box"], free["score"], nats, scene, parameter
    )
    moved[of_boxes] = boxes
    found = claimed >= 0
    again, silhouettes, share = moved[found], free[claimed[found]], responsibility[found]
    odds = again["existence"] / (1.0 - again["existence"]) / np.maximum(1.0 - share, 1.0 - CERTAIN)
    again["existence"] = existence_of(odds)
    again["hits"] += 1
    again["misses"], again["missed_tau"] = 0, 0.0
    again["detection"], again["score"] = silhouettes["region"], silhouettes["score"]
    again["box"] = again["silhouette"] = silhouettes["box"]
    again["responsibility"] = share
    again["doubt"] -= np.log(np.minimum(share, 1.0))
    predicted[lost[found]] = again
    taken[claimed[found]] = True
    pairs = np.empty(len(again), PAIR)
    pairs["row"], pairs["column"], pairs["responsibility"] = lost[found], silhouettes["region"], share
    return pairs, taken


@kernel()
def _claim_silhouettes(
    lost: Records,
    visible: FloatArray,
    boxes_xyxy: FloatArray,
    scores: FloatArray,
    nats: FloatArray,
    scene: Records,
    parameter: Records,
) -> tuple[IntArray, FloatArray]:
    """Return (K,) the silhouette that shows each, -1 for none, and its responsibility; move those who have one."""
    p = parameter[1]
    # Somebody lost is as far as his own prediction has spread since; a gate that grew besides took strangers for him.
    p.gate_margin = parameter[0].gate_margin
    observed = observe(boxes_xyxy, scores, np.zeros(len(scores), np.int64), p)
    S = innovation_variances(lost, scene, p)
    row_start, column, log_likelihood = pair_log_likelihoods(
        lost,
        predicted_boxes(lost, ANCHOR),
        S,
        log_density_at_mode(lost, S, p),
        np.zeros((len(lost), 2)),
        observed,
        p,
    )
    log_odds = pair_log_odds(row_start, log_likelihood, visible)
    for k in range(len(lost)):
        for e in range(row_start[k], row_start[k + 1]):
            log_odds[e] += nats[k, observed.detection[column[e]]]
    beta, _ = association_marginals(row_start, column, log_odds, len(observed.scores), False)
    claim = most_probable_claims(row_start, column, beta, len(observed.scores))
    silhouette, responsibility = np.full(len(lost), -1), np.zeros(len(lost))
    innovation, claimed = np.empty(4), np.empty(4)
    for k in range(len(lost)):
        if not is_worth_claiming(row_start, beta, k, claim[k], p.claim):
            continue
        j, responsibility[k] = column[claim[k]], beta[claim[k]]
        silhouette[k] = observed.detection[j]
        for i in range(4):
            claimed[i] = observed.measured[j, i] - lost[k].mean[i]
            innovation[i] = responsibility[k] * claimed[i]
            lost[k].z[i] = claimed[i] / math.sqrt(S[k, i])
        update(lost[k], scene, innovation, claimed, p)
    return silhouette, responsibility
