"""``track anomaly``: what was unusual."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli.common import ConfigOption, FpsOption, SetOption, TracksOption, counting_bar, demand_positive
from tracker.cli.lines import show, tell
from tracker.errors import counted

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
    fps: FpsOption = None,
    config: ConfigOption = "default.yaml",
    settings: SetOption = None,
) -> None:
    """Say how unusual each box and track is: where it is, how it moves, how large it is, all others considered.

    Writes rows of frame, id (-1 for a detection without track), x, y, score and p: the share of what the others did,
    by time, that was at least as unusual. p of 0.002 is as rare as 2 in 1000 of what was seen. Detections are read as
    detection.recorded says.

    Example: track anomaly --tracks in-tracks/tracks.txt --video in.mp4
    """
    demand_positive(fps, "--fps")
    from tracker.app.anomalies import find_anomalies
    from tracker.config import find_config, load_config
    from tracker.formats.files import check_outputs
    from tracker.media.sources import files_of

    rows = output or tracks.with_name(f"{tracks.stem}-anomaly.csv")
    drawn = picture or (None if video is None else rows.with_suffix(".png"))
    check_outputs(
        [(rows, (".csv",)), *([] if drawn is None else [(drawn, (".png",))])],
        [tracks, detections, find_config(config), *files_of(video)],
    )
    with counting_bar() as progress:
        found = find_anomalies(
            tracks,
            rows,
            load_config(config, settings or ()),
            detections=detections,
            video=video,
            picture=drawn,
            shown=top,
            frame_rate_hz=fps,
            progress=progress,
            notice=tell,
        )
    show(_table(found, top))
    judged = counted(len(found.tracks), "track")
    if detections is not None:
        judged += f" and {counted(found.detections, 'detection')} without one"
    files = ", ".join(str(path) for path in found.files)
    show(f"{files}: {judged}, against a mixture of {counted(found.components, 'component')}")


def _table(found: Anomalies, top: int) -> Table:
    """Return the most unusual tracks, a row each."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
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
