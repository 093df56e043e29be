"""Links of the chain: order, bounded lead, errors, shutdown."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import count, islice
from types import SimpleNamespace

import pytest

from tracker.app.stages import StageTimes, ahead

PATIENCE_S = 30.0  # a deadlock fails a test instead of hanging it


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


def failing_at(last: int) -> Generator[int, None, None]:
    yield from range(last)
    raise LookupError("the stage's own fault")


def test_order_is_kept_through_several_threads() -> None:
    times = StageTimes()
    chain = times.iterate("count", (n for n in range(500)))
    for name, step in (("double", lambda n: 2 * n), ("increase", lambda n: n + 1), ("same", lambda n: n)):
        chain = ahead(times.map(name, step, ahead(chain)))
    assert list(chain) == [2 * n + 1 for n in range(500)]
    assert list(times) == ["count", "double", "increase", "same"]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_the_lead_is_bounded(depth: int) -> None:
    made: list[int] = []
    full = threading.Event()

    def numbers() -> Generator[int, None, None]:
        for n in count():
            made.append(n)
            if len(made) == depth + 2:
                full.set()
            yield n

    with closing(ahead(numbers(), depth)) as items:
        assert next(items) == 0
        # One item is taken; `depth` wait, and one more is made but finds no room.
        assert full.wait(PATIENCE_S)
    assert len(made) == depth + 2


def test_an_error_surfaces_once_after_the_items_before_it_with_its_own_traceback() -> None:
    chain = ahead(StageTimes().map("same", lambda n: n, ahead(failing_at(3))))
    assert list(islice(chain, 3)) == [0, 1, 2]
    with pytest.raises(LookupError, match="own fault") as caught:
        next(chain)
    frames = [entry.name for entry in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-1] == "failing_at"
    assert caught.value.__context__ is None
    assert list(chain) == []


def test_an_error_stops_the_stages_before_it() -> None:
    closed = threading.Event()

    def numbers() -> Generator[int, None, None]:
        try:
            yield from count()
        finally:
            closed.set()

    chain = ahead(StageTimes().map("fail", lambda n: 1 // (2 - n), ahead(numbers())))
    with pytest.raises(ZeroDivisionError):
        list(chain)
    assert closed.is_set()


def test_closing_ends_every_stage_and_closes_the_source() -> None:
    closed_in: list[threading.Thread] = []

    def numbers() -> Generator[int, None, None]:
        try:
            yield from count()
        finally:
            closed_in.append(threading.current_thread())

    chain = ahead(StageTimes().map("same", lambda n: n, ahead(numbers())))
    assert list(islice(chain, 5)) == [0, 1, 2, 3, 4]
    chain.close()
    assert len(closed_in) == 1
    assert closed_in[0] is not threading.main_thread()


def test_a_chain_that_was_never_used_starts_no_thread() -> None:
    ahead(StageTimes().map("same", lambda n: n, ahead(failing_at(0)))).close()


def test_stages_work_side_by_side() -> None:
    both = threading.Barrier(2, timeout=PATIENCE_S)

    def first(n: int) -> int:
        if n > 0:
            both.wait()
        return n

    def second(n: int) -> int:
        if n < 19:
            both.wait()  # until the first stage is at work on the next item
        return n

    times = StageTimes()
    firsts = ahead(times.map("first", first, (n for n in range(20))))
    assert list(ahead(times.map("second", second, firsts))) == list(range(20))


def test_time_counts_a_stage_s_own_work_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now_s=0.0)
    fake = SimpleNamespace(perf_counter=lambda: clock.now_s, thread_time=lambda: clock.now_s / 2)
    monkeypatch.setattr("tracker.app.stages.time", fake)

    def work(item: int, cost_s: float) -> int:
        clock.now_s += cost_s
        return item

    times = StageTimes()
    taken = times.iterate("get", (work(n, 1.0) for n in range(3)))
    assert list(times.map("use", lambda n: work(n, 10.0), taken)) == [0, 1, 2]
    assert (times["get"].busy_s, times["get"].processor_s) == (3.0, 1.5)
    assert (times["use"].busy_s, times["use"].processor_s) == (30.0, 15.0)
