"""The report in a real browser: opened from disk, by pointer, by keyboard, in the dark, on a phone, on paper."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.e2e.test_page import Visit, browser, read
from tracker.app.reporting import write_report

__all__ = ["browser"]

FRAMES = 40


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of two results: one with two changes of track, a miss and a loose fit, one without fault.

    The second of two sequences is folded up when the page opens.
    """
    folder = tmp_path_factory.mktemp("report")
    for name in ("first", "second"):
        (folder / "truth" / name / "gt").mkdir(parents=True)
        truth, faulty, whole = [], [], []
        for frame in range(1, FRAMES + 1):
            for identity in (3, 5):
                row = f"{10 * frame + 90 * identity},{40 * identity},30,80"
                truth.append(f"{frame},{identity},{row},1,1,1\n")
                whole.append(f"{frame},{identity},{row},.9\n")
                track = identity if identity == 5 or frame <= 15 else 7 if frame <= 30 else 8
                if identity == 3 and 16 <= frame <= 20:
                    continue
                if identity == 3 and frame == 21:
                    row = f"{10 * frame + 90 * identity + 14},{40 * identity},30,80"
                faulty.append(f"{frame},{track},{row},.9\n")
        (folder / "truth" / name / "gt" / "gt.txt").write_text("".join(truth))
        for result, rows in (("faulty", faulty), ("whole", whole)):
            (folder / result).mkdir(exist_ok=True)
            (folder / result / f"{name}.txt").write_text("".join(rows))
    write_report(folder / "truth", {r: folder / r for r in ("faulty", "whole")}, folder / "report.html")
    return folder / "report.html"


@pytest.fixture
def visit(page: Path, browser: webdriver.Chrome) -> Iterator[Visit]:
    """Open the page from disk; the browser has nothing to complain of while it is there."""
    browser.get_log("browser")
    visit = Visit(browser)
    visit.emulate()
    browser.get(page.as_uri())
    yield visit
    assert browser.get_log("browser") == []
    browser.get("about:blank")


def row(visit: Visit, identity: int) -> WebElement:
    return visit.browser.find_element(By.CSS_SELECTOR, f'.row[data-identity="{identity}"]')


def readout(visit: Visit) -> str:
    return visit.browser.find_element(By.CSS_SELECTOR, ".readout").text


def test_a_stretch_lies_where_its_frames_are_and_says_what_it_is(visit: Visit) -> None:
    lane = row(visit, 3).find_element(By.CLASS_NAME, "lane")
    visit.ask("arguments[0].scrollIntoView({block: 'center'})", lane)
    stretches = lane.find_elements(By.TAG_NAME, "b")
    assert [stretch.get_attribute("class") for stretch in stretches] == [
        "covered",
        "missed",
        "loose",
        "covered switch",
        "covered switch",
    ]
    frame_px = lane.rect["width"] / FRAMES
    for stretch, (first, count) in zip(stretches, [(1, 15), (16, 5), (21, 1), (22, 9), (31, 10)], strict=True):
        left, width = stretch.rect["x"] - lane.rect["x"], stretch.rect["width"]
        assert (left, width) == pytest.approx((frame_px * (first - 1), frame_px * count), abs=1)
    ActionChains(visit.browser).move_to_element(stretches[1]).perform()
    assert readout(visit) == "Identity 3, faulty, frames 16 to 20: missed"
    ActionChains(visit.browser).move_to_element(stretches[2]).perform()
    assert readout(visit) == "Identity 3, faulty, frame 21: track 7 is near, too loose for a hit (IoU 0.36)"
    ActionChains(visit.browser).move_to_element(stretches[3]).perform()
    assert (
        readout(visit)
        == "Identity 3, faulty, frames 22 to 30: track 7 covers it (IoU 1.00); switch of track in frame 22"
    )


def test_the_timeline_is_walked_with_the_keyboard(visit: Visit) -> None:
    # One stop of the tabulator for the whole timeline, after its two controls.
    stops = visit.ask("return document.querySelectorAll('.timeline[open] .name[tabindex=\"0\"]').length")
    assert stops == 1
    visit.browser.find_element(By.CSS_SELECTOR, ".zoom").send_keys(Keys.TAB)

    def press(*keys: str) -> str:
        ActionChains(visit.browser).send_keys(*keys).perform()
        return readout(visit)

    assert visit.ask("return document.activeElement.textContent") == "3"
    label = str(visit.browser.switch_to.active_element.get_attribute("aria-label"))
    assert "Identity 3. faulty: 40 frames, 85% covered, 3 tracks, 2 switches." in " ".join(label.split())
    assert press(Keys.ARROW_RIGHT).startswith("Identity 3, faulty, frames 1 to 15: track 3")
    assert press(Keys.ARROW_RIGHT) == "Identity 3, faulty, frames 16 to 20: missed"
    assert press(Keys.ARROW_LEFT).startswith("Identity 3, faulty, frames 1 to 15")
    assert press(Keys.ARROW_LEFT).startswith("Identity 3, faulty, frames 1 to 15")
    assert press(Keys.END).startswith("Identity 3, whole, frames 1 to 40: track 3 covers it")
    assert press(Keys.ARROW_RIGHT).startswith("Identity 3, whole")
    assert press(Keys.ARROW_DOWN, Keys.ARROW_RIGHT).startswith("Identity 5, faulty, frames 1 to 40")
    assert press(Keys.ARROW_DOWN, Keys.ARROW_RIGHT).startswith("Identity 5")
    assert press(Keys.ARROW_UP, Keys.HOME).startswith("Identity 3, faulty, frames 1 to 15")
    role = visit.ask("const r = document.querySelector('.readout'); return [r.getAttribute('role'), r.ariaLive]")
    assert role == ["status", "polite"]


def test_rows_can_be_put_in_order(visit: Visit) -> None:
    def order() -> list[str]:
        return visit.ask("return [...document.querySelector('.rows').children].map(row => row.dataset.identity)")

    assert order() == ["3", "5"]
    choice = visit.browser.find_element(By.CSS_SELECTOR, ".order")
    visit.ask("arguments[0].value = 'identity'; arguments[0].dispatchEvent(new Event('change'))", choice)
    assert order() == ["3", "5"]
    visit.ask("document.querySelector('.row[data-identity=\"5\"]').dataset.lost = 99")
    visit.ask("arguments[0].value = 'lost'; arguments[0].dispatchEvent(new Event('change'))", choice)
    assert order() == ["5", "3"]


def test_a_timeline_can_be_drawn_wider(visit: Visit) -> None:
    before = visit.ask("return document.querySelector('.lane').clientWidth")
    visit.ask("const z = document.querySelector('.zoom'); z.value = 4; z.dispatchEvent(new Event('input'))")
    assert visit.ask("return document.querySelector('.lane').clientWidth") > 3.5 * before
    assert visit.ask("return document.documentElement.scrollWidth <= innerWidth")


def test_a_link_to_a_row_unfolds_its_timeline(visit: Visit) -> None:
    second = visit.browser.find_elements(By.CSS_SELECTOR, "details.timeline")[1]
    assert second.get_attribute("open") is None
    target = visit.ask("return arguments[0].querySelector('.row').id", second)
    visit.ask("location.hash = arguments[0]", target)
    visit.until(lambda: second.get_attribute("open") is not None)
    visit.until(
        lambda: visit.ask(
            "const r = document.querySelector(':target').getBoundingClientRect(); "
            "return r.top >= 0 && r.bottom <= innerHeight"
        )
    )


def luminance(color: str) -> float:
    """Return the relative luminance of WCAG 2."""
    levels = [float(part) / 255 for part in color.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_by_day_and_by_night(visit: Visit, scheme: str) -> None:
    visit.emulate(prefers_color_scheme=scheme)
    script = """
      const ground = getComputedStyle(document.querySelector('.card')).backgroundColor;
      return [ground, ...[...document.querySelectorAll('.card p, .card td, .card th, .card a, .card h3, svg text')]
        .map(e => e.tagName === 'text' ? getComputedStyle(e).fill : getComputedStyle(e).color)]
    """
    ground, *colors = visit.ask(script)
    assert (luminance(ground) < 0.05) == (scheme == "dark")
    assert len(colors) > 100
    for color in set(colors):
        low, high = sorted([luminance(color), luminance(ground)])
        assert (high + 0.05) / (low + 0.05) >= 4.5, color
    numbers = visit.ask("return [...document.querySelectorAll('.lane b.covered')].map(e => "
                        "[getComputedStyle(e).color, getComputedStyle(e).backgroundColor])")  # fmt: skip
    for color, fill in numbers:
        assert (luminance(fill) + 0.05) / (luminance(color) + 0.05) >= 4.5


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_screen(visit: Visit, width: int) -> None:
    visit.emulate(width, 800)
    assert visit.ask("return document.documentElement.scrollWidth") <= width


def test_everything_of_use_has_a_name(visit: Visit) -> None:
    visit.browser.execute_cdp_cmd("Accessibility.enable", {})
    nodes = visit.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    visit.browser.execute_cdp_cmd("Accessibility.disable", {})
    shown = [node for node in nodes if not node["ignored"]]
    kinds = {"button", "link", "combobox", "slider", "img", "image", "region", "navigation", "table"}
    found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in shown]
    nameless = {role for role, name in found if role in kinds - {"table"} and not name}
    assert nameless == set()
    assert {"button", "link", "combobox", "slider", "navigation", "status"} <= {role for role, _ in found}
    levels = visit.ask("return [...document.querySelectorAll('h1, h2, h3, h4')].map(e => Number(e.tagName[1]))")
    assert levels[0] == 1
    assert max(np.diff(levels)) <= 1


def test_it_prints_with_all_unfolded_and_on_white(visit: Visit) -> None:
    visit.emulate(prefers_color_scheme="dark")
    script = """
      dispatchEvent(new Event('beforeprint'));
      const open = [...document.querySelectorAll('details')].every(details => details.open);
      dispatchEvent(new Event('afterprint'));
      return [open, document.querySelectorAll('details[open]').length]
    """
    assert visit.ask(script) == [True, 1]
    pdf = base64.b64decode(visit.browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert pdf.startswith(b"%PDF")
    visit.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert visit.ask("return getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert visit.ask("return getComputedStyle(document.querySelector('nav')).display") == "none"
    visit.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_it_can_be_read_without_its_script(page: Path, visit: Visit) -> None:
    visit.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    visit.browser.get(page.as_uri())
    image = read(visit.browser.get_screenshot_as_png())
    text = visit.browser.find_element(By.ID, "verdict").text
    visit.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert image.std() > 10
    assert "Identity errors cost most" in text or "Missed boxes cost most" in text
    assert "Identity 3 of first is there for 40 frames. Its main track 3 covers 15 of them (38%)" in text
