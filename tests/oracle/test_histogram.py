"""Colour histograms against pictures worked out by hand and against another way to compute them."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from tracker.detection.histogram import GREYS, HUES, STRIPES, VALUES, histogram_features, visible_shares
from tracker.structures import Detections

LENGTH = HUES * VALUES + GREYS
BOX = [10.0, 10.0, 50.0, 110.0]
RED, BLACK, WHITE = (0, 0, 255), (0, 0, 0), (255, 255, 255)


def picture(colour=BLACK):
    return np.full((120, 160, 3), colour, np.uint8)


def features(image, boxes, scores=None, floor=0.2, least=0.3):
    return histogram_features(image, Detections(boxes, scores), score_floor=floor, least_visible=least)


def stripes(feature):
    """Return (STRIPES, LENGTH) shares of the pixels."""
    return (feature**2).reshape(STRIPES, LENGTH)


def test_a_plain_box_is_one_bin_in_every_stripe():
    for colour, place in ((RED, 1), (BLACK, HUES * VALUES), (WHITE, LENGTH - 1)):  # hue 0, brightest; first, last grey
        (feature,) = features(picture(colour), [BOX])
        expected = np.zeros((STRIPES, LENGTH))
        expected[:, place] = 1.0 / STRIPES
        np.testing.assert_allclose(stripes(feature), expected, atol=1e-12)


def test_stripes_are_quarters_from_the_top():
    image = picture()
    image[37:60] = RED  # 3 % of the height is left out at either end, so that a stripe is 23.5 pixels
    (feature,) = features(image, [BOX])
    found = stripes(feature)
    assert found[1, 1] == pytest.approx(0.25)
    assert found[[0, 2, 3], 1].max() == 0.0
    np.testing.assert_allclose(found[[0, 2, 3], HUES * VALUES], 0.25)


def test_what_is_beside_an_object_does_not_count():
    image = picture(WHITE)
    image[:, 16:44] = RED  # the inner 70 % of the box
    np.testing.assert_allclose(stripes(features(image, [BOX])[0])[:, 1], 0.25)


@pytest.mark.parametrize("bgr", [(37, 201, 90), (200, 190, 195), (12, 14, 90), (255, 0, 128), (130, 131, 129)])
def test_a_colour_is_shared_between_its_nearest_bins(bgr):
    """Worked out with the standard library's colour model and linear interpolation of numpy."""
    blue, green, red = (value / 255.0 for value in bgr)
    hue, _, value = colorsys.rgb_to_hsv(red, green, blue)
    colour = min((max(bgr) - min(bgr)) / 25.0, 1.0)
    hues = [np.interp(hue * HUES, [h - 1, h, h + 1], [0, 1, 0], period=None) for h in range(HUES + 1)]
    hues = [hues[0] + hues[HUES], *hues[1:HUES]]
    in_bins = [
        [np.interp(np.clip(value * bins, 0.5, bins - 0.5), [b - 0.5, b + 0.5, b + 1.5], [0, 1, 0]) for b in range(bins)]
        for bins in (VALUES, GREYS)
    ]
    expected = np.concatenate([colour * np.outer(hues, in_bins[0]).ravel(), (1 - colour) * np.array(in_bins[1])])
    np.testing.assert_allclose(stripes(features(picture(bgr), [BOX])[0])[0], expected / STRIPES, atol=1e-9)


def test_features_are_of_length_one_wherever_all_stripes_are_seen():
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    boxes = [BOX, [60.2, 3.7, 91.1, 100.9], [100.0, 50.0, 101.5, 53.0]]
    np.testing.assert_allclose(np.linalg.norm(features(image, boxes), axis=1), 1.0)


def test_a_nearer_detection_is_left_out():
    """The further box is red above and white below, where the nearer one, white, covers it."""
    image = picture(RED)
    image[60:] = WHITE
    nearer = [0.0, 60.0, 70.0, 118.0]
    alone, covered, cover = features(image, [BOX])[0], *features(image, [BOX, nearer])
    assert stripes(alone)[2:, LENGTH - 1].sum() == pytest.approx(0.5)
    assert stripes(covered)[:, LENGTH - 1].sum() == 0.0
    assert stripes(covered)[2:].sum() == 0.0
    np.testing.assert_array_equal(stripes(covered)[:2], stripes(alone)[:2])
    np.testing.assert_array_equal(cover, features(image, [nearer])[0])


def test_detections_below_the_floor_cover_nothing_and_have_no_look():
    image = picture(RED)
    boxes = [BOX, [0.0, 5.0, 70.0, 118.0]]
    found = features(image, boxes, scores=[0.9, 0.1])
    np.testing.assert_array_equal(found[0], features(image, [BOX])[0])
    assert not found[1].any()


@pytest.mark.parametrize(("covered_from_px", "tells"), [(60.0, True), (30.0, False)])
def test_a_look_of_little_is_none(covered_from_px, tells):
    nearer = [0.0, covered_from_px, 70.0, 118.0]
    assert features(picture(RED), [BOX, nearer])[0].any() == tells


def test_what_is_outside_of_the_picture_is_not_seen():
    size, image = (160, 120), picture(RED)
    boxes = [[-40.0, 10.0, 40.0, 110.0], [-300.0, 0.0, -200.0, 100.0], [140.0, 60.0, 180.0, 180.0]]
    shares = visible_shares(size, Detections(boxes), score_floor=0.2)
    np.testing.assert_allclose(shares, [0.5, 0.0, 0.25], atol=0.03)
    assert features(image, boxes).any(axis=1).tolist() == [True, False, False]


def test_the_visible_share_is_the_part_that_no_nearer_detection_covers():
    boxes = [[0.0, 0.0, 40.0, 100.0], [20.0, 0.0, 60.0, 101.0]]
    shares = visible_shares((160, 120), Detections(boxes), score_floor=0.2)
    np.testing.assert_allclose(shares, [0.5, 1.0])


def test_no_detections_have_no_features():
    assert features(picture(), np.empty((0, 4))).shape == (0, STRIPES * LENGTH)
