"""``track heatmap``: where objects are and go, as a picture."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tracker.cli.common import ConfigOption, FpsOption, SetOption, TracksOption, counting_bar, demand_positive
from tracker.cli.lines import show, tell
from tracker.errors import counted


class What(StrEnum):
    """Kinds of maps; those of :data:`tracker.evaluation.maps.WHAT`, which help must not load."""

    PRESENCE = "presence"
    SPEED = "speed"
    DIRECTION = "direction"
    ENTRIES = "entries"


def heatmap(
    tracks: TracksOption,
    what: Annotated[
        What,
        typer.Option(
            help="Where they are, how fast or which way they go, or where they come and go.", show_choices=True
        ),
    ] = What.PRESENCE,
    video: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The pictures, for the ground; an empty one with axes without."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.png", help="The map.", show_default="<name>-<what>.png beside --tracks"
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the grid of cells too.")] = None,
    frame: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Frame for the ground.", show_default="median of some, without people"),
    ] = None,
    cell: Annotated[
        float | None,
        typer.Option(metavar="PX", help="Side of a cell of the grid.", show_default="a 192nd of the longer side"),
    ] = None,
    spread: Annotated[
        float, typer.Option(metavar="X", help="Smoothing, in units of sqrt(width x height) of each box.")
    ] = 0.2,
    diagnostics: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Variances of the run.", show_default="diagnostics.csv beside tracks.txt, if any"
        ),
    ] = None,
    fps: FpsOption = None,
    config: ConfigOption = "default.yaml",
    settings: SetOption = None,
) -> None:
    """Draw where objects are and go: the mixture averaged over time.

    Example: track heatmap --tracks in-tracks/tracks.txt --video in.mp4 --what direction
    """
    demand_positive(fps, "--fps")
    demand_positive(cell, "--cell")
    demand_positive(spread, "--spread")
    if frame is not None and video is None:
        raise typer.BadParameter("is a frame of --video", param_hint="--frame")
    from tracker.app.mapping import map_heat, variances_beside
    from tracker.config import find_config, load_config
    from tracker.formats.files import check_outputs
    from tracker.media.sources import files_of

    picture = output or tracks.with_name(f"{tracks.stem}-{what.value}.png")
    variances = diagnostics or variances_beside(tracks)
    check_outputs(
        [(picture, (".png",)), *([] if csv is None else [(csv, ())])],
        [tracks, variances, find_config(config), *files_of(video)],
    )
    with counting_bar() as progress:
        done = map_heat(
            tracks,
            what.value,
            picture,
            load_config(config, settings or ()),
            video=video,
            frame=frame,
            diagnostics=variances,
            frame_rate_hz=fps,
            cell_px=cell,
            spread=spread,
            csv=csv,
            progress=progress,
            notice=tell,
        )
    files = ", ".join(str(path) for path in done.files)
    show(f"{files}: {counted(done.tracks, 'object')}, {done.presence_s:.1f} object-seconds")
