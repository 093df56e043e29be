"""Scores of tracks against ground truth: HOTA, CLEAR and identity metrics, computed by TrackEval.

References
----------
- Luiten et al., HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking, IJCV 2021.
- Bernardin and Stiefelhagen, Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics, 2008.
- Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking, 2016.
- Efron, Bootstrap Methods: Another Look at the Jackknife, The Annals of Statistics 7, 1979 (the intervals).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from trackeval import metrics

from tracker.evaluation.preparation import Criteria, prepare
from tracker.formats.table import TrackTable
from tracker.structures import FloatArray


@dataclass(frozen=True, slots=True)
class Scores:
    """The usual figures: shares in percent (HOTA and its parts: means over 19 IoU thresholds) and counts."""

    hota: float
    det_a: float
    ass_a: float
    loc_a: float
    mota: float
    idf1: float
    id_switches: int
    fragmentations: int
    false_positives: int
    false_negatives: int


@dataclass(frozen=True, slots=True)
class Details:
    """Further usual figures: shares in percent (parts of HOTA: means over 19 IoU thresholds), counts of identities."""

    recall: float
    precision: float
    motp: float
    mostly_tracked: int
    partly_tracked: int
    mostly_lost: int
    id_recall: float
    id_precision: float
    det_re: float
    det_pr: float
    ass_re: float
    ass_pr: float


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """TrackEval's results for one sequence or several, from which more can be combined.

    Parameters
    ----------
    hota, clear, identity
        Fields of ``trackeval.metrics.HOTA``, ``CLEAR`` and ``Identity`` by name.
    """

    hota: Mapping[str, Any]
    clear: Mapping[str, Any]
    identity: Mapping[str, Any]

    @property
    def scores(self) -> Scores:
        """The figures that people compare."""
        return Scores(
            hota=100 * float(np.mean(self.hota["HOTA"])),
            det_a=100 * float(np.mean(self.hota["DetA"])),
            ass_a=100 * float(np.mean(self.hota["AssA"])),
            loc_a=100 * float(np.mean(self.hota["LocA"])),
            mota=100 * float(self.clear["MOTA"]),
            idf1=100 * float(self.identity["IDF1"]),
            id_switches=int(self.clear["IDSW"]),
            fragmentations=int(self.clear["Frag"]),
            false_positives=int(self.clear["CLR_FP"]),
            false_negatives=int(self.clear["CLR_FN"]),
        )

    @property
    def details(self) -> Details:
        """The figures behind them."""
        return Details(
            recall=100 * float(self.clear["CLR_Re"]),
            precision=100 * float(self.clear["CLR_Pr"]),
            motp=100 * float(self.clear["MOTP"]),
            mostly_tracked=int(self.clear["MT"]),
            partly_tracked=int(self.clear["PT"]),
            mostly_lost=int(self.clear["ML"]),
            id_recall=100 * float(self.identity["IDR"]),
            id_precision=100 * float(self.identity["IDP"]),
            det_re=100 * float(np.mean(self.hota["DetRe"])),
            det_pr=100 * float(np.mean(self.hota["DetPr"])),
            ass_re=100 * float(np.mean(self.hota["AssRe"])),
            ass_pr=100 * float(np.mean(self.hota["AssPr"])),
        )

    @property
    def thresholds(self) -> FloatArray:
        """(19,) IoU thresholds of HOTA's fields."""
        return np.array(metrics.HOTA().array_labels)

    @property
    def truth_count(self) -> int:
        """Number of evaluated rows of the truth."""
        return int(self.clear["CLR_TP"]) + int(self.clear["CLR_FN"])

    @property
    def tracks_count(self) -> int:
        """Number of evaluated rows of the tracks."""
        return int(self.clear["CLR_TP"]) + int(self.clear["CLR_FP"])


def evaluate(truth: TrackTable, tracks: TrackTable, criteria: Criteria | None = None) -> Evaluation:
    """Score the tracks of one sequence.

    Raises
    ------
    CriteriaError
        When the protocol or the classes do not fit the truth.
    """
    criteria = criteria or Criteria()
    data = prepare(truth, tracks, criteria).metric_data()
    hota, clear, identity = _metrics(criteria.iou)
    return Evaluation(hota.eval_sequence(data), clear.eval_sequence(data), identity.eval_sequence(data))


def combine(evaluations: Mapping[str, Evaluation]) -> Evaluation:
    """Score several sequences as one body: detections and identities are counted together, not averaged."""
    hota, clear, identity = _metrics()
    return Evaluation(
        hota.combine_sequences({name: e.hota for name, e in evaluations.items()}),
        clear.combine_sequences({name: e.clear for name, e in evaluations.items()}),
        identity.combine_sequences({name: e.identity for name, e in evaluations.items()}),
    )


def bootstrap(evaluations: Mapping[str, Evaluation], resamples: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each combined figure, by resampling sequences with replacement.

    Everything that is combined is a sum over sequences, so that a resample is a weighted sum and costs nothing.

    Parameters
    ----------
    evaluations
        The sequences, at least two.
    resamples
        How many bodies of as many sequences are drawn.
    seed
        Of the draw.

    Returns
    -------
    dict
        By field of :class:`Scores` and :class:`Details`, the 2.5 and the 97.5 percentile.
    """
    if len(evaluations) < 2:
        raise ValueError(f"a bootstrap over {len(evaluations)} sequences is none; it needs at least 2")
    count = len(evaluations)
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples).astype(float)
    figures = _resampled(evaluations, weights)
    return {name: tuple(np.percentile(values, (2.5, 97.5)).tolist()) for name, values in figures.items()}


def _resampled(evaluations: Mapping[str, Evaluation], weights: FloatArray) -> dict[str, FloatArray]:
    """Return each figure for every row of (R, S) weights of the sequences, as :func:`combine` does it."""

    def total(values: list[Any]) -> FloatArray:
        return weights @ np.array(values, np.float64)

    hota = [e.hota for e in evaluations.values()]
    tp, fn, fp = (total([h[name] for h in hota]) for name in ("HOTA_TP", "HOTA_FN", "HOTA_FP"))
    ass_a, ass_re, ass_pr = (
        total([h[name] * h["HOTA_TP"] for h in hota]) / np.maximum(1.0, tp) for name in ("AssA", "AssRe", "AssPr")
    )
    loc_a = np.maximum(1e-10, total([h["LocA"] * h["HOTA_TP"] for h in hota])) / np.maximum(1e-10, tp)
    det_a = tp / np.maximum(1.0, tp + fn + fp)
    clear = {
        name: total([e.clear[name] for e in evaluations.values()])
        for name in ("CLR_TP", "CLR_FN", "CLR_FP", "IDSW", "Frag", "MT", "PT", "ML", "MOTP_sum")
    }
    id_tp, id_fn, id_fp = (total([e.identity[name] for e in evaluations.values()]) for name in ("IDTP", "IDFN", "IDFP"))
    wanted = np.maximum(1.0, clear["CLR_TP"] + clear["CLR_FN"])
    return {
        "hota": 100 * np.sqrt(det_a * ass_a).mean(axis=1),
        "det_a": 100 * det_a.mean(axis=1),
        "ass_a": 100 * ass_a.mean(axis=1),
        "loc_a": 100 * loc_a.mean(axis=1),
        "mota": 100 * (clear["CLR_TP"] - clear["CLR_FP"] - clear["IDSW"]) / wanted,
        "idf1": 100 * id_tp / np.maximum(1.0, id_tp + 0.5 * id_fp + 0.5 * id_fn),
        "id_switches": clear["IDSW"],
        "fragmentations": clear["Frag"],
        "false_positives": clear["CLR_FP"],
        "false_negatives": clear["CLR_FN"],
        "recall": 100 * clear["CLR_TP"] / wanted,
        "precision": 100 * clear["CLR_TP"] / np.maximum(1.0, clear["CLR_TP"] + clear["CLR_FP"]),
        "motp": 100 * clear["MOTP_sum"] / np.maximum(1.0, clear["CLR_TP"]),
        "mostly_tracked": clear["MT"],
        "partly_tracked": clear["PT"],
        "mostly_lost": clear["ML"],
        "id_recall": 100 * id_tp / np.maximum(1.0, id_tp + id_fn),
        "id_precision": 100 * id_tp / np.maximum(1.0, id_tp + id_fp),
        "det_re": 100 * (tp / np.maximum(1.0, tp + fn)).mean(axis=1),
        "det_pr": 100 * (tp / np.maximum(1.0, tp + fp)).mean(axis=1),
        "ass_re": 100 * ass_re.mean(axis=1),
        "ass_pr": 100 * ass_pr.mean(axis=1),
    }


def _metrics(iou: float = 0.5) -> tuple[Any, Any, Any]:
    settings = {"THRESHOLD": iou, "PRINT_CONFIG": False}
    return metrics.HOTA(), metrics.CLEAR(settings), metrics.Identity(settings)
