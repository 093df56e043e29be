"""``track anomaly``: what was unusual."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tracker.cli.common import (
    ConfigOption,
    SceneFpsOption,
    SetOption,
    TracksOption,
    demand_positive,
    one_line_errors,
    tell,
)

if TYPE_CHECKING:
    from rich.table import Table

    from tracker.app.anomalies import Anomalies


def anomaly(
    tracks: TracksOption,
    detections: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Detections; those that no track has are judged too.")
    ] = None,
    video: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The pictures: the most unusual tracks are drawn over them.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.csv", help="The rows.", show_default="<name>-anomaly.csv beside --tracks"
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="The picture.", show_default="with --video, --output's name with .png"),
    ] = None,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Tracks that are listed and drawn.")] = 5,
    fps: SceneFpsOption = None,
    config: ConfigOption = "default.yaml",
    settings: SetOption = None,
) -> None:
    """Say how unusual each box and track is: where it is, how it moves, how large it is, all others considered.

    Writes rows of frame, id (-1 for a detection without track), x, y, score and p: the share of what the others did,
    by time, that was at least as unusual. p of 0.002 is as rare as 2 in 1000 of what was seen.

    Example: track anomaly --tracks in-tracks/tracks.txt --video in.mp4
    """
    demand_positive(fps, "--fps")
    with one_line_errors():
        from tracker.app.anomalies import find_anomalies
        from tracker.config import load_config

        rows = output or tracks.with_name(f"{tracks.stem}-anomaly.csv")
        found = find_anomalies(
            tracks,
            rows,
            load_config(config, settings or ()),
            detections=detections,
            video=video,
            picture=picture or (None if video is None else rows.with_suffix(".png")),
            shown=top,
            frame_rate_hz=fps,
            notice=tell,
        )
    Console(soft_wrap=True).print(_table(found, top))
    judged = f"{len(found.tracks)} tracks"
    if detections is not None:
        judged += f" and {found.detections} detections without one"
    typer.echo(
        f"{', '.join(str(path) for path in found.files)}: {judged}, against a mixture of {found.components} components"
    )


def _table(found: Anomalies, top: int) -> Table:
    """Return the most unusual tracks, a row each."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for heading in ("id", "frames", "p", "due to", "most at frame", "x", "y"):
        table.add_column(heading, justify="left" if heading == "due to" else "right", no_wrap=True)
    for track in found.tracks[:top]:
        table.add_row(
            str(track.id),
            f"{track.first_frame}-{track.last_frame}",
            f"{track.p:.2g}",
            track.aspect,
            str(track.frame),
            f"{track.x_px:.0f}",
            f"{track.y_px:.0f}",
        )
    return table
