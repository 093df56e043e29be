"""Measure whether the tracker is as sure as it should be, on sequences with truth, and fit what makes it so.

    python tools/calibration.py DATA_ROOT          coverage, innovations and reliability by set
    python tools/calibration.py DATA_ROOT --fit    fit tracking.uncertainty, all sets and leaving each out

A reported box is compared with the true box that it covers (IoU at least 0.5, most overlap in all); a coasting object
with the one that its last box covered. The fit minimises, over sets, the negative log-likelihood of the errors
under Student's t and the squared gaps of the coverage at 50, 90 and 95 %, of the centre, of each size and of all
four coordinates; then the log loss of the identities.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeAlias

import numpy as np
from measuring import Sequence, find_sequences, load
from scipy import stats
from scipy.optimize import linear_sum_assignment, minimize

from tracker import Config, Tracker, load_config
from tracker.confidence import DEGREES_OF_FREEDOM
from tracker.evaluation.consistency import LEVELS, brier_score, calibration_error, held_shares, reliability
from tracker.evaluation.preparation import Criteria, prepare
from tracker.formats.table import TrackTable
from tracker.geometry import xyxy_to_ltwh
from tracker.tracking.motion import Z_LIMIT
from tracker.tracking.uncertainty import COVARIATES, ORDINARY_SCORE, ORDINARY_SPREAD, PERFECT_SCORE

LEAST_IOU = 0.5
KINDS = ("observed", "filtered", "coasting")
PARTS: dict[str, tuple[int, ...]] = {"centre": (0, 1), "width": (2,), "height": (3,), "box": (0, 1, 2, 3)}
WEIGHTS = {"MOT17-val-half": 1.0, "DanceTrack": 4.0, "KITTI": 1.0}
OTHER_WEIGHT = 0.3
SAMPLE, COVERAGE_WEIGHT, SOFTNESS, SHRINKAGE = 4000, 100.0, 0.2, 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Promises:
    """What was reported of objects whose truth is known, and what is true.

    Parameters
    ----------
    errors
        (N, 4) truth less report in centre x, centre y, width and height, px.
    variances
        (N, 4) as reported.
    scales
        (N,) root of the reported box's area, px.
    covariates
        (N, 4, 1 + 7) 1 and logarithms, as in :data:`tracker.tracking.uncertainty.COVARIATES`.
    """

    errors: np.ndarray
    variances: np.ndarray
    scales: np.ndarray
    covariates: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Identities:
    """(N,) doubt, reported probability of being the same object as a second ago, and whether it is."""

    doubts: np.ndarray
    promised: np.ndarray
    same: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What one run or several tell."""

    promises: Mapping[str, Promises]
    identities: Identities
    innovations: np.ndarray  # (N, 4) normalised


Fit: TypeAlias = Mapping[str, np.ndarray]


def measure(sequence: Sequence, config: Config | None = None) -> Measured:
    """Run the tracker over a sequence and compare what it reports with the truth, for all kinds of report."""
    config = load_config() if config is None else config
    settings = {
        kind: Tracker(
            config.model_copy(update={"tracking": config.tracking.model_copy(update={"smoothing": smoothing})})
        )
        for kind, smoothing in (("observed", "none"), ("filtered", "online"))
    }
    recording = load(sequence)
    prepared = _truth(recording.truth)
    rows: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    innovations, identities = [np.empty((0, 4))], []
    last: dict[int, int] = {}
    history: dict[int, list[tuple[int, int]]] = {}
    lag = round(recording.frame_rate_hz)
    for frame, detections in enumerate(recording.detections, 1):
        time_s = frame / recording.frame_rate_hz
        for tracker in settings.values():
            tracker.update(detections, time_s=time_s)
        tracker = settings["observed"]
        told = {kind: each.tracks(coasting=True) for kind, each in settings.items()}
        reported = np.isin(told["observed"].ids, tracker.tracks().ids)
        told["coasting"] = told["observed"]
        boxes, names = prepared.get(frame, (np.empty((0, 4)), np.empty(0, np.int64)))
        covered = _covered(xyxy_to_ltwh(told["observed"].boxes_xyxy), boxes, reported)
        components, scene = tracker.state.components, tracker.state.scene[0]
        z = components["z"][reported & (components["hits"] > 1)]
        innovations.append(z)
        place = {int(name): n for n, name in enumerate(names)}
        coasting = np.full(len(reported), -1)
        for k, identity in enumerate(told["observed"].ids.tolist()):
            if reported[k]:
                if covered[k] < 0:
                    last.pop(identity, None)
                    continue
                name = int(names[covered[k]])
                last[identity] = name
                past = history.setdefault(identity, [])
                doubt, promised = components["doubt"][k], told["observed"].continuity[k]
                identities += _compared(past, frame, lag, components[k], name, doubt, promised)
                past.append((frame, name))
            elif told["observed"].status[k] == 2 and identity in last:
                coasting[k] = place.get(last[identity], -1)
        for kind in KINDS:
            truth = coasting if kind == "coasting" else covered
            known = truth >= 0
            rows[kind].append(_rows(told[kind].select(known), boxes[truth[known]], components[known], scene, config))
    stacked = {kind: np.concatenate([np.empty((0, 41)), *found]) for kind, found in rows.items()}
    return Measured(
        {
            kind: Promises(table[:, :4], table[:, 4:8], table[:, 8], table[:, 9:].reshape(-1, 4, 8))
            for kind, table in stacked.items()
        },
        Identities(*np.array(identities, float).reshape(-1, 3).T),
        np.concatenate(innovations),
    )


def _compared(past, frame, lag, component, name, doubt, promised) -> list[tuple[float, float, bool]]:
    """Return the row for an identity and itself a second ago, or the first box since, where both cover an object."""
    known = dict(past[-lag - 1 :])
    earlier = frame - lag
    if component["age_frames"] < lag:
        earlier = past[0][0] if past else frame
    return [(doubt, promised, known[earlier] == name)] if earlier in known and earlier < frame else []


def _truth(truth: TrackTable) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return boxes and identities of the truth that counts, by frame."""
    nobody = TrackTable(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4)), np.empty(0))
    kept = prepare(truth, nobody, Criteria())
    return {
        frame: (truth.boxes_ltwh[rows], truth.ids[rows])
        for frame, rows in zip(kept.frames.tolist(), kept.truth_rows, strict=True)
    }


def _covered(reported: np.ndarray, truth: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Return (n,) row of the true box that each covers, -1 for none."""
    found = np.full(len(reported), -1)
    rows = np.flatnonzero(usable)
    a, b = reported[rows], truth
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=2)
    iou = shared / (a[:, 2:].prod(axis=1)[:, None] + b[:, 2:].prod(axis=1) - shared)
    one, other = linear_sum_assignment(-iou)
    good = iou[one, other] >= LEAST_IOU
    found[rows[one[good]]] = other[good]
    return found


def _rows(tracks, truth_ltwh, components, scene, config) -> np.ndarray:
    """Return (n, 41): errors, variances, scale and the covariates of each coordinate."""
    n = len(tracks)
    boxes = xyxy_to_ltwh(tracks.boxes_xyxy)
    area = np.maximum(boxes[:, 2], 1.0) * np.maximum(boxes[:, 3], 1.0)
    error = np.concatenate(
        [truth_ltwh[:, :2] + truth_ltwh[:, 2:] / 2 - boxes[:, :2] - boxes[:, 2:] / 2, truth_ltwh[:, 2:] - boxes[:, 2:]],
        axis=1,
    )
    own = components["p00"].copy()
    own[:, 1] += (config.tracking.motion.anchor - 0.5) ** 2 * own[:, 3]
    covariates = np.ones((n, 4, 1 + len(COVARIATES)))
    covariates[:, :, 1] = np.log((PERFECT_SCORE - components["score"]) / (PERFECT_SCORE - ORDINARY_SCORE))[:, None]
    covariates[:, :, 2] = components["log_noise_factor"][:, None]
    for column, factor in enumerate(("measurement_position", "measurement_size", "process_position"), 3):
        covariates[:, :, column] = np.log(scene[factor])
    covariates[:, :, 6] = 0.5 * np.log(own / (ORDINARY_SPREAD**2 * area[:, None]))
    covariates[:, :, 7] = np.log1p(components["missed_tau"])[:, None]
    variances = np.diagonal(tracks.covariances, axis1=1, axis2=2)
    return np.concatenate([error, variances, np.sqrt(area)[:, None], covariates.reshape(n, 32)], axis=1)


def together(parts: Iterable[Measured]) -> Measured:
    """Return what several runs tell as one."""
    parts = list(parts)

    def joined(kind: type, pick: Callable):
        return kind(
            *(np.concatenate([getattr(pick(part), field.name) for part in parts], axis=0) for field in fields(kind))
        )

    return Measured(
        {kind: joined(Promises, lambda part, kind=kind: part.promises[kind]) for kind in KINDS},
        joined(Identities, lambda part: part.identities),
        np.concatenate([part.innovations for part in parts]),
    )


def coverage(promises: Promises, part: str, variances: np.ndarray | None = None) -> np.ndarray:
    """Return the share of the truth inside the 50, 90 and 95 % regions of a part of the coordinates."""
    chosen = list(PARTS[part])
    squares = promises.errors**2 / (promises.variances if variances is None else variances)
    return held_shares(squares[:, chosen].sum(axis=1), len(chosen))


def clipped_innovations(innovations: np.ndarray) -> np.ndarray:
    """Return (4,) mean squares of innovations clipped at 3 standard deviations: 1 by promise."""
    return np.minimum(innovations**2, Z_LIMIT**2).mean(axis=0)


def fitted_law(sets: Mapping[str, Promises], kind: str, seed: int = 0) -> np.ndarray:
    """Return (4, 8) log base and exponents for one kind of report."""
    rng = np.random.default_rng(seed)
    columns = 8 if kind == "coasting" else 7
    drawn = []
    for name, promises in sets.items():
        rows = rng.choice(len(promises.errors), min(SAMPLE, len(promises.errors)), replace=False)
        relative = promises.errors[rows] / promises.scales[rows, None]
        drawn.append((WEIGHTS.get(name, OTHER_WEIGHT), promises.covariates[rows][:, :, :columns], relative))
    start = np.zeros((4, columns))
    start[:, 0] = -2.5
    found = minimize(_loss, start.ravel(), (drawn,), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    law = np.zeros((4, 8))
    law[:, :columns] = found.x.reshape(4, columns)
    return law


def _loss(flat: np.ndarray, drawn: list[tuple[float, np.ndarray, np.ndarray]]) -> tuple[float, np.ndarray]:
    """Return the loss of the fit and its gradient."""
    nu = DEGREES_OF_FREEDOM
    law = flat.reshape(4, -1)
    slope = 2 * SHRINKAGE * law
    slope[:, 0] = 0.0
    loss = SHRINKAGE * float((law[:, 1:] ** 2).sum())
    for weight, covariates, errors in drawn:
        n = len(errors)
        log_sd = np.einsum("nic,ic->ni", covariates, law)
        squares = errors**2 * np.exp(-2.0 * log_sd)
        total = squares.sum(axis=1)
        loss += weight * float((nu + 4) / 2 * np.log1p(total / (nu - 2)).mean() + log_sd.sum() / n)
        by_log_variance = weight / n * (0.5 - (nu + 4) / 2 * squares / (nu - 2 + total[:, None]))
        for part in PARTS.values():
            chosen = list(part)
            some = squares[:, chosen].sum(axis=1) + 1e-12
            share = squares[:, chosen] / some[:, None]
            strength = weight * COVERAGE_WEIGHT * (1.0 if part == PARTS["centre"] else 0.5)
            for level in LEVELS:
                limit = (nu - 2) / nu * len(chosen) * stats.f.ppf(level, len(chosen), nu)
                inside = 1.0 / (1.0 + np.exp(np.clip((np.log(some) - np.log(limit)) / SOFTNESS, -30, 30)))
                gap = inside.mean() - level
                loss += strength * gap**2
                steep = 2 * strength * gap / n * inside * (1 - inside) / SOFTNESS
                by_log_variance[:, chosen] += steep[:, None] * share
        slope += 2 * np.einsum("ni,nic->ic", by_log_variance, covariates)
    return loss, slope.ravel()


def fitted_odds(sets: Iterable[Identities], floor: float = 0.01) -> tuple[float, float]:
    """Return scale and exponent of the odds of a change by logistic regression on the log of the doubt, sets alike."""
    pairs = [(np.log(found.doubts + floor), 1.0 - found.same) for found in sets]

    def loss(numbers: np.ndarray) -> float:
        logits = [numbers[0] + numbers[1] * x for x, _ in pairs]
        return float(
            sum((np.logaddexp(0.0, t) - changed * t).mean() for t, (_, changed) in zip(logits, pairs, strict=True))
        )

    offset, exponent = minimize(loss, np.array([-2.0, 1.0])).x
    return float(np.exp(offset)), float(exponent)


def _percent(shares: np.ndarray) -> str:
    return " ".join(f"{100 * share:5.1f}" for share in shares)


def show(sets: Mapping[str, Measured]) -> None:
    """Print the tables."""
    print(f"share of the truth (%) inside the regions of {', '.join(f'{100 * level:.0f}' for level in LEVELS)} %")
    for kind in KINDS:
        for name, found in sets.items():
            promises = found.promises[kind]
            cells = "  ".join(f"{part} {_percent(coverage(promises, part))}" for part in PARTS)
            print(f"  {kind:9s} {name:15s} {len(promises.errors):7d}  {cells}")
    print("mean squared innovations, clipped at 3 sd (1 each as promised): x, bottom, width, height; their sum (4)")
    for name, found in sets.items():
        squares = clipped_innovations(found.innovations)
        print(f"  {name:15s} {' '.join(f'{square:5.2f}' for square in squares)}  {squares.sum():5.2f}")
    print("same object as a second ago: boxes, promised %, came %, Brier score, expected calibration error; by bins")
    for name, found in sets.items():
        told = found.identities
        _show_identities(name, told.promised, told.same)


def _show_identities(name: str, promised: np.ndarray, same: np.ndarray) -> None:
    bars = reliability(promised, same.astype(np.int64))
    print(
        f"  {name:15s} {len(same):7d} {100 * promised.mean():6.2f} {100 * same.mean():6.2f} "
        f"{brier_score(promised, same):.4f} {calibration_error(bars):.4f}  "
        + " ".join(
            f"{100 * p:.0f}:{100 * k:.0f} ({c})" for p, k, c in zip(bars.promised, bars.kept, bars.counts, strict=True)
        )
    )


def show_fit(sets: Mapping[str, Measured]) -> None:
    """Fit and print the constants as configuration, then each set's figures under the fit to the other sets."""
    for kind in KINDS:
        law = fitted_law({name: found.promises[kind] for name, found in sets.items()}, kind)
        print(f"tracking.uncertainty.{kind}:")
        print(f"  base: {[float(f'{value:.3g}') for value in np.exp(law[:, 0])]}")
        for column, name in enumerate(COVARIATES, 1):
            if name != "unseen" or kind == "coasting":
                print(f"  {name}: {[float(f'{value:.3g}') for value in law[:, column]]}")
    scale, exponent = fitted_odds([found.identities for found in sets.values()])
    print(f"tracking.uncertainty: change_scale: {scale:.3g}, change_exponent: {exponent:.3g}")
    print("each set under the fit to the others")
    for kind in KINDS:
        for name, found in sets.items():
            others = {other: each.promises[kind] for other, each in sets.items() if other != name}
            law, promises = fitted_law(others, kind), found.promises[kind]
            variances = np.exp(2 * np.einsum("nic,ic->ni", promises.covariates, law)) * promises.scales[:, None] ** 2
            cells = "  ".join(f"{part} {_percent(coverage(promises, part, variances))}" for part in PARTS)
            print(f"  {kind:9s} {name:15s} {len(promises.errors):7d}  {cells}")
    for name, found in sets.items():
        scale, exponent = fitted_odds([each.identities for other, each in sets.items() if other != name])
        promised = 1.0 / (1.0 + scale * (found.identities.doubts + 0.01) ** exponent)
        _show_identities(name, promised, found.identities.same)


def by_set(root: Path, processes: int) -> dict[str, Measured]:
    """Measure every sequence below a folder and combine those of each set."""
    sequences = find_sequences(root)
    with ProcessPoolExecutor(processes) as pool:
        found = list(zip(sequences, pool.map(measure, sequences), strict=True))
    names = dict.fromkeys(sequence.set_name for sequence in sequences)
    return {name: together(each for sequence, each in found if sequence.set_name == name) for name in names}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with SET/SEQUENCE/{det/det.txt,gt/gt.txt,seqinfo.ini}")
    parser.add_argument("--fit", action="store_true", help="fit tracking.uncertainty instead of only measuring")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    sets = by_set(arguments.data, arguments.processes)
    show(sets)
    if arguments.fit:
        show_fit(sets)


if __name__ == "__main__":
    main()
