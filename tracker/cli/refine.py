"""``track refine``: better tracks, now that the future is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracker.cli.common import ConfigOption, FpsOption, SetOption, counting_bar, demand_positive
from tracker.cli.lines import show, tell
from tracker.errors import counted


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
    fps: FpsOption = None,
    config: ConfigOption = "default.yaml",
    settings: SetOption = None,
) -> None:
    """Link, prune and smooth tracks, and fill their gaps (tracking.offline in `track config`).

    Rows that are filled in are marked as imputed, where the format can (CSV, Parquet, COCO, CVAT). Detections are read
    as detection.recorded says.

    Example: track refine --tracks in-tracks/tracks.txt --detections det.txt -o better.csv
    """
    demand_positive(fps, "--fps")
    from tracker.app.refining import refine_file
    from tracker.config import find_config, load_config
    from tracker.formats.catalogue import format_for_output
    from tracker.formats.files import check_outputs

    path = output or tracks.with_name(f"{tracks.stem}-refined{tracks.suffix}")
    format_for_output(path)
    check_outputs([(path, ())], [tracks, detections, camera_motion, find_config(config)])
    with counting_bar() as progress:
        done = refine_file(
            tracks,
            path,
            load_config(config, settings or ()),
            detections=detections,
            camera_motion=camera_motion,
            frame_rate_hz=fps,
            progress=progress,
            notice=tell,
        )
    before, after = (
        f"{counted(tracks, 'track')}, {counted(boxes, 'box', 'boxes')}"
        for tracks, boxes in ((done.tracks_before, done.rows_before), (done.tracks_after, done.rows_after))
    )
    show(f"{path}: {after}, {done.imputed} of them filled in (before: {before})")
    if done.losses:
        tell(f"note: {path}: its format cannot hold {'; '.join(done.losses)}")
