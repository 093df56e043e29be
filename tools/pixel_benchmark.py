"""Measure pixels against boxes: both follow what background subtraction finds in a film.

    python tools/pixel_benchmark.py VIDEO TRUTH [--starts 1,41,...] [--frames N] [--set KEY=VALUE]

Single events decide much on short films, and beginning elsewhere shuffles them: judge by the means over several starts.
`make_sample_video.py --seed N` renders films, with their truth, that nobody has looked at.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table
from telling import one_line_errors

from tracker import load_config
from tracker.app.inputs import Job
from tracker.app.pipeline import run
from tracker.evaluation.scores import Scores
from tracker.evaluation.sequences import evaluate_paths

OBSERVATIONS = ("boxes", "pixels")
COLUMNS = {"HOTA": "hota", "IDF1": "idf1", "MOTA": "mota", "switches": "id_switches"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, metavar="VIDEO")
    parser.add_argument("truth", type=Path, metavar="TRUTH")
    parser.add_argument("--starts", default="1", metavar="N,N", help="frames to begin at (default: %(default)s)")
    parser.add_argument("--frames", type=int, metavar="N", help="so many frames from each start; all when left out")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key for both")
    arguments = parser.parse_args()
    starts = [int(start) for start in arguments.starts.split(",")]
    console = Console()
    table = Table(title=f"{arguments.video.name}: boxes / pixels")
    for column in ("from frame", *COLUMNS):
        table.add_column(column, justify="right", no_wrap=True)
    scores = []
    for start in progress(starts, "tracking", console=Console(stderr=True)):
        both = [
            scored(arguments.video, arguments.truth, kind, start, arguments.frames, arguments.set)
            for kind in OBSERVATIONS
        ]
        scores.append([[getattr(of, field) for field in COLUMNS.values()] for of in both])
        table.add_row(str(start), *_cells(np.array(scores[-1])))
    table.add_section()
    table.add_row("mean", *_cells(np.mean(scores, axis=0)))
    console.print(table)


def _cells(figures: np.ndarray) -> list[str]:
    """Return the cells of (2, 4) figures, of boxes and of pixels."""
    decimals = [2, 2, 2, 0]
    return [f"{a:.{d}f} / {b:.{d}f}" for a, b, d in zip(*figures, decimals, strict=True)]


def scored(
    video: Path,
    truth: Path,
    observations: str,
    start: int = 1,
    frames: int | None = None,
    overrides: list[str] | None = None,
) -> Scores:
    """Track a film from a frame on, and score it against the truth of those frames."""
    config = load_config(overrides=[f"tracking.observations={observations}", *(overrides or ())])
    end = np.inf if frames is None else start + frames
    lines = truth.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.strip() and start <= int(line.split(",")[0]) < end]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(Job(config=config, video=video, start=start, frames=frames), folder / "tracks", overlay=False)
        (folder / "gt.txt").write_text("".join(kept), encoding="utf-8")
        (evaluation,) = evaluate_paths(folder / "gt.txt", folder / "tracks" / "tracks.txt").values()
    return evaluation.scores


if __name__ == "__main__":
    with one_line_errors():
        main()
