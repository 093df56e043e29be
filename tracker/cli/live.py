"""``track live``: follow the objects that a camera or stream sees."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tracker.cli.common import (
    AppearanceOption,
    ClassesOption,
    ConfigOption,
    ModelOption,
    SetOption,
    appearance_settings,
    demand_classes,
    detector_settings,
    stop_on_signals,
)
from tracker.cli.lines import BAD_INPUT, SIGNALED, exit_with, show_summary, tell

if TYPE_CHECKING:
    from tracker.app.hub import Hub, LiveStats
    from tracker.app.live import LiveSummary

_REDRAWS_PER_S = 4


def live(
    camera: Annotated[
        str,
        typer.Option(
            metavar="N|URL|FILE",
            help="Number of a camera, URL of a stream, or a file, which is replayed at its own pace.",
        ),
    ] = "0",
    config: ConfigOption = "default.yaml",
    settings: SetOption = None,
    detections: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For a file: detections (MOTChallenge, KITTI), instead of a detector."),
    ] = None,
    model: ModelOption = None,
    classes: ClassesOption = None,
    appearance: AppearanceOption = None,
    show: Annotated[
        bool, typer.Option("--show", help="Open a window. Keys: q quit, space pause, s snapshot, d diagnostics.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Record overlay.mp4, tracks.txt and, with regions, events.csv, whole to the last second or so.",
        ),
    ] = None,
    serve: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT", help="Serve a page with the live picture; on this machine alone by default."
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What the page asks for.", show_default="random, where it is needed"),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Follow the objects that a camera or stream sees, until it ends or Ctrl-C.

    Always the newest picture is taken: what comes while the detector works is dropped and counted. A source that is
    lost is connected anew.

    Example: track live --camera rtsp://camera/stream --serve 8000 --record today
    """
    if token is not None and serve is None:
        raise typer.BadParameter("goes with --serve", param_hint="--token")
    with ExitStack() as stack:
        from tracker.app.live import LiveJob, run_live
        from tracker.config import load_config

        chosen = [*detector_settings(model, classes, detections), *appearance_settings(appearance)]
        loaded = load_config(config, [*(settings or ()), *chosen])
        demand_classes(loaded, classes, detections)
        job = LiveJob(source=camera, config=loaded, detections=detections)
        stop, received = stack.enter_context(stop_on_signals())
        progress, notice = stack.enter_context(_status_line(quiet))
        hub = None if serve is None else stack.enter_context(_page(serve, token))
        try:
            summary = run_live(job, hub=hub, show=show, record=record, stop=stop, notice=notice, progress=progress)
        except KeyboardInterrupt:
            exit_with("interrupted at once", SIGNALED + signal.SIGINT)
    if not quiet:
        show_summary(_told(summary))
    if summary.recording_fault is not None:
        exit_with(f"error: the recording ended early: {summary.recording_fault}", BAD_INPUT)
    if received:
        raise typer.Exit(SIGNALED + received[0])


@contextmanager
def _page(address: str, token: str | None) -> Iterator[Hub]:
    """Serve the page, tell its address, and yield the hub that feeds it."""
    from tracker.app.hub import Hub
    from tracker.app.web import parse_address, serve

    hub = Hub()
    host, port = parse_address(address)
    with serve(hub, host, port, token) as page:
        tell(f"page: {page.url}")  # even with --quiet: nobody could guess a token
        yield hub


@contextmanager
def _status_line(quiet: bool) -> Iterator[tuple[Callable[[LiveStats], None], Callable[[str], None]]]:
    """Show how it is going on a terminal; yield the functions for progress and for lines to be seen."""
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True, quiet=quiet)
    stats: LiveStats | None = None

    def line() -> Text:
        return Text("" if stats is None else _status(stats), no_wrap=True, overflow="ellipsis")

    def progress(now: LiveStats) -> None:
        nonlocal stats
        stats = now

    def notice(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    if quiet or not console.is_terminal:
        yield progress, notice
        return
    with Live(get_renderable=line, console=console, refresh_per_second=_REDRAWS_PER_S, transient=True):
        yield progress, notice


def _status(stats: LiveStats) -> str:
    return (
        f"{stats.state}  {stats.fps:.1f} frames/s  latency {stats.latency_ms:.0f} ms  "
        f"identities {stats.identities}  dropped {stats.dropped}  skipped {stats.skipped}"
    )


def _told(summary: LiveSummary) -> dict[str, str]:
    """Return what was done."""
    stats = summary.stats
    told = {"recorded": ", ".join(str(path) for path in summary.files)} if summary.files else {}
    told |= {
        "identities": f"{stats.identities}",
        "pictures": f"{stats.captured} captured, {stats.processed} processed, {stats.dropped} dropped, "
        f"{stats.skipped} skipped",
        "latency": f"{summary.drawn_ms:.1f} ms, 99 % within {summary.drawn_p99_ms:.1f} ms",
    }
    return told | ({"reconnects": f"{stats.reconnects}"} if stats.reconnects else {})
