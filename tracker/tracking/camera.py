"""Camera motion from the pictures: how the background moved, and where the film was cut.

Corners of the background are followed from one picture to the next by sparse optical flow, forward and backward [1]_,
at reduced resolution; a similarity is fitted to them robustly. Where there are too few corners the whole pictures are
aligned by their correlation (ECC [2]_). Only what is significant is told: of a camera that stands still, nothing.

References
----------
.. [1] Z. Kalal, K. Mikolajczyk, J. Matas, "Forward-backward error: automatic detection of tracking failures",
   ICPR 2010.
.. [2] G. Evangelidis, E. Psarakis, "Parametric image alignment using enhanced correlation coefficient
   maximization", IEEE TPAMI 30 (2008).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.errors import VideoError
from tracker.structures import FloatArray, Image

Points: TypeAlias = NDArray[np.float32]
"""(n, 1, 2) x, y: how OpenCV takes points."""

# Lengths are in pixels of the reduced picture.
_LONGEST_SIDE_PX = 480  # the figures are the same with twice as much, at three times the cost
_SMALLEST_SIDE_PX = 32  # of a picture in which anything can be followed
_CORNERS = 200
_CORNER_QUALITY = 0.01  # share of the strongest corner's response
_CORNER_SPACING_PX = 15
_WINDOW_PX = (15, 15)
_PYRAMID_LEVELS = 3
_ROUND_TRIP_PX = 0.5  # a corner that does not come back to where it started was lost
_INLIER_PX = 0.4  # strict, for parallax moves near and far ground apart
_LARGEST_OBJECT = 0.5  # share of the picture; a box that covers more tells nothing from the background
_FEWEST_INLIERS = 12
_SUPPORT = 0.25  # least share of the corners that agree, below which they agree by chance

_STILL_PX = 0.25  # a corner that moved no further may be standing still
_EVERY = 4  # corner is looked at to see whether there is anything to be estimated
_STILL_MAJORITY = 0.6
_STILL_SHARE = 0.5  # of as many corners as support a motion, standing still, contradict it
_LEAST_MOTION_PX = 0.1  # root mean square; below it nothing is gained and drift would begin
_SIGMAS = 3.0

_SCENE_PX = (32, 18)
_LEAST_CONTRAST = 3.0  # grey levels; a picture with less shows nothing
_SAME_LAYOUT = 0.8  # correlation of two scenes from which they are one
_CHANGED_LEVELS = 12.0
_OTHER_SCENE = 0.5  # share of the scene that changes at a cut; at most .2 by traffic, .4 by the camera's motion

_ALIGNED_PX = 160  # longest side of pictures that are aligned as a whole
_ALIGNED = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
_LEAST_CORRELATION = 0.8
_PLACES = (6, 4)
_MOST_PLACES = 0.75  # of 24 that are better or worse by chance, one time in a hundred
_BACKWARD = cv2.WARP_INVERSE_MAP
_IDENTITY: FloatArray = np.eye(2, 3)


@dataclass(frozen=True, slots=True, eq=False)
class CameraMotion:
    """What happened to the camera since the picture before.

    Parameters
    ----------
    affine
        (2, 3) map from the previous picture's pixels to this one's; None when the camera stood still.
    is_cut
        Whether this picture shows another scene than the one before; there is no map then.
    """

    affine: FloatArray | None = None
    is_cut: bool = False


class CameraMotionEstimator:
    """Tell the camera's motion from the pictures of one video, given in order.

    A similarity is estimated: shift, rotation and zoom. A picture that shows nothing (black, or wholly in fog) is
    passed over: the next one is compared with the one before it. Slow dissolves are not told from motion of the scene.

    Examples
    --------
    >>> estimator = CameraMotionEstimator()
    >>> for frame, detections in seen:  # doctest: +SKIP
    ...     motion = estimator.update(frame.image, detections.boxes_xyxy)
    ...     if motion.is_cut:
    ...         tracker.cut()
    ...     tracks = tracker.update(detections, frame.time_s, motion.affine)
    """

    __slots__ = ("_before", "_shape")

    def __init__(self) -> None:
        self._before: _View | None = None
        self._shape: tuple[int, ...] | None = None

    def update(self, image: Image, boxes_xyxy: FloatArray) -> CameraMotion:
        """Take in the next picture and return how the camera moved since the last.

        Parameters
        ----------
        image
            (height, width, 3) uint8, blue-green-red.
        boxes_xyxy
            (n, 4) what is not background: left, top, right, bottom in pixels.

        Raises
        ------
        VideoError
            When the picture has another size than those before.
        """
        if self._shape is not None and image.shape[:2] != self._shape:
            raise VideoError(
                f"camera motion: the picture is {_size(image.shape)} px, those before {_size(self._shape)} px; "
                "all must have one size"
            )
        self._shape = image.shape[:2]
        factor = -(-max(self._shape) // _LONGEST_SIDE_PX)
        if min(self._shape) // factor < _SMALLEST_SIDE_PX:
            return CameraMotion()
        view = _View.of(image, boxes_xyxy, factor)
        if view is None:
            return CameraMotion()
        before, self._before = self._before, view
        if before is None:
            return CameraMotion()
        if _stands_still(before, view):
            return CameraMotion()
        start, end = _flow(before, view)
        motion = _similarity(start, end, len(before.corners))
        if motion is None:
            if _is_other_scene(before, view):
                return CameraMotion(is_cut=True)
            motion = _alignment(before, view)
        return CameraMotion(None if motion is None or motion is _IDENTITY else _magnified(motion, factor))


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """What is kept of a picture.

    Parameters
    ----------
    grey
        (height, width) uint8, reduced.
    background
        (height, width) uint8, 255 where nothing was detected.
    scene
        Grey levels of the picture in a few hundred pixels: it knows the scene but not the details.
    corners
        What can be followed into the next picture.
    """

    grey: Image
    background: Image
    scene: NDArray[np.float32]
    corners: Points

    @classmethod
    def of(cls, image: Image, boxes_xyxy: FloatArray, factor: int) -> Self | None:
        """Reduce a picture by a whole factor; None when it shows nothing."""
        # Grey first: it costs less than reducing three channels.
        grey = _reduced(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8), factor)
        scene = cv2.resize(grey, _SCENE_PX, interpolation=cv2.INTER_AREA).astype(np.float32)
        if scene.std() < _LEAST_CONTRAST:
            return None
        background = np.full(grey.shape, 255, np.uint8)
        area = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
        boxes_xyxy = boxes_xyxy[area < _LARGEST_OBJECT * image.shape[0] * image.shape[1]]
        for left, top, right, bottom in np.rint(np.maximum(boxes_xyxy, 0.0) / factor).astype(int).tolist():
            background[top:bottom, left:right] = 0
        corners = cv2.goodFeaturesToTrack(grey, _CORNERS, _CORNER_QUALITY, _CORNER_SPACING_PX, mask=background)
        return cls(
            grey=grey,
            background=background,
            scene=scene,
            corners=np.empty((0, 1, 2), np.float32) if corners is None else np.asarray(corners, np.float32),
        )


def _stands_still(before: _View, now: _View) -> bool:
    """Tell from a few of the corners, at a fraction of the cost of all, whether most stayed where they were."""
    few = np.ascontiguousarray(before.corners[::_EVERY])
    if len(few) < _FEWEST_INLIERS:
        return False
    end, found = _followed(before.grey, now.grey, few)
    stayed = found & (np.linalg.norm((end - few)[:, 0], axis=1) < _STILL_PX)
    return bool(np.count_nonzero(stayed) > _STILL_MAJORITY * len(few))


def _flow(before: _View, now: _View) -> tuple[FloatArray, FloatArray]:
    """Return where corners were and where they are, (n, 2) each, for those that find back to their start.

    OpenCV counts from the middle of the first pixel; what is returned counts from its edge, as boxes do.
    """
    if not len(before.corners):
        return np.empty((0, 2)), np.empty((0, 2))
    end, found = _followed(before.grey, now.grey, before.corners)
    back, found_back = _followed(now.grey, before.grey, end)
    returned = np.linalg.norm((back - before.corners)[:, 0], axis=1) < _ROUND_TRIP_PX
    kept = returned & found & found_back
    return before.corners[kept, 0] + 0.5, end[kept, 0] + 0.5


def _followed(picture: Image, following: Image, points: Points) -> tuple[Points, NDArray[np.bool_]]:
    """Return where points of a picture are in the following one, and which of them were found."""
    ends, found, _ = cv2.calcOpticalFlowPyrLK(
        picture, following, points, np.empty_like(points), winSize=_WINDOW_PX, maxLevel=_PYRAMID_LEVELS
    )
    return np.asarray(ends, np.float32), np.asarray(found)[:, 0] > 0


def _similarity(start: FloatArray, end: FloatArray, corners: int) -> FloatArray | None:
    """Return the (2, 3) similarity that the background followed; None when the corners do not agree on any."""
    fewest = max(_FEWEST_INLIERS, _SUPPORT * corners)
    if len(start) < fewest:
        return None
    affine, inliers = cv2.estimateAffinePartial2D(start, end, ransacReprojThreshold=_INLIER_PX)
    if affine is None or np.count_nonzero(inliers) < fewest:
        return None
    rows = inliers[:, 0] > 0
    count = int(np.count_nonzero(rows))
    predicted = start[rows] @ affine[:, :2].T + affine[:, 2]
    motion = np.mean(np.sum((predicted - start[rows]) ** 2, axis=1))
    # Four parameters from 2 n coordinates of variance s^2: where nothing moves, motion is 4 s^2 / n on average.
    variance = np.sum((predicted - end[rows]) ** 2) / (2 * count - 4)
    if motion < max(_LEAST_MOTION_PX**2, _SIGMAS**2 * 4.0 * variance / count):
        return _IDENTITY
    # No motion of the camera leaves much of the picture where it is, but a few large vehicles look like one.
    still = np.count_nonzero(np.linalg.norm(end - start, axis=1) < _STILL_PX)
    return _IDENTITY if still > _STILL_SHARE * count else np.asarray(affine)


def _alignment(before: _View, now: _View) -> FloatArray | None:
    """Return the (2, 3) rigid motion that best aligns two pictures with few corners; None when there is none."""
    factor = -(-max(now.grey.shape) // _ALIGNED_PX)
    template, picture = _reduced(before.grey, factor), _reduced(now.grey, factor)
    seen = before.background & now.background
    mask = np.asarray(cv2.resize(seen, template.shape[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
    try:
        correlation, found = cv2.findTransformECC(
            template, picture, _IDENTITY.astype(np.float32), cv2.MOTION_EUCLIDEAN, _ALIGNED, mask, 5
        )
    except cv2.error:  # how it says that it does not converge
        return None
    affine = np.asarray(found, np.float64)
    if correlation < _LEAST_CORRELATION or not _explains(affine, template, picture, mask):
        return None
    linear, shift = affine[:, :2], affine[:, 2]
    # From the middle of the first pixel to its edge, as in _flow.
    affine = _magnified(np.column_stack([linear, shift + 0.5 - linear @ [0.5, 0.5]]), factor)
    height, width = now.grey.shape
    ends = np.array([[0.0, 0.0], [width, 0.0], [0.0, height], [width, height]])
    motion = np.mean(np.sum((ends @ affine[:, :2].T + affine[:, 2] - ends) ** 2, axis=1))
    return affine if motion >= _LEAST_MOTION_PX**2 else None


def _explains(affine: FloatArray, template: Image, picture: Image, mask: Image) -> bool:
    """Tell whether a motion brings two pictures nearer in most places, and not just where something moved."""
    size = template.shape[::-1]
    aligned, valid = (cv2.warpAffine(a, affine, size, flags=_BACKWARD | cv2.INTER_LINEAR) for a in (picture, mask))
    seen = (valid == 255) & (mask == 255)
    gain = cv2.absdiff(template, picture).astype(np.float32) - cv2.absdiff(template, aligned)
    gain[~seen] = 0.0
    gains = cv2.resize(gain, _PLACES, interpolation=cv2.INTER_AREA)
    return bool(np.count_nonzero(gains > 0.0) > _MOST_PLACES * gains.size)


def _is_other_scene(before: _View, now: _View) -> bool:
    """Tell whether two pictures have neither their layout nor, up to a change of light, most of their levels alike."""
    change = now.scene - before.scene
    changed = np.abs(change - np.median(change)) > _CHANGED_LEVELS
    alike = np.corrcoef(before.scene.ravel(), now.scene.ravel())[0, 1]
    return bool(alike < _SAME_LAYOUT and np.mean(changed) > _OTHER_SCENE)


def _reduced(grey: Image, factor: int) -> Image:
    """Reduce a picture by a whole factor; a rest of less than that at its right and lower edge is left out."""
    height, width = grey.shape[0] // factor, grey.shape[1] // factor
    kept = grey[: height * factor, : width * factor]
    return np.asarray(cv2.resize(kept, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _magnified(affine: FloatArray, factor: int) -> FloatArray:
    """Carry a map of reduced pixels over to the larger picture."""
    return np.column_stack([affine[:, :2], factor * affine[:, 2]])


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
