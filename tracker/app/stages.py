"""Links of a chain of generators: one that works ahead in a thread, and one that measures its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
P = ParamSpec("P")

_DEPTH = 2  # enough to even out jitter, and little memory even with 4K frames


def ahead(items: Generator[Item, None, None], depth: int = _DEPTH) -> Generator[Item, None, None]:
    """Yield what ``items`` yields, in order, while a thread works up to ``depth`` items ahead.

    An exception of ``items`` surfaces here, after the items before it. Closing this generator lets the thread
    end its item at work, closes ``items`` there and waits for it.
    """
    room = threading.Semaphore(depth)
    made: SimpleQueue[tuple[Item] | BaseException | None] = SimpleQueue()
    stopped = threading.Event()

    def work() -> None:
        end = None
        try:
            with closing(items):
                for item in items:
                    room.acquire()
                    if stopped.is_set():
                        break
                    made.put((item,))
        except BaseException as error:
            end = error
        made.put(end)

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while isinstance(entry := made.get(), tuple):
            room.release()
            yield entry[0]
        if entry is not None:
            raise entry
    finally:
        stopped.set()
        room.release()
        thread.join()


def batched(items: Generator[Item, None, None], count: int) -> Generator[list[Item], None, None]:
    """Yield the items in lists of ``count``; the last one holds what is left."""
    with closing(items):
        while batch := list(islice(items, count)):
            yield batch


def flat(batches: Generator[list[Item], None, None]) -> Generator[Item, None, None]:
    """Yield the items of each list."""
    with closing(batches):
        for batch in batches:
            yield from batch


@dataclass(slots=True)
class StageTime:
    """Time spent in one stage; waiting for a neighbour does not count.

    Parameters
    ----------
    busy_s
        By the clock.
    processor_s
        Processor time of the stage's own thread; libraries may use further threads.
    """

    busy_s: float = 0.0
    processor_s: float = 0.0

    def call(self, function: Callable[P, Result], *arguments: P.args, **keywords: P.kwargs) -> Result:
        """Call the function, and count what it takes."""
        busy_s, processor_s = time.perf_counter(), time.thread_time()
        result = function(*arguments, **keywords)
        self.processor_s += time.thread_time() - processor_s
        self.busy_s += time.perf_counter() - busy_s
        return result


class StageTimes(dict[str, StageTime]):
    """Time per stage by name, in the order in which the chain was put together."""

    def iterate(self, name: str, items: Generator[Item, None, None]) -> Generator[Item, None, None]:
        """Yield the items, none of which is None; getting them is the stage's work."""
        spent = self.setdefault(name, StageTime())

        def taken() -> Generator[Item, None, None]:
            with closing(items):
                while (item := spent.call(next, items, None)) is not None:
                    yield item

        return taken()

    def map(
        self, name: str, function: Callable[[Item], Result], items: Generator[Item, None, None]
    ) -> Generator[Result, None, None]:
        """Yield ``function(item)`` for each item; the function is the stage's work."""
        spent = self.setdefault(name, StageTime())

        def results() -> Generator[Result, None, None]:
            with closing(items):
                for item in items:
                    yield spent.call(function, item)

        return results()
