"""The house: imports point down only, and what is heavy is loaded when it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tracker

PACKAGE = Path(tracker.__file__).parent
FLOORS = [
    {"structures", "geometry", "config", "errors", "classes", "confidence"},
    {"mixture", "formats"},
    {"tracking"},
    {"detection", "media", "evaluation"},
    {"app"},
    {"cli"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
GROUND_ORDER = ["errors", "structures", "geometry", "classes", "confidence", "config"]
USES_OPENCV = {"detection", "media", "tracking/camera.py", "tracking/appearance.py"}
HEAVY = ["numba", "scipy", "filterpy", "trackeval", "cv2", "av", "pydantic", "numpy", "yaml"]

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the full name of everything that is imported, lazily and for type checkers too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write it out"
            assert node.module is not None
            if node.module == "tracker":
                yield from (f"tracker.{alias.name}" for alias in node.names)
            else:
                yield node.module


def imported_rooms(path: Path) -> set[str]:
    return {module.split(".")[1] for module in imported_modules(path) if module.startswith("tracker.")} | {
        "" for module in imported_modules(path) if module == "tracker"
    }


def test_every_room_has_its_floor() -> None:
    assert {room_of(path) for path in MODULES} <= FLOOR_OF.keys()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    for other in imported_rooms(path) - {room}:
        if other == "" and room == "cli":
            continue  # `import tracker` for the version
        if {room, other} <= FLOORS[0]:
            assert GROUND_ORDER.index(other) < GROUND_ORDER.index(room), f"{room} imports {other}: upward"
        else:
            assert other in FLOOR_OF, f"{name_of(path)} imports tracker.{other}, which is no room"
            assert FLOOR_OF[other] < FLOOR_OF[room], f"{name_of(path)} imports {other}: upward or sideways"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_opencv_stays_in_its_rooms(path: Path) -> None:
    if room_of(path) not in USES_OPENCV and name_of(path) not in USES_OPENCV:
        assert not any(module.partition(".")[0] == "cv2" for module in imported_modules(path))


def test_the_rules_can_be_broken(tmp_path: Path) -> None:
    lazily = tmp_path / "lazily.py"
    lazily.write_text("def f():\n    from tracker.app import pipeline\n    import tracker.cli\n")
    assert imported_rooms(lazily) == {"app", "cli"}


def run_python(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("module", ["tracker", "tracker.cli.command", "tracker.errors"])
def test_import_loads_nothing_heavy(module: str) -> None:
    loaded = run_python(f"import sys, {module}; print(*(name.partition('.')[0] for name in sys.modules))")
    assert set(loaded) & set(HEAVY) == set()


def test_the_data_types_need_numpy_alone() -> None:
    loaded = run_python("import sys, tracker; tracker.Detections; print(*sys.modules)")
    assert set(loaded) & set(HEAVY) == {"numpy"}


def test_every_public_name_resolves_and_is_listed() -> None:
    assert sorted(tracker.__all__) == tracker.__all__
    for name in tracker.__all__:
        assert getattr(tracker, name) is not None
    assert dir(tracker) == sorted(tracker.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tracker.nothing  # type: ignore[attr-defined]
