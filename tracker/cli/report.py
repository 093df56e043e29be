"""``track report``: a page that says what went wrong in a result, where, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tracker.cli.common import ConfigOption, SetOption, counting_bar
from tracker.cli.evaluate import MapOption, ProtocolName, ProtocolOption, criteria_of
from tracker.cli.lines import show, tell
from tracker.errors import counted


def report(
    truth: Annotated[Path, typer.Option(metavar="PATH", help="Truth: a file or a folder, as for `track eval`.")],
    tracks: Annotated[
        list[Path],
        typer.Option(metavar="PATH...", help="Results, one or several: a file or a folder each, as for `track eval`."),
    ],
    more: Annotated[list[Path] | None, typer.Argument(metavar="[PATH]...", help="Further results.")] = None,
    names: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="What the results are called.", show_default="their files or folders"),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="The pictures, for crops of the worst moments; for several sequences a folder of SEQ.mp4 or SEQ/img1.",
        ),
    ] = None,
    detections: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="What the tracker was given: a file, or a folder of SEQ/det/det.txt.",
            show_default="detections.txt beside tracks.txt, if any",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.html", help="The page.")] = Path(
        "report.html"
    ),
    classes: Annotated[
        str | None,
        typer.Option(metavar="CLASS,...", help="Classes that are to be found.", show_default="as for `track eval`"),
    ] = None,
    renamed: MapOption = None,
    protocol: ProtocolOption = ProtocolName.OPEN,
    iou: Annotated[float, typer.Option(metavar="X", help="IoU from which a box is a hit.")] = 0.5,
    config: ConfigOption = "default.yaml",
    settings: SetOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Say what went wrong in tracks, where and why, on one page that opens anywhere.

    What `track --diagnostics` left beside a tracks.txt adds whether the tracker's covariances were true, and what the
    detector saw. Of the configuration, detection.recorded counts: how --detections are read.

    Example: track report --truth gt.txt --tracks a-tracks/tracks.txt b-tracks/tracks.txt --video in.mp4
    """
    paths = [*tracks, *(more or ())]
    called = _names(paths, names)
    criteria = criteria_of(classes, renamed, protocol, iou)
    from tracker.app.reporting import files_read, write_report
    from tracker.config import find_config, load_config
    from tracker.evaluation.plots import MOST_RESULTS
    from tracker.formats.files import check_outputs

    if len(paths) > MOST_RESULTS:
        raise typer.BadParameter(f"are {len(paths)}; a page takes {MOST_RESULTS} at most", param_hint="--tracks")
    check_outputs([(output, (".html", ".htm"))], [*files_read(truth, paths, video, detections), find_config(config)])
    recorded = load_config(config, settings or ()).detection.recorded
    rules = f"a hit needs an IoU of {iou:g}"
    if protocol is not ProtocolName.OPEN:
        rules += f", rules of {protocol.value}"
    if criteria.classes is not None:
        rules += f", classes {', '.join(criteria.classes)}"
    with counting_bar(quiet=quiet) as progress:
        written = write_report(
            truth,
            dict(zip(called, paths, strict=True)),
            output,
            criteria=criteria,
            video=video,
            detections=detections,
            recorded=recorded,
            rules=rules,
            progress=progress,
            notice=(lambda _: None) if quiet else tell,
        )
    if not quiet:
        show(f"{written.path}: {written.size_bytes / 1e6:.1f} MB, {counted(written.pictures, 'picture')}")


def _names(paths: Sequence[Path], names: str | None) -> list[str]:
    """Return a name for each result: as given, or from its file or folder."""
    if names is None:
        called = [_name(path) for path in paths]
        hint = "give --names"
    else:
        called = [name.strip() for name in names.split(",")]
        hint = "each needs its own"
        if len(called) != len(paths) or not all(called):
            raise typer.BadParameter(f"{names!r} is not a list of {len(paths)} names", param_hint="--names")
    for name in called:
        if called.count(name) > 1:
            raise typer.BadParameter(f"two results are called {name}; {hint}", param_hint="--names")
    return called


def _name(path: Path) -> str:
    """Return the name of a result: of its folder for what is just called tracks."""
    path = path.absolute()
    if path.name == "data":
        return path.parent.name
    if path.name == "tracks.txt":
        return path.parent.name.removesuffix("-tracks")
    return path.name if path.is_dir() else path.stem
