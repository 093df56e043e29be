"""Colours of blobs: palettes by hand, and identities that motion alone would exchange."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from silhouettes import Ellipse, drawn

from tracker import Config, Foreground, PixelTracker, load_config
from tracker.config import PixelsConfig
from tracker.tracking.palettes import STRIPES, colour_ratios, learned_palettes, palettes_for, resemblance
from tracker.tracking.pixel_em import Shares

SETTINGS = PixelsConfig(colour_prior_frames=2.0, colour_memory_s=1.0, resemblance_weight=3.0)
BOX = np.array([[0.0, 0.0, 10.0, 40.0]])
RED, BLUE, GREEN = np.eye(3)


def pixels(colours: list[np.ndarray], heights: list[float]) -> Foreground:
    points = np.column_stack([np.full(len(heights), 5.0), heights])
    return Foreground(points, np.ones(len(heights)), colours=np.array(colours))


def divided(foreground: Foreground, responsibilities: list[float]) -> Shares:
    """Return the shares of one blob in every point."""
    n, nothing = len(foreground), np.zeros(1)
    rest = nothing, nothing, nothing, nothing, nothing, nothing, nothing
    own = np.array(responsibilities)
    return Shares(np.ones(1, np.bool_), np.arange(n + 1), np.zeros(n, np.int64), own, 1.0 - own, *rest)


def test_a_palette_counts_what_is_surely_its_own() -> None:
    """Ten pixels to a stripe: a red one in the first, a blue one in the last; a green one may be another's."""
    seen = pixels([RED, BLUE, GREEN], [5.0, 35.0, 15.0])
    shares = divided(seen, [1.0, 0.8, 0.5])
    blank, mass, here = np.zeros((1, STRIPES, 3)), np.array([40.0]), np.array([True])
    once = learned_palettes(blank, seen, shares, BOX, mass, here, 1.0, SETTINGS)
    np.testing.assert_allclose(once[0], [0.1 * RED, 0 * RED, 0 * RED, 0.08 * BLUE])
    again = learned_palettes(once, seen, shares, BOX, mass, here, 25.0, SETTINGS)
    np.testing.assert_allclose(again, (1.0 + np.exp(-1.0)) * once)
    unseen = learned_palettes(once, seen, shares, BOX, mass, ~here, 25.0, SETTINGS)
    np.testing.assert_array_equal(unseen, once)


def test_the_ratio_is_that_of_the_palette_to_the_whole_foreground() -> None:
    """Half of the foreground is red, half blue; the object was red for eight frames, with a prior of two."""
    seen = pixels([RED, BLUE, 0.5 * RED + 0.5 * BLUE], [5.0, 5.0, 25.0])
    palettes = np.zeros((1, STRIPES, 3))
    palettes[0, :2] = 8.0 * RED
    start, member = np.arange(4), np.zeros(3, np.int64)
    ratios = colour_ratios(seen, start, member, BOX, palettes, SETTINGS)
    p0 = (0.5 + 0.01 / 3) / 1.01
    expected = [(8.0 / p0 + 2.0) / 10.0, 2.0 / 10.0, 1.0]  # the third is in a stripe of which nothing is known
    np.testing.assert_allclose(ratios, expected)
    halved = SETTINGS.model_copy(update={"colour_weight": 0.5})
    np.testing.assert_allclose(colour_ratios(seen, start, member, BOX, palettes, halved), np.sqrt(expected))
    none = SETTINGS.model_copy(update={"colour_weight": 0.0})
    np.testing.assert_array_equal(colour_ratios(seen, start, member, BOX, palettes, none), 1.0)


def test_resemblance_is_the_mean_over_what_nobody_explains() -> None:
    seen = pixels([RED, BLUE, BLUE], [5.0, 5.0, 100.0])
    palettes = np.zeros((2, STRIPES, 3))
    palettes[0] = 8.0 * RED
    nats = resemblance(seen, np.array([3.0, 1.0, 9.0]), BOX, palettes, SETTINGS)
    ratios = colour_ratios(seen, np.array([0, 1, 2, 2]), np.zeros(2, np.int64), BOX, palettes[:1], SETTINGS)
    np.testing.assert_allclose(nats, [[3.0 * np.average(np.log(ratios), weights=[3.0, 1.0])], [0.0]])


def test_as_many_colours_as_before() -> None:
    seen = pixels([RED], [5.0])
    assert palettes_for(np.zeros((0, 0)), 2, seen).shape == (2, STRIPES, 3)
    assert palettes_for(np.zeros((0, 12)), 0, seen).shape == (0, STRIPES, 3)
    kept = np.arange(24.0).reshape(2, 12)
    for foreground in (seen, Foreground.empty()):
        np.testing.assert_array_equal(palettes_for(kept, 2, foreground).reshape(2, 12), kept)
    with pytest.raises(ValueError, match="the foreground has 3 colours; the tracker was given 2 before"):
        palettes_for(np.zeros((1, 8)), 1, seen)


def ids_from_left(
    scene: Callable[[int], list[Ellipse]], colours: list[int] | None, frames: int, config: Config | None = None
) -> tuple[list[int], list[int]]:
    """Return the identities from left to right, in the tenth frame and in the last."""
    tracker, found = PixelTracker(config), []
    for n in range(frames):
        tracks = tracker.update(drawn(scene(n), colours), n / 25.0)
        found.append(tracks.ids[np.argsort(tracks.boxes_xyxy[:, 0])].tolist())
    return found[10], found[-1]


def turning_back(n: int) -> list[Ellipse]:
    """Two walk towards each other, meet until one wholly hides the other, and go back where they came from."""
    way = 1.25 * (n if n < 56 else 112 - n)
    return [(50.0 + way, 60.0, 24.0, 60.0), (190.0 - way, 64.0, 24.0, 60.0)]


def test_who_meets_and_turns_back_is_told_by_colour() -> None:
    """Motion says that they passed each other."""
    assert ids_from_left(turning_back, [0, 1], 112) == ([1, 2], [1, 2])
    blind = load_config(overrides=["tracking.pixels.colour_weight=0"])
    for colours, config in ((None, None), ([0, 1], blind)):
        before, after = ids_from_left(turning_back, colours, 112, config)
        assert before == [1, 2]
        assert after[0] == 2


def test_who_comes_back_first_is_told_by_colour() -> None:
    """Two were away for half a second; one is seen where both may be, and nearer to where the other was."""

    def scene(n: int) -> list[Ellipse]:
        if n < 40:
            return [(80.0, 60.0, 50.0, 80.0), (140.0, 60.0, 50.0, 80.0)]
        return [] if n < 52 else [(120.0, 60.0, 50.0, 80.0)]

    assert ids_from_left(scene, [0, 1], 60) == ([1, 2], [1])
    assert ids_from_left(scene, [1, 0], 60) == ([1, 2], [1])
    assert ids_from_left(scene, None, 60) == ([1, 2], [2])


def test_palettes_go_with_their_objects() -> None:
    """The first of three ends, a fourth is born: everybody keeps the own colours, the newborn has none yet."""
    config = load_config(overrides=["tracking.lifecycle.max_misses_frames=2"])
    tracker = PixelTracker(config)
    places = [(40.0 + 55.0 * n, 60.0, 24.0, 60.0) for n in range(4)]
    for n in range(20):
        here = [0, 1, 2] if n < 15 else [1, 2]
        tracker.update(drawn([places[i] for i in here], [i % 3 for i in here]), n / 25.0)
    tracker.update(drawn([places[1], places[2], places[3]], [1, 2, 0]), 20 / 25.0)
    assert tracker.state.components["id"].tolist() == [2, 3, 4]
    palettes = tracker.state.features.reshape(3, STRIPES, 3)
    assert palettes[0].sum(axis=0).argmax() == 1
    assert palettes[1].sum(axis=0).argmax() == 2
    assert not palettes[2].any()
    tracker.update(Foreground.empty(), 21 / 25.0)
    assert tracker.state.features.shape == (2, STRIPES * 3)
