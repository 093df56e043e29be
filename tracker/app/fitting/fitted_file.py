"""The configuration file that learning writes: what differs, under comments that say where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tracker.config import Config
from tracker.formats.files import write_whole


def write_fitted(path: Path, before: Config, after: Config, comments: Sequence[str]) -> None:
    """Write what differs as a configuration file, under comments, as a whole or not at all.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    tree = overrides(before.model_dump(mode="json"), after.model_dump(mode="json"))
    text = "".join(f"# {line}\n" for line in comments)
    body = yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=120) if tree else "{}\n"
    write_whole(path, (text + body).encode())


def overrides(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested keys of ``after`` whose values differ."""
    tree: dict[str, Any] = {}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if inner := overrides(old, value):
                tree[key] = inner
        elif key not in before or value != old:
            tree[key] = value
    return tree
