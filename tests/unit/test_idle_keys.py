"""Which keys do nothing while objects are followed by boxes, or by pixels: what is told of it is true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml
from pydantic import BaseModel
from silhouettes import Ellipse, drawn

from tracker import Forecaster
from tracker.config import PROGRAM, Config, idle_keys, load_config
from tracker.structures import Foreground, Tracks, TypicalSize
from tracker.tracking.online import Tracker
from tracker.tracking.pixels import PixelTracker

LEAP_PX = 24.0  # who was lost comes back so far from where the pixels are looked for
THINNED = 8  # every so many points stand for all
RATE_HZ = 20.0
ELSEWHERE = {
    "tracking.observations": "is the choice itself",
    "tracking.frame_rate_hz": "goes into the times that a tracker is given",
    "tracking.camera_motion": "is of what looks at the pictures",
    "tracking.appearance": "is refused with pixels",
    "tracking.offline": "is of tracks, whatever they were made from",
}
"""What a tracker that is given its observations cannot show."""


def leaves(section: BaseModel, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the key, value and type of each setting."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, field.annotation


LEAVES = {key: (value, kind) for key, value, kind in leaves(Config().tracking, "tracking.")}


def within(key: str, sections: Any) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def others(value: Any, kind: Any) -> list[Any]:
    """Return other values: to both sides, where there are sides."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, str):
        return [choice for choice in get_args(kind) if choice != value]
    if isinstance(value, tuple):
        return [tuple(0.5 * v for v in value), tuple(1.3 * v for v in value)]
    if isinstance(value, int):
        return [value + 1, max(value - 1, 0), 3]
    return [0.6 * value, 0.0001 * value + 0.9999 * max(1.0, value), 0.01 * value, 4.0 * value] if value else [0.5]


def with_keys(section: Any, values: dict[str, Any]) -> Any:
    """Return the configuration with other values, unchecked."""
    for key, value in values.items():
        head, _, rest = key.partition(".")
        section = section.model_copy(update={head: with_keys(getattr(section, head), {rest: value}) if rest else value})
    return section


# With a wide gate who was lost is found again, for which alone many keys of the association count.
WIDE = with_keys(Config(), {"tracking.observations": "pixels", "tracking.association.gate_margin": 1.0})


# Only a doubtful claim may be too small.
DOUBTFUL = {"tracking.association.clutter_density": 200.0}


def foreground(ellipses: list[Ellipse], colours: list[int]) -> Foreground:
    whole = drawn(ellipses, colours)
    assert whole.colours is not None
    kept = slice(None, None, THINNED)
    return Foreground(
        whole.points_px[kept],
        THINNED * whole.weights[kept],
        whole.regions[kept],
        whole.silhouettes,
        typical_size=TypicalSize(30.0, 0.1, 20.0, 0.4, 0.2),
        colours=whole.colours[kept],
    )


def film() -> list[Foreground]:
    """Two cross; two part; two are lost from sight together, and come back where a frame was dropped; a faint one."""
    frames = []
    for n in range(44):
        ellipses: list[Ellipse] = [(70.0 + 2.0 * n, 40.0, 16.0, 40.0), (160.0 - 2.0 * n, 46.0, 16.0, 40.0)]
        colours = [0, 1]
        apart = float(np.clip(n - 14, 0, 24))
        ellipses += [(40.0 - apart / 2, 110.0, 14.0, 36.0), (40.0 + apart / 2, 110.0, 14.0, 36.0)]
        colours += [0, 0]
        if n < 12 or n > 15:
            leap = LEAP_PX if n > 15 else 0.0
            ellipses += [(110.0 + 1.5 * n + leap, 105.0, 14.0, 36.0), (165.0 + 1.2 * n + leap, 109.0, 15.0, 37.0)]
            colours += [2, 1]
        if n == 5:
            ellipses.append((220.0, 20.0, 8.0, 12.0))
            colours.append(0)
        frames.append(foreground(ellipses, colours))
    return frames


def told(tracker: Tracker | PixelTracker, tracks: Tracks) -> list[bytes]:
    """Return all that the tracker knows after a frame."""
    assert tracker.info is not None
    everybody = tracker.tracks(coasting=True)
    known = [t.select(slice(None)) for t in (tracks, everybody)]
    parts = [np.asarray(getattr(t, name)).tobytes() for t in known for name in ("ids", "boxes_xyxy", "continuity")]
    parts += [np.asarray(getattr(everybody, name)).tobytes() for name in ("covariances", "existence", "status")]
    return [*parts, tracker.state.scene.tobytes(), tracker.info.innovations.tobytes(), tracker.info.pairs.tobytes()]


def followed(config: Config, frames: list[Foreground]) -> bytes:
    """Return all that comes of following pixels, forecasts included."""
    tracker, forecaster = PixelTracker(config), Forecaster(config)
    parts: list[bytes] = []
    for n, seen in enumerate(frames):
        parts += told(tracker, tracker.update(seen, (n + 2 * (n > 15)) / RATE_HZ))
        parts.append(tracker.occupied_xyxy.tobytes())
        forecaster.observe(tracker.state)
    return b"".join([*parts, repr(forecaster.fans(tracker.state, [0.5])).encode()])


def followed_boxes(config: Config, frames: list[Foreground]) -> bytes:
    """Return all that comes of following the boxes of the same silhouettes."""
    tracker = Tracker(config)
    parts: list[bytes] = []
    for n, seen in enumerate(frames):
        parts += told(tracker, tracker.update(seen.silhouettes, n / RATE_HZ))
    return b"".join(parts)


@pytest.fixture(scope="module")
def frames() -> list[Foreground]:
    return film()


@pytest.fixture(scope="module")
def ordinary(frames: list[Foreground]) -> bytes:
    return followed(WIDE, frames)


@pytest.mark.parametrize("observations", ["boxes", "pixels"])
def test_idle_keys_have_no_effect(observations: str, frames: list[Foreground], ordinary: bytes) -> None:
    base = with_keys(WIDE, {"tracking.observations": observations})
    changed = {key: others(value, kind)[0] for key, (value, kind) in LEAVES.items()}
    idle = [key for key, value in changed.items() if idle_keys(with_keys(base, {key: value})) == [key]]
    assert len(idle) > 10
    config = with_keys(base, {key: changed[key] for key in idle})
    if observations == "pixels":
        assert followed(config, frames) == ordinary
    else:
        assert followed_boxes(config, frames) == followed_boxes(base, frames)


@pytest.mark.parametrize("key", [key for key in LEAVES if not within(key, ELSEWHERE)])
def test_keys_that_are_not_idle_have_an_effect_on_pixels(key: str, frames: list[Foreground], ordinary: bytes) -> None:
    value, kind = LEAVES[key]
    base, usual = WIDE, ordinary
    if key == "tracking.association.claim":
        base = with_keys(WIDE, DOUBTFUL)
        usual = followed(base, frames)
    for other in others(value, kind):
        config = with_keys(base, {key: other})
        if key in idle_keys(config):
            return  # told, and true, see above
        if followed(config, frames) != usual:
            return
    pytest.fail(f"{key} changes nothing; where that is so, it is to be told")


def test_the_noise_of_boxes_counts_where_tracks_of_pixels_are_refined() -> None:
    overrides = ["tracking.observations=pixels", "tracking.motion.process_noise=[1, 1, 1, 1]"]
    assert idle_keys(load_config(overrides=overrides)) == ["tracking.motion.process_noise"]
    assert idle_keys(load_config(overrides=[*overrides, "tracking.smoothing=offline"])) == []


def test_a_record_that_holds_every_default_changes_nothing(tmp_path: Path) -> None:
    whole = Config().model_dump(mode="json")
    whole["tracking"]["observations"] = "pixels"
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"program": PROGRAM, "configuration": whole}))
    assert idle_keys(load_config(tmp_path / "run.yaml")) == []
    assert idle_keys(load_config(tmp_path / "run.yaml", ["tracking.association.rounds=3"])) == [
        "tracking.association.rounds"
    ]
