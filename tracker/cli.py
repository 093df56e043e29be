"""The ``track`` command.

Only Typer and Rich are imported here; whatever is heavy waits until a command needs it, so that help is instant.
"""

from __future__ import annotations

import json
import math
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from tracker.errors import TrackerError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.table import Table

    from tracker.app.pipeline import Progress, Summary

_BAD_INPUT, _INTERRUPTED = 2, 130
_REDRAW_S = 0.05

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown"
)

ConfigOption = Annotated[
    str, typer.Option("--config", metavar="NAME|PATH", help="Configuration: a YAML file, or a packaged preset.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value, e.g. overlay.trail_s=4. Repeatable."),
]


def main() -> None:
    """Run the command."""
    app(prog_name="track")


@app.callback(invoke_without_command=True)
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
        typer.Option(metavar="FILE", help="MOTChallenge detections, instead of a detector; with or without --video."),
    ] = None,
    camera_motion: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Rows of: frame, and the 2x3 affine from the previous frame."),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="Frame rate; wins over that of a seqinfo.ini and of the video."),
    ] = None,
    settings: SetOption = None,
    no_video: Annotated[
        bool,
        typer.Option("--no-video", help="Write no overlay.mp4 (and remove that of an earlier run)."),
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
    width, height, score, -1, -1, -1) and run.yaml (configuration, versions, counts, times).

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
    if fps is not None and not 0.0 < fps < float("inf"):
        raise typer.BadParameter(f"{fps:g} is not a positive number", param_hint="--fps")
    with _one_line_errors():
        from tracker.app.inputs import Job
        from tracker.app.pipeline import run
        from tracker.config import load_config

        job = Job(
            config=load_config(config, settings or ()),
            video=video,
            detections=detections,
            camera_motion=camera_motion,
            frame_rate_hz=fps,
            start=start,
            frames=frames,
        )
        with _stop_on_interrupt() as stop, _display(quiet) as (progress, notice):
            summary = run(
                job,
                output,
                overlay=not no_video,
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
            raise typer.Exit(_INTERRUPTED)


@app.command("eval")
def evaluate(
    truth: Annotated[
        Path, typer.Option(metavar="PATH", help="Truth: a gt.txt, or a folder of SEQ/gt/gt.txt or SEQ.txt.")
    ],
    tracks: Annotated[
        Path, typer.Option(metavar="PATH", help="Results: a file, or a folder of SEQ.txt or SEQ/tracks.txt.")
    ],
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="N,N",
            help="Classes of the truth that are to be found.",
            show_default="1,3: pedestrian and car",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in full precision.")] = False,
) -> None:
    """Score tracks against ground truth: HOTA, MOTA, IDF1 and their parts.

    Example: track eval --truth gt.txt --tracks in-tracks/tracks.txt
    """
    try:
        chosen = None if classes is None else [int(label) for label in classes.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{classes} is not a list such as 1,3", param_hint="--classes") from None
    with _one_line_errors():
        from tracker.evaluation.scores import EVALUATED_CLASSES, evaluate_folders, evaluate_sequence
        from tracker.evaluation.table import scores_dict, scores_table

        wanted = EVALUATED_CLASSES if chosen is None else chosen
        if truth.is_dir():
            with Console(stderr=True).status("reading") as status:
                evaluations = evaluate_folders(truth, tracks, wanted, lambda name: status.update(escape(name)))
        else:
            evaluations = {truth.stem: evaluate_sequence(truth, tracks, wanted)}
    if as_json:
        typer.echo(json.dumps(scores_dict(evaluations), indent=2))
    else:
        Console().print(scores_table(evaluations))


@app.command("config")
def show_config(config: ConfigOption = "default.yaml", settings: SetOption = None) -> None:
    """Print the whole configuration, every key with its meaning, as YAML that --config takes."""
    with _one_line_errors():
        from tracker.config import load_config

        loaded = load_config(config, settings or ())
    typer.echo("\n".join(_described(loaded)))


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Print an error that the user can mend as one line and exit with 2; exit with 130 after Ctrl-C."""
    try:
        yield
    except TrackerError as error:
        _exit_with(f"error: {error}", _BAD_INPUT)
    except ImportError as error:
        library, _, problem = str(error).partition(": ")
        if not problem.startswith("cannot open shared object file"):
            raise
        _exit_with(
            f"error: OpenCV needs the system library {library}, which is missing; "
            "on Debian and Ubuntu: apt-get install libgl1 libglib2.0-0",
            _BAD_INPUT,
        )
    except KeyboardInterrupt:
        _exit_with("interrupted: nothing written", _INTERRUPTED)


def _exit_with(message: str, code: int) -> NoReturn:
    typer.echo(" ".join(message.splitlines()), err=True)
    raise typer.Exit(code) from None


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """Let the first Ctrl-C set the event, so that a run can complete its files; the second breaks in."""
    stop = threading.Event()

    def on_interrupt(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _display(quiet: bool) -> Iterator[tuple[Callable[[Progress], None], Callable[[str], None]]]:
    """Show a progress bar on a terminal; yield the functions for progress and for lines to be seen."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as ProgressBar

    console = Console(stderr=True, quiet=quiet)
    bar = ProgressBar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} frames/s  {task.fields[alive]} tracks"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    task = bar.add_task("opening", total=None, rate=0.0, alive=0)
    activity = "opening"
    began_s = drawn_s = time.perf_counter()

    def progress(state: Progress) -> None:
        nonlocal activity, began_s, drawn_s
        now_s = time.perf_counter()
        news = state.activity != activity
        if news:
            activity, began_s = state.activity, now_s
        elif now_s - drawn_s < _REDRAW_S:
            return
        drawn_s = now_s
        if state.alive is not None:
            rate = state.done / max(now_s - began_s, _REDRAW_S)
            bar.update(task, rate=rate, alive=state.alive)
        bar.update(task, description=activity, completed=state.done, total=state.total, refresh=news)

    with bar:
        yield progress, lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)


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


def _described(section: BaseModel, indent: str = "") -> Iterator[str]:
    """Yield a configuration as lines of YAML, each key under a comment with its meaning."""
    import yaml

    values = section.model_dump(mode="json")
    for name, about in type(section).model_fields.items():
        value = getattr(section, name)
        if hasattr(value, "model_dump"):
            summary = (type(value).__doc__ or "").partition("\n")[0]
            yield from ("", f"{indent}# {summary}", f"{indent}{name}:")
            yield from _described(value, f"{indent}  ")
        else:
            if about.description:
                yield f"{indent}# {about.description}"
            mapping = yaml.safe_dump({name: values[name]}, default_flow_style=True, width=math.inf)
            yield indent + mapping.strip()[1:-1]  # without its braces
