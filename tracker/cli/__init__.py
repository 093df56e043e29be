"""The ``track`` command: its entry alone, so that nothing but a moment passes before Ctrl-C is told in one line."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # what it warns of is told in one line by us
    try:
        from tracker.cli.command import app

        app(prog_name="track")
    except KeyboardInterrupt:  # while the command itself was loaded
        sys.stderr.write("interrupted: nothing written\n")
        sys.exit(130)
