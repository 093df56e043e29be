"""Fixtures that every floor of tests may use, and what must be set before anything is compiled."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every machine, and no deadline: the first example may have to compile.
settings.register_profile("reproducible", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("reproducible")

INTERRUPTS = [signal.SIGINT, signal.SIGTERM, *([] if sys.platform == "win32" else [signal.SIGHUP])]


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled code in a folder named by the sources it came from.

    numba recompiles a function when its own file changes, but not when a function or constant that it uses from
    another file does: a cache shared by two versions of the sources would let old code pass the tests. Only the
    ground floor and the folders that compile count, so that other work does not cost a compilation.
    """
    cache = getattr(config, "cache", None)
    if cache is None or "NUMBA_CACHE_DIR" in os.environ:
        return
    package = Path(__file__).parents[1] / "tracker"
    sources = {path: path.read_bytes() for path in sorted(package.rglob("*.py"))}
    compiled = {path.parent for path, text in sources.items() if b"kernels import kernel" in text}
    digest = hashlib.sha256()
    for path, text in sources.items():
        if path.parent == package or path.parent in compiled:
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + text)
    os.environ["NUMBA_CACHE_DIR"] = str(cache.mkdir(f"numba-{digest.hexdigest()[:16]}"))


@pytest.fixture(scope="session", autouse=True)
def signals_as_in_a_terminal() -> Iterator[None]:
    """Let the programs that tests start take signals, also where nohup or a shell's & has them ignored here.

    A program inherits what is ignored, but of a handler it inherits nothing.
    """
    ignored = [number for number in INTERRUPTS if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of real sequences, beside the checkout; tests that need it skip when it is absent."""
    root = Path(__file__).parents[2] / "shared" / "data"
    if not root.is_dir():
        pytest.skip("real sequences are not at hand (folder shared/data beside the project)")
    return root
