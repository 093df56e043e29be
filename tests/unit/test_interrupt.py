"""What a signal does to a run: the first lets it complete its files, the second breaks in."""

from __future__ import annotations

import signal

import pytest

from tracker.cli.common import stop_on_signals

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("first", NUMBERS)
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_and_the_second_breaks_in(first: signal.Signals, second: signal.Signals) -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    with stop_on_signals() as (stop, received):
        assert not stop.is_set()
        signal.raise_signal(first)
        assert stop.is_set()
        assert received == [first]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(second)
    assert [signal.getsignal(number) for number in NUMBERS] == before


@pytest.mark.parametrize("first", NUMBERS)
def test_a_terminal_that_is_closed_breaks_nothing_off_however_often_it_says_so(first: signal.Signals) -> None:
    with stop_on_signals() as (stop, received):
        signal.raise_signal(first)
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert stop.is_set()
        assert received == [first, signal.SIGHUP, signal.SIGHUP]
