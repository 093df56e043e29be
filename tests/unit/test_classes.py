"""Classes by name or number."""

from __future__ import annotations

import pytest

from tracker.classes import class_text, labels_of
from tracker.errors import ConfigurationError

NAMES = {0: "person", 2: "Car", 7: "traffic light"}


def test_names_in_any_case_and_numbers_choose() -> None:
    assert labels_of(["PERSON", "car", "7"], NAMES, "x") == {0, 2, 7}
    assert labels_of(["3", "11"], {}, "x") == {3, 11}


def test_the_first_of_two_classes_of_one_name_is_chosen() -> None:
    assert labels_of(["dog"], {4: "dog", 5: "Dog"}, "x") == {4}


def test_a_name_that_is_a_number_wins_over_the_label() -> None:
    assert labels_of(["2"], {2: "one", 5: "2"}, "x") == {5}


@pytest.mark.parametrize(
    ("wanted", "names", "message"),
    [
        ("persn", NAMES, "x has no class persn; did you mean person?"),
        ("3", NAMES, "x has no class 3; there are person, Car, traffic light"),
        ("9", dict(enumerate("abcdefghi")), "x has no class 9; there are a, b, c, d, e, f, g, h and 1 more"),
        ("car", {}, "x does not name its classes; give numbers"),
        ("-1", {}, "x does not name its classes; give numbers"),
    ],
)
def test_what_is_not_there_is_told(wanted: str, names: dict[int, str], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        labels_of([wanted], names, "x")
    assert str(caught.value) == message


def test_what_all_have_in_common_is_not_said() -> None:
    assert [class_text(label, NAMES) for label in (0, 2, 5)] == ["person", "Car", "c5"]
    assert [class_text(label, {0: "person"}) for label in (0, 5)] == ["", "c5"]
    assert [class_text(label, None) for label in (0, 5)] == ["", "c5"]
