"""The wheel, installed where there is nothing of the source, runs from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, install it alone into an environment of its own and return that environment's programs.

    The dependencies are those of the environment that runs the tests: a path file puts them behind the wheel,
    which spares a download. Path files that lie in that folder, such as the one of an editable installation, are
    not followed from there, so that the project itself can only come from the wheel.
    """
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
    build = [*pip, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("gmm_tracker-*.whl")

    environment = folder / "environment"
    venv.create(environment, symlinks=os.name != "nt")
    paths = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    programs = Path(sysconfig.get_path("scripts", "venv", paths))
    install = [*pip[:3], "--python", str(programs / "python"), *pip[3:], "install", "--no-deps", "--no-index"]
    subprocess.run([*install, str(wheel)], check=True)
    return programs


def run(program: Path, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env=variables,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_the_package_is_the_wheel_s_own(installed: Path, cwd: Path) -> None:
    code = "import tracker, tracker.config; print(tracker.__file__, tracker.config.preset_folder())"
    package, presets = run(installed / "python", "-c", code, cwd=cwd).stdout.split()
    assert Path(package).is_relative_to(installed.parent)
    assert Path(presets) == Path(package).parent / "configs"
    assert (Path(package).parent / "py.typed").is_file()


def test_the_command_runs_from_an_empty_folder(installed: Path, cwd: Path, clip: Path) -> None:
    done = run(installed / "track", "--video", clip, "--config", "default.yaml", cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in (cwd / "block-tracks").iterdir()} == {"overlay.mp4", "tracks.txt", "run.yaml"}
    record = yaml.safe_load((cwd / "block-tracks" / "run.yaml").read_text())
    assert record["counts"]["frames"] == 30
