"""Configuration: what is accepted, what is refused and with which words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from tracker.config import Config, find_config, load_config, preset_folder
from tracker.errors import ConfigurationError

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return to_file


def refusal(path: Path | str, *overrides: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_config(path, overrides)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_the_default_preset_changes_no_default() -> None:
    assert load_config() == load_config("default.yaml") == load_config("default") == Config()


def test_every_preset_is_valid() -> None:
    presets = list(preset_folder().glob("*.yaml"))
    assert presets
    for preset in presets:
        load_config(preset.name)


def test_every_value_has_a_meaning_to_print() -> None:
    def values(section: type[BaseModel], prefix: str = "") -> list[tuple[str, str | None]]:
        found = []
        for name, field in section.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                assert kind.__doc__, f"{prefix}{name} has no docstring"
                found += values(kind, f"{prefix}{name}.")
            else:
                found.append((prefix + name, field.description))
        return found

    assert [key for key, description in values(Config) if not description] == []


def test_defaults_pass_their_own_checks() -> None:
    assert Config.model_validate(Config().model_dump()) == Config()


def test_presets_are_found_from_any_folder_but_a_file_as_given_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config("default.yaml") == preset_folder() / "default.yaml"
    (tmp_path / "default.yaml").write_text("overlay: {crf: 30}\n")
    assert load_config("default.yaml").overlay.crf == 30
    assert load_config("default").overlay.crf == Config().overlay.crf


@pytest.mark.parametrize("name", ["defualt.yaml", "nowhere/default.yaml"])
def test_an_unknown_name_lists_the_presets(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = refusal(name)
    assert message.startswith(f"{name}: no such file and no preset")
    assert "default.yaml" in message.partition("presets: ")[2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("overlay: {crff: 20}", ["unknown key overlay.crff", "did you mean overlay.crf?"]),
        ("overlai: {crf: 20}", ["unknown key overlai", "did you mean overlay?"]),
        ("overlay: {frame_rate_hz: 20}", ["unknown key", "did you mean tracking.frame_rate_hz?"]),
        ("overlay: {crf: 52}", ["overlay.crf is 52", "less than or equal to 51"]),
        ("overlay: {crf: -1}", ["overlay.crf is -1", "greater than or equal to 0"]),
        ("overlay: {crf: high}", ["overlay.crf is 'high'", "valid integer"]),
        ("tracking: {frame_rate_hz: 0}", ["tracking.frame_rate_hz is 0", "greater than 0"]),
        ("tracking: {frame_rate_hz: .nan}", ["tracking.frame_rate_hz is nan", "finite"]),
        ("tracking: {frame_rate_hz: .inf}", ["tracking.frame_rate_hz is inf", "finite"]),
        ("tracking: {smoothing: yes}", ["tracking.smoothing is True", "'none', 'online' or 'offline'"]),
        ("overlay: 3", ["overlay is 3: must be a section with keys such as boxes"]),
        ("tracking: {motion: {measurement_noise: 0.1}}", ["measurement_noise is 0.1: must be a list of 4 numbers"]),
        ("tracking: {motion: {measurement_noise: [1, 1, 1]}}", ["noise is [1, 1, 1]: must be a list of 4 numbers"]),
        ("tracking: {motion: {measurement_noise: [1, 1, 1, 1, 1]}}", ["must be a list of 4 numbers"]),
        ("regions: {areas: {'': [[0, 0], [1, 1], [0, 1]]}}", ["regions.areas: the key '' must have at least 1"]),
        ("regions: {areas: {a: [[0, 0], [1, 1]]}}", ["areas.a.points is", "must be a list of at least 3 points x, y"]),
        ("regions: {areas: {a: {classes: [x]}}}", ["regions.areas.a.points is missing"]),
        ("regions: {areas: [1]}", ["regions.areas is [1]: must be a section with names"]),
        (
            "regions: {areas: {a: {foo: 3, points: [[0, 0], [1, 1], [0, 1]]}}}",
            ["unknown key regions.areas.a.foo; known there are points, classes"],
        ),
        ("regions: {lines: {a: 3}}", ["regions.lines.a is 3: must be a section with points, classes"]),
        ("overlay: {crf: 99, trail_s: -1}", ["and 1 more fault"]),
        ("- overlay", ["holds a list; it must hold sections"]),
        ("overlay", ["holds a str; it must hold sections"]),
    ],
)
def test_a_bad_value_names_file_key_and_what_is_right(text: str, words: list[str], write: Write) -> None:
    path = write(text)
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize("overrides", [(), ("tracking.motion.anchor=0.5",)])
def test_a_heading_with_nothing_under_it_changes_nothing(overrides: tuple[str, ...], write: Write) -> None:
    path = write("tracking:\n  motion:\noverlay:\n  # crf: 20\n")
    assert load_config(path, overrides) == load_config(overrides=overrides)


def test_crf_is_accepted_up_to_its_limits(write: Write) -> None:
    assert load_config(write("overlay: {crf: 51}")).overlay.crf == 51
    assert load_config(write("overlay: {crf: 0}")).overlay.crf == 0


def test_an_unknown_key_far_from_all_others_gets_no_guess(write: Write) -> None:
    assert "did you mean" not in refusal(write("zzzzzz: 1"))


def test_a_duplicate_key_is_refused_with_both_lines(write: Write) -> None:
    path = write("overlay:\n  crf: 20\n  boxes: true\n  crf: 30\n")
    assert refusal(path) == f"{path}:4: key 'crf' stands twice, first in line 2; keep one"
    path = write("overlay: {crf: 20}\ntracking: {}\noverlay: {boxes: false}\n")
    assert refusal(path).startswith(f"{path}:3: key 'overlay' stands twice")


def test_equal_keys_in_different_sections_are_no_duplicates(write: Write) -> None:
    text = "tracking:\n  motion: {anchor: 0.5}\noverlay:\n  boxes: false\n"
    config = load_config(write(text))
    assert (config.tracking.motion.anchor, config.overlay.boxes) == (0.5, False)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"overlay: {crf: 20", "mine.yaml:1: not YAML"), (b"\xff\xfe\x00\x80", "cannot be read as text")],
)
def test_what_is_not_yaml(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    assert words in refusal(path)


def test_a_file_that_the_system_does_not_read_is_told_by_its_name() -> None:
    assert refusal("/proc/self/mem") == "/proc/self/mem: cannot be read as text: input/output error"


def test_an_empty_file_is_the_default(write: Write) -> None:
    assert load_config(write("# nothing yet\n")) == Config()


def test_set_takes_the_same_path_as_a_file(write: Write) -> None:
    in_file = load_config(write("overlay: {trail_s: 4, boxes: false}\ntracking: {smoothing: online}\n"))
    by_set = load_config(overrides=["overlay.trail_s=4", "overlay.boxes=false", "tracking.smoothing=online"])
    assert by_set == in_file
    assert "unknown key overlay.crff; did you mean overlay.crf?" in refusal("default.yaml", "overlay.crff=20")
    assert "overlay.crf is 52" in refusal("default.yaml", "overlay.crf=52")


def test_a_fault_of_set_is_not_blamed_on_the_file(write: Write) -> None:
    assert refusal("default.yaml", "overlay.trail_s=1", "tracking.lag_framez=3").startswith(
        "--set tracking.lag_framez=3: unknown key tracking.lag_framez"
    )
    assert refusal("default.yaml", "regions.areas.a.classes=[1]").startswith("--set regions.areas.a.classes=[1]: ")
    path = write("overlay: {crf: 99}\nregions: {areas: {a: [[0, 0], [1, 1], [0, 9]]}}\n")
    assert refusal(path, "overlay.trail_s=1").startswith(f"{path}: overlay.crf is 99")
    assert refusal(path, "overlay.crf=88").startswith("--set overlay.crf=88: overlay.crf is 88")
    # What the file does wrong in a section is not that of whoever sets another key there.
    assert refusal(path, "overlay.crf=20", "regions.anchor=0.5").startswith(f"{path}: regions: a has the point 0, 9")
    assert refusal(path, "overlay.crf=20", "regions.unit=pixels", "regions.unit=share").startswith(f"{path}: regions: ")


def test_a_line_s_points_alone_may_stand_for_it(write: Write) -> None:
    short = load_config(write("regions: {lines: {gate: [[0, 0], [1, 1]]}}\n"))
    assert short == load_config(write("regions: {lines: {gate: {points: [[0, 0], [1, 1]]}}}\n"))


def test_the_record_of_a_run_is_a_configuration(write: Write) -> None:
    config = load_config(overrides=["overlay.crf=30", "tracking.smoothing=online"])
    record = {"program": "gmm-tracker", "command": "track", "configuration": config.model_dump(mode="json")}
    path = write(yaml.safe_dump(record))
    assert load_config(path) == config
    assert load_config(path, ["overlay.crf=20"]).overlay.crf == 20
    record["configuration"]["overlay"]["crff"] = 3  # type: ignore[index]
    assert refusal(write(yaml.safe_dump(record))) == f"{path}: unknown key overlay.crff; did you mean overlay.crf?"
    assert "holds a str" in refusal(write("program: gmm-tracker\n"))


def test_set_wins_over_the_file_and_later_over_earlier(write: Write) -> None:
    path = write("overlay: {crf: 30, trail_s: 1}\n")
    config = load_config(path, ["overlay.crf=20", "overlay.crf=25"])
    assert (config.overlay.crf, config.overlay.trail_s) == (25, 1.0)


def test_set_takes_lists(write: Write) -> None:
    config = load_config(overrides=["tracking.motion.measurement_noise=[0.1, 0.2, 0.3, 0.4]"])
    assert config.tracking.motion.measurement_noise == (0.1, 0.2, 0.3, 0.4)


@pytest.mark.parametrize("item", ["overlay.crf", "=3", "overlay.crf.deep=3", "overlay.crf=[1"])
def test_a_malformed_set_is_named(item: str) -> None:
    assert item in refusal("default.yaml", item, *(["overlay.crf=1", item] if "deep" in item else []))


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().overlay.crf = 3  # type: ignore[misc]
