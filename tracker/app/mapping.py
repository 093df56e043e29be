"""From files to maps: the ground, the sizes and rates, the pictures and tables that are written."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from tracker.app.checks import Notice, Progress, tell_misfit
from tracker.app.outputs import DIAGNOSTICS, TRACKS
from tracker.app.rates import settle_rate_hz
from tracker.config import Config
from tracker.errors import ConfigurationError, FormatError, VideoError
from tracker.evaluation.heat import MOST_CELLS, Heat, doors, heat, scales
from tracker.evaluation.maps import heat_map
from tracker.formats.catalogue import read_tables
from tracker.formats.diagnostics import read_diagnostics
from tracker.formats.files import write_whole
from tracker.formats.motchallenge import sequence_info_near
from tracker.formats.table import TrackTable, find_rows
from tracker.media.sources import open_video
from tracker.structures import FloatArray, Image

_GRID = 192  # cells along the longer side
_LOOKED_AT, _LOOK_EVERY = 300, 20  # frames for the ground: their median has nobody in it who moves on
_LARGEST_SIDE_PX = 16_384  # of a picture that only the boxes tell of


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
        The rate; what :func:`tracker.app.rates.settle_rate_hz` finds when left out.
    notice
        Called with each line that the user should see.

    Raises
    ------
    TrackerError
        For what cannot be read, a file without a row, and where only boxes tell the size of the picture, for one that
        lies far beyond any.
    """
    tables = read_tables(tracks)
    if len(tables) > 1:
        raise FormatError(tracks, None, f"holds {len(tables)} sequences ({', '.join(sorted(tables))}); give one")
    table = next(iter(tables.values()))
    table = table.select(table.flags)
    if not len(table):
        raise FormatError(tracks, None, "holds no row; there is nothing to map")
    if video is None:
        rate_hz = settle_rate_hz(frame_rate_hz, [tracks], config, notice)
        return Scene(table, rate_hz, sequence_info_near(tracks).size_px or _size_of_boxes(tracks, table), None)
    with open_video(video) as source:
        rate_hz = settle_rate_hz(frame_rate_hz, [tracks], config, notice, (video, source))
        tell_misfit(tracks, table, video, source, notice)
        size_px = (source.width_px, source.height_px)
    return Scene(table, rate_hz, size_px, _ground(video, frame))


def _size_of_boxes(tracks: Path, table: TrackTable) -> tuple[int, int]:
    """Return the width and height of the smallest picture that holds all boxes."""
    right_lower = table.boxes_ltwh[:, :2] + table.boxes_ltwh[:, 2:]
    farthest = int(right_lower.max(axis=1).argmax())
    if right_lower[farthest].max() > _LARGEST_SIDE_PX:
        x, y = right_lower[farthest].tolist()
        raise FormatError(
            tracks,
            None,
            f"id {table.ids[farthest]} in frame {table.frames[farthest]} reaches to {x:.0f}, {y:.0f} px, beyond any "
            f"picture of {_LARGEST_SIDE_PX} px; --video, or a seqinfo.ini with imWidth and imHeight, tells the size",
        )
    width, height = np.ceil(right_lower.max(axis=0)).astype(int).tolist()
    return max(16, width), max(16, height)


def variances_beside(tracks: Path) -> Path | None:
    """Return the ``diagnostics.csv`` that a run left beside its ``tracks.txt``; None where there is none."""
    beside = tracks.with_name(DIAGNOSTICS)
    return beside if tracks.name == TRACKS and beside.is_file() else None


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
    progress: Progress = lambda *_: None,
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
        Variances of the run, see :func:`variances_beside`.
    cell_px
        Side of a cell; a 192nd of the longer side when left out.
    spread
        See :func:`tracker.evaluation.heat.heat`.
    csv
        File for the grid.
    progress
        Called as the work goes on.

    Raises
    ------
    TrackerError
        For input that cannot be used or output that cannot be written.
    """
    scene = read_scene(tracks, config, video=video, frame=frame, frame_rate_hz=frame_rate_hz, notice=notice)
    cell = max(scene.size_px) / _GRID if cell_px is None else cell_px
    cells = float(np.prod(np.ceil(np.array(scene.size_px) / cell)))
    if cells > MOST_CELLS:
        least = cell * np.sqrt(cells / MOST_CELLS)
        raise ConfigurationError(
            f"--cell {cell:g} makes {cells:.3g} cells of {scene.size_px[0]}x{scene.size_px[1]} px; they may be "
            f"{MOST_CELLS} at most: {np.ceil(100.0 * least) / 100.0:g} px or more"
        )
    grid = heat(
        scene.table,
        scene.frame_rate_hz,
        scene.size_px,
        cell,
        spread=spread,
        variances_px2=_variances(scene.table, diagnostics, config),
        progress=lambda done, of: progress("averaging", done, of),
    )
    progress("drawing", 1, 1)
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
