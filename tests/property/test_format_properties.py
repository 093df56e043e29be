"""Properties of all formats of tracks: what they hold comes back, and no file whatever brings a traceback."""

from __future__ import annotations

import contextlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tracker.errors import TrackerError
from tracker.formats.catalogue import FORMATS, lost, read_tables, recognise, write_table
from tracker.formats.table import TrackTable

coordinates = st.floats(-1e5, 1e5)
sizes = st.floats(1e-3, 1e5)
shares = st.floats(0, 1)
levels = st.integers(-1, 2)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
# Names that a format uses for something else are left out: it would read them as that.
names = texts.filter(
    lambda name: name not in ("object", "Person_sitting", "DontCare") and not name.startswith("class_")
)


@st.composite
def tables(draw: st.DrawFn) -> TrackTable:
    """Tables of up to 8 rows in which anything may be stated or not."""
    places = draw(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 5)), max_size=8, unique=True))
    n = len(places)

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=n, max_size=n))

    class_names = draw(st.dictionaries(st.integers(0, 12), names, max_size=4))
    assume(len({name.casefold() for name in class_names.values()}) == len(class_names))
    corners = column(st.tuples(coordinates, coordinates, sizes, sizes))
    return TrackTable(
        [frame for frame, _ in places],
        [id_ for _, id_ in places],
        corners,
        column(st.one_of(st.just(float("nan")), st.floats(-100, 100))),
        column(st.one_of(st.just(-1), st.integers(0, 12))),
        flags=column(st.booleans()),
        imputed=column(st.booleans()),
        visibility=column(st.one_of(st.just(float("nan")), shares)),
        occlusions=column(levels),
        truncations=column(levels),
        class_names=class_names,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("formats")


def _again(folder: Path, table: TrackTable, kind: str) -> TrackTable:
    path = folder / f"again.{kind}"
    write_table(path, table, kind)
    (again,) = read_tables(path, kind).values()
    return again


def _texts(table: TrackTable) -> list[str]:
    return [table.class_text(label) for label in table.classes.tolist()]


@pytest.mark.parametrize("kind", ["coco", "csv", "parquet"])
@given(table=tables())
def test_formats_that_hold_everything_return_it_to_the_last_bit(folder: Path, kind: str, table: TrackTable) -> None:
    again = _again(folder, table, kind)
    for field in fields(table):
        if field.name != "class_names":
            np.testing.assert_array_equal(getattr(again, field.name), getattr(table, field.name), field.name)
    assert _texts(again) == _texts(table)


@pytest.mark.parametrize("kind", ["mot", "mot-truth", "kitti", "cvat"])
@given(table=tables())
def test_formats_return_what_they_hold(folder: Path, kind: str, table: TrackTable) -> None:
    holds = FORMATS[kind].holds
    if kind == "mot-truth" and (table.classes == -1).any():
        table = TrackTable(table.frames, table.ids, table.boxes_ltwh, flags=table.flags, visibility=table.visibility)
    again = _again(folder, table, kind)
    if "flags" not in holds:
        table = table.select(table.flags)
    if kind == "cvat":
        table, again = table.sorted(), again.sorted()
    np.testing.assert_array_equal(again.frames, table.frames)
    kept = table.flags
    np.testing.assert_array_equal(again.ids[kept], table.ids[kept])
    # KITTI and CVAT write the far corner, from which a size comes back but for rounding.
    rounding = 0.0 if kind.startswith("mot") else 1e-10
    np.testing.assert_allclose(again.boxes_ltwh, table.boxes_ltwh, rtol=0, atol=rounding)
    if "flags" in holds:
        np.testing.assert_array_equal(again.flags, table.flags)
    if "scores" in holds:
        scores = np.where(np.isnan(table.scores), -1.0, table.scores)
        if kind == "kitti" and np.isnan(table.scores).all():
            scores = table.scores
        np.testing.assert_array_equal(again.scores, scores)
    if "imputed" in holds:
        np.testing.assert_array_equal(again.imputed, table.imputed)
    if "visibility" in holds:
        np.testing.assert_array_equal(again.visibility, table.visibility)
    if kind == "kitti":
        np.testing.assert_array_equal(again.occlusions, table.occlusions)
        np.testing.assert_array_equal(again.truncations, table.truncations)
        assert np.array(_texts(again))[kept].tolist() == np.array(_texts(table))[kept].tolist()
    if kind == "cvat":
        np.testing.assert_array_equal(again.occlusions, np.where(table.occlusions > 0, 1, 0))
        first = {id_: _texts(table.select(table.ids == id_))[0] for id_ in table.ids.tolist()}
        assert _texts(again) == [first[id_] for id_ in table.ids.tolist()]
    if kind in ("mot", "mot-truth"):
        np.testing.assert_array_equal(again.classes, table.classes)


@pytest.mark.parametrize("kind", sorted(FORMATS))
@given(table=tables(), scored=st.booleans(), flagged=st.booleans())
def test_what_is_lost_is_told(folder: Path, kind: str, table: TrackTable, scored: bool, flagged: bool) -> None:
    """Leave in a table what its format says it holds: then nothing is told, and nothing is lost."""
    holds = FORMATS[kind].holds - (set() if scored else {"scores"}) - (set() if flagged else {"flags"})
    held = {name: getattr(table, name) for name in holds}
    if kind == "mot" or scored:
        held["scores"] = np.nan_to_num(table.scores)
    if kind in ("mot-truth", "cvat"):  # which want a class in all rows, and one along a track
        held.pop("classes", None)
    if kind == "cvat":
        held["occlusions"] = np.minimum(table.occlusions, 1)
    if kind == "kitti":  # whose rows to be ignored are of one class
        held.pop("flags", None)
    held = {name: values for name, values in held.items() if name in FORMATS[kind].holds}
    plain = TrackTable(table.frames, table.ids, table.boxes_ltwh, **held)
    assert lost(plain, kind) == []
    plain, again = plain.sorted(), _again(folder, plain, kind).sorted()
    np.testing.assert_array_equal(again.ids, plain.ids)
    np.testing.assert_array_equal(again.frames, plain.frames)
    np.testing.assert_allclose(again.boxes_ltwh, plain.boxes_ltwh, rtol=0, atol=1e-10)
    for name in ("scores", "flags", "imputed", "visibility"):
        np.testing.assert_array_equal(getattr(again, name), getattr(plain, name), name)
    for name in ("occlusions", "truncations"):  # not stated and none are told alike
        np.testing.assert_array_equal(np.maximum(getattr(again, name), 0), np.maximum(getattr(plain, name), 0), name)
    assert _texts(again) == _texts(plain)


@given(table=tables(), first=st.sampled_from(sorted(FORMATS)), second=st.sampled_from(["coco", "csv", "parquet"]))
def test_what_came_through_one_format_goes_through_another_unharmed(
    folder: Path, table: TrackTable, first: str, second: str
) -> None:
    if first == "mot-truth":
        table = table.select(table.classes >= 0)
    once = _again(folder, table, first)
    twice = _again(folder, once, second)
    for field in fields(table):
        if field.name != "class_names":
            np.testing.assert_array_equal(getattr(twice, field.name), getattr(once, field.name), field.name)


@pytest.mark.parametrize("kind", sorted(FORMATS))
@settings(max_examples=150)
@given(data=st.data())
def test_a_mutated_file_is_read_or_refused_in_one_line(folder: Path, kind: str, data: st.DataObject) -> None:
    path = folder / f"mutated.{kind}"
    table = TrackTable(
        [1, 2, 2, 7],
        [1, 1, 2, 1],
        [[0.5, 1, 20, 30.25]] * 4,
        [0.5, 1, 0.25, 0],
        [1, 3, 1, 1],
        imputed=[False, True, False, False],
        class_names={1: "Pedestrian", 3: "Car"},
    )
    write_table(path, table, kind)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(len(content), start + 12)))
        shard = st.sampled_from(
            [b"", b"-1", b"nan", b"1e999", b"9" * 30, b"<", b'"', b",", b"\n", b" ", b"\xff", b"\0"]
        )
        content[start:stop] = data.draw(st.one_of(shard, st.binary(max_size=6)))
    path.write_bytes(content)
    problem = f"{path}: none"
    try:
        read_tables(path, kind)
    except TrackerError as error:
        problem = str(error)
    assert problem.startswith(f"{path}:")
    assert "\n" not in problem


@given(content=st.one_of(st.binary(max_size=80), st.text(max_size=80).map(str.encode)))
@pytest.mark.parametrize("suffix", [".txt", ".json", ".xml", ".csv", ".parquet"])
def test_whatever_the_file_the_only_error_is_ours(folder: Path, suffix: str, content: bytes) -> None:
    path = folder / f"any{suffix}"
    path.write_bytes(content)
    with contextlib.suppress(TrackerError):
        read_tables(path, recognise(path))
