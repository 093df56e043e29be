"""Render a clip of a plaza with people, its exact ground truth and the output of an imperfect detector.

    python tools/make_sample_video.py --output videos

Everything follows from the seed: the paving, the people, their routes, the noise. Four files are written:

- ``plaza.mp4``: H.264, 25 frames/s.
- ``plaza-truth.txt``: ``frame,id,left,top,width,height,1,1,visibility``. The box is that of the whole
  silhouette, hidden parts included, cut at the picture's edges; somebody with less than a quarter of the
  silhouette inside the picture is not listed. Visibility is the visible share of the silhouette. As in MOT17,
  the flag stays 1 while somebody is wholly hidden.
- ``plaza-detections.txt``: ``frame,-1,left,top,width,height,score`` of a simulated detector that jitters,
  misses what is hidden and sees things that are not there.
- ``seqinfo.ini``: frame rate, length and size in MOTChallenge form.

World coordinates are metres: x to the right, up, z away from the camera. The camera looks level with its film
shifted down, so that verticals stay vertical and the scale at depth z is focal_px / z everywhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]
Colour = tuple[float, float, float]  # blue, green, red

FRAME_RATE_HZ = 25
OVERSAMPLE = 4
SHADOW_PER_METRE = np.array([0.55, 0.3])  # where the shadow of something one metre up falls, (x, z)
LISTED_INSIDE_SHARE = 0.25
HIDDEN_FRAMES = 13  # half a second

SKIN: list[Colour] = [(165, 195, 235), (130, 165, 215), (95, 130, 185), (60, 85, 125)]
HAIR: list[Colour] = [(30, 35, 45), (35, 60, 95), (70, 120, 170), (25, 40, 75), (150, 155, 160)]
CLOTHES: list[Colour] = [
    (60, 60, 200), (190, 110, 50), (80, 160, 70), (40, 180, 220), (230, 228, 225), (60, 55, 50),
    (150, 80, 150), (50, 120, 225), (170, 165, 80), (120, 120, 125), (200, 170, 120), (90, 40, 100),
]  # fmt: skip
TROUSERS: list[Colour] = [(90, 65, 45), (45, 42, 40), (120, 110, 100), (70, 90, 115), (140, 95, 60)]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera above the plaza."""

    width_px: int
    height_px: int
    height_m: float = 6.2

    @property
    def focal_px(self) -> float:
        """Pixels to a metre one metre away."""
        return 1.15 * self.width_px

    @property
    def horizon_px(self) -> float:
        """Row of the horizon, above the picture."""
        return -0.075 * self.height_px

    def project(self, points: Array) -> Array:
        """Turn (..., 3) world points x, up, z into (..., 2) pixels."""
        scale = self.focal_px / points[..., 2]
        return np.stack(
            [self.width_px / 2 + scale * points[..., 0], self.horizon_px + scale * (self.height_m - points[..., 1])],
            axis=-1,
        )

    def edge_m(self, z: float) -> float:
        """Return the x at which the ground at depth ``z`` leaves the picture."""
        return self.width_px / 2 * z / self.focal_px


@dataclass(frozen=True)
class Prop:
    """Something that stands on the plaza and hides what is behind it."""

    kind: str
    x: float
    z: float
    width_m: float
    height_m: float

    def behind(self, gap_m: float) -> Array:
        """Return the ground point ``gap_m`` behind the prop in the camera's line of sight."""
        return np.array([self.x, self.z]) * (self.z + gap_m) / self.z


@dataclass(frozen=True)
class Figure:
    """A person: body, clothing and where they are in every frame."""

    height_m: float
    stoutness: float
    skin: Colour
    hair: Colour
    top: Colour
    bottom: Colour
    coat: bool
    bag: bool
    positions: Array  # (frames, 2) x, z
    headings: Array  # (frames, 2) unit vectors
    phases: Array  # (frames,) of the gait, radians
    strides: Array  # (frames,) 0 standing, 1 walking


@dataclass(frozen=True)
class Part:
    """A rounded limb from ``a`` to ``b`` in world coordinates."""

    a: Array
    b: Array
    radius_a: float
    radius_b: float
    colour: Colour


PROPS = [
    Prop("column", -4.6, 17.5, 1.7, 3.0),
    Prop("column", 4.4, 20.5, 1.7, 3.0),
    Prop("kiosk", -2.2, 29.0, 2.9, 2.8),
    Prop("tree", 8.6, 25.5, 0.5, 5.2),
    Prop("tree", -9.3, 24.5, 0.5, 5.0),
    Prop("post", 0.4, 15.2, 0.22, 4.6),
    Prop("post", -7.0, 21.5, 0.22, 4.6),
    Prop("post", 7.4, 30.0, 0.22, 4.6),
    Prop("bollard", -1.2, 12.6, 0.3, 0.9),
    Prop("bollard", 1.5, 12.6, 0.3, 0.9),
    Prop("bollard", 4.2, 12.6, 0.3, 0.9),
]
HIDING = [prop for prop in PROPS if prop.kind in ("column", "kiosk")]
FACADE_Z = 41.0


# People -------------------------------------------------------------------------------------------------


def route(rng: np.random.Generator, camera: Camera) -> tuple[Array, Array]:
    """Draw waypoints (n, 2) on the plaza and the rest (n,) in seconds taken at each."""
    side = rng.choice([-1.0, 1.0])
    hidden = [HIDING[i].behind(rng.uniform(0.8, 2.0)) for i in rng.permutation(len(HIDING))[: rng.integers(3)]]
    open_air = [np.array([rng.uniform(-5, 5), rng.uniform(13, 24)]) for _ in range(rng.integers(1, 3))]
    stops = sorted([*hidden, *open_air], key=lambda point: -side * point[0])
    first, last = rng.uniform(14, 31, 2)
    enter = np.array([side * (camera.edge_m(first) + 0.8), first])
    leave = np.array([-side * (camera.edge_m(last) + 0.8), last])
    rest = [0.0, *(rng.uniform(1.0, 3.0) * (rng.random() < 0.25) for _ in stops), 0.0]
    return np.array([enter, *stops, leave]), np.array(rest)


def walk(points: Array, rest_s: Array, speed: float, start_s: float, frames: int) -> Array:
    """Follow waypoints from ``start_s`` on: (frames, 2) positions, rounded at the corners."""
    legs_s = np.linalg.norm(np.diff(points, axis=0), axis=1) / speed
    arrive = start_s + np.concatenate([[0.0], np.cumsum(legs_s + rest_s[:-1])])
    times = np.ravel(np.column_stack([arrive, arrive + rest_s]))
    spare = FRAME_RATE_HZ
    now = (np.arange(-spare, frames + spare) + 1) / FRAME_RATE_HZ
    at = np.column_stack([np.interp(now, times, np.repeat(points[:, i], 2)) for i in range(2)])
    return gaussian_filter1d(at, 0.3 * FRAME_RATE_HZ, axis=0)[spare:-spare]


def make_figure(rng: np.random.Generator, camera: Camera, frames: int, companion: Figure | None) -> Figure:
    """Draw a person; a companion walks beside somebody else."""
    child = rng.random() < 0.2
    height = rng.uniform(1.15, 1.35) if child else rng.uniform(1.58, 1.92)
    if companion is None:
        start_s = rng.uniform(-12.0, 7.0)
        positions = walk(*route(rng, camera), rng.uniform(1.15, 1.6), start_s, frames)
    else:
        positions = companion.positions + np.array([0.15, 0.75])
    velocity = np.gradient(positions, axis=0) * FRAME_RATE_HZ
    speed = np.linalg.norm(velocity, axis=1)
    heading = np.where(speed[:, None] > 0.15, velocity / np.maximum(speed, 1e-9)[:, None], np.nan)
    for i in range(1, frames):  # who stands keeps looking the same way
        if np.isnan(heading[i, 0]):
            heading[i] = heading[i - 1]
    heading = np.where(np.isnan(heading), [0.0, -1.0], heading)
    return Figure(
        height_m=height,
        stoutness=rng.uniform(0.9, 1.25),
        skin=SKIN[rng.integers(len(SKIN))],
        hair=HAIR[rng.integers(len(HAIR) - child)],
        top=CLOTHES[rng.integers(len(CLOTHES))],
        bottom=TROUSERS[rng.integers(len(TROUSERS))],
        coat=rng.random() < 0.3,
        bag=rng.random() < 0.35,
        positions=positions,
        headings=heading,
        phases=rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.cumsum(speed) / FRAME_RATE_HZ / (0.82 * height),
        strides=np.clip(speed / 1.2, 0, 1),
    )


def body(figure: Figure, frame: int) -> list[Part]:
    """Pose a walking person: limbs in world coordinates."""
    h, k = figure.height_m, figure.stoutness
    phase, stride = figure.phases[frame], figure.strides[frame]
    forward_x, forward_z = figure.headings[frame]
    parts: list[tuple[Array, Array, float, float, Colour]] = []  # in (right, up, forward), in body heights

    def limb(a: Array, length: float, angle: float) -> Array:
        return a + length * np.array([0.0, -np.cos(angle), np.sin(angle)])

    feet = []
    for side in (-1, 1):
        swing = 0.52 * stride * np.sin(phase + (side > 0) * np.pi)
        lift = 0.7 * stride * max(0.0, np.cos(phase + (side > 0) * np.pi)) + 0.06
        hip = np.array([side * 0.05 * k, 0.5, 0.0])
        knee = limb(hip, 0.235, swing)
        ankle = limb(knee, 0.23, swing - lift)
        toe = ankle + 0.085 * np.array([0.0, np.sin(swing - lift) * 0.6 - 0.12, 1.0])
        feet.append(min(ankle[1], toe[1]))
        shoulder = np.array([side * 0.115 * k, 0.8, 0.0])
        elbow = limb(shoulder, 0.165, -0.75 * swing)
        hand = limb(elbow, 0.15, -0.75 * swing + 0.25 + 0.2 * stride)
        parts += [
            (hip, knee, 0.052 * k, 0.04, figure.bottom),
            (knee, ankle, 0.04, 0.027, figure.bottom),
            (ankle, toe, 0.027, 0.021, (35, 35, 40)),
            (shoulder, elbow, 0.035 * k, 0.03, figure.top),
            (elbow, hand, 0.029, 0.022, figure.top),
            (hand, hand - [0, 0.02, 0], 0.023, 0.02, figure.skin),
            (np.array([side * 0.04 * k, 0.52, 0]), shoulder * [0.55, 0.965, 1], 0.06 * k, 0.066 * k, figure.top),
        ]  # fmt: skip
    waist, neck, head = np.array([[0.0, 0.53, 0.0], [0.0, 0.82, 0.0], [0.0, 0.925, 0.01]])
    parts += [
        (waist, neck - [0, 0.06, 0], 0.07 * k, 0.075 * k, figure.top),
        (neck, head, 0.034, 0.034, figure.skin),
        (head, head - [0, 0.02, -0.015], 0.062, 0.052, figure.skin),
        (head - [0, -0.018, 0.022], head - [0, 0.015, 0.028], 0.062, 0.05, figure.hair),
    ]
    if figure.coat:
        parts.append((waist, waist - [0, 0.2, 0], 0.075 * k, 0.1 * k, figure.top))
    if figure.bag:
        parts.append((np.array([0, 0.73, -0.11 * k]), np.array([0, 0.6, -0.12 * k]), 0.065, 0.075, (70, 80, 60)))

    x, z = figure.positions[frame]
    lift_all = 0.02 - min(feet)

    def world(p: Array) -> Array:
        right, up, forward = p * h
        return np.array([x + right * forward_z + forward * forward_x, up + lift_all * h,
                         z - right * forward_x + forward * forward_z])  # fmt: skip

    placed = [Part(world(a), world(b), ra * h, rb * h, colour) for a, b, ra, rb, colour in parts]
    return sorted(placed, key=lambda part: -(part.a[2] + part.b[2]))


def outline(camera: Camera, part: Part) -> Array:
    """Return the polygon, (n, 2) pixels, around a limb."""
    angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    ring = np.column_stack([np.cos(angles), np.sin(angles)])
    ends = camera.project(np.stack([part.a, part.b]))
    radii = camera.focal_px * np.array([part.radius_a / part.a[2], part.radius_b / part.b[2]])
    points = np.concatenate([ends[0] + radii[0] * ring, ends[1] + radii[1] * ring])
    return cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)


def fill(image: Picture, polygon: Array, colour: Colour | float) -> None:
    """Fill a polygon given in pixels, smooth at the edge, to a sixteenth of a pixel."""
    points = np.rint((polygon - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(image, [points], colour, cv2.LINE_AA, 4)


def draw_figure(camera: Camera, parts: list[Part]) -> tuple[Picture, tuple[int, int]]:
    """Render a person: (height, width, 4) with opacity, and the pixel of its upper left corner."""
    polygons = [outline(camera, part) for part in parts]
    every = np.concatenate(polygons)
    left, top = np.floor(every.min(axis=0)).astype(int) - 1
    right, bottom = np.ceil(every.max(axis=0)).astype(int) + 1
    sprite = np.zeros(((bottom - top) * OVERSAMPLE, (right - left) * OVERSAMPLE, 4), np.uint8)
    for part, polygon in zip(parts, polygons, strict=True):
        points = (polygon - [left, top]) * OVERSAMPLE
        centre = points.mean(axis=0)
        for size, tone in ((1.0, 0.72), (0.8, 0.9), (0.5, 1.04)):  # rounded by light from the upper left
            shaded = tuple(min(255.0, tone * c) for c in part.colour)
            light = (1 - size) * 0.25 * np.ptp(points, axis=0).min() * np.array([-1.0, -0.6])
            fill(sprite, centre + size * (points - centre) + light, (*shaded, 255))
    return shrink(sprite), (left, top)


def shrink(oversampled: Picture) -> Picture:
    """Average blocks of an oversampled picture with opacity; colours are those of the covered part."""
    height, width = (n // OVERSAMPLE for n in oversampled.shape[:2])
    covered = (oversampled[..., 3:] > 127).astype(np.float32)
    premultiplied = np.concatenate([oversampled[..., :3] * covered, 255 * covered], axis=2)
    small = cv2.resize(premultiplied, (width, height), interpolation=cv2.INTER_AREA)
    small[..., :3] /= np.maximum(small[..., 3:] / 255, 1e-3)
    return np.rint(np.clip(small, 0, 255)).astype(np.uint8)


# The plaza ----------------------------------------------------------------------------------------------


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell: int) -> Array:
    """Return (height, width) noise in about [-1, 1] with features of ``cell`` pixels."""
    coarse = rng.normal(size=(height // cell + 3, width // cell + 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * 0.5


def draw_ground(rng: np.random.Generator, camera: Camera) -> Picture:
    """Paint the paving with a mosaic ring and, behind it, the front of a building."""
    n = 3
    width, height = camera.width_px * n, camera.height_px * n
    v, u = np.mgrid[0:height, 0:width] / n + 0.5 / n
    z = camera.focal_px * camera.height_m / (v - camera.horizon_px)
    x = (u - camera.width_px / 2) * z / camera.focal_px
    image = np.empty((height, width, 3))

    tile_m = 1.1
    row = np.floor(z / tile_m).astype(int)
    column = np.floor(x / tile_m + 0.5 * (row % 2)).astype(int)
    tone = rng.normal(1.0, 0.045, (97, 89))[row % 97, column % 89]
    image[:] = np.array([150, 164, 172]) * tone[..., None]
    joint = (z / tile_m % 1 < 0.035 + 0.0012 * z) | ((x / tile_m + 0.5 * (row % 2)) % 1 < 0.035)
    image[joint] *= 0.84
    radius = np.hypot(x - 0.6, z - 21.0)
    for inner, outer, colour in ((3.1, 3.6, (95, 110, 150)), (4.6, 5.9, (120, 130, 138)), (0, 1.0, (95, 110, 150))):
        ring = (radius > inner) & (radius < outer)
        image[ring] = 0.45 * image[ring] + 0.55 * np.array(colour) * tone[ring][:, None]
    image *= 1 + 0.05 * smooth_noise(rng, height, width, 60 * n)[..., None]

    base = int(camera.project(np.array([0, 0, FACADE_Z]))[1] * n)
    wall = image[:base]
    wall[:] = np.array([140, 165, 190]) * (0.9 + 0.1 * np.linspace(0, 1, base))[:, None, None]
    bay = width // 13
    glass = [(95, 80, 70), (120, 105, 90), (80, 70, 65)]
    for i, left in enumerate(range(bay // 4, width, bay)):
        wall[int(0.12 * base) : int(0.9 * base), left : left + bay // 2] = glass[i % 3]
        wall[int(0.12 * base) : int(0.9 * base), left + bay // 4 - n : left + bay // 4 + n] = (175, 190, 200)
        if i % 3 == 1:
            wall[int(0.36 * base) : int(0.56 * base), left - bay // 10 : left + 3 * bay // 5] = (70, 80, 165)
    wall[int(0.93 * base) :] = (105, 120, 130)
    image += 4 * smooth_noise(rng, height, width, 2 * n)[..., None]
    small = cv2.resize(np.clip(image, 0, 255).astype(np.float32), (camera.width_px, camera.height_px),
                       interpolation=cv2.INTER_AREA)  # fmt: skip
    return np.rint(small).astype(np.uint8)


def draw_prop(rng: np.random.Generator, camera: Camera, prop: Prop) -> tuple[Picture, tuple[int, int]]:
    """Render a prop: (height, width, 4) with opacity, and the pixel of its upper left corner."""
    image = np.zeros((camera.height_px * OVERSAMPLE, camera.width_px * OVERSAMPLE, 4), np.uint8)
    scale = camera.focal_px / prop.z * OVERSAMPLE
    foot = camera.project(np.array([prop.x, 0.0, prop.z])) * OVERSAMPLE

    def at(right: float, up: float) -> Array:
        return foot + scale * np.array([right, -up])

    def box(left: float, right: float, low: float, high: float, colour: Colour) -> None:
        fill(image, np.array([at(left, low), at(right, low), at(right, high), at(left, high)]), (*colour, 255))

    def disc(right: float, up: float, rx: float, ry: float, colour: Colour) -> None:
        angles = np.linspace(0, 2 * np.pi, 40)
        fill(image, at(right, up) + scale * np.column_stack([rx * np.cos(angles), ry * np.sin(angles)]), (*colour, 255))

    half, top = prop.width_m / 2, prop.height_m
    if prop.kind in ("column", "bollard", "post"):
        colour = np.array([90, 105, 80] if prop.kind == "column" else [75, 72, 70])
        disc(0, 0, half, 0.18 * half, tuple(0.8 * colour))
        edges = np.linspace(-1, 1, 25)
        for a, b in pairwise(edges):
            box(a * half, b * half, -0.17 * half * np.sqrt(1 - (a + b) ** 2 / 4), top,
                tuple(colour * (0.62 + 0.5 * np.sqrt(max(0.0, 1 - (0.5 * (a + b) + 0.35) ** 2)))))  # fmt: skip
    if prop.kind == "column":
        for left, right in ((-0.86, -0.3), (-0.22, 0.4), (0.48, 0.88)):
            paper = np.array(CLOTHES[rng.integers(len(CLOTHES))]) * 0.6 + 90
            box(left * half, right * half, 0.7, 2.6, tuple(paper))
            for low in np.arange(0.9, 2.4, 0.28):
                end = right - 0.06 - 0.1 * rng.random()
                box((left + 0.06) * half, end * half, low, low + 0.1, tuple(0.55 * paper))
        disc(0, top, 1.12 * half, 0.24 * half, (70, 82, 62))
        disc(0, top + 0.12, 0.8 * half, 0.2 * half, (95, 110, 85))
    elif prop.kind == "post":
        disc(0, top, 0.34, 0.1, (60, 58, 56))
        disc(0, top + 0.16, 0.22, 0.24, (215, 235, 240))
    elif prop.kind == "kiosk":
        box(-half, half, 0, top, (85, 125, 150))
        box(-half, half, 0, 0.95, (60, 95, 120))
        box(-0.86 * half, 0.86 * half, 1.05, 2.05, (62, 58, 52))
        for i, left in enumerate(np.linspace(-0.8, 0.62, 9)):
            box(left * half, (left + 0.12) * half, 1.05, 1.3 + 0.14 * (i % 3), CLOTHES[(5 * i) % len(CLOTHES)])
        stripes = np.linspace(-1.08, 1.08, 13)
        for i, (a, b) in enumerate(pairwise(stripes)):
            box(a * half, b * half, 2.1, 2.62, (225, 228, 232) if i % 2 else (70, 70, 185))
        box(-1.03 * half, 1.03 * half, top - 0.3, top, (70, 105, 130))
    elif prop.kind == "tree":
        disc(0, 0.0, 1.0, 0.22, (95, 105, 112))
        box(-1.0, 1.0, 0.0, 0.5, (120, 132, 140))
        disc(0, 0.5, 1.0, 0.2, (60, 85, 75))
        box(-0.16, 0.16, 0.5, 2.9, (55, 75, 95))
        for _ in range(260):
            angle, r = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
            dx, dy = 1.55 * r * np.cos(angle), 1.3 * r * np.sin(angle)
            light = 0.75 + 0.25 * (dy - dx) / 1.5 + rng.normal(0, 0.1)
            disc(dx, top - 1.5 + dy, *rng.uniform(0.14, 0.3, 2), tuple(np.array([62, 128, 88]) * light))
    sprite = shrink(image)
    left, top, width, height = cv2.boundingRect(sprite[..., 3])
    return sprite[top : top + height, left : left + width], (left, top)


def prop_parts(prop: Prop) -> list[Part]:
    """Return limbs with about the prop's shape, for its shadow."""
    foot, half = np.array([prop.x, 0.0, prop.z]), prop.width_m / 2
    up = np.array([0.0, 1.0, 0.0])
    if prop.kind == "tree":
        crown = foot + (prop.height_m - 1.5) * up
        return [Part(foot, crown, 0.16, 0.16, (0, 0, 0)), Part(crown - 0.2 * up, crown + 0.2 * up, 1.4, 1.4, (0, 0, 0))]
    spread = np.array([half * (prop.kind == "kiosk") * 0.8, 0.0, 0.0])
    width = 0.4 * half if prop.kind == "kiosk" else half
    return [
        Part(foot + side * spread, foot + side * spread + prop.height_m * up, width, width, (0, 0, 0))
        for side in np.linspace(-1, 1, 5)
    ]


def cast(camera: Camera, mask: Picture, parts: list[Part]) -> None:
    """Draw the shadow of limbs on the ground into ``mask``."""
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ring = np.column_stack([np.cos(angles), np.zeros(16), np.sin(angles)])
    for part in parts:
        rings = []
        for joint, radius in ((part.a, part.radius_a), (part.b, part.radius_b)):
            x, z = joint[[0, 2]] + joint[1] * SHADOW_PER_METRE
            rings.append(np.array([x, 0.0, z]) + radius * ring)
        points = camera.project(np.concatenate(rings)).astype(np.float32)
        fill(mask, cv2.convexHull(points)[:, 0], 255)


# Frames and truth ---------------------------------------------------------------------------------------


def paste(image: Picture, owner: NDArray[np.int64], sprite: Picture, corner: tuple[int, int], label: int) -> None:
    """Lay a sprite over ``image`` where it is inside and note in ``owner`` whom the pixels belong to."""
    left, top = corner
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + sprite.shape[1], image.shape[1]), min(top + sprite.shape[0], image.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    inside = sprite[y0 - top : y1 - top, x0 - left : x1 - left]
    alpha = inside[..., 3:].astype(np.float32) / 255
    under = image[y0:y1, x0:x1]
    under[:] = np.rint(under + alpha * (inside[..., :3].astype(np.float32) - under))
    owner[y0:y1, x0:x1][inside[..., 3] > 127] = label


def truth_row(owner: NDArray[np.int64], sprite: Picture, corner: tuple[int, int], label: int) -> list[float] | None:
    """Return id, left, top, width, height, visibility of a drawn figure; None where it is not listed."""
    rows, columns = np.nonzero(sprite[..., 3] > 127)
    height, width = owner.shape
    x, y = columns + corner[0], rows + corner[1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    if inside.sum() < LISTED_INSIDE_SHARE * len(x):
        return None
    x, y = x[inside], y[inside]
    visible = (owner[y, x] == label).sum() / len(inside)
    return [label, x.min(), y.min(), x.max() + 1 - x.min(), y.max() + 1 - y.min(), visible]


def make_frames(seed: int, camera: Camera, frames: int, people: int) -> Iterator[tuple[Picture, list[list[float]]]]:
    """Yield for each frame the picture and its truth rows (id, left, top, width, height, visibility)."""
    rng = np.random.default_rng(seed)
    figures: list[Figure] = []
    for i in range(people):
        figures.append(make_figure(rng, camera, frames, figures[-1] if i % 6 == 5 else None))
    ground = draw_ground(rng, camera).astype(np.float32)
    props = [(prop.z, *draw_prop(rng, camera, prop), 0) for prop in PROPS]
    still = np.zeros(ground.shape[:2], np.uint8)
    for prop in PROPS:
        cast(camera, still, prop_parts(prop))
    facade = int(camera.project(np.array([0.0, 0.0, FACADE_Z]))[1])
    soft = 0.0018 * camera.width_px
    cloud = smooth_noise(rng, camera.height_px, 2 * camera.width_px, camera.width_px // 3)
    drift = rng.uniform(0, 2 * np.pi, 2)

    for frame in range(frames):
        shadow = still.copy()
        items = list(props)
        for label, figure in enumerate(figures, 1):
            parts = body(figure, frame)
            centre = camera.project(parts[0].a)
            if abs(centre[0] - camera.width_px / 2) > 0.65 * camera.width_px:
                continue
            cast(camera, shadow, parts)
            items.append((figure.positions[frame, 1], *draw_figure(camera, parts), label))
        shadow[:facade] = 0
        shade = cv2.GaussianBlur(shadow, (0, 0), soft).astype(np.float32)[..., None] / 255
        image = np.rint(ground * (1 - shade * np.array([0.36, 0.42, 0.45], np.float32))).astype(np.uint8)
        owner = np.zeros(still.shape, np.int64)
        items.sort(key=lambda item: -item[0])
        for _, sprite, corner, label in items:
            paste(image, owner, sprite, corner, label)
        rows = [truth_row(owner, *item[1:]) for item in items if item[3]]

        t = frame / FRAME_RATE_HZ
        shift = int(t * camera.width_px / 60)
        gain = 1 + 0.05 * np.sin(2 * np.pi * t / 19 + drift[0]) + 0.035 * cloud[:, shift : shift + camera.width_px]
        warmth = 1 + 0.015 * np.sin(2 * np.pi * t / 27 + drift[1]) * np.array([-1.0, 0.0, 1.0])
        light = cv2.GaussianBlur(image, (0, 0), 0.55).astype(np.float32) * gain[..., None] * warmth
        light += rng.standard_normal(still.shape, np.float32)[..., None] * (1.2 + 0.08 * np.sqrt(light))
        yield np.clip(np.rint(light), 0, 255).astype(np.uint8), sorted(row for row in rows if row)


def imperfect(rng: np.random.Generator, truth: Array, camera: Camera, frames: int) -> Array:
    """Simulate a detector: (n, 6) frame, left, top, width, height, score."""
    out = []
    for frame in range(1, frames + 1):
        for _, _, left, top, width, height, visibility in truth[truth[:, 0] == frame]:
            if rng.random() > 0.97 * np.clip((visibility - 0.1) / 0.4, 0, 1):
                continue
            size = np.array([width, height])
            centre = np.array([left, top]) + size / 2 + rng.normal(0, 0.03, 2) * size
            size = size * np.exp(rng.normal(0, 0.04, 2))
            score = np.clip(rng.normal(0.35 + 0.55 * visibility, 0.07), 0.05, 0.99)
            out.append([frame, *(centre - size / 2), *size, score])
        for _ in range(rng.poisson(0.4)):
            z, x = rng.uniform(14, 33), rng.uniform(-0.9, 0.9)
            height = 1.7 * camera.focal_px / z * rng.uniform(0.6, 1.2)
            left, bottom = camera.project(np.array([x * camera.edge_m(z), 0.0, z]))
            out.append([frame, left, bottom - height, 0.4 * height, height, rng.uniform(0.1, 0.6)])
    return np.array(out)


def full_occlusions(truth: Array) -> int:
    """Count the spells of at least half a second in which somebody is wholly hidden."""
    count = 0
    for label in np.unique(truth[:, 1]):
        rows = truth[truth[:, 1] == label]
        hidden = np.zeros(int(truth[:, 0].max()) + 2, np.int64)
        hidden[rows[rows[:, -1] == 0, 0].astype(int)] = 1
        change = np.flatnonzero(np.diff(hidden))
        count += int((change[1::2] - change[::2] >= HIDDEN_FRAMES).sum())
    return count


def crossings(truth: Array) -> int:
    """Count the spells in which two boxes overlap and come out on each other's side."""
    count = 0
    for a, b in combinations(np.unique(truth[:, 1]), 2):
        frames, i, j = np.intersect1d(*(truth[truth[:, 1] == k, 0] for k in (a, b)), return_indices=True)
        p, q = truth[truth[:, 1] == a][i, 2:6], truth[truth[:, 1] == b][j, 2:6]
        touch = (np.abs((p + np.roll(p, -2, 1) / 2 - q - np.roll(q, -2, 1) / 2)[:, :2]) < (p + q)[:, 2:] / 2).all(1)
        side = np.sign(p[:, 0] + p[:, 2] / 2 - q[:, 0] - q[:, 2] / 2)
        breaks = np.flatnonzero((np.diff(frames) > 1) | np.diff(touch)) + 1
        for spell in np.split(np.arange(len(frames)), breaks):
            count += int(len(spell) > 0 and touch[spell[0]] and side[spell[0]] * side[spell[-1]] < 0)
    return count


def write_clip(folder: Path, seed: int, camera: Camera, frames: int, people: int) -> Array:
    """Render and write all files into ``folder``; returns the truth, (n, 7) with the frame in front."""
    truth = []
    with av.open(str(folder / "plaza.mp4"), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(FRAME_RATE_HZ))
        stream.width, stream.height, stream.pix_fmt = camera.width_px, camera.height_px, "yuv420p"
        stream.options = {"crf": "22", "preset": "slow", "threads": "1", "g": "100"}
        for number, (image, rows) in enumerate(make_frames(seed, camera, frames, people), 1):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            truth += [[number, *row] for row in rows]
        container.mux(stream.encode(None))
    table = np.array(truth)
    detections = imperfect(np.random.default_rng([seed, 1]), table, camera, frames)
    (folder / "plaza-truth.txt").write_text(
        "".join(",".join(f"{n:.0f}" for n in row[:6]) + f",1,1,{row[6]:.3f}\n" for row in table), encoding="utf-8"
    )
    (folder / "plaza-detections.txt").write_text(
        "".join(f"{row[0]:.0f},-1," + ",".join(f"{n:.2f}" for n in row[1:]) + "\n" for row in detections),
        encoding="utf-8",
    )
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname=plaza\nframeRate={FRAME_RATE_HZ}\nseqLength={frames}\n"
        f"imWidth={camera.width_px}\nimHeight={camera.height_px}\nimExt=.mp4\n",
        encoding="utf-8",
    )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the sample clip with its ground truth.")
    parser.add_argument("--output", type=Path, default=Path("videos"))
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--people", type=int, default=15)
    parser.add_argument("--width", type=int, default=960, help="even; the height is 9/16 of it")
    options = parser.parse_args()
    camera = Camera(options.width, options.width * 9 // 16 // 2 * 2)
    options.output.mkdir(parents=True, exist_ok=True)
    truth = write_clip(options.output, options.seed, camera, options.frames, options.people)
    print(f"{len(np.unique(truth[:, 1]))} people, {len(truth)} boxes, {full_occlusions(truth)} full occlusions "
          f"of half a second or more, {crossings(truth)} crossings")  # fmt: skip


if __name__ == "__main__":
    main()
