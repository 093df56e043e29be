"""From files to maps: the ground, the sizes and rates, the pictures and tables that are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from tracker.app.inputs import tells_rate
from tracker.app.outputs import DIAGNOSTICS, TRACKS
from tracker.app.rates import assumed_rate_hz
from tracker.config import Config
from tracker.errors import FormatError, VideoError
from tracker.evaluation.heat import Heat, doors, heat, scales
from tracker.evaluation.maps import heat_map
from tracker.formats.catalogue import read_tables, write_whole
from tracker.formats.diagnostics import read_diagnostics
from tracker.formats.motchallenge import sequence_info_near
from tracker.formats.table import TrackTable, find_rows
from tracker.media.sources import open_video
from tracker.structures import FloatArray, Image

_GRID = 192  # cells along the longer side
_LOOKED_AT, _LOOK_EVERY = 300, 20  # frames for the ground: their median has nobody in it who moves on

Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The tracks of a sequence and what they lie on.

    Parameters
    ----------
    table
        The tracks, without rows that are to be ignored.
    frame_rate_hz
        The rate.
    size_px
        Width and height of the picture.
    image
        The ground, blue-green-red; None without a video.
    """

    table: TrackTable
    frame_rate_hz: float
    size_px: tuple[int, int]
    image: Image | None


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a map shows.

    Parameters
    ----------
    files
        The files that were written.
    presence_s
        Object-seconds in all.
    tracks
        Number of identities.
    """

    files: tuple[Path, ...]
    presence_s: float
    tracks: int


def read_scene(
    tracks: Path,
    config: Config,
    *,
    video: Path | None = None,
    frame: int | None = None,
    frame_rate_hz: float | None = None,
    notice: Notice = lambda _: None,
) -> Scene:
    """Read tracks of any format, and the ground that they lie on.

    Parameters
    ----------
    tracks
        The file.
    config
        Gives the rate where none is known.
    video
        The pictures: a video, a folder of images or a pattern.
    frame
        Number of the frame to lie on; the median of some frames when left out.
    frame_rate_hz
        The rate; that of a ``seqinfo.ini`` beside the tracks, or of the video, when left out.
    notice
        Called with each line that the user should see.

    Raises
    ------
    TrackerError
        For what cannot be read, or a file without a row.
    """
    tables = read_tables(tracks)
    if len(tables) > 1:
        raise FormatError(tracks, None, f"holds {len(tables)} sequences ({', '.join(sorted(tables))}); give one")
    table = next(iter(tables.values()))
    table = table.select(table.flags)
    if not len(table):
        raise FormatError(tracks, None, "holds no row; there is nothing to map")
    info = sequence_info_near(tracks)
    rate_hz, size_px, image = frame_rate_hz or info.frame_rate_hz, info.size_px, None
    if video is not None:
        with open_video(video) as source:
            size_px = (source.width_px, source.height_px)
            if rate_hz is None and tells_rate(video):
                rate_hz = source.frame_rate_hz
        image = _ground(video, frame)
    if rate_hz is None:
        rate_hz = assumed_rate_hz(config, notice)
    if size_px is None:
        right_lower = (table.boxes_ltwh[:, :2] + table.boxes_ltwh[:, 2:]).max(axis=0)
        size_px = (max(16, int(np.ceil(right_lower[0]))), max(16, int(np.ceil(right_lower[1]))))
    return Scene(table, rate_hz, size_px, image)


def map_heat(
    tracks: Path,
    what: str,
    output: Path,
    config: Config,
    *,
    video: Path | None = None,
    frame: int | None = None,
    diagnostics: Path | None = None,
    frame_rate_hz: float | None = None,
    cell_px: float | None = None,
    spread: float = 0.2,
    csv: Path | None = None,
    notice: Notice = lambda _: None,
) -> Mapped:
    """Draw where the objects of a file are and go.

    Parameters
    ----------
    tracks, video, frame, frame_rate_hz, notice
        See :func:`read_scene`.
    what
        One of :data:`tracker.evaluation.maps.WHAT`.
    output
        The PNG; an earlier one is replaced when the new one is complete.
    config
        Its measurement noise stands for the variances of rows that no diagnostics speak of.
    diagnostics
        Variances of the run; ``diagnostics.csv`` beside a ``tracks.txt`` when left out.
    cell_px
        Side of a cell; a 192nd of the longer side when left out.
    spread
        See :func:`tracker.evaluation.heat.heat`.
    csv
        File for the grid.

    Raises
    ------
    TrackerError
        For input that cannot be used or output that cannot be written.
    """
    scene = read_scene(tracks, config, video=video, frame=frame, frame_rate_hz=frame_rate_hz, notice=notice)
    cell = max(scene.size_px) / _GRID if cell_px is None else cell_px
    beside = tracks.with_name(DIAGNOSTICS)
    told = diagnostics or (beside if tracks.name == TRACKS and beside.is_file() else None)
    grid = heat(
        scene.table,
        scene.frame_rate_hz,
        scene.size_px,
        cell,
        spread=spread,
        variances_px2=_variances(scene.table, told, config),
    )
    identities = len(np.unique(scene.table.ids))
    presence_s = float(grid.presence_s.sum())
    seconds = float(np.ptp(scene.table.frames) + 1) / scene.frame_rate_hz
    notes = f"{identities} objects, {presence_s:.0f} object-seconds in {seconds:.0f} s"
    found = doors(scene.table, scene.frame_rate_hz) if what == "entries" else None
    write_whole(output, heat_map(grid, what, scene.size_px, scene.image, notes=notes, doors=found))
    if csv is not None:
        write_whole(csv, grid_csv(grid).encode())
    return Mapped((output, *([] if csv is None else [csv])), presence_s, identities)


def grid_csv(grid: Heat) -> str:
    """Return the cells that somebody was in as CSV: centre, object-seconds, mean velocity and speed, passages."""
    rows, columns = np.nonzero(grid.presence_s > 1e-9)
    values = np.column_stack(
        [
            (columns + 0.5) * grid.cell_px,
            (rows + 0.5) * grid.cell_px,
            grid.presence_s[rows, columns],
            grid.velocity_px_s[rows, columns],
            grid.speed_px_s[rows, columns],
            grid.entries[rows, columns],
            grid.exits[rows, columns],
        ]
    )
    heading = "x_px,y_px,presence_s,velocity_x_px_s,velocity_y_px_s,speed_px_s,entries,exits\n"
    return heading + "".join(",".join("" if np.isnan(v) else f"{v:.6g}" for v in row) + "\n" for row in values.tolist())


def _variances(table: TrackTable, diagnostics: Path | None, config: Config) -> FloatArray:
    """Return (N, 2) variances of the rows' feet: the run's own where known, else the measurement noise."""
    motion = config.tracking.motion
    noise = np.array(motion.measurement_noise) ** 2
    feet = np.array([noise[0], noise[1] + (1.0 - motion.anchor) ** 2 * noise[3]])
    variances = np.asarray(feet * scales(table)[:, None] ** 2)
    if diagnostics is not None:
        told = read_diagnostics(diagnostics)
        rows = find_rows(table.frames, table.ids, told.frames, told.ids)
        known = rows >= 0
        x, y, _, height = told.variances[rows[known]].T
        variances[known] = np.column_stack([x, y + height / 4.0])  # feet are half a height below the centre
    return variances


def _ground(video: Path, frame: int | None) -> Image:
    """Return one frame, or the median of frames from the beginning."""
    if frame is not None:
        with open_video(video, start=frame, frames=1) as source:
            for picture in source:
                if picture.image is not None:
                    return picture.image
        raise VideoError(f"{video}: has no frame {frame}")
    with open_video(video, frames=_LOOKED_AT) as source:
        looks = [picture.image for picture in islice(source, 0, None, _LOOK_EVERY) if picture.image is not None]
    if not looks:
        raise VideoError(f"{video}: holds no frame")
    return np.median(np.stack(looks), axis=0).astype(np.uint8)
