"""Classes as people name them: by the name that a table gives a label, or by the label itself."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from tracker.errors import ConfigurationError

_NAMES_SHOWN = 8


def labels_of(
    classes: Iterable[str], names: Mapping[int, str], where: str, remedy: str = "give numbers"
) -> frozenset[int]:
    """Return the labels of classes that are chosen by name, whatever its case, or by label.

    Parameters
    ----------
    classes
        The choice.
    names
        Names by label; empty where the classes have none, and then any label will do.
    where
        Who makes the choice and among whose classes, for errors: ``detection.onnx.classes: yolo11n.onnx``.
    remedy
        What to do where classes have no names, for errors.

    Raises
    ------
    ConfigurationError
        For a class that is not there, and for a name where classes have none.
    """
    label_of = {name.casefold(): label for label, name in reversed(list(names.items()))}
    labels = set()
    for wanted in classes:
        if wanted.casefold() in label_of:
            labels.add(label_of[wanted.casefold()])
        elif wanted.isascii() and wanted.isdecimal() and (not names or int(wanted) in names):
            labels.add(int(wanted))
        elif names:
            near = difflib.get_close_matches(wanted.casefold(), label_of, 1)
            hint = f"did you mean {names[label_of[near[0]]]}?" if near else f"there are {_few(list(names.values()))}"
            raise ConfigurationError(f"{where} has no class {wanted}; {hint}")
        else:
            raise ConfigurationError(f"{where} does not name its classes; {remedy}")
    return frozenset(labels)


def class_text(label: int, names: Mapping[int, str] | None) -> str:
    """Return what a picture says of an object's class: nothing where all objects are of one class, or of none."""
    if names is not None and label in names:
        # What all objects have in common need not be said of each.
        return names[label] if len(names) > 1 else ""
    return f"c{label}" if label else ""


def _few(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
