"""The state of the mixture: a structured array with a row per object, and one record for the scene.

Arrays of records keep everything that belongs to one object side by side, pass into compiled code as one
argument and are selected, copied and saved as one thing.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracker.config import Config
from tracker.structures import FloatArray, IntArray

Records: TypeAlias = NDArray[np.void]
"""A structured array."""
Record: TypeAlias = Any
"""One row of it, by reference; its fields are attributes in compiled code only, so no checker knows them."""

SCORE_BINS = 16
SCORE_BIN_WIDTH = 0.05
LOWEST_BIN = 0.2
CHAIN_LENGTH = 8
"""Consecutive overlapping detections that prove an object where nobody claimed them."""
RECENT_CENTRES = 4
LIKENESS_BINS = 16
TYPICAL_INNOVATION_SCALE = (0.8, 1.15, 0.65, 1.5)
"""What scenes teach on the average of street, dance and driving."""
CERTAIN = 1.0 - 1e-6
"""Existence is never surer than this, nor its opposite."""
RESPONSIBILITIES = ("exclusive", "independent", "assignment")
EXCLUSIVE, INDEPENDENT, ASSIGNMENT = range(3)

COMPONENT = np.dtype(
    [
        ("id", "i8"),
        ("status", "i8"),  # 0 tentative, 1 confirmed
        ("label", "i8"),
        ("hits", "i8"),
        ("misses", "i8"),  # frames in a row without a detection
        ("age_frames", "i8"),
        ("missed_tau", "f8"),  # time without a detection, in 1/25 s
        # Coordinates: centre x, anchored y, width, height. Blocks of position and velocity never mix.
        ("mean", "f8", (4,)),
        ("velocity", "f8", (4,)),  # px per 1/25 s
        ("p00", "f8", (4,)),
        ("p01", "f8", (4,)),
        ("p11", "f8", (4,)),
        ("scale", "f8"),  # g of the predicted box, px
        ("log_noise_factor", "f8"),
        ("z", "f8", (4,)),  # normalised innovation of the last match
        ("centres", "f8", (RECENT_CENTRES, 2)),  # observed, newest last
        ("centre_count", "i8"),
        ("existence", "f8"),
        ("score", "f8"),
        ("responsibility", "f8"),
        ("doubt", "f8"),  # surprise of the claims of about the last second, nats
        ("detection", "i8"),  # row claimed in this frame, -1 for none
        ("box", "f8", (4,)),  # reported, left top right bottom
        ("looks", "i8"),  # features that make up what is remembered of its look
    ]
)

SCENE = np.dtype(
    [
        ("process_position", "f8"),
        ("process_size", "f8"),
        ("measurement_position", "f8"),
        ("measurement_size", "f8"),
        ("velocity_cross", "f8", (2,)),  # decayed sums over matches: way made times way foretold by the velocity
        ("velocity_square", "f8", (2,)),  # and its square; x and y, over the variance of the innovation
        ("shift_prior", "f8", (2,)),  # probability that the image moves as a whole, x and y
        ("alike", "f8", (LIKENESS_BINS,)),  # decayed counts of the distance between looks of one object
        ("unalike", "f8", (LIKENESS_BINS,)),  # and between those of different objects
        ("innovation_scale", "f8", (4,)),  # true standard deviation of the innovations over the filter's
    ]
)

SCORE_COUNTS = np.dtype(
    [
        ("label", "i8"),
        ("objects", "f8", (SCORE_BINS,)),  # decayed counts of detections that proved to be objects
        ("clutter", "f8", (SCORE_BINS,)),
        ("birth_score", "f8"),
    ]
)

NO_FEATURES: FloatArray = np.zeros((0, 0))
"""Of any number of objects or detections, where features play no part."""

PAIR = np.dtype([("row", "i8"), ("column", "i8"), ("responsibility", "f8")])
"""One entry of a sparse table: component row before the step, detection row, probability."""

CHAIN = np.dtype([("box", "f8", (4,)), ("kind", "i8"), ("length", "i8"), ("bins", "i8", (CHAIN_LENGTH,))])


class TrackerState(NamedTuple):
    """Everything the tracker carries from one frame to the next.

    Parameters
    ----------
    components
        (K,) records of :data:`COMPONENT`.
    scene
        (1,) record of :data:`SCENE`: noise factors, whether the image moves, and how alike looks are.
    score_counts
        (L,) records of :data:`SCORE_COUNTS`, one for each class seen so far: what its scores mean here.
    chains
        (C,) records of :data:`CHAIN`: last frame's detections that nobody claimed.
    features
        (K, D) what is remembered of the objects' looks, or the palettes of blobs, a row for each component; (0, 0)
        without.
    next_id
        Identity of the next object to be born.
    frame_index
        Frames seen.
    time_s
        Time of the last frame; NaN before the first.
    """

    components: Records
    scene: Records
    score_counts: Records
    chains: Records
    features: FloatArray
    next_id: int
    frame_index: int
    time_s: float


class StepInfo(NamedTuple):
    """What one step learned and need not be carried on.

    Parameters
    ----------
    before, after
        Components before and after the step.
    pairs
        (E,) records of :data:`PAIR`.
    log_likelihood
        Log-likelihood ratio of the frame's detections against all of them being clutter. Where responsibilities are
        not exclusive, each object has it by itself, and detections may count for several.
    scene
        (1,) record of :data:`SCENE` before the step.
    """

    before: Records
    after: Records
    pairs: Records
    log_likelihood: float
    scene: Records

    @property
    def rows(self) -> IntArray:
        """(E,) component of each pair: its row before the step."""
        return self.pairs["row"]

    @property
    def columns(self) -> IntArray:
        """(E,) detection of each pair."""
        return self.pairs["column"]

    @property
    def responsibilities(self) -> FloatArray:
        """(E,) probability that the pair's component and detection belong together."""
        return self.pairs["responsibility"]

    @property
    def ids(self) -> IntArray:
        """(K,) identities of the components before the step, in the order of ``rows``."""
        return self.before["id"]

    @property
    def innovations(self) -> FloatArray:
        """(K, 4) innovation of the claimed detection over its predicted standard deviation.

        In centre x, anchored y, width and height; NaN where nothing was claimed. The standard deviation is the filter's
        times what the scene had taught of it before: the filter's follows objects best, but is too small for some
        coordinates and too large for others.
        """
        z = np.full((len(self.before), 4), np.nan)
        survivors = np.isin(self.before["id"], self.after["id"])
        after = self.after[: np.count_nonzero(survivors)]
        z[survivors] = np.where(after["detection"][:, None] >= 0, after["z"], np.nan)
        return z / self.scene["innovation_scale"][0]


def _settings(config: Config) -> dict[str, object]:
    """Return the numbers of ``config.tracking`` that compiled code needs, by their keys."""
    tracking = config.tracking
    values: dict[str, object] = {"class_agnostic": tracking.class_agnostic}
    for section in (
        tracking.motion,
        tracking.association,
        tracking.time_laws,
        tracking.refinement,
        tracking.adaptation,
        tracking.lifecycle,
        tracking.likeness,
    ):
        values.update(section)
    values["responsibilities"] = RESPONSIBILITIES.index(tracking.association.responsibilities)
    return values


def _field(name: str, value: object) -> tuple[Any, ...]:
    if isinstance(value, tuple):
        return (name, "f8", (len(value),))
    return (name, "f8" if isinstance(value, float) else "i8")


PARAMETERS = np.dtype([_field(name, value) for name, value in _settings(Config()).items()])


def parameters(config: Config) -> Records:
    """Return (2,) records of :data:`PARAMETERS`: the settings, and room for what they become in a step."""
    records = np.zeros(2, PARAMETERS)
    for name, value in _settings(config).items():
        records[name] = value
    return records


def room_for_step(objects: int, detections: int, classes: int) -> tuple[Records, Records, Records, Records]:
    """Return records that are not yet set: as many components, scenes, score counts and chains as a step may end with.

    One piece of memory serves them all. What compiled code makes itself has an equal type that is not the same
    object, and comparing the two takes as long as making them all here.

    Parameters
    ----------
    objects, detections, classes
        Components before the step, detections in it, classes seen before it.
    """
    components_end = SCENE.itemsize + (objects + detections) * COMPONENT.itemsize
    counts_end = components_end + (classes + detections) * SCORE_COUNTS.itemsize
    memory = np.empty(counts_end + detections * CHAIN.itemsize, np.uint8)
    return (
        np.ndarray(objects + detections, COMPONENT, memory, SCENE.itemsize),
        np.ndarray(1, SCENE, memory),
        np.ndarray(classes + detections, SCORE_COUNTS, memory, components_end),
        np.ndarray(detections, CHAIN, memory, counts_end),
    )


def cut(state: TrackerState) -> TrackerState:
    """Return the state with every object ended, as where a film is cut; what was learned of the scores and noise stays.

    Identities go on counting: none comes back.
    """
    nobody = np.zeros((0, state.features.shape[1]))
    return state._replace(components=state.components[:0], chains=np.zeros(0, CHAIN), features=nobody)


def initial_state() -> TrackerState:
    """Return the state before the first frame: nobody there, nothing learned."""
    scene = np.zeros(1, SCENE)
    for factor in ("process_position", "process_size", "measurement_position", "measurement_size"):
        scene[factor] = 1.0
    scene["shift_prior"] = 0.1
    scene["innovation_scale"] = TYPICAL_INNOVATION_SCALE
    return TrackerState(
        components=np.zeros(0, COMPONENT),
        scene=scene,
        score_counts=np.zeros(0, SCORE_COUNTS),
        chains=np.zeros(0, CHAIN),
        features=NO_FEATURES,
        next_id=1,
        frame_index=0,
        time_s=float("nan"),
    )
