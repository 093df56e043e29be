"""How inner loops are compiled: the one set of options of every kernel, and what is spared meanwhile."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")


def kernel(**options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that compiles a function when it is first called and keeps the outcome on disk.

    Division gives inf and nan as in NumPy, without a branch that raises. The wrapper that makes a kernel a C function
    to point at is left out: nobody calls one, and it would take a twentieth of the first frame's compilation.

    Parameters
    ----------
    options
        What numba's ``njit`` takes, such as ``inline="always"``, besides these.
    """
    decorate: Any = njit  # its type does not know of the wrapper
    return decorate(cache=True, error_model="numpy", no_cfunc_wrapper=True, **options)


@contextmanager
def compiling() -> Iterator[None]:
    """Collect no garbage meanwhile: a compiler makes millions of small objects, to look through in vain."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
