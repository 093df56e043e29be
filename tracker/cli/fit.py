"""``track fit``: learn the configuration from your own recordings."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tracker.cli.common import ConfigOption, FpsOption, SetOption, counting_bar, demand_positive
from tracker.cli.lines import show, tell
from tracker.errors import counted

if TYPE_CHECKING:
    from rich.table import Table

    from tracker.app.fitting.results import Result


def fit(
    detections: Annotated[
        Path,
        typer.Option(
            metavar="FILE|DIR",
            help="Detections to learn from: a file; or a folder with det/det.txt; or a folder of such folders.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Configuration to be written.")],
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Ground truth: a file, or a folder of SEQUENCE/gt/gt.txt or of files. With it, HOTA decides.",
        ),
    ] = None,
    fps: FpsOption = None,
    prior_weight: Annotated[
        float,
        typer.Option(min=0.0, metavar="N", help="Observations that the configuration one starts from weighs."),
    ] = 3000.0,
    max_iterations: Annotated[int, typer.Option(min=1, metavar="N", help="EM iterations at most.")] = 20,
    unchecked: Annotated[
        bool,
        typer.Option("--unchecked", help="Take over all that is most probable, without asking if it tracks better."),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of what is hidden or disturbed for the checks.")] = 0,
    config: ConfigOption = "default.yaml",
    settings: SetOption = None,
) -> None:
    """Learn noise, detection, clutter, scores and births from recordings, and write what differs as a configuration.

    What is learned is taken over only where it keeps identities better: without truth, where more of the
    objects that are hidden for a moment come back as themselves; with truth, where HOTA rises on recordings held out.

    Example: track fit --detections recordings/ -o fitted.yaml; then track --config fitted.yaml --video in.mp4
    """
    demand_positive(fps, "--fps")
    if truth is not None and unchecked:
        raise typer.BadParameter("goes without --truth, by which everything is checked", param_hint="--unchecked")
    from tracker.app.fitting.fitted_file import write_fitted
    from tracker.app.fitting.recordings import files_read, find_recordings
    from tracker.app.fitting.with_truth import fit_with_truth
    from tracker.app.fitting.without_truth import fit_without_truth
    from tracker.config import find_config, load_config
    from tracker.formats.files import check_outputs

    check_outputs([(output, (".yaml", ".yml"))], [find_config(config), *files_read(detections, truth)])
    start = load_config(config, settings or ())
    with counting_bar() as progress:
        recordings = find_recordings(
            detections,
            truth,
            frame_rate_hz=fps,
            config=start,
            notice=tell,
        )
        if truth is not None:
            result = fit_with_truth(
                recordings,
                start,
                prior_weight=prior_weight,
                seed=seed,
                processes=os.cpu_count() or 1,
                progress=progress,
            )
        else:
            values: list[float] = []

            def tell_iteration(number: int, value: float) -> None:
                gain = f"  {value - values[-1]:+.1f}" if values else ""
                values.append(value)
                tell(f"iteration {number}: log-likelihood {value:.1f}{gain}")

            result = fit_without_truth(
                recordings,
                start,
                prior_weight=prior_weight,
                max_iterations=max_iterations,
                seed=seed,
                unchecked=unchecked,
                on_iteration=tell_iteration,
                progress=progress,
            )
    frames = sum(len(r.frames) for r in recordings)
    boxes = sum(len(d) for r in recordings for d in r.frames)
    comments = [
        f"Learned by `track fit` from {detections}"
        + (f" and the truth {truth}" if truth else "")
        + f": {counted(len(recordings), 'sequence')}, {frames} frames, {boxes} detections.",
        *_endings(result),
        _rates(result),
        *(f"{v.name}: {'taken' if v.taken else 'left'}, {_gain(v.gain, v.error, truth)}" for v in result.verdicts),
    ]
    write_fitted(output, load_config(), result.config, comments)
    for line in (*_endings(result), _rates(result)):
        tell(line)
    show(_changes(result))
    if result.verdicts:
        show(_verdicts(result, truth))
    changed = sum(change.before != change.after for change in result.changes)
    told = f"{changed} changed" if changed else "nothing is worth a change"
    show(f"{output}: {told}")


def _endings(result: Result) -> list[str]:
    if result.learned is None:
        return []
    values = result.learned.log_likelihoods
    reason = {
        "converged": "it rises no more",
        "fell": "it fell by more than 0.1 %; the best iteration is kept",
        "stopped": "--max-iterations is reached",
    }[result.learned.ending]
    return [
        f"log-likelihood of the detections: {values[0]:.1f} before, {max(values):.1f} after, "
        f"{len(values) - 1} iterations: {reason}."
    ]


def _rates(result: Result) -> str:
    r = result.rates
    return (
        f"births: {r.births_per_s:.3g} +- {r.births_error:.2g} new objects per second; clutter: "
        f"{r.clutter_per_frame:.3g} +- {r.clutter_error:.2g} detections per frame; clutter_density is that of both."
    )


def _gain(gain: float, error: float, truth: Path | None) -> str:
    what = "HOTA" if truth else "% of hidden objects found again"
    return f"{gain:+.2f} +- {error:.2f} {what}"


def _changes(result: Result) -> Table:
    from rich.table import Table

    table = Table()
    for heading in ("number", "from", "data say", "+-", "to"):
        table.add_column(heading, justify="left" if heading == "number" else "right", no_wrap=True)
    for change in result.changes:
        name = change.key.removeprefix("tracking.")
        if not isinstance(change.before, tuple):
            table.add_row(name, *_cells(change.before, change.learned, change.error, change.after, change.key))
            continue
        none = (None,) * len(change.before)
        errors = change.error if isinstance(change.error, tuple) else none
        columns = (change.before, change.learned or none, errors, change.after)
        for coordinate, values in zip(("x", "y", "width", "height"), zip(*columns, strict=True), strict=True):
            table.add_row(f"{name}, {coordinate}", *_cells(*values, change.key))
    return table


def _cells(before: float, learned: float | None, error: float | None, after: float, key: str) -> list[str]:
    """Return a row of the table; errors of the noise are shares of it."""
    if learned is None or error is None:
        surely = ["", ""]
    else:
        size = learned * error if key.startswith("tracking.motion.") else error
        surely = [_text(learned), "" if math.isnan(size) else f"{size:.2g}"]
    return [_text(before), *surely, "" if after == before else _text(after)]


def _verdicts(result: Result, truth: Path | None) -> Table:
    from rich.table import Table

    table = Table()
    table.add_column("tried")
    table.add_column("HOTA" if truth else "hidden objects found again, %", justify="right")
    table.add_column("+-", justify="right")
    table.add_column("")
    for v in result.verdicts:
        table.add_row(v.name, f"{v.gain:+.2f}", f"{v.error:.2f}", "taken" if v.taken else "left")
    return table


def _text(value: float) -> str:
    return f"{value:.6g}" if 0.9 < value < 1.0 else f"{value:.3g}"
