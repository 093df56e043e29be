"""Two processes compile the first frame, and agree on what is to be compiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracker.app import warming

REPORT = """
import json
from tracker.mixture.exclusive import association_marginals, most_probable_claims
from tracker.tracking.motion import predict
from tracker.tracking.online import advance, find, left_over
from tracker.app.warming import warm_up
compiled = []
warm_up(on_compiling=lambda: compiled.append(1))
kernels = association_marginals, most_probable_claims, predict, left_over, find, advance
report = {k.py_func.__name__: [sum(k.stats.cache_hits.values()), len(k.signatures)] for k in kernels}
print(json.dumps([report, bool(compiled)]))
"""


def warmed_up(cache: Path) -> tuple[dict[str, list[int]], bool]:
    """Return for each kernel, in a process of its own, how often it was found in the cache, and for how many types.

    And whether it was told that something is compiled.
    """
    variables = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", REPORT], env=variables, capture_output=True, text=True, check=True)
    report, told = json.loads(done.stdout)
    return report, told


@pytest.mark.skipif((os.cpu_count() or 1) == 1, reason="one processor compiles everything itself")
def test_a_second_process_compiles_one_half_of_what_a_frame_needs(tmp_path: Path) -> None:
    fresh, told = warmed_up(tmp_path)
    assert told
    assert {signatures for _, signatures in fresh.values()} == {1}
    # Who compiles the association depends on who comes first; for the rest the first process waits.
    assert {name: fresh[name][0] for name in ("find", "advance", "predict", "left_over")} == {
        "find": 0,
        "advance": 0,
        "predict": 1,
        "left_over": 1,
    }
    again, told = warmed_up(tmp_path)
    assert not told
    assert again["advance"] == [1, 1]
    assert again["find"] == [0, 0]


def test_a_second_process_that_cannot_work_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(warming, "__name__", "tracker.nowhere")
    monkeypatch.setattr(warming, "_is_compiled", lambda: False)
    monkeypatch.setattr(warming, "compile_finding", lambda: started.append("finding"))
    warming.warm_up()
    assert started == ["finding"]


def test_where_python_is_frozen_no_second_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming.sys, "frozen", True, raising=False)
    monkeypatch.setattr(warming.subprocess, "Popen", None)
    monkeypatch.setattr(warming, "_is_compiled", lambda: False)
    warming.warm_up()
