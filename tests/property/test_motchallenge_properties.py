"""Properties of MOTChallenge text that hold for any input."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tracker.errors import FormatError
from tracker.formats.motchallenge import (
    format_rows,
    read_camera_motion,
    read_detections,
    read_sequence_info,
    read_tracks,
    read_truth,
)
from tracker.structures import Tracks

coordinates = st.floats(-1e4, 1e4, width=64)
sizes = st.floats(0.02, 1e4)
shares = st.floats(0, 1)
boxes_ltwh = st.tuples(coordinates, coordinates, sizes, sizes)
frames_of_tracks = st.dictionaries(
    st.integers(1, 10**6), st.dictionaries(st.integers(1, 10**9), st.tuples(boxes_ltwh, shares), max_size=4)
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("text") / "rows.txt"


def _tracks(rows: dict[int, tuple[tuple[float, float, float, float], float]]) -> Tracks:
    n = len(rows)
    boxes = np.array([box for box, _ in rows.values()]).reshape(n, 4)
    labels = np.zeros(n, np.int64)
    return Tracks(
        ids=np.array(list(rows), np.int64),
        boxes_xyxy=np.column_stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]),
        scores=np.array([score for _, score in rows.values()], np.float64),
        classes=labels,
        detection_indices=labels,
        covariances=np.zeros((n, 4, 4)),
        existence=np.ones(n),
        responsibilities=np.ones(n),
        status=labels,
        continuity=np.ones(n),
    )


@settings(deadline=None)
@given(frames=frames_of_tracks)
def test_tracks_written_are_read_again_to_the_last_decimal_written(
    path: Path, frames: dict[int, dict[int, tuple[tuple[float, float, float, float], float]]]
) -> None:
    path.write_text("".join(format_rows(frame, _tracks(rows)) for frame, rows in frames.items()))
    flat = [(frame, id_, *row) for frame, rows in frames.items() for id_, row in rows.items()]
    table = read_tracks(path)
    np.testing.assert_array_equal(table.frames, [row[0] for row in flat])
    np.testing.assert_array_equal(table.ids, [row[1] for row in flat])
    boxes = np.array([row[2] for row in flat]).reshape(-1, 4)
    np.testing.assert_allclose(table.boxes_ltwh, boxes, rtol=0, atol=0.005 + 1e-9)
    np.testing.assert_allclose(table.scores, [row[3] for row in flat], rtol=0, atol=0.00005 + 1e-12)


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(1, 4), boxes_ltwh, shares), max_size=12),
    shuffle=st.randoms(use_true_random=False),
)
def test_how_frames_are_interleaved_does_not_change_the_detections(
    path: Path, rows: list[tuple[int, tuple[float, float, float, float], float]], shuffle: object
) -> None:
    def write(rows: list[tuple[int, tuple[float, float, float, float], float]]) -> None:
        path.write_text("".join(f"{frame},-1,{','.join(map(repr, box))},{score!r}\n" for frame, box, score in rows))

    frames = sorted({frame for frame, _, _ in rows})
    shuffle.shuffle(frames)  # type: ignore[attr-defined]
    write(rows)
    mixed = read_detections(path)
    write([row for frame in frames for row in rows if row[0] == frame])
    grouped = read_detections(path)
    assert list(mixed) == list(grouped) == sorted(frames)
    for frame in frames:
        np.testing.assert_array_equal(mixed[frame].boxes_xyxy, grouped[frame].boxes_xyxy)
        np.testing.assert_array_equal(mixed[frame].scores, [row[2] for row in rows if row[0] == frame])


fields = st.one_of(
    st.sampled_from(["1", "-1", "0.5", "nan", "inf", "1e308", "-0", "1e-320", "", " ", "x", "0x1p3", "1_0"]),
    st.floats().map(repr),
    st.text(max_size=3),
)
texts = st.one_of(
    st.text(max_size=60),
    st.lists(st.lists(fields, min_size=5, max_size=10).map(",".join), max_size=4).map("\n".join),
    st.lists(st.tuples(st.just("1"), *[fields] * 6).map(",".join), max_size=4).map("\n".join),
)


@pytest.mark.parametrize("reader", [read_detections, read_tracks, read_truth, read_camera_motion, read_sequence_info])
@settings(deadline=None)
@given(text=texts)
@example(text="1,1,1e308,1,1e308,1,1")
@example(text="1,1,1,1,1,1,1\r1,1,1,1,1,1,1")
@example(text="1,1,1,1,1,1,1\x001")
@example(text="1,1,1,1,1,1,\u0661")
def test_whatever_the_text_the_only_error_is_ours(path: Path, reader: Callable[[Path], object], text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(FormatError):
        reader(path)
