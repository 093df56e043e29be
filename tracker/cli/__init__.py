"""The ``track`` command: one module per subcommand, put together here.

Only Typer and Rich are imported at the top of these modules; whatever is heavy waits until a command needs it, so
that help is instant.
"""

from __future__ import annotations

import typer

from tracker.cli.anomaly import anomaly
from tracker.cli.configuration import show_config
from tracker.cli.convert import convert
from tracker.cli.evaluate import evaluate
from tracker.cli.fit import fit
from tracker.cli.heatmap import heatmap
from tracker.cli.live import live
from tracker.cli.refine import refine
from tracker.cli.report import report
from tracker.cli.track import track

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown"
)

app.callback(invoke_without_command=True)(track)
app.command("eval")(evaluate)
app.command("report")(report)
app.command("refine")(refine)
app.command("heatmap")(heatmap)
app.command("anomaly")(anomaly)
app.command("fit")(fit)
app.command("convert")(convert)
app.command("config")(show_config)
app.command("live")(live)


def main() -> None:
    """Run the command."""
    app(prog_name="track")
