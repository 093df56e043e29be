"""Print what the tracker learns a detector's scores to mean: per sequence, the birth threshold and P(object | score).

    python tools/learned_scores.py DATA_ROOT [--set KEY=VALUE ...]

Every detector scales its scores its own way. The columns are the lowest score from which a detection was held to be
an object (median over the frames after the first ten, and at the end) and, at the end, how probable an object was
at some scores. Scores that hardly occur keep the prior's value.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from measuring import find_sequences, load
from rich.console import Console
from rich.table import Table
from telling import one_line_errors

from tracker import Tracker, load_config
from tracker.tracking.lifecycle import object_probability, score_bin

SCORES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SETTLING_FRAMES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, metavar="DATA_ROOT")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    config = load_config(overrides=arguments.settings)
    prior = config.tracking.lifecycle.birth_score
    table = Table(title="what scores mean")
    table.add_column("sequence", no_wrap=True)
    for column in ("median", "last", *(f"P({score})" for score in SCORES)):
        table.add_column(column, justify="right")
    for sequence in find_sequences(arguments.root):
        recording, tracker, learned = load(sequence), Tracker(config), []
        for detections, time_s in zip(recording.detections, recording.times_s, strict=True):
            tracker.update(detections, time_s=time_s)
            learned.append(float(tracker.state.score_counts["birth_score"].max(initial=0.0)))
        counts = tracker.state.score_counts[0]
        probabilities = (object_probability(counts, score_bin(score), prior) for score in SCORES)
        table.add_row(
            sequence.label,
            f"{np.median(learned[SETTLING_FRAMES:]):.2f}",
            f"{learned[-1]:.2f}",
            *(f"{probability:.2f}" for probability in probabilities),
        )
    Console(width=max(Console().width, 110)).print(table)


if __name__ == "__main__":
    with one_line_errors():
        main()
