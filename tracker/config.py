"""The configuration: every default lives here, once; YAML files and ``--set`` only override.

The three ways in (a preset of the package, a file, ``--set dotted.key=value``) are merged into one mapping and
checked once, so that all give the same errors. A file may be the record of a run, too.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tracker.errors import ConfigurationError, reason_of

Probability: TypeAlias = Annotated[float, Field(gt=0.0, lt=1.0)]
Share: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]
Positive: TypeAlias = Annotated[float, Field(gt=0.0)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0.0)]
Point: TypeAlias = tuple[float, float]
ClassChoice: TypeAlias = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
"""A class by name or number."""
ScoreScale: TypeAlias = Literal["unit", "percent", "logit"]
"""What the scores of a file are: 0 to 1; 0 to 100; log odds or a raw margin, any number."""
RegionName: TypeAlias = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f]*$")]
PositivePerCoordinate: TypeAlias = tuple[Positive, Positive, Positive, Positive]
"""One value for each coordinate: centre x, bottom edge y, width, height."""
Channels: TypeAlias = tuple[float, float, float]
"""One value for each of red, green and blue."""

IMAGENET_MEAN_RGB: Channels = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION_RGB: Channels = (0.229, 0.224, 0.225)


PROGRAM = "gmm-tracker"
"""What the record of a run, a ``run.yaml``, says of who wrote it; it holds the run's configuration."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _may_be_empty(cls, value: Any) -> Any:
        return {} if value is None else value  # YAML's way of saying that nothing stands under a heading


class BackgroundConfig(_Section):
    """Foreground by background subtraction, for a camera that stands still."""

    ignore_mask: Path | None = Field(
        None, description="image of the frame's size; pixels that are not black are never foreground"
    )
    longest_side_px: int = Field(960, ge=64, description="larger frames are worked on at this size")
    history_frames: int = Field(
        500, ge=2, description="memory of the background; what stands still is absorbed after about a tenth of it"
    )
    variance_threshold: Positive = Field(
        25.0, description="squared distance, in variances, from which a pixel is not background"
    )
    variance_floor: Positive = Field(15.0, description="least variance of a background pixel, in grey levels^2")
    darkest_shadow: Probability = Field(
        0.5, description="share of the background's brightness below which a darker pixel is no shadow"
    )
    smallest_area: Share = Field(0.00035, description="least foreground area of an object, share of the frame")
    smallest_fragment: Share = Field(
        0.00002, description="least area of a fragment that may be joined to others, share of the frame"
    )
    largest_area: Share = Field(0.5, description="largest box, share of the frame; more is a change of light")
    longest_to_shortest: Annotated[float, Field(ge=1.0)] = Field(
        6.0, description="largest ratio of a box's longer side to its shorter"
    )
    foreground_points: int = Field(
        3000, ge=100, description="points to which the foreground is thinned where pixels are tracked"
    )


class OnnxConfig(_Section):
    """A neural detector in an ONNX file. What is auto is recognised from the file."""

    model: Path | None = Field(None, description="the file; --model names it too")
    classes: tuple[ClassChoice, ...] = Field((), description="classes to keep, by name or number; all when empty")
    class_names: tuple[str, ...] = Field(
        (), description="names of the model's classes in order, where its metadata lack them (80 classes: COCO's)"
    )
    layout: Literal["auto", "yolov5", "yolov8", "yolox", "yolox_raw", "rtdetr", "end_to_end", "labelled", "ssd"] = (
        Field("auto", description="form of the output; yolov5 is also v7, yolov8 also v9, 11 and NanoDet")
    )
    box_unit: Literal["auto", "pixels", "share"] = Field(
        "auto", description="unit of the output's boxes: pixels, or shares of the input's width and height"
    )
    colour_order: Literal["auto", "rgb", "bgr"] = Field("auto", description="order of the input's channels")
    input_scale: Literal["auto", "unit", "raw", "symmetric", "imagenet"] = Field(
        "auto",
        description="range of the input: unit 0..1, raw 0..255, symmetric -1..1, "
        "imagenet 0..1 less ImageNet's mean, by its deviation",
    )
    letterbox: Literal["auto", "centre", "top_left", "stretch"] = Field(
        "auto", description="where the picture lies in the input, on grey; stretch: fills it"
    )
    longest_side_px: int | None = Field(
        None, ge=32, description="longest side of the input, where the graph takes any; none: the metadata's, else 640"
    )
    score_floor: Share = Field(0.1, description="detections below are dropped; the tracker makes use of low scores")
    nms_iou: Share = Field(0.5, description="overlap from which the lower score goes, where the model leaves that open")
    nms_across_classes: bool = Field(False, description="let boxes of one class suppress those of another")
    tile_px: int | None = Field(
        None, ge=64, description="side of tiles that are looked at besides the whole frame, for small objects"
    )
    tile_overlap: Annotated[float, Field(ge=0.0, le=0.9)] = Field(
        0.2, description="least overlap of neighbouring tiles, share of their side; as wide as an object is best"
    )
    runtime: Literal["auto", "onnxruntime", "opencv"] = Field(
        "auto", description="what runs the model; auto: onnxruntime if installed, else OpenCV"
    )
    providers: tuple[str, ...] = Field(
        (), description="onnxruntime's execution providers in order of preference, e.g. cuda; the processor when empty"
    )
    batch_frames: int = Field(
        1, ge=1, le=256, description="frames that go through the model together, where its batch axis is free"
    )


class RecordedConfig(_Section):
    """Detections from a file, --detections: MOTChallenge text, or KITTI labels, which name their classes."""

    classes: tuple[ClassChoice, ...] = Field((), description="classes to keep, by name or number; all when empty")
    class_names: dict[int, str] = Field(
        {}, description="names of the file's classes by number, e.g. {0: person, 2: car}, where it has none or others"
    )
    score_scale: ScoreScale = Field(
        "unit",
        description="what the file's scores are: unit, 0..1, as in a run's detections.txt; percent, 0..100; logit, "
        "log odds or a raw margin, squashed by the logistic function",
    )


class EmbeddingConfig(_Section):
    """A neural network in an ONNX file that turns the picture of a detection into a vector: alike for one object."""

    model: Path | None = Field(None, description="the file: pictures (batch, 3, height, width) to vectors (batch, any)")
    colour_order: Literal["rgb", "bgr"] = Field("rgb", description="order of the input's channels")
    mean: Channels = Field(
        IMAGENET_MEAN_RGB, description="what is taken from red, green and blue, 0..1, where the graph does not do it"
    )
    deviation: tuple[Positive, Positive, Positive] = Field(
        IMAGENET_DEVIATION_RGB, description="what red, green and blue are divided by then"
    )
    batch_boxes: int = Field(
        16, ge=1, le=1024, description="detections that go through the network together, where its batch axis is free"
    )
    runtime: Literal["auto", "onnxruntime", "opencv"] = Field(
        "auto", description="what runs the network; auto: onnxruntime if installed, else OpenCV"
    )
    providers: tuple[str, ...] = Field(
        (), description="onnxruntime's execution providers in order of preference, e.g. cuda; the processor when empty"
    )


class DetectionConfig(_Section):
    """Where detections come from."""

    kind: Literal["background", "recorded", "onnx"] = Field(
        "background",
        description="background: subtract the still background; recorded: read --detections; "
        "onnx: a neural detector, see --model",
    )
    background: BackgroundConfig = BackgroundConfig()
    onnx: OnnxConfig = OnnxConfig()
    recorded: RecordedConfig = RecordedConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()


class OverlayConfig(_Section):
    """What is drawn on the overlay video."""

    boxes: bool = Field(True, description="draw each track's box")
    labels: bool = Field(True, description="write each track's id")
    ellipses: bool = Field(True, description="draw the 95 % ellipse of each track's position; of pixels, the blob")
    coasting: bool = Field(True, description="draw tracks that are not seen in the frame, dashed")
    trail_s: NotNegative = Field(2.0, description="length of the fading trail in seconds; 0 for none")
    forecast_s: NotNegative = Field(
        0.0, description="how far ahead fans show where feet will be, with 50 % probability; 0 for none"
    )
    crf: int = Field(23, ge=0, le=51, description="H.264 quality: 0 lossless, 23 usual, 51 worst")


class MotionConfig(_Section):
    """How objects move. Lengths in units of the object's own scale g = sqrt(width x height).

    The state is kept per 1/25 s; tau is the elapsed time in that unit.
    """

    anchor: Share = Field(1.0, description="height of the point that is tracked: 1 the bottom edge, 0.5 the centre")
    measurement_noise: PositivePerCoordinate = Field(
        (0.14, 0.07, 0.08, 0.015), description="standard deviation of a detected box"
    )
    process_noise: PositivePerCoordinate = Field(
        (0.02, 0.004, 0.005, 0.003), description="standard deviation of the acceleration, per (1/25 s)^2"
    )
    initial_velocity: Positive = Field(0.1, description="standard deviation of a newborn's velocity, per 1/25 s")
    coasting_position_noise: Positive = Field(0.7, description="factor on position process noise while coasting")
    coasting_size_noise: Positive = Field(2.0, description="factor on size process noise while coasting")
    coasting_damping: Share = Field(0.97, description="position velocity kept per missed frame")
    size_damping: Share = Field(0.5, description="size velocity kept per 1/25 s where no approach is evident")


class AssociationConfig(_Section):
    """What makes a detection an object's own."""

    responsibilities: Literal["exclusive", "independent", "assignment"] = Field(
        "exclusive",
        description="exclusive: one-to-one marginals; independent: each object by itself; "
        "assignment: all or nothing, as trackers without a mixture do",
    )
    rounds: int = Field(2, ge=1, le=5, description="EM rounds per frame")
    degrees_of_freedom: PositivePerCoordinate = Field(
        (1.5, 1.5, 1.0, 1.0), description="of the Student-t innovation in each coordinate"
    )
    coordinate_weight: PositivePerCoordinate = Field(
        (1.0, 1.0, 1.0, 0.55), description="exponent on each coordinate's density"
    )
    clutter_density: Positive = Field(0.2, description="false detections per unit of the box space in units of g")
    gate_iou: NotNegative = Field(0.01, description="least overlap with the predicted box")
    gate_margin: NotNegative = Field(
        0.0, description="share of its size by which the predicted box is widened on each side for that overlap"
    )
    gate_distance: Positive = Field(300.0, description="greatest squared Mahalanobis distance")
    score_floor: Share = Field(0.2, description="detections below this score are dropped")
    score_neutral: Probability = Field(0.7, description="score that speaks neither for nor against an object")
    score_weight: NotNegative = Field(1.0, description="exponent on the score's likelihood ratio")
    detection_probability: Probability = Field(0.7, description="of an object in plain view")
    hiding: Share = Field(0.9, description="share of the detection probability lost when wholly covered")
    detection_decay: Share = Field(0.99, description="detection probability kept per 1/25 s without a detection")
    direction: NotNegative = Field(0.5, description="weight of the consistency of direction, in nats")
    claim: Probability = Field(
        0.1, description="least responsibility of a claimed detection, where not many objects share many alike"
    )


class TimeLawsConfig(_Section):
    """How values that are stated for a step of 1/25 s change with its length: by that length to these powers."""

    process_noise_exponent: float = Field(1.0, description="of the process noise: the kick to a velocity is the same")
    direction_exponent: float = Field(0.5, description="of the weight of the direction")
    clutter_exponent: float = Field(-0.75, description="of the clutter density")
    gate_growth: NotNegative = Field(
        0.2, description="how much the gate's margin grows with each 1/25 s beyond the first, to half a box at most"
    )
    steady_tau: NotNegative = Field(
        1.25, description="part of a step, in 1/25 s, through which velocities last whatever was learned of them"
    )
    learning_exponent: float = Field(1.0, description="of the rate at which the scene's process noise is learned")


class RefinementConfig(_Section):
    """What the second round of EM learns from the other objects of the frame."""

    common_motion: bool = Field(True, description="objects share the motion that the image has in common")
    refined_hiding: bool = Field(True, description="who hides whom is judged at this frame's positions")


class AdaptationConfig(_Section):
    """How noise is learned while tracking, from confident matches only."""

    measurement_rate: NotNegative = Field(0.02, description="step of the scene's measurement noise")
    process_rate: NotNegative = Field(0.1, description="step of the scene's process noise")
    correlation: Share = Field(0.3, description="share of the lag-1 correlation in the position's process noise")
    object_rate: NotNegative = Field(0.05, description="step of an object's own process noise")
    persistence: bool = Field(True, description="how far velocities last through a long step is learned, by axis")
    inflation: bool = Field(True, description="an outlying innovation widens prior and measurement")


class LifecycleConfig(_Section):
    """Birth, confirmation, death."""

    confirmation_hits: int = Field(2, ge=1, description="detections that confirm a tentative object")
    max_misses_frames: int = Field(30, ge=0, description="misses in a row that a confirmed object survives")
    survival: Probability = Field(0.999, description="probability that an object stays for another 1/25 s")
    birth_score: Probability = Field(0.7, description="birth threshold before anything is learned")
    learn_birth_score: bool = Field(True, description="learn the birth threshold from the detections")
    veto_iou: Share = Field(0.5, description="no birth where a claimed detection overlaps more than this")


class LikenessConfig(_Section):
    """What is learned and remembered of objects' looks, where detections have features."""

    look_memory_tau: Positive = Field(25.0, description="time, in 1/25 s, over which an object's looks are averaged")
    sure_of_look: Probability = Field(0.8, description="responsibility from which a claim tells an object's look")
    cover_of_look: Share = Field(0.25, description="share of an object from which, covered, its look is passed over")
    likeness_prior_count: Positive = Field(
        100.0, description="looks that must be compared before what is learned of them counts half"
    )
    change_of_look: Annotated[float, Field(gt=0.0, lt=0.5)] = Field(
        0.1, description="share of looks that mislead; bounds what a look says at log((1 - share) / share) nats"
    )
    least_visible: Probability = Field(
        0.3, description="share of a detection that must be seen, not covered by a nearer one, to know its look"
    )


class UncertaintyConfig(_Section):
    """What reports say of their own errors; tracking itself does not use it.

    The law is that of tracker.tracking.uncertainty, fitted to annotated sequences: tools/calibration.py. The
    coordinates are centre x, centre y, width and height.
    """

    detector: PositivePerCoordinate = Field(
        (0.0412, 0.0271, 0.0689, 0.0435),
        description="standard deviation of a detection with a score of .9, in units of the geometric mean of g and the "
        "coordinate's own side",
    )
    score: float = Field(1.01, description="exponent of what the score leaves open, 1 at a score of .9")
    scene: float = Field(
        0.534, description="exponent of the scene's factor of the measurement noise over that of the process noise"
    )
    lag: NotNegative = Field(
        1.55, description="standard deviation of a filtered box per distance from the detection that it claimed"
    )
    coasting: PositivePerCoordinate = Field(
        (0.0617, 0.0475, 0.0319, 0.0355),
        description="standard deviation of what was not seen, in g, where the filter's own is .03 g",
    )
    spread: float = Field(0.723, description="exponent of the filter's own standard deviation, over .03 g")
    coasting_scene: float = Field(
        0.702, description="exponent of the scene's factor of the measurement noise of sizes, of what was not seen"
    )
    surprise: float = Field(0.618, description="exponent of the last innovation, of what was not seen")
    speed: float = Field(0.382, description="exponent of the object's speed, of what was not seen")
    change_scale: Positive = Field(0.164, description="odds of another object within a second, at a doubt of 1")
    change_floor: Positive = Field(0.01, description="least doubt, in nats")
    change_exponent: Positive = Field(0.9, description="by which the odds grow with the doubt of the claims")


class PixelsConfig(_Section):
    """Objects that are blobs of foreground pixels. Lengths in units of the object's own scale g."""

    measurement_noise: PositivePerCoordinate = Field(
        (0.08, 0.06, 0.12, 0.08), description="standard deviation of a silhouette's centre x, centre y, width, height"
    )
    process_noise: PositivePerCoordinate = Field(
        (0.02, 0.01, 0.005, 0.003), description="standard deviation of the acceleration, per (1/25 s)^2"
    )
    rounds: int = Field(6, ge=1, le=50, description="EM rounds per frame")
    clutter_density: Positive = Field(0.1, description="foreground pixels per pixel that belong to no object")
    object_cost: NotNegative = Field(
        0.25, description="least gain in log likelihood, per pixel of a whole object, of a second object over one"
    )
    least_seen: Share = Field(0.2, description="share of an object's pixels from which it is seen")
    size_memory_s: Positive = Field(2.0, description="time in which a size returns to what is typical at its place")
    colour_weight: NotNegative = Field(
        1.0, description="exponent on the likelihood ratio of a pixel's colour; 0: colours say nothing"
    )
    colour_prior_frames: Positive = Field(
        3.0, description="frames of an object that its having the colours of the whole foreground is worth beforehand"
    )
    colour_memory_s: Positive = Field(
        1.0, description="time after which the colours that an object showed count by 1/e"
    )
    resemblance_weight: NotNegative = Field(
        3.0, description="weight of the colours, as the mean log ratio of its pixels, of a silhouette for somebody lost"
    )
    keep_visible: bool = Field(
        True, description="do not learn the background where objects are, so that who stands still stays visible"
    )


class OfflineConfig(_Section):
    """Tracks made better when the future is known: `track refine`, and runs with smoothing: offline."""

    smooth: NotNegative = Field(
        0.35, description="measurement noise of the smoother, in units of the learned; 0 keeps observed boxes"
    )
    fill: bool = Field(True, description="fill gaps that probably are one object's")
    link: bool = Field(True, description="join a track that ends with one that begins, where they are one object")
    longest_link_s: Positive = Field(3.0, description="longest time between two tracks that may be joined")
    prune: NotNegative = Field(6.0, description="least evidence of a track, in nats of its scores; 0 keeps all tracks")


class ForecastConfig(_Section):
    """Where objects will be: velocity that reverts to rest, and what a scene teaches of that.

    Fitted to MOT17, DanceTrack, KITTI, MOT15 and other detectors together; g = sqrt(width x height).
    """

    relaxation_s: PositivePerCoordinate = Field((3.0, 3.0, 0.1, 0.1), description="time in which a velocity is lost")
    diffusion: PositivePerCoordinate = Field(
        (1.1, 0.6, 0.5, 0.9),
        description="noise of the velocity in g per s^1.5, times the factors that tracking has learned of the motion",
    )
    tail_degrees: Positive = Field(2.3, description="degrees of freedom of the errors, before a scene has taught more")
    learn: bool = Field(True, description="learn from the scene how far objects get, and how wrong forecasts were")
    prior_count: Positive = Field(15.0, description="forecasts that what was fitted is worth against the scene's own")
    memory_s: Positive = Field(30.0, description="time after which what the scene has taught counts by 1/e")


class TrackingConfig(_Section):
    """The mixture through time."""

    observations: Literal["boxes", "pixels"] = Field(
        "boxes", description="what objects are followed by: detected boxes, or the foreground's pixels of background"
    )
    frame_rate_hz: Positive = Field(30.0, description="rate assumed when no times are given")
    smoothing: Literal["none", "online", "offline"] = Field(
        "none",
        description="boxes reported: none, the claimed detection's; online, the filtered mean's; "
        "offline, those of tracks that are refined at the end of the run",
    )
    lag_frames: int = Field(
        0,
        ge=0,
        le=250,
        description="frames that a report waits, to show objects from their first detection on and through gaps",
    )
    class_agnostic: bool = Field(False, description="let an object claim detections of other classes")
    camera_motion: Literal["auto", "none"] = Field(
        "auto",
        description="auto: from the pictures of a video, and cuts too, unless its detections come from background "
        "subtraction, which needs a still camera; none: as if it stood still; --camera-motion FILE wins",
    )
    appearance: Literal["none", "histogram", "onnx"] = Field(
        "none",
        description="what the objects' looks are told by, from the pictures of a video: histogram, of colours; onnx, "
        "the network detection.embedding.model; none: only by features that detections bring themselves",
    )
    motion: MotionConfig = MotionConfig()
    association: AssociationConfig = AssociationConfig()
    time_laws: TimeLawsConfig = TimeLawsConfig()
    refinement: RefinementConfig = RefinementConfig()
    adaptation: AdaptationConfig = AdaptationConfig()
    lifecycle: LifecycleConfig = LifecycleConfig()
    likeness: LikenessConfig = LikenessConfig()
    uncertainty: UncertaintyConfig = UncertaintyConfig()
    pixels: PixelsConfig = PixelsConfig()
    offline: OfflineConfig = OfflineConfig()
    forecast: ForecastConfig = ForecastConfig()


_IDLE: Mapping[str, frozenset[str]] = {
    "boxes": frozenset({"tracking.pixels", "detection.background.foreground_points"}),
    "pixels": frozenset(
        {
            "tracking.class_agnostic",
            "tracking.motion.anchor",
            "tracking.motion.measurement_noise",
            "tracking.motion.process_noise",
            "tracking.association.responsibilities",
            "tracking.association.rounds",
            "tracking.association.direction",
            "tracking.time_laws.direction_exponent",
            "tracking.time_laws.gate_growth",
            "tracking.time_laws.steady_tau",
            "tracking.time_laws.learning_exponent",
            "tracking.refinement",
            "tracking.adaptation.process_rate",
            "tracking.adaptation.correlation",
            "tracking.adaptation.object_rate",
            "tracking.adaptation.persistence",
            "tracking.lifecycle.learn_birth_score",
            "tracking.lifecycle.veto_iou",
            "tracking.likeness",
            "tracking.uncertainty.score",
            "tracking.uncertainty.scene",
            "tracking.uncertainty.lag",
            "tracking.uncertainty.coasting",
            "tracking.uncertainty.spread",
            "tracking.uncertainty.coasting_scene",
            "tracking.uncertainty.surprise",
            "tracking.uncertainty.speed",
        }
    ),
}
"""By what is observed, the keys and sections that a run makes no use of: objects are not followed by them."""

_OF_REFINING = frozenset(
    {"tracking.motion.anchor", "tracking.motion.measurement_noise", "tracking.motion.process_noise"}
)
"""Keys by which tracks are refined, whatever they were made from."""


class LiveConfig(_Section):
    """Cameras and streams."""

    stall_s: Positive = Field(
        2.0, description="without a picture for this long a source has stalled, and all identities end"
    )
    timeout_s: Positive = Field(10.0, description="without a picture for this long a stream is connected anew")
    backoff_s: Positive = Field(0.5, description="wait before the first attempt to reconnect; doubles with each")
    longest_backoff_s: Positive = Field(10.0, description="longest wait between two attempts to reconnect")
    detector_failures: int = Field(10, ge=1, description="failures of the detector in a row that end the run")
    segment_s: Positive = Field(3600.0, description="length of a recording's files")


class _Region(_Section):
    """A part of the picture; its points alone may stand for it."""

    @model_validator(mode="before")
    @classmethod
    def _of_points(cls, value: Any) -> Any:
        return {"points": value} if isinstance(value, list | tuple) else value


class AreaConfig(_Region):
    """A polygon that is entered and left."""

    points: Annotated[tuple[Point, ...], Field(min_length=3)] = Field(description="its corners")
    classes: tuple[ClassChoice, ...] = Field((), description="classes that count, by name or number; all when empty")


class LineConfig(_Region):
    """A line that is crossed in two directions, as seen looking along it from its first point to its second."""

    points: tuple[Point, Point] = Field(description="its two ends")
    classes: tuple[ClassChoice, ...] = Field((), description="classes that count, by name or number; all when empty")
    to_right: RegionName = Field("to right", description="name of crossings from its left to its right")
    to_left: RegionName = Field("to left", description="name of crossings from its right to its left")

    @model_validator(mode="after")
    def _is_a_line(self) -> Self:
        if self.points[0] == self.points[1]:
            raise ValueError("its two points are one; they must differ")
        if self.to_right == self.to_left:
            raise ValueError(f"both directions are called {self.to_left}; their names must differ")
        return self


class RegionsConfig(_Section):
    """Areas and lines of the picture that are watched; what objects do there is written to events.csv."""

    unit: Literal["share", "pixels"] = Field(
        "share", description="unit of all points x, y: shares of the frame's width and height, or pixels"
    )
    anchor: Share = Field(1.0, description="height of the point of a box that counts: 1 the bottom edge, 0 the top")
    hysteresis: NotNegative = Field(
        0.25, description="distance from a border, in units of sqrt(width x height), from which a side counts"
    )
    areas: dict[RegionName, AreaConfig] = Field(
        {},
        description="corners of polygons by name, e.g. {lawn: [[0, 0.5], [0.4, 0.5], [0.4, 1]]}, "
        "or {lawn: {points: [...], classes: [dog]}} to count dogs alone",
    )
    lines: dict[RegionName, LineConfig] = Field(
        {},
        description="lines by name, e.g. {gate: [[0.5, 0], [0.5, 1]]}, or {gate: {points: [...], to_right: out, "
        "to_left: in}}; with classes as areas",
    )

    @property
    def every(self) -> dict[str, AreaConfig | LineConfig]:
        """All regions by name."""
        return {**self.areas, **self.lines}

    @model_validator(mode="after")
    def _are_in_the_frame(self) -> Self:
        if double := sorted(self.areas.keys() & self.lines.keys()):
            raise ValueError(f"an area and a line are both called {double[0]}; names must differ")
        for name, region in self.every.items():
            for x, y in region.points:
                if min(x, y) < 0.0 or (self.unit == "share" and max(x, y) > 1.0):
                    hint = "; unit: pixels is for points in pixels" if max(x, y) > 1.0 else ""
                    allowed = "0 to 1" if self.unit == "share" else "at least 0"
                    raise ValueError(f"{name} has the point {x:g}, {y:g}; both must be {allowed}{hint}")
        for name, area in self.areas.items():
            if (corners := len(set(area.points))) < 3:
                raise ValueError(f"{name} has only {corners} different corners; an area needs 3")
        return self


class Config(_Section):
    """The whole configuration of a run."""

    detection: DetectionConfig = DetectionConfig()
    tracking: TrackingConfig = TrackingConfig()
    overlay: OverlayConfig = OverlayConfig()
    live: LiveConfig = LiveConfig()
    regions: RegionsConfig = RegionsConfig()


def idle_keys(config: Config) -> list[str]:
    """Return the keys that are not at their defaults, but have no effect where objects are followed as they are.

    Only what ``tracking.observations`` decides is looked at.
    """
    tracking = config.tracking
    idle = _IDLE[tracking.observations] - (_OF_REFINING if tracking.smoothing == "offline" else frozenset())
    return [
        key for key in _differing(config, Config(), "") if any(f"{key}.".startswith(f"{section}.") for section in idle)
    ]


def _differing(section: BaseModel, usual: BaseModel, prefix: str) -> Iterator[str]:
    for name, value in section:
        default = getattr(usual, name)
        if isinstance(value, BaseModel):
            yield from _differing(value, default, f"{prefix}{name}.")
        elif value != default:
            yield prefix + name


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader, which by itself keeps the last of two equal keys in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[object, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if key in seen:
                raise ConfigurationError(
                    f"{self.name}:{line}: key {key!r} stands twice, first in line {seen[key]}; keep one"
                )
            seen[key] = line
        return super().construct_mapping(node, deep)


def preset_folder() -> Path:
    """Return the folder of the packaged presets (in a source tree it stands beside the package)."""
    packaged = Path(__file__).parent / "configs"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "configs"


def find_config(name_or_path: str | Path) -> Path:
    """Return the file that ``--config`` means: a path as given wins, else the preset of that name.

    Raises
    ------
    ConfigurationError
        When neither exists; the message lists the presets.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    for candidate in (path.name, f"{path.name}.yaml"):
        preset = preset_folder() / candidate
        if path.parent == Path() and preset.is_file():
            return preset
    presets = ", ".join(sorted(p.name for p in preset_folder().glob("*.yaml")))
    raise ConfigurationError(f"{name_or_path}: no such file and no preset of that name; presets: {presets}")


def load_config(name_or_path: str | Path = "default.yaml", overrides: Iterable[str] = ()) -> Config:
    """Read a configuration file or preset, apply ``dotted.key=value`` overrides and check the result.

    Parameters
    ----------
    name_or_path
        A YAML file, the ``run.yaml`` of a run, or the name of a packaged preset.
    overrides
        Items such as ``"tracking.frame_rate_hz=25"``; values are YAML.

    Raises
    ------
    ConfigurationError
        For a missing file, a YAML fault, an unknown key or a value out of range; one line that names the
        file or the override, the key and what would be right.
    """
    path = find_config(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read as text: {reason_of(error)}") from None
    overrides = tuple(overrides)
    tree = _sections(text, path)
    for override in overrides:
        _override(tree, override)
    return _checked(tree, lambda error: _culprit(error, overrides, _sections(text, path)) or str(path))


def check_config(tree: Mapping[str, Any], source: str) -> Config:
    """Turn a mapping into a :class:`Config`; ``source`` names it in errors.

    Raises
    ------
    ConfigurationError
        For an unknown key or a value of the wrong kind or out of range.
    """
    return _checked(tree, lambda _: source)


def _checked(tree: Mapping[str, Any], source: Callable[[ValidationError], str]) -> Config:
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigurationError(f"{source(error)}: {_explain(error)}") from None


def _sections(text: str, path: Path) -> dict[str, Any]:
    """Return what a file says: its sections, or those in the record of a run."""
    tree = _parse(text, str(path))
    if isinstance(tree, dict) and tree.get("program") == PROGRAM:
        tree = tree.get("configuration", "record without a configuration")
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigurationError(f"{path}: holds a {type(tree).__name__}; it must hold sections with keys")
    return tree


def _culprit(error: ValidationError, overrides: Iterable[str], without: Mapping[str, Any]) -> str | None:
    """Return the last override that has to do with the first fault; None when it is that of the file alone."""
    fault = error.errors()[0]
    # Who begins a section must give all that it needs.
    place = f"{_dotted(fault['loc'][:-1] if fault['type'] == 'missing' else fault['loc'])}."
    keys = {f"{override.partition('=')[0].strip()}.": override for override in overrides}
    at_fault = [override for key, override in keys.items() if place.startswith(key)]
    inside = [override for key, override in keys.items() if key.startswith(place)]
    if not at_fault and inside:
        try:
            Config.model_validate(without)
        except ValidationError as alone:
            if any((other["loc"], other["type"]) == (fault["loc"], fault["type"]) for other in alone.errors()):
                return None
    return f"--set {(at_fault or inside)[-1]}" if at_fault or inside else None


def _parse(text: str, name: str) -> Any:
    loader = _UniqueKeyLoader(text)
    loader.name = name
    try:
        return loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        raise ConfigurationError(f"{where}: not YAML: {getattr(error, 'problem', error)}") from None
    finally:
        loader.dispose()


def _override(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigurationError(f"--set {override}: must read dotted.key=value")
    *sections, last = key.strip().split(".")
    place = tree
    for section in sections:
        if place.get(section) is None:
            place[section] = {}
        place = place[section]
        if not isinstance(place, dict):
            raise ConfigurationError(f"--set {override}: {section} is a value, not a section")
    place[last] = _parse(value, f"--set {override}")


def _explain(error: ValidationError) -> str:
    """Put the first fault into one line; an unknown key gets its nearest neighbour."""
    fault = error.errors()[0]
    kind, place, value = fault["type"], fault["loc"], fault["input"]
    if kind == "missing" and not isinstance(place[-1], int):
        return f"{_dotted(place)} is missing"
    if kind == "extra_forbidden":
        return f"unknown key {_dotted(place)}{_guess(place)}"
    if kind == "value_error":  # one of our own, which says what it speaks of
        return f"{_dotted(place)}: {fault['ctx']['error']}"
    if place[-1] == "[key]":
        return f"{_dotted(place[:-2])}: the key {place[-2]!r} {_demand(fault['msg'])}"
    if kind == "missing":  # of a list, which is too short
        place = place[:-1]
    wanted = _form(_annotation(place), fault.get("ctx", {}).get("min_length")) if kind in _FORM_FAULTS else None
    text = f"{_dotted(place)} is {value!r}: {f'must be {wanted}' if wanted else _demand(fault['msg'])}"
    more = error.error_count() - 1
    return text + (f" (and {more} more fault{'s' * (more > 1)})" if more else "")


_FORM_FAULTS = {"missing", "too_short", "too_long", "tuple_type", "dict_type", "model_type"}
"""Faults of which the library speaks in its own terms."""


def _demand(message: str) -> str:
    """Return what the library says that a value should be."""
    return message.replace("Input should", "must").replace("String should", "must")


def _form(annotation: Any, least: int | None) -> str | None:
    """Say in words what is to be written for a list (of so many parts at least), a mapping or a section."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a section with {_few(annotation.model_fields)}"
    if get_origin(annotation) is dict:
        return "a section with names and what belongs to each"
    if get_origin(annotation) is not tuple:
        return None
    inner, *others = get_args(annotation)
    count = f"{1 + len(others)} "
    if Ellipsis in others:
        count = "" if least is None else f"at least {least} "
    if get_origin(inner) is tuple:
        return f"a list of {count}points x, y"
    return f"a list of {count}{'numbers' if float in (inner, *get_args(inner)) else 'names'}"


def _few(names: Iterable[str]) -> str:
    names = list(names)
    return "keys such as " * (len(names) > 5) + ", ".join(names[:5])


def _annotation(place: tuple[int | str, ...]) -> Any:
    """Return the type of what stands in a place of the configuration; None for a place that is none."""
    kind: Any = Config
    for part in place:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(part))
            kind = None if field is None else field.annotation
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif get_origin(kind) is tuple:
            kind = get_args(kind)[0]  # all parts of a list are alike
    return kind


def _guess(place: tuple[int | str, ...]) -> str:
    """Say which key was meant: one of the same section, or of that name in another."""
    last, section = str(place[-1]), _annotation(place[:-1])
    if near := difflib.get_close_matches(last, section.model_fields, 1, 0.6):
        return f"; did you mean {_dotted((*place[:-1], near[0]))}?"
    known = list(_keys(Config))
    lasts = dict.fromkeys(key.rpartition(".")[2] for key in known)
    for other in difflib.get_close_matches(last, lasts, 1, 0.6):
        return f"; did you mean {next(key for key in known if key.rpartition('.')[2] == other)}?"
    return f"; known there are {_few(section.model_fields)}"


def _dotted(place: Iterable[int | str]) -> str:
    return ".".join(map(str, place))


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")
