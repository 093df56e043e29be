"""Refining the tracks of a file or of a whole run, see :mod:`tracker.tracking.offline`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracker.app.checks import Notice, Progress, tell_unknown_motion
from tracker.app.rates import settle_rate_hz
from tracker.app.recorded import recorded_detections
from tracker.config import Config
from tracker.errors import FormatError
from tracker.formats.catalogue import read_tables, write_table
from tracker.formats.motchallenge import LEAST_SIZE_PX, read_camera_motion
from tracker.formats.table import TrackTable, demand_near, naming_rows
from tracker.geometry import ltwh_to_xyxy, xyxy_to_ltwh
from tracker.structures import FloatArray, Status, Tracks
from tracker.tracking.offline.refinement import refine


@dataclass(frozen=True, slots=True)
class Refinement:
    """What refining a file did.

    Parameters
    ----------
    rows_before, rows_after, tracks_before, tracks_after
        Counts of rows and of identities.
    imputed
        Rows that were filled in.
    losses
        What the format of the file cannot hold.
    """

    rows_before: int
    rows_after: int
    tracks_before: int
    tracks_after: int
    imputed: int
    losses: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What a run reported for a frame.

    Parameters
    ----------
    index
        Frame number.
    tracks
        The objects.
    camera_affine
        (2, 3) map from the previous frame's pixels, None for a camera that stood still.
    is_cut
        Whether another shot begins with the frame.
    """

    index: int
    tracks: Tracks
    camera_affine: FloatArray | None
    is_cut: bool


def refine_file(
    tracks: Path,
    output: Path,
    config: Config,
    *,
    detections: Path | None = None,
    camera_motion: Path | None = None,
    frame_rate_hz: float | None = None,
    progress: Progress = lambda *_: None,
    notice: Notice = lambda _: None,
) -> Refinement:
    """Refine the tracks of a file of any format and write them.

    Parameters
    ----------
    tracks
        The file.
    output
        The file to be written.
    config
        The configuration.
    detections, camera_motion
        Files of what the tracks were made from, if at hand.
    frame_rate_hz
        The rate; what :func:`tracker.app.rates.settle_rate_hz` finds when left out.
    progress
        Called as the work goes on.
    notice
        Called with each line that the user should see.

    Raises
    ------
    TrackerError
        For what cannot be read or written.
    """
    tables = read_tables(tracks)
    if len(tables) > 1:
        held = ", ".join(sorted(tables))
        raise FormatError(tracks, None, f"holds {len(tables)} sequences ({held}); refine takes one at a time")
    sequence, table = next(iter(tables.items()))
    with naming_rows(tracks, lambda row: f"row {row + 1}"):
        demand_near(table.frames)
    found = None if detections is None else recorded_detections(detections, config.detection.recorded, notice).every()
    motion = None if camera_motion is None else read_camera_motion(camera_motion)
    rate_hz = settle_rate_hz(frame_rate_hz, [tracks, detections], config, notice)
    if motion is not None and len(table):
        frames = range(int(table.frames.min()), int(table.frames.max()) + 1)
        tell_unknown_motion(str(camera_motion), motion, frames, notice)
    progress("refining", 0, None)
    refined = _rounded(refine(table, config, frame_rate_hz=rate_hz, detections=found, camera_motion=motion))
    losses = write_table(output, refined, sequence=sequence)
    return Refinement(
        len(table),
        len(refined),
        len(np.unique(table.ids)),
        len(np.unique(refined.ids)),
        int(refined.imputed.sum()),
        tuple(losses),
    )


def refine_reports(reports: Sequence[Report], config: Config, frame_rate_hz: float) -> dict[int, Tracks]:
    """Return the refined tracks of a run by frame number, each shot by itself.

    Rows that were filled in have the status of coasting objects. Covariances are not kept.
    """
    if not reports:
        return {}
    cuts = [n for n, report in enumerate(reports) if report.is_cut and n]
    refined: dict[int, Tracks] = {}
    for first, last in zip([0, *cuts], [*cuts, len(reports)], strict=True):
        shot = reports[first:last]
        motion = {r.index: r.camera_affine for r in shot if r.camera_affine is not None}
        table = refine(table_of(shot), config, frame_rate_hz=frame_rate_hz, camera_motion=motion or None)
        starts = np.searchsorted(table.frames, [r.index for r in shot])
        ends = np.searchsorted(table.frames, [r.index for r in shot], side="right")
        for report, start, end in zip(shot, starts.tolist(), ends.tolist(), strict=True):
            refined[report.index] = _tracks(table.select(slice(start, end)))
    return refined


def waiting_for_births(config: Config) -> Config:
    """Return the configuration for a run that is refined: its reports wait until who was born is confirmed."""
    lag = max(config.tracking.lag_frames, config.tracking.lifecycle.confirmation_hits - 1, 1)
    return config.model_copy(update={"tracking": config.tracking.model_copy(update={"lag_frames": lag})})


def table_of(reports: Sequence[Report]) -> TrackTable:
    """Return all rows of a run; those without a detection are marked as imputed."""
    tracks = [report.tracks for report in reports]
    return TrackTable(
        np.repeat([report.index for report in reports], [len(t) for t in tracks]),
        np.concatenate([t.ids for t in tracks]),
        xyxy_to_ltwh(np.concatenate([t.boxes_xyxy for t in tracks])),
        np.concatenate([t.scores for t in tracks]),
        np.concatenate([t.classes for t in tracks]),
        imputed=np.concatenate([t.detection_indices for t in tracks]) < 0,
    )


def _tracks(table: TrackTable) -> Tracks:
    n = len(table)
    return Tracks(
        ids=table.ids,
        boxes_xyxy=ltwh_to_xyxy(table.boxes_ltwh),
        scores=table.scores,
        classes=table.classes,
        detection_indices=np.full(n, -1),
        covariances=np.zeros((n, 4, 4)),
        existence=np.ones(n),
        responsibilities=np.zeros(n),
        status=np.where(table.imputed, Status.COASTING, Status.CONFIRMED),
        continuity=np.full(n, np.nan),
    )


def _rounded(table: TrackTable) -> TrackTable:
    """Round as the track file of a run does."""
    boxes = np.round(table.boxes_ltwh, 2) + 0.0
    boxes[:, 2:] = np.maximum(boxes[:, 2:], LEAST_SIZE_PX)
    return TrackTable(
        table.frames,
        table.ids,
        boxes,
        np.round(table.scores, 4),
        table.classes,
        imputed=table.imputed,
        class_names=table.class_names,
    )
