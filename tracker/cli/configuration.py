"""``track config``: print the configuration."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tracker.cli.common import ConfigOption, SetOption
from tracker.cli.lines import show

if TYPE_CHECKING:
    from pydantic import BaseModel


def show_config(config: ConfigOption = "default.yaml", settings: SetOption = None) -> None:
    """Print the whole configuration, every key with its meaning, as YAML that --config takes."""
    from tracker.config import load_config

    show("\n".join(_described(load_config(config, settings or ()))))


def _described(section: BaseModel, indent: str = "") -> Iterator[str]:
    """Yield a configuration as lines of YAML, each key under a comment with its meaning."""
    import yaml

    values = section.model_dump(mode="json")
    for name, about in type(section).model_fields.items():
        value = getattr(section, name)
        if hasattr(value, "model_dump"):
            summary = (type(value).__doc__ or "").partition("\n")[0]
            yield from ("", f"{indent}# {summary}", f"{indent}{name}:")
            yield from _described(value, f"{indent}  ")
        else:
            if about.description:
                yield f"{indent}# {about.description}"
            mapping = yaml.safe_dump({name: values[name]}, default_flow_style=True, width=math.inf)
            yield indent + mapping.strip()[1:-1]  # without its braces
