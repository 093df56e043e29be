"""What the subcommands share: options, interrupts, the progress bar."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from tracker.app.pipeline import Progress
    from tracker.config import Config

_REDRAW_S = 0.05

ConfigOption = Annotated[
    str,
    typer.Option(
        "--config",
        metavar="NAME|PATH",
        help="Configuration: a YAML file, the run.yaml of a run to be repeated, or a packaged preset.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value, e.g. overlay.trail_s=4. Repeatable."),
]
TracksOption = Annotated[Path, typer.Option(metavar="FILE", help="Tracks of any format of `track convert`.")]
FpsOption = Annotated[
    float | None,
    typer.Option(
        metavar="HZ",
        help="Frame rate; wins over all others.",
        show_default="that of a run.yaml or seqinfo.ini beside the files, or of the video",
    ),
]
ModelOption = Annotated[
    Path | None,
    typer.Option("--model", metavar="FILE.onnx", help="Neural detector: an ONNX file of any of the usual families."),
]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="NAME,NAME",
        help="Classes to track, of the model or of --detections, by name or number.",
        show_default="all",
    ),
]
AppearanceOption = Annotated[
    str | None,
    typer.Option(
        "--appearance",
        metavar="none|histogram|FILE.onnx",
        help="Tell objects apart by their looks, too: by their colours, or by a network that embeds them.",
        show_default="none",
    ),
]


def detector_settings(model: Path | None, classes: str | None, detections: Path | None) -> list[str]:
    """Return what ``--model`` and ``--classes`` set in the configuration; JSON, which YAML includes, for quoting."""
    if model is not None and detections is not None:
        raise typer.BadParameter(
            "detections are given already: --detections or --model, not both", param_hint="--model"
        )
    settings = []
    if model is not None:
        settings += ["detection.kind=onnx", f"detection.onnx.model={json.dumps(str(model))}"]
    if classes is not None:
        names = [name.strip() for name in classes.split(",")]
        whose = "onnx" if detections is None else "recorded"
        settings.append(f"detection.{whose}.classes={json.dumps([name for name in names if name])}")
    return settings


def demand_classes(config: Config, classes: str | None, detections: Path | None) -> None:
    """Refuse ``--classes`` where nothing tells classes."""
    if classes is not None and detections is None and config.detection.kind != "onnx":
        raise typer.BadParameter("are those of a model or of detections: --model, --detections", param_hint="--classes")


def demand_positive(value: float | None, option: str) -> None:
    """Refuse a number that is given but not positive and finite."""
    if value is not None and not 0.0 < value < float("inf"):
        raise typer.BadParameter(f"{value:g} is not a positive number", param_hint=option)


def appearance_settings(appearance: str | None) -> list[str]:
    """Return what ``--appearance`` sets in the configuration."""
    if appearance is None:
        return []
    if appearance in {"none", "histogram"}:
        return [f"tracking.appearance={appearance}"]
    if not appearance.lower().endswith(".onnx"):
        raise typer.BadParameter(f"{appearance} is neither none, histogram nor an ONNX file", param_hint="--appearance")
    return ["tracking.appearance=onnx", f"detection.embedding.model={json.dumps(appearance)}"]


@contextmanager
def stop_on_signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """Let the first SIGINT, SIGTERM or SIGHUP set the event, so that a run can complete its files.

    The next SIGINT or SIGTERM breaks in; a SIGHUP never does, for a terminal that is closed may send several.

    Yields the event and the numbers of the signals that have come; a command that they end exits with
    ``SIGNALED`` plus the first. Signals that whoever started the command has it ignore are ignored.
    """
    stop = threading.Event()
    received: list[int] = []
    terminals = [stream for stream in (1, 2) if os.isatty(stream)]

    def on_signal(number: int, _: object) -> None:
        received.append(number)
        stop.set()
        for other in before.keys() & {signal.SIGINT, signal.SIGTERM}:
            signal.signal(other, signal.default_int_handler)
        for stream in terminals:
            if not os.isatty(stream):  # closed; to write there would be an error from now on
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)

    numbers = [signal.SIGINT, signal.SIGTERM, *([] if sys.platform == "win32" else [signal.SIGHUP])]
    before = {number: handler for number in numbers if (handler := signal.getsignal(number)) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop, received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def display(quiet: bool) -> Iterator[tuple[Callable[[Progress], None], Callable[[str], None]]]:
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


@contextmanager
def counting_bar(*, quiet: bool = False, with_time: bool = False) -> Iterator[Callable[[str, int, int | None], None]]:
    """Show a progress bar on a terminal; yield the function that is told the activity, how much is done, of how much.

    How much there is to do is None where that is not known, before anything is counted. ``with_time`` adds the time
    that is left, where the steps are alike enough to tell.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as ProgressBar

    console = Console(stderr=True)
    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()]
    if with_time:
        columns.append(TimeRemainingColumn())
    bar = ProgressBar(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
    task = bar.add_task("reading", total=None)
    with bar:
        yield lambda activity, done, total: bar.update(task, description=activity, completed=done, total=total)
