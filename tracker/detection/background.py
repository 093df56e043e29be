"""Detections from a camera that stands still: what differs from the background, cut into objects.

Every picture goes through six stages: *subtract* the background, *clean* the mask, take its connected
*components*, *merge* the fragments of one object, *split* silhouettes that run together, *score* what is left.
Merging, splitting and scoring ask how large an object usually is where it stands; :class:`_SizeLearner` learns
that from the silhouettes themselves.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.config import BackgroundConfig
from tracker.detection.histogram import colour_shares
from tracker.errors import DetectorError
from tracker.structures import Detections, FloatArray, Foreground, Image, IntArray, TypicalSize

_FOREGROUND = 255  # MOG2 marks shadows with 127
_FIRST_MEMORY_FRAMES = 100  # what stands in the first frames and leaves is forgotten in a tenth of this
_BACKGROUND_EVERY_FRAMES = 25  # rebuilding the background picture costs a few ms
_LEARN_EVERY_FRAMES = 3  # around objects, where it takes a second pass: a pass is the dearest of all stages
_SHORT_MEMORY_FRAMES = 10  # up to so many every frame counts
_GHOST_EDGES = 0.35  # below this share of edges in the picture, the outline is the background's

_JOINT_SIZE = np.array([1.3, 1.2])  # fragments up to this many typical widths and heights are one object
_LONE_SIZE = np.array([1.5, 1.3])  # a silhouette above this many may be several objects
_BODY_SPREAD = 0.25  # standard deviation of an object's pixels, in its widths and heights
_COST_PER_OBJECT = 0.25  # log likelihood of a quarter of an object's pixels buys another object
_MOST_SPLIT = 8
_LEARNING_FRAMES = 30
_LARGEST_SPREAD = 0.3  # of log height: where objects differ more, no size is typical


class BackgroundDetector:
    """Find moving objects in the pictures of one fixed camera, given in order.

    The background is a Gaussian mixture for every pixel [1]_ that forgets slowly, so that somebody who stands
    still stays visible for a while. A detector belongs to one video: make a new one for the next.

    Parameters
    ----------
    config
        Areas in it are shares of the frame, so that one configuration serves all resolutions.

    Raises
    ------
    DetectorError
        When the ignore mask cannot be read.

    References
    ----------
    .. [1] Z. Zivkovic, F. van der Heijden, "Efficient adaptive density estimation per image pixel for the task
       of background subtraction", Pattern Recognition Letters 27 (2006).
    """

    def __init__(self, config: BackgroundConfig) -> None:
        self._config = config
        self._ignored = None if config.ignore_mask is None else _read_mask(config.ignore_mask)
        self._subtractor = cv2.createBackgroundSubtractorMOG2(
            config.history_frames, config.variance_threshold, detectShadows=True
        )
        self._subtractor.setVarThresholdGen(config.variance_threshold)
        self._subtractor.setVarMin(config.variance_floor)
        self._subtractor.setShadowThreshold(config.darkest_shadow)
        self._background: Image | None = None
        # For segment alone: every pixel as it was when last it was background, and for how many frames it was so.
        self._bare: Image | None = None
        self._seen_bare: NDArray[np.uint16] | None = None
        self._frames = 0
        self._sizes = _SizeLearner()

    def detect(self, image: Image) -> Detections:
        """Return what moves in ``image`` ((height, width, 3) uint8, blue-green-red).

        Raises
        ------
        DetectorError
            When the picture's size is not that of the ignore mask.
        """
        picture, scale = self._scaled(image)
        detections, _ = self._look(picture, scale, image.shape[:2], None)
        return detections

    def segment(self, image: Image, occupied_xyxy: FloatArray) -> Foreground:
        """Return the pixels that differ from the background, thinned to ``foreground_points``.

        Parameters
        ----------
        image
            (height, width, 3) uint8, blue-green-red.
        occupied_xyxy
            (n, 4) boxes of what is known to be objects: there the background is not learned, so that who stands
            still stays visible, unless what is seen there looks like a hole that somebody left.

        Raises
        ------
        DetectorError
            When the picture's size is not that of the ignore mask.
        """
        picture, scale = self._scaled(image)
        detections, blobs = self._look(picture, scale, image.shape[:2], occupied_xyxy * scale)
        points, weights, regions, colours_bgr = _thinned(blobs, picture, self._config.foreground_points)
        typical = None if self._sizes.size is None else self._sizes.size.scaled(1.0 / scale)
        return Foreground(points / scale, weights / scale**2, regions, detections, typical, colour_shares(colours_bgr))

    def _scaled(self, image: Image) -> tuple[Image, float]:
        """Return the picture that is worked on, and its scale."""
        scale = min(1.0, self._config.longest_side_px / max(image.shape[:2]))
        return image if scale == 1.0 else _resize(image, scale), scale

    def _look(
        self, picture: Image, scale: float, full_size: tuple[int, ...], occupied_xyxy: FloatArray | None
    ) -> tuple[Detections, _Blobs]:
        """Return the detections in pixels of the image, and the silhouettes in those of the picture worked on."""
        config = self._config
        mask = _clean(self._subtract(picture, full_size, occupied_xyxy))
        blobs = _components(mask, config.smallest_fragment * mask.size)
        blobs = _merge(blobs, self._sizes.size)
        blobs = blobs.select(blobs.areas_px >= config.smallest_area * mask.size)
        self._sizes.learn(blobs)
        boxes = _split(blobs, self._sizes.size)
        boxes = boxes[self._plausible(boxes, mask.size)]
        return Detections(boxes / scale, self._score(boxes, mask, picture)), blobs

    def _subtract(self, picture: Image, full_size: tuple[int, ...], occupied_xyxy: FloatArray | None) -> Image:
        """Return 1 where the picture differs from the background and is no shadow, else 0."""
        memory_frames = min(self._config.history_frames, max(2 * self._frames, _FIRST_MEMORY_FRAMES))
        rate = 1.0 / memory_frames
        if occupied_xyxy is None or not len(occupied_xyxy):
            mask = self._subtractor.apply(picture, learningRate=rate)
        else:
            mask = self._subtractor.apply(picture, learningRate=0.0)
            every = min(_LEARN_EVERY_FRAMES, math.ceil(memory_frames / _SHORT_MEMORY_FRAMES))
            if self._frames % every == 0:
                emptied = self._emptied(picture, mask == _FOREGROUND, occupied_xyxy, every)
                self._subtractor.apply(emptied, learningRate=every * rate)
        if occupied_xyxy is not None:
            self._remember_bare(picture, mask == 0)
        mask = (mask == _FOREGROUND).astype(np.uint8)
        if self._frames % _BACKGROUND_EVERY_FRAMES == 0:
            self._background = np.asarray(self._subtractor.getBackgroundImage(), np.uint8)
        self._frames += 1
        if self._ignored is not None:
            if self._ignored.shape != full_size:
                raise DetectorError(
                    f"{self._config.ignore_mask}: the ignore mask is {_size(self._ignored.shape)} pixels; "
                    f"it must be {_size(full_size)} as the frame"
                )
            ignored = cv2.resize(self._ignored, mask.shape[::-1], interpolation=cv2.INTER_NEAREST)
            mask[ignored > 0] = 0
        return mask

    def _emptied(self, picture: Image, differs: NDArray[np.bool_], occupied_xyxy: FloatArray, frames: int) -> Image:
        """Return the picture as if nobody were in the boxes, but for those that hold the hole somebody left.

        Nothing is taken for an object for longer than its place has been seen bare; the next look is ``frames`` later.
        """
        if self._bare is None or self._seen_bare is None:
            return picture
        emptied, held = picture.copy(), np.zeros(picture.shape[:2], np.bool_)
        for left, top, right, bottom in np.rint(occupied_xyxy).astype(int).clip(0):
            box = np.s_[top:bottom, left:right]
            if not _is_ghost(differs[box].astype(np.uint8), picture[box], self._bare[box]):
                held[box] |= differs[box] & (self._seen_bare[box] > 0)
        cv2.copyTo(self._bare, held.view(np.uint8), emptied)
        self._seen_bare[held] -= np.minimum(self._seen_bare[held], frames).astype(np.uint16)
        return emptied

    def _remember_bare(self, picture: Image, bare: NDArray[np.bool_]) -> None:
        if self._bare is None or self._seen_bare is None:
            self._bare, self._seen_bare = picture.copy(), np.zeros(picture.shape[:2], np.uint16)
        cv2.copyTo(picture, bare.view(np.uint8), self._bare)
        self._seen_bare += bare & (self._seen_bare < np.iinfo(np.uint16).max)

    def _plausible(self, boxes: FloatArray, frame_px: int) -> NDArray[np.bool_]:
        width, height = (boxes[:, 2:] - boxes[:, :2]).T
        slim = np.maximum(width / height, height / width) <= self._config.longest_to_shortest
        return slim & (width * height <= self._config.largest_area * frame_px)

    def _score(self, boxes: FloatArray, mask: Image, picture: Image) -> FloatArray:
        """Rate how much each box looks like one whole object: (n,) in (0, 1)."""
        scores = np.full(len(boxes), 0.9)
        if (typical := self._sizes.size) is not None:
            shortness = np.log(typical.at(boxes[:, 3])[:, 1] / (boxes[:, 3] - boxes[:, 1]))
            scores /= 1.0 + (np.maximum(shortness, 0.0) / (4.0 * typical.log_spread)) ** 2
        for i, (left, top, right, bottom) in enumerate(np.rint(boxes).astype(int)):
            inside = np.s_[max(top, 0) : bottom, max(left, 0) : right]
            scores[i] *= min(1.0, float(mask[inside].mean()) / 0.3)
            around = np.s_[max(top - 2, 0) : bottom + 2, max(left - 2, 0) : right + 2]
            if self._background is not None and _is_ghost(mask[around], picture[around], self._background[around]):
                scores[i] *= 0.3
        return scores


@dataclass(frozen=True, slots=True, eq=False)
class _Blobs:
    """Regions of the mask: pixel (y, x) belongs to row ``row_of_label[labels[y, x]]``, -1 for none."""

    labels: NDArray[np.int32]
    row_of_label: IntArray
    boxes_xyxy: FloatArray
    areas_px: FloatArray

    def select(self, rows: NDArray[np.bool_]) -> _Blobs:
        new_row = np.append(np.where(rows, np.cumsum(rows) - 1, -1), -1)
        return _Blobs(self.labels, new_row[self.row_of_label], self.boxes_xyxy[rows], self.areas_px[rows])


class _SizeLearner:
    """Learns how large a lone object is from the silhouettes of the frames.

    The line of :class:`TypicalSize` is fitted to recent silhouettes by iteratively reweighted least squares with
    Cauchy weights, so that groups count little; the root of the area as a further weight lets specks count little too.
    """

    def __init__(self) -> None:
        self._recent: deque[FloatArray] = deque(maxlen=400)  # lower edge, width, height, root of the area
        self._frames = 0
        self.size: TypicalSize | None = None  # None while no size is typical

    def learn(self, blobs: _Blobs) -> None:
        """Take in the silhouettes of a frame; those that touch its edges are not whole."""
        frame_height, frame_width = blobs.labels.shape
        left, top, right, bottom = blobs.boxes_xyxy.T
        whole = (left > 1) & (top > 1) & (right < frame_width - 1) & (bottom < frame_height - 1)
        self._recent.extend(np.column_stack([bottom, right - left, bottom - top, np.sqrt(blobs.areas_px)])[whole])
        self._frames += bool(whole.any())
        if self._frames < _LEARNING_FRAMES:
            return
        bottom, width, height, importance = np.array(self._recent).T
        origin, unit = float(np.median(bottom)), float(frame_height)
        x = np.column_stack([np.ones(len(bottom)), (bottom - origin) / unit])
        ridge = np.diag([0.0, 0.002 * importance.sum()])  # without depth in the scene the slope stays zero
        weight = importance
        for _ in range(6):
            line = np.linalg.solve(x.T @ (weight[:, None] * x) + ridge, x.T @ (weight * height))
            off = np.abs(height - x @ line)
            weight = importance / (1.0 + (off / (_median(off, importance) + 1.0)) ** 2)
        smallest = 0.3 * _median(height, importance)
        deviation = np.abs(np.log(height / np.maximum(x @ line, smallest)))
        spread = max(0.06, 1.48 * _median(deviation, importance))
        slope = float(line[1]) / unit
        size = TypicalSize(float(line[0]) - slope * origin, slope, smallest, _median(width / height, weight), spread)
        self.size = size if spread < _LARGEST_SPREAD else None


def _clean(mask: Image) -> Image:
    """Drop specks and close small gaps, more in height than in width: bodies come apart at the waist."""
    longest = max(mask.shape)
    mask = np.asarray(cv2.medianBlur(mask, _odd(longest / 190)), np.uint8)
    closer = np.ones((_odd(longest / 85), 3), np.uint8)
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, closer), np.uint8)


def _components(mask: Image, smallest_px: float) -> _Blobs:
    """Return the connected regions of at least ``smallest_px``."""
    # Little of the picture moves. Regions are numbered along blocks of 2 x 2 pixels, whose grid is to stay; and
    # OpenCV cannot bear an empty picture.
    left, top, width, height = cv2.boundingRect(mask)
    right, bottom = max(left + width, 1), max(top + height, 1)
    left, top = left - left % 2, top - top % 2
    _, label_image, table, _ = cv2.connectedComponentsWithStats(mask[top:bottom, left:right])
    stats = np.asarray(table[1:], np.float64)
    corners = stats[:, :2] + (left, top)
    boxes = np.hstack([corners, corners + stats[:, 2:4]])
    areas = stats[:, cv2.CC_STAT_AREA]
    labels = np.zeros(mask.shape, np.int32)
    labels[top:bottom, left:right] = label_image
    return _Blobs(labels, np.arange(len(areas) + 1) - 1, boxes, areas).select(areas >= smallest_px)


def _thinned(blobs: _Blobs, picture: Image, budget: int) -> tuple[FloatArray, FloatArray, IntArray, FloatArray]:
    """Return (M, 2) points, (M,) how many pixels each stands for, (M,) the row of its region and (M, 3) its colour.

    A region is laid out in square cells, each of which gives the centre of gravity of its pixels. The cells of a
    region are as large as a share of the budget in proportion to the root of its area asks for: twice the size
    gives twice the points, and small objects keep some.
    """
    roots = np.sqrt(blobs.areas_px)
    sides = np.maximum(np.ceil(np.sqrt(roots * roots.sum() / max(budget, 1))), 1.0).astype(np.int64)
    height, width = blobs.labels.shape
    pixel = np.flatnonzero(blobs.labels > 0)  # a tenth of what finding them in rows and columns costs
    region = blobs.row_of_label[blobs.labels.ravel()[pixel]]
    pixel, region = pixel[region >= 0], region[region >= 0]
    y, x = np.divmod(pixel, width)
    side = sides[region]
    cell = (region * height + y // side) * width + x // side
    _, first, cell, count = np.unique(cell, return_index=True, return_inverse=True, return_counts=True)
    points = np.column_stack([np.bincount(cell, x), np.bincount(cell, y)]) / count[:, None] + 0.5
    pixels = picture[y, x]
    colours = np.column_stack([np.bincount(cell, pixels[:, i], len(count)) for i in range(3)]) / count[:, None]
    return points.reshape(-1, 2), count.astype(np.float64), region[first], colours.reshape(-1, 3)


def _merge(blobs: _Blobs, typical: TypicalSize | None) -> _Blobs:
    """Join regions that together are no larger than one object, starting from the largest."""
    if typical is None:
        return blobs
    boxes, areas, group = blobs.boxes_xyxy.copy(), blobs.areas_px.copy(), np.arange(len(blobs.areas_px))
    for i in np.argsort(-areas):
        while areas[i] > 0:
            joint = np.hstack([np.minimum(boxes[i, :2], boxes[:, :2]), np.maximum(boxes[i, 2:], boxes[:, 2:])])
            size = (joint[:, 2:] - joint[:, :2]) / typical.at(joint[:, 3])
            excess = (size / _JOINT_SIZE).max(axis=1)
            excess[(areas == 0) | (group == i)] = np.inf
            j = int(np.argmin(excess))
            if excess[j] > 1.0:
                break
            boxes[i], areas[i], areas[j] = joint[j], areas[i] + areas[j], 0.0
            group[group == j] = i
    row_of_label = np.append(group, -1)[blobs.row_of_label]
    return _Blobs(blobs.labels, row_of_label, boxes, areas).select(areas > 0)


def _split(blobs: _Blobs, typical: TypicalSize | None) -> FloatArray:
    """Return boxes (n, 4): one for each region, several where it is larger than one object."""
    if typical is None:
        return blobs.boxes_xyxy
    boxes: list[FloatArray] = []
    sizes = typical.at(blobs.boxes_xyxy[:, 3])
    for row, (box, size) in enumerate(zip(blobs.boxes_xyxy, sizes, strict=True)):
        extent = box[2:] - box[:2]
        if (extent / size <= _LONE_SIZE).all():
            boxes.append(box)
            continue
        left, top, right, bottom = box.astype(int)
        pixels = np.argwhere(blobs.row_of_label[blobs.labels[top:bottom, left:right]] == row)[:, ::-1] + 0.5
        thinned = pixels[:: 1 + len(pixels) // 1000]
        owner = _share_out(thinned / size, len(pixels) / size.prod())
        parts = [thinned[owner == k] for k in range(owner.max() + 1)]
        boxes += [box[[0, 1, 0, 1]] + _whole_box(part, size, extent) for part in parts if len(part) > 8]
    return np.reshape(boxes, (-1, 4))


def _share_out(points: FloatArray, bodies: float) -> IntArray:
    """Divide the pixels of a silhouette among objects: the row (n,) of each pixel's owner.

    EM for a mixture whose components all have an object's extent, so that only the means and the weights are
    free; objects are added where many pixels are badly explained while the log likelihood pays for them.
    Neighbouring pixels say the same, so that a whole object of pixels counts as one observation.

    Parameters
    ----------
    points
        (n, 2) pixels in units of an object's width and height.
    bodies
        How many objects' boxes the silhouette's pixels would fill.
    """
    means, best_cost, best_owner = np.empty((0, 2)), np.inf, np.zeros(len(points), np.int64)
    most = min(_MOST_SPLIT, int(np.ceil(np.ptp(points, axis=0).prod())) + 1)
    for count in range(1, most + 1):
        far = _squared_distances(points, means).min(axis=1, initial=np.inf) > 4.0
        some = points[::8]
        around = np.exp(-0.5 * _squared_distances(some, points[far])).sum(axis=1)
        means = np.vstack([means, some[np.argmax(around)]])
        weights = np.full(count, 1.0 / count)
        for _ in range(8):
            log_joint = np.log(weights) - 0.5 * _squared_distances(points, means)
            log_likelihood = np.logaddexp.reduce(log_joint, axis=1)
            shares = np.exp(log_joint - log_likelihood[:, None])
            totals = shares.sum(axis=0)
            means = shares.T @ points / totals[:, None]
            weights = (totals + 1.0) / (totals + 1.0).sum()
        cost = _COST_PER_OBJECT * count - bodies * float(log_likelihood.mean())
        if cost < best_cost:
            best_cost, best_owner = cost, shares.argmax(axis=1)
    return best_owner


def _squared_distances(points: FloatArray, means: FloatArray) -> FloatArray:
    """Return (n, K) squared Mahalanobis distances for components of an object's extent."""
    return (((points[:, None] - means) / _BODY_SPREAD) ** 2).sum(axis=2)


def _whole_box(pixels: FloatArray, size: FloatArray, extent: FloatArray) -> FloatArray:
    """Return the box around an object's own pixels, grown to its usual size into the rest of the silhouette.

    What is missing hides behind the other objects of the silhouette, so that the box grows towards them and
    not over the silhouette's edge.
    """
    low, high = np.percentile(pixels, 1, axis=0) - 0.5, np.percentile(pixels, 99, axis=0) + 0.5
    room_low, room_high = np.maximum(low, 0.0), np.maximum(extent - high, 0.0)
    room = room_low + room_high
    growth = np.clip(size - (high - low), 0.0, room) / np.maximum(room, 1e-9)
    return np.concatenate([low - growth * room_low, high + growth * room_high])


def _is_ghost(mask: Image, picture: Image, background: Image) -> bool:
    """Whether a silhouette's outline follows edges of the background and not of the picture.

    Such a hole remains where something that had become background has gone away.
    """
    if min(mask.shape) < 3:
        return False
    y, x = np.nonzero(cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))
    here, before = (float(_slopes(_grey(part), y, x).sum()) for part in (picture, background))
    return here < _GHOST_EDGES * (here + before)


def _slopes(grey: FloatArray, y: IntArray, x: IntArray) -> FloatArray:
    """Return (n,) how steep the brightness is at some pixels, as ``numpy.gradient`` has it for all."""
    height, width = grey.shape
    above, below = np.maximum(y - 1, 0), np.minimum(y + 1, height - 1)
    left, right = np.maximum(x - 1, 0), np.minimum(x + 1, width - 1)
    return np.hypot(
        (grey[below, x] - grey[above, x]) / (below - above), (grey[y, right] - grey[y, left]) / (right - left)
    )


def _grey(image: Image) -> FloatArray:
    """Return the mean of the channels, several times as fast as ``image.mean(axis=2)``."""
    blue, green, red = cv2.split(image)
    return np.asarray(cv2.add(cv2.add(blue, green, dtype=cv2.CV_64F), red, dtype=cv2.CV_64F) / 3.0, np.float64)


def _median(values: FloatArray, weights: FloatArray) -> float:
    """Return the least of the values that half of the weight does not exceed."""
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(below / below[-1], 0.5)]])


def _odd(size_px: float) -> int:
    """Return the odd number next to ``size_px``, at least 3."""
    return max(3, 2 * round((size_px - 1) / 2) + 1)


def _resize(image: Image, scale: float) -> Image:
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def _read_mask(path: Path) -> Image:
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DetectorError(f"{path}: the ignore mask cannot be read; it must be an image, black where to look")
    return np.asarray(mask, np.uint8)
