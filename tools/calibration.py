"""Measure whether the tracker is as sure as it should be, on sequences with truth, and fit what makes it so.

    python tools/calibration.py DATA_ROOT          coverage, innovations and reliability by set
    python tools/calibration.py DATA_ROOT --fit    fit tracking.uncertainty, all sets, leaving each out, and by halves

A reported box is compared with the true box that it covers (IoU at least 0.5, most overlap in all); a coasting object
with the one that its last box covered. The fit minimises, over sets and kinds of report, the negative log-likelihood
of the errors under Student's t and the gaps of the coverage at 50, 90 and 95 %, of the centre, of each size
and of all four coordinates; then the log loss of the identities. How the laws carry over is measured on each set under
the fit to the others, and on each half of the sequences of all sets under the fit to the other half.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from measuring import Sequence, find_sequences, load
from scipy import stats
from scipy.optimize import linear_sum_assignment, minimize
from telling import one_line_errors

from tracker import Config, Tracker, load_config
from tracker.confidence import CLIPPED_AT, DEGREES_OF_FREEDOM, EXPECTED_CLIPPED_SQUARE
from tracker.evaluation.consistency import (
    LEVELS,
    brier_score,
    calibration_error,
    clipped_squares,
    held_shares,
    reliability,
)
from tracker.evaluation.preparation import Criteria, prepare
from tracker.formats.table import TrackTable
from tracker.geometry import intersection_over_union, ltwh_to_xyxy, xyxy_to_cxywh, xyxy_to_ltwh
from tracker.tracking.uncertainty import (
    ORDINARY_SPEED,
    ORDINARY_SPREAD,
    ErrorLaws,
    Known,
    error_laws,
    error_variances,
    variance_parts,
    what_is_known,
)

LEAST_IOU = 0.5
KINDS = ("observed", "filtered", "coasting")
PARTS: dict[str, tuple[int, ...]] = {"centre": (0, 1), "width": (2,), "height": (3,), "box": (0, 1, 2, 3)}
WEIGHTS = {"MOT17-val-half": 2.0, "DanceTrack": 3.0, "KITTI": 3.0, "MOT15": 0.06, "Detectors": 0.3}
"""Of the sets in the fit. Truth of MOT15 lies beside what any detector finds."""
LENGTHS, NUMBERS = ("detector", "coasting"), ("score", "scene", "spread", "coasting_scene", "surprise", "speed", "lag")
SAMPLE, COVERAGE_WEIGHT, SOFTNESS = 2000, 1000.0, 0.12
OTHER_PARTS = 0.05
"""Weight of the coverage of sizes and boxes against that of centres."""


@dataclass(frozen=True, slots=True, eq=False)
class Promises:
    """What was reported of objects whose truth is known, and what is true.

    Parameters
    ----------
    errors
        (N, 4) truth less report in centre x, centre y, width and height, px.
    variances
        (N, 4) as reported.
    known
        What the law makes the variances of.
    """

    errors: np.ndarray
    variances: np.ndarray
    known: Known

    def select(self, rows: np.ndarray) -> Promises:
        """Return the chosen rows."""
        return Promises(self.errors[rows], self.variances[rows], Known(*(part[rows] for part in self.known)))

    @classmethod
    def joined(cls, parts: list[Promises]) -> Promises:
        """Return all rows as one."""
        known = Known(*(np.concatenate(columns) for columns in zip(*(part.known for part in parts), strict=True)))
        errors, variances = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("errors", "variances")
        )
        return cls(errors, variances, known)


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
    lever = error_laws(config).lever
    promises: dict[str, list[Promises]] = {kind: [] for kind in KINDS}
    innovations, identities = [np.empty((0, 4))], []
    last: dict[int, int] = {}
    history: dict[int, list[tuple[int, int]]] = {}
    lag = round(recording.frame_rate_hz)
    for frame, (detections, time_s) in enumerate(zip(recording.detections, recording.times_s, strict=True), 1):
        for tracker in settings.values():
            tracker.update(detections, time_s=time_s)
        tracker = settings["observed"]
        told = {kind: each.tracks(coasting=True) for kind, each in settings.items()}
        reported = np.isin(told["observed"].ids, tracker.tracks().ids)
        told["coasting"] = told["observed"]
        boxes, names = prepared.get(frame, (np.empty((0, 4)), np.empty(0, np.int64)))
        covered = _covered(xyxy_to_ltwh(told["observed"].boxes_xyxy), boxes, reported)
        components = tracker.state.components
        info = tracker.info
        z = info.innovations[np.isin(info.ids, told["observed"].ids[reported])]
        innovations.append(z[~np.isnan(z[:, 0])])
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
            rows = np.flatnonzero(truth >= 0)
            tracks = told[kind].select(rows)
            known = what_is_known(tracker.state, rows, tracks.boxes_xyxy, lever)
            variances = np.diagonal(tracks.covariances, axis1=1, axis2=2)
            promises[kind].append(Promises(_errors(tracks.boxes_xyxy, boxes[truth[rows]]), variances, known))
    return Measured(
        {kind: Promises.joined(found) for kind, found in promises.items()},
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
    iou = intersection_over_union(reported[rows], truth)
    one, other = linear_sum_assignment(-iou)
    good = iou[one, other] >= LEAST_IOU
    found[rows[one[good]]] = other[good]
    return found


def _errors(reported_xyxy: np.ndarray, truth_ltwh: np.ndarray) -> np.ndarray:
    """Return (n, 4) truth less report in centre x, centre y, width and height."""
    return xyxy_to_cxywh(ltwh_to_xyxy(truth_ltwh)) - xyxy_to_cxywh(reported_xyxy)


def together(parts: Iterable[Measured]) -> Measured:
    """Return what several runs tell as one."""
    parts = list(parts)
    identities = (
        np.concatenate([getattr(part.identities, field.name) for part in parts]) for field in fields(Identities)
    )
    return Measured(
        {kind: Promises.joined([part.promises[kind] for part in parts]) for kind in KINDS},
        Identities(*identities),
        np.concatenate([part.innovations for part in parts]),
    )


def coverage(promises: Promises, part: str, variances: np.ndarray | None = None) -> np.ndarray:
    """Return the share of the truth inside the 50, 90 and 95 % regions of a part of the coordinates."""
    chosen = list(PARTS[part])
    squares = promises.errors**2 / (promises.variances if variances is None else variances)
    return held_shares(squares[:, chosen].sum(axis=1), len(chosen))


def fitted_laws(sets: Mapping[str, Mapping[str, Promises]], start: ErrorLaws, seed: int = 0) -> ErrorLaws:
    """Return the laws fitted to all kinds of report of some sets: name -> kind -> promises."""
    rng = np.random.default_rng(seed)
    groups = []
    for name, kinds in sets.items():
        for promises in kinds.values():
            count = len(promises.errors)
            if count:
                rows = rng.choice(count, min(SAMPLE, count), replace=False)
                groups.append((WEIGHTS.get(name, 1.0), promises.select(rows)))
    total = sum(weight for weight, _ in groups)
    groups = [(weight / total, promises) for weight, promises in groups]
    found = minimize(_loss, _flat(start), (groups, start), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return _laws(found.x, start)


def _flat(laws: ErrorLaws) -> np.ndarray:
    """Return the 15 numbers that are fitted, positive ones as logarithms."""
    exponents = [getattr(laws, name) for name in NUMBERS[:-1]]
    return np.array([*np.log(laws.detector), *np.log(laws.coasting), *exponents, np.log(laws.lag)])


def _laws(flat: np.ndarray, like: ErrorLaws) -> ErrorLaws:
    numbers = dict(zip(NUMBERS, [*flat[8:-1].tolist(), float(np.exp(flat[-1]))], strict=True))
    return like._replace(detector=np.exp(flat[:4]), coasting=np.exp(flat[4:8]), **numbers)


def _loss(flat: np.ndarray, groups: list[tuple[float, Promises]], like: ErrorLaws) -> tuple[float, np.ndarray]:
    """Return the loss of the fit and its gradient."""
    nu, laws = DEGREES_OF_FREEDOM, _laws(flat, like)
    loss, slope = 0.0, np.zeros_like(flat)
    for weight, promises in groups:
        known, n = promises.known, len(promises.errors)
        detector, lag, coasting = variance_parts(known, laws)
        variances = detector + lag + coasting
        squares = promises.errors**2 / variances
        total = squares.sum(axis=1)
        density = (nu + 4) / 2 * np.log1p(total / (nu - 2)) + 0.5 * np.log(variances).sum(axis=1)
        loss += weight * float(density.mean())
        by_log_variance = weight / n * (0.5 - (nu + 4) / 2 * squares / (nu - 2 + total[:, None]))
        for part in PARTS.values():
            chosen = list(part)
            some = squares[:, chosen].sum(axis=1) + 1e-12
            share = squares[:, chosen] / some[:, None]
            strength = weight * COVERAGE_WEIGHT * (1.0 if part == PARTS["centre"] else OTHER_PARTS)
            for level in LEVELS:
                limit = (nu - 2) / nu * len(chosen) * stats.f.ppf(level, len(chosen), nu)
                inside = 1.0 / (1.0 + np.exp(np.clip((np.log(some) - np.log(limit)) / SOFTNESS, -30, 30)))
                gap = inside.mean() - level
                loss += strength * gap**2
                steep = 2 * strength * gap / n * inside * (1 - inside) / SOFTNESS
                by_log_variance[:, chosen] += steep[:, None] * share
        by_detector, by_lag, by_coasting = (by_log_variance * part / variances for part in (detector, lag, coasting))
        own = 0.5 * np.log(known.own_variances / (ORDINARY_SPREAD * known.scales[:, None]) ** 2)
        slope += 2.0 * np.array(
            [
                *by_detector.sum(axis=0),
                *by_coasting.sum(axis=0),
                np.log(known.open) @ by_detector.sum(axis=1),
                np.log(known.scene_ratio) @ by_detector.sum(axis=1),
                (own * by_coasting).sum(),
                np.log(known.size_noise) @ by_coasting.sum(axis=1),
                np.log(known.surprise) @ by_coasting.sum(axis=1),
                np.log(known.speeds / ORDINARY_SPEED) @ by_coasting.sum(axis=1),
                by_lag.sum(),
            ]
        )
    return loss, slope


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
    _show_coverage(sets, lambda _, promises: promises.variances)
    print("share of the innovations (%) inside those regions, and mean squares of x, bottom, width, height,")
    print(f"clipped at {CLIPPED_AT:g} sd: {EXPECTED_CLIPPED_SQUARE:.2f} each as promised")
    for name, found in sets.items():
        z = found.innovations
        held = "  ".join(
            f"{part} {_percent(held_shares((z[:, columns] ** 2).sum(axis=1), 2))}"
            for part, columns in (("position", slice(0, 2)), ("size", slice(2, 4)))
        )
        print(f"  {name:15s} {len(z):7d}  {held}  {' '.join(f'{square:5.2f}' for square in clipped_squares(z))}")
    print("same object as a second ago: boxes, promised %, came %, Brier score, expected calibration error; by bins")
    for name, found in sets.items():
        told = found.identities
        _show_identities(name, told.promised, told.same)


def _show_coverage(
    sets: Mapping[str, Measured], variances: Callable[[str, Promises], np.ndarray], kinds: Iterable[str] = KINDS
) -> None:
    for kind in kinds:
        for name, found in sets.items():
            promises = found.promises[kind]
            told = variances(name, promises)
            cells = "  ".join(f"{part} {_percent(coverage(promises, part, told))}" for part in PARTS)
            print(f"  {kind:9s} {name:15s} {len(promises.errors):7d}  {cells}")


def _show_identities(name: str, promised: np.ndarray, same: np.ndarray) -> None:
    bars = reliability(promised, same.astype(np.int64))
    print(
        f"  {name:15s} {len(same):7d} {100 * promised.mean():6.2f} {100 * same.mean():6.2f} "
        f"{brier_score(promised, same):.4f} {calibration_error(bars):.4f}  "
        + " ".join(
            f"{100 * p:.0f}:{100 * k:.0f} ({c})" for p, k, c in zip(bars.promised, bars.kept, bars.counts, strict=True)
        )
    )


def show_fit(parts: Mapping[Sequence, Measured]) -> None:
    """Fit and print the constants as configuration, then how they carry over to sets and sequences left out."""
    sets, start = by_set(parts), error_laws(load_config())
    laws = _fitted(sets, start)
    print("tracking.uncertainty:")
    for name in LENGTHS:
        print(f"  {name}: {[float(f'{value:.3g}') for value in getattr(laws, name)]}")
    for name in NUMBERS:
        print(f"  {name}: {getattr(laws, name):.3g}")
    scale, exponent = fitted_odds([found.identities for found in sets.values()])
    print(f"  change_scale: {scale:.3g}\n  change_exponent: {exponent:.3g}")

    print("all sets under this fit")
    _show_coverage(sets, lambda _, promises: error_variances(promises.known, laws))
    print("each set under the fit to the others")
    without = {name: _fitted({other: each for other, each in sets.items() if other != name}, start) for name in sets}
    _show_coverage(sets, lambda name, promises: error_variances(promises.known, without[name]))
    for name, found in sets.items():
        scale, exponent = fitted_odds([each.identities for other, each in sets.items() if other != name])
        promised = 1.0 / (1.0 + scale * (found.identities.doubts + start.change_floor) ** exponent)
        _show_identities(name, promised, found.identities.same)

    print("every second sequence of all sets under the fit to the rest, and the other way round, together")
    rank = {sequence: n for name in sets for n, sequence in enumerate(s for s in parts if s.set_name == name)}
    halves = [by_set({s: found for s, found in parts.items() if rank[s] % 2 == half}) for half in (0, 1)]
    promised = {name: {kind: [] for kind in KINDS} for name in sets}
    for half, other in (halves, halves[::-1]):
        laws = _fitted(other, start)
        for name, found in half.items():
            for kind, promises in found.promises.items():
                variances = error_variances(promises.known, laws)
                promised[name][kind].append(replace(promises, variances=variances))
    told = {
        name: replace(sets[name], promises={kind: Promises.joined(each) for kind, each in kinds.items()})
        for name, kinds in promised.items()
    }
    _show_coverage(told, lambda _, promises: promises.variances)


def _fitted(sets: Mapping[str, Measured], start: ErrorLaws) -> ErrorLaws:
    return fitted_laws({name: found.promises for name, found in sets.items()}, start)


def measure_all(sequences: list[Sequence], processes: int) -> dict[Sequence, Measured]:
    """Measure sequences in parallel."""
    with ProcessPoolExecutor(processes) as pool:
        return dict(zip(sequences, pool.map(measure, sequences), strict=True))


def by_set(parts: Mapping[Sequence, Measured]) -> dict[str, Measured]:
    """Combine what the sequences of each set tell."""
    names = dict.fromkeys(sequence.set_name for sequence in parts)
    return {name: together(part for sequence, part in parts.items() if sequence.set_name == name) for name in names}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with SET/SEQUENCE/{det/det.txt,gt/gt.txt,seqinfo.ini}")
    parser.add_argument("--fit", action="store_true", help="fit tracking.uncertainty instead of only measuring")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    parts = measure_all(find_sequences(arguments.data), arguments.processes)
    show(by_set(parts))
    if arguments.fit:
        show_fit(parts)


if __name__ == "__main__":
    with one_line_errors():
        main()
