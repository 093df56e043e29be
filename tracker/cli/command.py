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
from tracker.cli.lines import Command, Group
from tracker.cli.live import live
from tracker.cli.refine import refine
from tracker.cli.report import report
from tracker.cli.track import track

app = typer.Typer(cls=Group, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown")

app.callback(invoke_without_command=True)(track)
app.command("eval", cls=Command)(evaluate)
app.command("report", cls=Command)(report)
app.command("refine", cls=Command)(refine)
app.command("heatmap", cls=Command)(heatmap)
app.command("anomaly", cls=Command)(anomaly)
app.command("fit", cls=Command)(fit)
app.command("convert", cls=Command)(convert)
app.command("config", cls=Command)(show_config)
app.command("live", cls=Command)(live)
