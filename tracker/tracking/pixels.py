"""The mixture through time where the observations are pixels: every object is a Gaussian blob of foreground.

The pixels of a frame are a Poisson process whose intensity is a mixture over a uniform background,

    lambda(x) = sum_k m_k q_k(x) N(x; mu_k, Sigma_k) + clutter,

m_k being the number of pixels that object k shows and q_k how much likelier a pixel's colour is as the object's than as
clutter's (:mod:`tracker.tracking.palettes`). Last frame's blobs, moved by the motion model of
:mod:`tracker.tracking.motion`, are the start and the prior of a few rounds of EM. Who is not needed to explain the
pixels, by the likelihood, is not seen in the frame and coasts. Unexplained pixels give birth. Boxes come from the
moments of an object's own pixels; how far its outline reaches beyond them is learned while it walks alone.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker.config import Config
from tracker.geometry import cxywh_to_xyxy
from tracker.mixture.kernels import compiling, kernel
from tracker.structures import BLOB_TRACK, BlobTracks, Detections, FloatArray, Foreground, Status, Tracks
from tracker.tracking.blobs import (
    ANCHOR,
    BLOB,
    blob_covariances,
    carry_shapes,
    config_of_blobs,
    existence_of,
    first_state,
    revert_sizes,
)
from tracker.tracking.evidence import LARGEST_COVER, cover_from_last_frame, detection_probability
from tracker.tracking.family import births, divide, find_divided, find_merged, free_silhouettes
from tracker.tracking.holding import STILL, Holder, checked_affine, elapsed_tau
from tracker.tracking.motion import TAU_PER_S, bring_to_step, learn_innovation_scale, predict, predicted_boxes
from tracker.tracking.outlines import lone_outlines, move
from tracker.tracking.palettes import colour_ratios, learned_palettes, palettes_for, resemblance
from tracker.tracking.pixel_em import BlobPrior, Shares, blob_prior, near, seen_shares
from tracker.tracking.refinding import find_again
from tracker.tracking.state import PAIR, Records, StepInfo, TrackerState, parameters
from tracker.tracking.uncertainty import continuity, error_laws

_LARGEST_GAIN = 3.0  # of an object in one frame, in nats
_MOVED = 0.7  # distance from its birthplace, in units of g, that no hole in the background has
_KEPT_MISSES_FRAMES = 5  # so long the background is not learned where somebody is hidden
_KEPT_MARGIN = 0.25  # in units of g: arms and legs swing

_REPORTED = {
    "ids": "id",
    "scores": "score",
    "classes": "label",
    "detection_indices": "detection",
    "existence": "existence",
    "responsibilities": "responsibility",
    "parent_ids": "parent_id",
}


def step(
    state: TrackerState,
    foreground: Foreground,
    config: Config,
    *,
    time_s: float,
    camera_affine: ArrayLike | None = None,
) -> tuple[TrackerState, StepInfo, Shares]:
    """Carry the mixture through one frame.

    Parameters
    ----------
    state
        From :func:`first_state` or an earlier step; not changed.
    foreground
        What was seen in the frame.
    config
        The configuration.
    time_s
        Time of the frame in seconds.
    camera_affine
        (2, 3) map from the previous frame's pixels to this one's; None for a camera that stood still.

    Returns
    -------
    state, info, shares
        The new state, what the step learned, and the outcome of EM. The pairs of ``info`` are of objects and
        silhouettes, with shares of the object's pixels.

    Raises
    ------
    ValueError
        When time does not increase or the map is not 2 x 3, finite and invertible.
    """
    return _step(state, foreground, config, parameters(config_of_blobs(config)), time_s, camera_affine)


def _step(
    state: TrackerState,
    foreground: Foreground,
    config: Config,
    parameter: Records,
    time_s: float,
    camera_affine: ArrayLike | None,
) -> tuple[TrackerState, StepInfo, Shares]:
    settings = config.tracking.pixels
    tau, time_s = elapsed_tau(state, time_s)
    predicted = np.empty(len(state.components), BLOB)
    affine = STILL if camera_affine is None else checked_affine(camera_affine)
    cover, visible = _predict(state.components, state.scene, affine, tau, parameter, predicted)
    carry_shapes(predicted, affine)
    revert_sizes(predicted, foreground, tau, settings)
    prior = blob_prior(predicted, np.minimum(cover, LARGEST_COVER), state.scene, parameter)
    palettes = palettes_for(state.features, len(predicted), foreground)
    around = near(foreground, prior)
    boxes = cxywh_to_xyxy(predicted["mean"])
    around = around._replace(ratios=colour_ratios(foreground, around.start, around.member, boxes, palettes, settings))
    shares, gains = seen_shares(foreground, prior, around, predicted["extent"], settings)
    pairs, regions = _regions(foreground, shares), _region_boxes(foreground)

    seen = shares.visible & (shares.counts > settings.least_seen * prior.whole_masses)
    outlines = lone_outlines(foreground, shares, pairs, regions)
    move(predicted, foreground, prior, shares, outlines, seen, cover, state.scene, parameter)
    _keep_books(predicted, foreground, prior, shares, seen, pairs, regions, visible, gains, tau)
    learned = learned_palettes(palettes, foreground, shares, predicted["box"], prior.whole_masses, seen, tau, settings)
    free, lost = free_silhouettes(predicted[seen], foreground, shares), np.flatnonzero(~seen)
    alike = resemblance(foreground, foreground.weights * shares.clutter, free["box"], palettes[lost], settings)
    again, taken = find_again(predicted, lost, visible, free, alike, state.scene, parameter)
    pairs = np.concatenate([pairs, again])
    scene = state.scene.copy()
    learn_innovation_scale(scene, predicted["z"].copy(), predicted["detection"].copy(), parameter[0])
    own = shares.table()
    merged = find_merged(predicted, foreground, own, seen, config)
    divided = find_divided(predicted, foreground, own, seen & ~merged, settings.object_cost)
    children = divide(predicted, divided, state.next_id, state.scene, config, parameter)
    goes_on = _survives(predicted, config) & ~merged
    survivors = predicted[goes_on]
    newborn = births(survivors, free[~taken], state.next_id + len(children), state, config, parameter)
    newborn = np.concatenate([children, newborn])
    components = np.concatenate([survivors, newborn])
    components["status"] |= components["hits"] >= config.tracking.lifecycle.confirmation_hits

    next_id = state.next_id + len(newborn)
    features = np.concatenate([learned[goes_on], np.zeros((len(newborn), *learned.shape[1:]))])
    new = state._replace(
        components=components,
        scene=scene,
        features=features.reshape(len(components), math.prod(features.shape[1:])),
        next_id=next_id,
        frame_index=state.frame_index + 1,
        time_s=time_s,
    )
    info = StepInfo(state.components, components, pairs, float(shares.objective[-1]), state.scene)
    return new, info, shares


@kernel()
def _predict(
    components: Records, scene: Records, affine: FloatArray, tau: float, parameter: Records, predicted: Records
) -> tuple[FloatArray, FloatArray]:
    """Move the components as in box mode; return (K,) the share of each that is hidden, and P_D."""
    parameter[1] = parameter[0]
    p = parameter[1]
    bring_to_step(p, tau)
    predict(components, scene, affine, tau, p, predicted)
    cover = cover_from_last_frame(predicted, predicted_boxes(predicted, ANCHOR))
    return cover, detection_probability(predicted, cover, p)


def _regions(foreground: Foreground, shares: Shares) -> Records:
    """Return records of PAIR: each blob, each region that holds pixels of it, and the share of its pixels there."""
    if not len(shares.member):
        return np.empty(0, PAIR)
    columns = int(foreground.regions.max()) + 1
    cell = shares.member * columns + foreground.regions[shares.points]
    mass = np.bincount(cell, shares.own_weights(foreground))
    cells = np.flatnonzero(mass)
    pairs = np.zeros(len(cells), PAIR)
    pairs["row"], pairs["column"] = np.divmod(cells, columns)
    pairs["responsibility"] = mass[cells] / shares.counts[pairs["row"]]
    return pairs


def _region_boxes(foreground: Foreground) -> FloatArray:
    """Return (R, 4) left, top, right, bottom of the points of each region."""
    points, regions = foreground.points_px, foreground.regions
    low = np.full((int(regions.max(initial=-1)) + 1, 2), np.inf)
    high = -low
    np.minimum.at(low, regions, points)
    np.maximum.at(high, regions, points)
    return np.hstack([low, high])


def _keep_books(
    predicted: Records,
    foreground: Foreground,
    prior: BlobPrior,
    shares: Shares,
    seen: NDArray[np.bool_],
    pairs: Records,
    regions_xyxy: FloatArray,
    visible: FloatArray,
    gains: FloatArray,
    tau: float,
) -> None:
    """Count hits and misses, and what else is known of who was seen, in place."""
    odds = predicted["existence"] / (1.0 - predicted["existence"])
    odds *= np.where(seen, np.exp(np.clip(gains, 0.0, _LARGEST_GAIN)), 1.0 - visible)
    predicted["existence"] = existence_of(odds)
    predicted["hits"] += seen
    predicted["misses"] = np.where(seen, 0, predicted["misses"] + 1)
    predicted["missed_tau"] = np.where(seen, 0.0, predicted["missed_tau"] + tau)
    predicted["detection"] = -1
    order = np.argsort(pairs["responsibility"], kind="stable")  # the largest share is written last
    predicted["detection"][pairs["row"][order]] = pairs["column"][order]
    predicted["detection"][~seen] = -1
    shown = np.clip(shares.counts / prior.whole_masses, 0.0, 1.0)
    predicted["score"] = np.where(seen, shown, predicted["score"])
    weights = shares.own_weights(foreground)
    purity = np.bincount(shares.member, weights * shares.responsibilities, len(predicted))
    predicted["responsibility"] = np.where(seen, purity / np.maximum(shares.counts, 1e-9), 0.0)
    surprise = -np.log(np.clip(predicted["responsibility"], 1e-9, 1.0))
    predicted["doubt"] = math.exp(-tau / TAU_PER_S) * predicted["doubt"] + np.where(seen, surprise, 0.0)
    travelled = np.hypot(*(predicted["mean"][:, :2] - predicted["birthplace"]).T)
    predicted["moved"] |= seen & (travelled > _MOVED * predicted["scale"])
    predicted["silhouette"][seen] = regions_xyxy[predicted["detection"][seen]]


def _survives(predicted: Records, config: Config) -> NDArray[np.bool_]:
    confirmed = predicted["status"] == 1
    longest = config.tracking.lifecycle.max_misses_frames
    return np.asarray((predicted["misses"] == 0) | (confirmed & (predicted["misses"] <= longest)))


class PixelTracker(Holder):
    """Follow objects by their pixels: feed each frame's foreground, get the objects with their identities.

    As :class:`tracker.Tracker` does with boxes.

    Parameters
    ----------
    config
        See :func:`tracker.load_config`; the defaults when left out.
    """

    __slots__ = ("_laws", "_parameter", "_shares")

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config, first_state())
        self._parameter = parameters(config_of_blobs(self._config))
        self._laws = error_laws(self._config)
        self._shares: Shares | None = None

    def update(
        self, foreground: Foreground, time_s: float | None = None, camera_affine: ArrayLike | None = None
    ) -> Tracks:
        """Take in one frame and return the objects seen in it, or in the frame ``tracking.lag_frames`` before.

        Parameters
        ----------
        foreground
            What was seen in the frame; may be empty.
        time_s
            Time of the frame; the last frame's plus one period of ``tracking.frame_rate_hz`` when left out.
        camera_affine
            (2, 3) map from the previous frame's pixels to this one's.

        Raises
        ------
        TypeError
            When the foreground is none.
        ValueError
            When time does not increase or the map is not 2 x 3, finite and invertible.
        """
        if not isinstance(foreground, Foreground):
            raise TypeError(f"foreground is a {type(foreground).__name__}; it must be Foreground(points_px, weights)")
        if time_s is None:
            time_s = self._due_s()
        self._state, self._info, self._shares = _step(
            self._state, foreground, self._config, self._parameter, time_s, camera_affine
        )
        tracks = self.tracks()
        return self._hold_back(tracks, camera_affine) if self._lag_frames else tracks

    def tracks(self, coasting: bool = False) -> BlobTracks:
        """Return the objects of the newest frame; ``coasting`` adds those not seen in it and the tentative."""
        c, smoothed = self._state.components, self._config.tracking.smoothing == "online"
        seen = c["detection"] >= 0
        # Nothing can have been confirmed in the first two frames, and waiting would lose what is there.
        c = c if coasting else c[seen & ((c["status"] == 1) | (self._state.frame_index <= 2))]
        seen = c["detection"] >= 0
        filtered = cxywh_to_xyxy(c["mean"])
        rows = np.zeros(len(c), BLOB_TRACK)
        rows["boxes_xyxy"] = np.where((seen & (not smoothed))[:, None], c["box"], filtered)
        rows["covariances"] = c["p00"][:, :, None] * np.eye(4)
        rows["status"] = np.where(c["status"] == 0, Status.TENTATIVE, np.where(seen, Status.CONFIRMED, Status.COASTING))
        for column, field in _REPORTED.items():
            rows[column] = c[field]
        rows["continuity"] = continuity(c, self._laws)
        rows["blob_covariances"] = blob_covariances(c)
        return BlobTracks.of_rows(rows)

    @property
    def occupied_xyxy(self) -> FloatArray:
        """(n, 4) where objects are for certain, so that the background is not learned there (``keep_visible``).

        What has moved since its birth is an object; a hole that somebody left in the background never moves.
        """
        if not self._config.tracking.pixels.keep_visible:
            return np.empty((0, 4))
        c = self._state.components
        c = c[(c["moved"] == 1) & (c["status"] == 1) & (c["misses"] <= _KEPT_MISSES_FRAMES)]
        margin = _KEPT_MARGIN * c["scale"][:, None]
        return np.hstack([c["box"][:, :2] - margin, c["box"][:, 2:] + margin])

    def reset(self) -> None:
        """Forget everything, waiting reports too; identities begin at 1 again."""
        super().reset()
        self._shares = None

    @property
    def shares(self) -> Shares | None:
        """How EM divided the last frame's pixels; None before the first."""
        return self._shares


def warm_up() -> None:
    """Compile what a frame needs, or load it from the cache of an earlier run."""
    tracker = PixelTracker()
    y, x = np.divmod(np.arange(800.0), 20.0)
    body = Detections([[0.0, 0.0, 20.0, 40.0]])
    foreground = Foreground(np.column_stack([x, y]) + 0.5, np.ones(800), silhouettes=body)
    with compiling():
        for _ in range(2):
            tracker.update(foreground, camera_affine=STILL)
