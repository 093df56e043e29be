"""``track``: follow the objects in a video or a file of detections."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracker.cli.common import (
    AppearanceOption,
    ClassesOption,
    ConfigOption,
    FpsOption,
    ModelOption,
    SetOption,
    appearance_settings,
    demand_classes,
    demand_positive,
    detector_settings,
    display,
    stop_on_signals,
)
from tracker.cli.lines import SIGNALED, show, show_summary, tell
from tracker.errors import counted

if TYPE_CHECKING:
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
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder of the results.", show_default="<name of the input>-tracks"
        ),
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
    fps: FpsOption = None,
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

        show(f"gmm-tracker {tracker.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is not None:
        _refuse_options_before(context.invoked_subcommand, context)
        return
    if video is None and detections is None:
        raise typer.BadParameter("nothing to track: give --video, --detections or both")
    demand_positive(fps, "--fps")
    demand_positive(forecast, "--forecast")
    if forecast is not None and (video is None or no_video):
        raise typer.BadParameter("is drawn on the overlay, which needs --video", param_hint="--forecast")
    from tracker.app.inputs import Job
    from tracker.app.pipeline import run
    from tracker.config import load_config

    fan_settings = [] if forecast is None else [f"overlay.forecast_s={forecast}"]
    motion_settings = [f"tracking.camera_motion={camera_motion}"] if camera_motion in {"auto", "none"} else []
    chosen = [*detector_settings(model, classes, detections), *appearance_settings(appearance)]
    loaded = load_config(config, [*(settings or ()), *chosen, *motion_settings, *fan_settings])
    if camera_motion == "auto" and (video is None or (detections is None and loaded.detection.kind == "background")):
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
        show_summary(_told(summary))
    if summary.interrupted:
        tell(f"interrupted: {_kept(summary)}")
        raise typer.Exit(SIGNALED + received[0])


def _refuse_options_before(command: str, context: typer.Context) -> None:
    """Refuse options that stand before a subcommand, where nobody looks at them."""
    known: Any = context.command
    behind = {option for parameter in known.commands[command].get_params(context) for option in parameter.opts}
    for parameter in known.get_params(context):
        source = context.get_parameter_source(parameter.name)
        if source is not None and source.name == "COMMANDLINE":
            option = parameter.opts[0]
            remedy = f"write it behind: track {command} {option}" if option in behind else f"{command} has none"
            raise typer.BadParameter(f"stands before {command}, where it means nothing; {remedy}", param_hint=option)


def _told(summary: Summary) -> dict[str, str]:
    """Return what was written and how fast."""
    rate = summary.frames / summary.wall_s
    busy = ", ".join(f"{name} {spent.busy_s:.1f} s" for name, spent in summary.stages.items())
    return {
        "written": ", ".join(str(path) for path in summary.files),
        "tracks": f"{summary.tracks} ({counted(summary.boxes, 'box', 'boxes')})",
        "frames": f"{summary.frames} in {summary.wall_s:.1f} s, {rate:.1f} frames/s",
        "stages": f"{busy} (side by side)",
    }


def _kept(summary: Summary) -> str:
    """Say what the files of an interrupted run hold."""
    if not summary.files:
        return "no frame was tracked, nothing written"
    first, last, drawn = summary.first_frame, summary.last_frame, summary.last_drawn
    if drawn is not None and drawn != last:
        return f"the tracks are those of frames {first} to {last}, the overlay shows {first} to {drawn}"
    return f"the files hold frames {first} to {last}"
