"""How the command speaks: one line for each error, help without clutter, and output that may go into a pipe."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from tracker.errors import TrackerError, reason_of

if TYPE_CHECKING:
    from rich.table import Table

BAD_INPUT, SIGNALED = 2, 128
_PIPE_CLOSED = SIGNALED + 13  # as of any program that SIGPIPE ends
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EPIPE, errno.EIO, errno.EBADF}
_ANY_WIDTH = 10_000


def tell(line: str) -> None:
    """Print a line that the user should see, on standard error."""
    typer.echo(line, err=True)


def exit_with(message: str, code: int) -> NoReturn:
    """Print the message as one line on standard error and leave with the code."""
    tell(" ".join(message.splitlines()))
    raise SystemExit(code) from None


def show_summary(rows: Mapping[str, str]) -> None:
    """Print what was done, a line with a name each; the terminal itself wraps what is long."""
    width = max(map(len, rows)) + 2
    for name, value in rows.items():
        show(Text.assemble((name.ljust(width), "bold"), value))


def show(result: str | Text | Table) -> None:
    """Print a result on standard output, as wide as it needs to be where that is no terminal."""
    if sys.stdout is None:  # closed by whoever started the command
        return
    if isinstance(result, str):
        text = f"{result}\n"
    else:
        console = Console()
        if not console.is_terminal:
            console.width = _ANY_WIDTH
        with console.capture() as drawn:
            console.print(result, soft_wrap=isinstance(result, Text))
        text = drawn.get()
    sys.stdout.write(text)
    sys.stdout.flush()


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
    except OSError as error:
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        # Files that cannot be written are told by their names: this is standard output.
        with suppress(OSError, ValueError):  # what it still holds would fail again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise SystemExit(_PIPE_CLOSED) from None
        exit_with(f"error: standard output: cannot be written: {reason_of(error)}", BAD_INPUT)
    except KeyboardInterrupt:
        exit_with("interrupted: nothing written", SIGNALED + signal.SIGINT)


class _PlainFlags:
    """Lets help show flags by themselves: Typer would have them take a value."""

    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
        return parameters


class Command(_PlainFlags, TyperCommand):
    """A subcommand."""


class Group(_PlainFlags, TyperGroup):
    """The whole command: whatever ends it early is told in one line."""

    def main(self, *arguments: Any, **options: Any) -> NoReturn:
        """Run to the end, and exit."""
        try:
            with one_line_errors():
                code = super().main(*arguments, **{**options, "standalone_mode": False})
        except typer.TyperException as error:
            if message := _usage(error):  # without arguments, help has been shown
                exit_with(f"error: {message}", BAD_INPUT)
            code = BAD_INPUT
        raise SystemExit(code)

    def invoke(self, ctx: Any) -> Any:
        """Run what is asked for."""
        with one_line_errors():  # here too: Typer keeps interrupts to itself
            return super().invoke(ctx)


def _usage(error: typer.TyperException) -> str:
    """Say what is wrong with an option or argument, which is named first."""
    if isinstance(error, typer.BadParameter) and error.message:
        hint = error.param_hint if error.param_hint is not None else error.param and "/".join(error.param.opts)
        message = error.message.removeprefix("Value error, ").replace("Input should be", "must be")
        return f"{hint}: {message}" if hint else message
    message = " ".join(error.format_message().split())
    return message[:1].lower() + message[1:].rstrip(".")
