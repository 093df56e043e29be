"""``track refine``: better tracks, now that the future is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracker.cli.common import ConfigOption, SetOption, demand_positive, one_line_errors, tell


def refine(
    tracks: Annotated[
        Path, typer.Option(metavar="FILE", help="Tracks of any format of `track convert`; for each id, its boxes.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="File to be written.", show_default="<name>-refined beside --tracks"
        ),
    ] = None,
    detections: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The detections that were tracked: tracks then begin with their first."),
    ] = None,
    camera_motion: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Rows of: frame, and the 2x3 affine from the previous frame."),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="Frame rate.", show_default="that of a seqinfo.ini beside the files"),
    ] = None,
    config: ConfigOption = "default.yaml",
    settings: SetOption = None,
) -> None:
    """Link, prune and smooth tracks, and fill their gaps (tracking.offline in `track config`).

    Rows that are filled in are marked as imputed, where the format can (CSV, Parquet, COCO, CVAT).

    Example: track refine --tracks in-tracks/tracks.txt --detections det.txt -o better.csv
    """
    demand_positive(fps, "--fps")
    with one_line_errors():
        from tracker.app.refining import refine_file
        from tracker.config import load_config

        done = refine_file(
            tracks,
            load_config(config, settings or ()),
            detections=detections,
            camera_motion=camera_motion,
            frame_rate_hz=fps,
            output=output,
            notice=tell,
        )
    typer.echo(
        f"{done.path}: {done.tracks_after} tracks, {done.rows_after} boxes, {done.imputed} of them filled in "
        f"(before: {done.tracks_before} tracks, {done.rows_before} boxes)"
    )
    if done.losses:
        typer.echo(f"note: {done.path}: its format cannot hold {'; '.join(done.losses)}", err=True)
