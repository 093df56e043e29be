"""All checks, one after the other: ``python -m tests``. The first that fails decides the exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKS = (
    ["ruff", "check"],
    ["ruff", "format", "--check"],
    ["mypy"],
    ["pytest", "-q", "-n", "auto", "--dist", "worksteal", "--ignore", "tests/e2e"],
    ["pytest", "-q", "tests/e2e"],  # a command uses all cores itself, and some have to keep up with a stream
)


def main() -> int:
    failed = 0
    for check in CHECKS:
        print("$", *check, flush=True)  # noqa: T201
        done = subprocess.run([sys.executable, "-m", *check], cwd=Path(__file__).parents[1], check=False)
        failed = failed or done.returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
