"""``track``: follow the objects in a video or a file of detections."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tracker.cli.common import (
    SIGNALED,
    AppearanceOption,
    ClassesOption,
    ConfigOption,
    ModelOption,
    SetOption,
    appearance_settings,
    demand_classes,
    demand_positive,
    detector_settings,
    display,
    one_line_errors,
    stop_on_signals,
)

if TYPE_CHECKING:
    from rich.table import Table

    from tracker.app.pipeline import Summary


def track(
    context: typer.Context,
    video: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Video file, folder of images, or pattern such as img/%06d.jpg."),
    ] = None,
    config: ConfigOption = "default.yaml",
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the results.", show_default="<name of the input>-tracks"),
    ] = None,
    detections: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Detections (MOTChallenge, KITTI), instead of a detector; with or without --video."
        ),
    ] = None,
    model: ModelOption = None,
    classes: ClassesOption = None,
    appearance: AppearanceOption = None,
    camera_motion: Annotated[
        str | None,
        typer.Option(
            metavar="auto|none|FILE",
            help="From the pictures; or rows of: frame, and the 2x3 affine from the previous frame.",
            show_default="auto, unless the background is subtracted",
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="Frame rate; wins over that of a seqinfo.ini and of the video."),
    ] = None,
    settings: SetOption = None,
    forecast: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Draw fans: where feet will be within this time, with 50 % probability."),
    ] = None,
    no_video: Annotated[
        bool,
        typer.Option("--no-video", help="Write no overlay.mp4 (and remove that of an earlier run)."),
    ] = False,
    diagnostics: Annotated[
        bool,
        typer.Option(
            "--diagnostics",
            help="Write diagnostics.csv and detections.txt too, of which `track report` makes use.",
        ),
    ] = False,
    start: Annotated[int, typer.Option(min=1, metavar="N", help="First frame, counted from 1.")] = 1,
    frames: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of frames at most.", show_default="all")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")] = False,
) -> None:
    """Follow the objects in a video.

    Writes overlay.mp4 (the video with the tracks drawn), tracks.txt (MOTChallenge rows: frame, id, left, top,
    width, height, score, class or -1, -1, -1) and run.yaml (configuration, versions, counts, times).

    Example: track --video in.mp4 --config default.yaml
    """
    if version:
        import tracker

        typer.echo(f"gmm-tracker {tracker.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is not None:
        if video is not None or detections is not None:
            raise typer.BadParameter(f"goes without the command {context.invoked_subcommand}", param_hint="--video")
        return
    if video is None and detections is None:
        raise typer.BadParameter("nothing to track: give --video, --detections or both", param_hint="--video")
    demand_positive(fps, "--fps")
    demand_positive(forecast, "--forecast")
    if forecast is not None and (video is None or no_video):
        raise typer.BadParameter("is drawn on the overlay, which needs --video", param_hint="--forecast")
    with one_line_errors():
        from tracker.app.inputs import Job
        from tracker.app.pipeline import run
        from tracker.config import load_config

        fan_settings = [] if forecast is None else [f"overlay.forecast_s={forecast}"]
        motion_settings = [f"tracking.camera_motion={camera_motion}"] if camera_motion in {"auto", "none"} else []
        chosen = [*detector_settings(model, classes, detections), *appearance_settings(appearance)]
        loaded = load_config(config, [*(settings or ()), *chosen, *motion_settings, *fan_settings])
        if camera_motion == "auto" and (
            video is None or (detections is None and loaded.detection.kind == "background")
        ):
            problem = "needs --detections or --model"
            if video is None:
                problem = "needs the pictures, --video"
            elif loaded.tracking.observations == "pixels":
                problem = "goes without tracking.observations=pixels, for which the camera must stand still"
            raise typer.BadParameter(f"auto {problem}", param_hint="--camera-motion")
        demand_classes(loaded, classes, detections)
        job = Job(
            config=loaded,
            video=video,
            detections=detections,
            camera_motion=None if camera_motion is None or motion_settings else Path(camera_motion),
            frame_rate_hz=fps,
            start=start,
            frames=frames,
        )
        with stop_on_signals() as (stop, received), display(quiet) as (progress, notice):
            summary = run(
                job,
                output,
                overlay=not no_video,
                diagnostics=diagnostics,
                command=shlex.join(["track", *sys.argv[1:]]),
                progress=progress,
                notice=notice,
                stop=stop,
            )
            if summary.loss is not None:
                notice(f"warning: {summary.loss}; the frames that could be decoded were tracked")
        if not quiet and summary.files:
            Console().print(_summary_table(summary))
        if summary.interrupted:
            kept = f"the files hold frames {summary.first_frame} to {summary.last_frame}"
            typer.echo(f"interrupted: {kept if summary.files else 'no frame was tracked, nothing written'}", err=True)
            raise typer.Exit(SIGNALED + received[0])


def _summary_table(summary: Summary) -> Table:
    """Return what was written and how fast, one line each."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    rate = summary.frames / summary.wall_s
    busy = ", ".join(f"{name} {spent.busy_s:.1f} s" for name, spent in summary.stages.items())
    table.add_row("written", escape(", ".join(str(path) for path in summary.files)))
    table.add_row("tracks", f"{summary.tracks} ({summary.boxes} boxes)")
    table.add_row("frames", f"{summary.frames} in {summary.wall_s:.1f} s, {rate:.1f} frames/s")
    table.add_row("stages", f"{busy} (side by side)")
    return table
