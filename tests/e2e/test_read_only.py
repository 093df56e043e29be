"""Compiled code is kept and found again where the package cannot be written to, whatever the working directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tracker

ONE_KERNEL = """
import numpy as np
from tracker.tracking.gating import box_area
assert box_area(np.array([[0.0, 0.0, 2.0, 3.0]]), 0) == 6.0
print(sum(box_area.stats.cache_hits.values()), box_area.stats.cache_path)
"""


@pytest.fixture
def without_privilege() -> list[str]:
    """Return what to put before a command so that file permissions bind it, as they do everybody but root."""
    if os.name == "nt":
        pytest.skip("folders are made read-only the POSIX way")
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may write anywhere, and there is no setpriv to give that up")
    return [setpriv, "--bounding-set=-dac_override,-dac_read_search", "--"]


def test_a_read_only_package_caches_in_the_users_folder(tmp_path: Path, without_privilege: list[str]) -> None:
    site, home = tmp_path / "site", tmp_path / "home"
    package = Path(tracker.__file__).parent
    shutil.copytree(package, site / "tracker", ignore=shutil.ignore_patterns("__pycache__"))
    folders = [site, *(path for path in site.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    home.mkdir()
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NUMBA", "XDG"))}
    variables |= {"HOME": str(home), "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    found = []
    for where in ("one", "other"):
        (home / where).mkdir(mode=0o755)
        done = subprocess.run(
            [*without_privilege, sys.executable, "-c", ONE_KERNEL],
            cwd=home / where,
            env=variables,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        hits, cache = done.stdout.split(maxsplit=1)
        found.append(int(hits))
        assert Path(cache.strip()).is_relative_to(home)
        assert list(Path(cache.strip()).glob("gating.box_area*.nbc"))
    assert found == [0, 1]
    for folder in folders:
        folder.chmod(0o755)
    assert not list(site.rglob("__pycache__"))
