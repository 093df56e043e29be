"""Files that are written: where links lead to, into what is no file, and never over what is read."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tracker.errors import OutputError
from tracker.formats.files import check_outputs, write_whole

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and processes are those of POSIX")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_followed(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    if exists:
        (tmp_path / "there" / "a.csv").write_text("earlier")
    (tmp_path / "here" / "a.csv").symlink_to("../there/a.csv")
    write_whole(tmp_path / "here" / "a.csv", b"new")
    assert (tmp_path / "here" / "a.csv").is_symlink()
    assert (tmp_path / "there" / "a.csv").read_text() == "new"
    assert names(tmp_path / "here") == names(tmp_path / "there") == {"a.csv"}


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=write_whole, args=(pipe, b"new"))
    writer.start()
    assert pipe.read_bytes() == b"new"
    writer.join()
    assert pipe.is_fifo()
    assert names(tmp_path) == {"pipe"}


def test_a_full_device_is_told_by_its_name() -> None:
    with pytest.raises(OutputError, match=r"/dev/full: cannot be written: no space left on device$"):
        write_whole("/dev/full", b"new")
    assert Path("/dev/full").is_char_device()


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = {f".a.csv.{gone.pid}.part", f".a.csv.{os.getppid()}.part", f".b.csv.{gone.pid}.part", ".a.csv.x.part"}
    for name in left:
        (tmp_path / name).touch()
    write_whole(tmp_path / "a.csv", b"new")
    assert names(tmp_path) == {"a.csv", *left - {f".a.csv.{gone.pid}.part"}}


def problem(output: Path, *inputs: Path, suffixes: tuple[str, ...] = (), other: Path | None = None) -> str:
    others = [] if other is None else [(other, ())]
    with pytest.raises(OutputError) as caught:
        check_outputs([(output, suffixes), *others], [*inputs, None])
    return str(caught.value)


def test_outputs_are_checked_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.txt").touch()
    Path("folder").mkdir()
    Path("link.txt").symlink_to("in.txt")
    Path("up").symlink_to(".")
    tracks, picture = Path("in.txt"), Path("new.png")
    assert problem(Path("folder")) == "folder: is a folder; the output must be a file"
    assert problem(Path("none/a.png")) == "none/a.png: cannot be written: there is no folder none"
    assert problem(Path("a.jpg"), suffixes=(".png",)) == "a.jpg: must end in .png, by what is written"
    assert problem(Path("a"), suffixes=(".htm", ".html")) == "a: must end in .htm or .html, by what is written"
    for name in ("in.txt", "./in.txt", "folder/../in.txt", "link.txt", "up/in.txt", str(tmp_path / "in.txt")):
        written = str(Path(name))
        assert problem(Path(name), tracks) == f"{written}: the output is the input in.txt; choose another name"
    assert problem(tracks, Path("link.txt")) == "in.txt: the output is the input link.txt; choose another name"
    assert problem(picture, other=Path("up/new.png")).startswith("up/new.png: two outputs are this one file")
    check_outputs([(Path("a.PNG"), (".png",)), (Path("/dev/null"), (".png",)), (Path("b"), ())], [tracks, None])
