"""What the subcommands share: options, one-line errors, interrupts, the progress bar."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from tracker.errors import TrackerError

if TYPE_CHECKING:
    from tracker.app.pipeline import Progress

BAD_INPUT, INTERRUPTED = 2, 130
_REDRAW_S = 0.05

ConfigOption = Annotated[
    str, typer.Option("--config", metavar="NAME|PATH", help="Configuration: a YAML file, or a packaged preset.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value, e.g. overlay.trail_s=4. Repeatable."),
]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print an error that the user can mend as one line and exit with 2; exit with 130 when interrupted."""
    try:
        yield
    except TrackerError as error:
        exit_with(f"error: {error}", BAD_INPUT)
    except ImportError as error:
        library, _, problem = str(error).partition(": ")
        if not problem.startswith("cannot open shared object file"):
            raise
        exit_with(
            f"error: OpenCV needs the system library {library}, which is missing; "
            "on Debian and Ubuntu: apt-get install libgl1 libglib2.0-0",
            BAD_INPUT,
        )
    except KeyboardInterrupt:
        exit_with("interrupted: nothing written", INTERRUPTED)


def exit_with(message: str, code: int) -> NoReturn:
    """Print the message as one line on standard error and leave with the code."""
    typer.echo(" ".join(message.splitlines()), err=True)
    raise typer.Exit(code) from None


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """Let the first Ctrl-C or SIGTERM set the event, so that a run can complete its files; the second breaks in."""
    stop = threading.Event()

    def on_signal(*_: object) -> None:
        stop.set()
        for number in before:
            signal.signal(number, signal.default_int_handler)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
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
