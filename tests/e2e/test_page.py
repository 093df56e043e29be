"""The page in a real browser: what it draws, what it says, what it does, and how it bears faults."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.moments import tracks_of
from tracker.app.hub import Event, Hub, LiveFrame, LiveStats
from tracker.app.web import Page, serve
from tracker.media.overlay import track_color
from tracker.media.regions import Area, Line, RegionCount
from tracker.structures import Image, Status, Tracks

WIDTH_PX, HEIGHT_PX = 640, 480
GROUND = 90  # grey level of the picture
BOXES = {5: (60.0, 80.0, 160.0, 330.0), 8: (260.0, 120.0, 340.0, 300.0), 13: (450.0, 200.0, 560.0, 420.0)}
SEEN, COASTING, TENTATIVE = BOXES
REGIONS = (
    Area("lawn", np.array([[180.0, 350.0], [250.0, 350.0], [250.0, 460.0], [180.0, 460.0]])),
    Line("gate", np.array([600.0, 100.0]), np.array([600.0, 400.0]), "in", "out"),
)
COUNTS = (RegionCount("lawn", (1, 4)), RegionCount("gate", (3, 5)))
DEADLINE_S = 30.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def publish(hub: Hub, index: int, *, with_regions: bool = False, **stats: Any) -> None:
    """Publish a grey picture with one object of every status, and an event."""
    tracks = Tracks(
        ids=np.array(list(BOXES)),
        boxes_xyxy=np.array(list(BOXES.values())),
        scores=np.array([0.97, 0.55, 0.71]),
        classes=np.array([0, 2, 0]),
        detection_indices=np.array([0, -1, 1]),
        covariances=np.tile(np.diag([160.0, 60.0, 9.0, 9.0]), (3, 1, 1)),
        existence=np.ones(3),
        responsibilities=np.array([1.0, 0.0, 1.0]),
        status=np.array([Status.CONFIRMED, Status.COASTING, Status.TENTATIVE]),
        continuity=np.ones(3),
    )
    image = np.full((HEIGHT_PX, WIDTH_PX, 3), GROUND, np.uint8)
    event = Event(index, index / 10, f"event of frame {index}", (SEEN,))
    figures = LiveStats("running", processed=index, **stats)
    names = {0: "person", 2: "dog"}
    frame = LiveFrame(index, index / 10, image, tracks, tracks.select([0]), figures, (event,), class_names=names)
    hub.publish(replace(frame, regions=REGIONS, counts=COUNTS) if with_regions else frame)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Start Chromium with nobody's profile."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("no browser at hand (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
    driver.set_script_timeout(DEADLINE_S)
    yield driver
    driver.quit()


class Visit:
    """The page as its reader has it."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser

    def until(self, condition: Callable[[], object]) -> None:
        WebDriverWait(self.browser, DEADLINE_S, poll_frequency=0.05).until(lambda _: condition())

    def text(self, name: str) -> str:
        return str(self.browser.find_element(By.ID, name).get_property("textContent")).replace("\u202f", " ")

    def click(self, selector: str) -> None:
        self.browser.find_element(By.CSS_SELECTOR, selector).click()

    def press(self, key: str) -> None:
        self.browser.find_element(By.TAG_NAME, "body").send_keys(key)

    def is_pressed(self, name: str) -> bool:
        return self.browser.find_element(By.ID, name).get_attribute("aria-pressed") == "true"

    def until_frame(self, index: int) -> None:
        self.until(lambda: self.text("frame") == str(index))

    def ask(self, script: str, *arguments: object) -> Any:
        return self.browser.execute_script(script, *arguments)

    def screen(self) -> Image:
        """Return what is to be seen of picture and overlay, a pixel of the screen each."""
        self.ask("scrollTo(0, 0)")
        # What was asked to be drawn is drawn after the frame that comes next.
        self.browser.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
        )
        return read(self.browser.find_element(By.ID, "overlay").screenshot_as_png)

    def drawn(self) -> np.ndarray:
        """Return rows and columns (n, 2) of what is drawn on the grey picture, its round corners left out."""
        margin = 12
        inside = self.screen()[margin:-margin, margin:-margin].astype(int)
        return np.argwhere((np.abs(inside - GROUND) > 30).any(axis=2)) + margin

    def emulate(self, width: int = 1280, height: int = 900, ratio: float = 1.0, **features: str) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": width < 500}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})


def read(png: bytes) -> Image:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image  # type: ignore[return-value]


def pixels_of(image: Image, track_id: int) -> int:
    """Count pixels of an identity's colour."""
    return int((np.abs(image.astype(int) - track_color(track_id)).max(axis=2) <= 2).sum())


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def page(hub: Hub) -> Iterator[Page]:
    with serve(hub, port=0) as page:
        yield page


@pytest.fixture
def visit(hub: Hub, page: Page, browser: webdriver.Chrome) -> Iterator[Visit]:
    """Open the page at its first frame; the browser has nothing to complain of while it is there."""
    publish(hub, 1)
    browser.get_log("browser")
    visit = Visit(browser)
    visit.emulate()
    browser.get(page.url)
    visit.until_frame(1)
    yield visit
    assert browser.get_log("browser") == []
    browser.get("about:blank")


# ------------------------------------------------------------------------------------------------ what it draws


def test_the_picture_has_its_overlay(visit: Visit) -> None:
    image = visit.screen()
    grey = (np.abs(image.astype(int) - GROUND).max(axis=2) <= 3).mean()
    assert grey > 0.8
    for track_id in BOXES:
        assert pixels_of(image, track_id) > 100 or track_id == TENTATIVE
    height, width = image.shape[:2]
    assert width / height == pytest.approx(WIDTH_PX / HEIGHT_PX, rel=0.01)
    # The box of the one that is seen stands where it should.
    scale = width / WIDTH_PX
    rows, columns = np.nonzero(np.abs(image.astype(int) - track_color(SEEN)).max(axis=2) <= 2)
    left, _, right, bottom = (scale * side for side in BOXES[SEEN])
    assert columns.min() == pytest.approx(left, abs=4)
    assert columns.max() == pytest.approx(right, abs=4)
    assert rows.max() == pytest.approx(bottom, abs=4)


def test_colours_are_those_of_the_overlay_video(visit: Visit) -> None:
    ids = [*range(1, 400), 12_345, 999_999]
    script = "const done = arguments[1]; import('./page.js').then(({trackColor}) => done(arguments[0].map(trackColor)))"
    colors = visit.browser.execute_async_script(script, ids)
    assert [tuple(color[::-1]) for color in colors] == [track_color(track_id) for track_id in ids]


def test_every_part_of_the_overlay_can_be_turned_off(visit: Visit) -> None:
    layers = ["boxes", "ids", "classes", "trails", "ellipses"]
    before = [pixels_of(visit.screen(), SEEN)]
    for layer in layers:
        visit.click(f"[data-layer={layer}]")
        before.append(pixels_of(visit.screen(), SEEN))
    assert before[0] > before[1] > before[2] > before[3] >= before[4] > before[5] == 0
    for key in "ca":  # classes, ages
        visit.press(key)
        assert pixels_of(visit.screen(), SEEN) > 0
        visit.press(key)
    assert pixels_of(visit.screen(), SEEN) == 0
    # The choice outlasts the visit.
    visit.browser.refresh()
    visit.until_frame(1)
    assert pixels_of(visit.screen(), SEEN) == 0
    for layer in layers:
        visit.click(f"[data-layer={layer}]")
    assert pixels_of(visit.screen(), SEEN) == before[0]


def test_regions_are_drawn_and_counted(visit: Visit, hub: Hub) -> None:
    def tinted() -> bool:
        image = visit.screen()
        scale = image.shape[1] / WIDTH_PX
        inside = image[int(400 * scale), int(215 * scale)].astype(int)
        return bool(np.abs(inside - GROUND).max() > 8)

    def line() -> bool:
        image = visit.screen()
        scale = image.shape[1] / WIDTH_PX
        strip = image[int(300 * scale), int(595 * scale) : int(605 * scale)].astype(int)
        return bool(np.abs(strip - GROUND).max() > 60)

    assert not visit.browser.find_element(By.ID, "regions-card").is_displayed()
    assert (tinted(), line()) == (False, False)
    publish(hub, 2, with_regions=True)
    visit.until_frame(2)
    visit.until(lambda: visit.text("regions") == "lawn1 in, 4 enteredgate3 in, 5 out")
    assert (tinted(), line()) == (True, True)
    visit.press("r")
    assert (tinted(), line()) == (False, False)
    visit.press("r")


def test_coasting_and_tentative_objects_can_be_left_out(visit: Visit) -> None:
    assert pixels_of(visit.screen(), COASTING) > 0
    visit.press("o")
    assert pixels_of(visit.screen(), COASTING) == 0
    visit.press("o")
    box = tuple(int(side) for side in BOXES[TENTATIVE])

    def differs() -> bool:
        image = visit.screen()
        scale = image.shape[1] / WIDTH_PX
        strip = image[int(scale * 250) : int(scale * 350), int(scale * box[0]) - 4 : int(scale * box[0]) + 4]
        return bool((np.abs(strip.astype(int) - GROUND) > 8).any())

    assert differs()
    visit.press("n")
    assert not differs()
    visit.press("n")


def test_the_overlay_has_the_resolution_of_the_screen(visit: Visit, hub: Hub) -> None:
    visit.emulate(ratio=2.0)
    publish(hub, 2)
    visit.until_frame(2)
    visit.screen()
    width, shown = visit.ask(
        "const o = document.getElementById('overlay'); return [o.width, o.getBoundingClientRect().width]"
    )
    assert width == pytest.approx(2 * shown, abs=2)
    assert width > WIDTH_PX


def test_trails_follow_the_feet_and_end(visit: Visit, hub: Hub) -> None:
    for layer in ("b", "i", "e"):
        visit.press(layer)

    def walker(index: int, time_s: float) -> None:
        box = tracks_of(1)
        row = {name: getattr(box, name) for name in box.__slots__}
        row["boxes_xyxy"] = np.array([[40.0 * index, 100.0, 40.0 * index + 20.0, 200.0]])
        tracks = Tracks(**row)
        image = np.full((HEIGHT_PX, WIDTH_PX, 3), GROUND, np.uint8)
        hub.publish(LiveFrame(index, time_s, image, tracks, tracks, LiveStats("running")))
        visit.until_frame(index)

    for index in range(2, 12):
        walker(index, 1.0 + index / 10)
    scale = visit.screen().shape[1] / WIDTH_PX
    rows, columns = visit.drawn().T
    assert rows.mean() == pytest.approx(scale * 200.0, abs=3)
    assert columns.max() - columns.min() > scale * 200
    walker(12, 60.0)
    assert len(visit.drawn()) == 0
    for layer in ("b", "i", "e"):
        visit.press(layer)


def test_an_object_is_singled_out_by_its_row_and_by_a_click(visit: Visit) -> None:
    everybody = pixels_of(visit.screen(), COASTING)
    visit.click(f"#objects tr[data-id='{SEEN}'] button")
    assert pixels_of(visit.screen(), COASTING) < everybody / 4
    visit.press(Keys.ESCAPE)
    assert pixels_of(visit.screen(), COASTING) == everybody


# ------------------------------------------------------------------------------------------------ what it says


def test_figures_are_those_of_the_loop(visit: Visit, hub: Hub) -> None:
    publish(hub, 12_345, fps=29.96, latency_ms=31.4, latency_p99_ms=58.7, detector_ms=18.2, tracker_ms=0.44,
            captured=20_000, dropped=2_000, skipped=3, reconnects=4, identities=1_017)  # fmt: skip
    visit.until(lambda: visit.text("frame") == "12 345")
    shown = {
        name: visit.text(name)
        for name in ("seen", "identities", "others", "fps", "latency", "latency-p99", "detector", "tracker",
                     "processed", "dropped", "skipped", "reconnects", "clock", "state")
    }  # fmt: skip
    assert shown == {
        "seen": "1",
        "identities": "1 017",
        "others": "1 coasting, 1 tentative",
        "fps": "30.0",
        "latency": "31",
        "latency-p99": "59 ms",
        "detector": "18 ms",
        "tracker": "0.4 ms",
        "processed": "12 345",
        "dropped": "2 000 (10.0 %)",
        "skipped": "3",
        "reconnects": "4",
        "clock": "20:34",
        "state": "running",
    }


def test_objects_and_events_are_listed(visit: Visit, hub: Hub) -> None:
    rows = [row.text.split() for row in visit.browser.find_elements(By.CSS_SELECTOR, "#objects tr")]
    assert [row[:2] for row in rows] == [["5", "person"], ["8", "dog"], ["13", "person"]]
    assert [row[-1] for row in rows] == ["seen", "coasting", "tentative"]
    for index in range(2, 6):
        publish(hub, index)
    visit.until(lambda: "event of frame 5" in visit.text("events"))
    events = [line.text for line in visit.browser.find_elements(By.CSS_SELECTOR, "#events li")]
    assert [event.split("\n")[-1] for event in events] == [
        *(f"event of frame {index}" for index in (5, 4, 3, 2)),
        "object 5 appears",
        "event of frame 1",
    ]


def test_states_are_said(visit: Visit, hub: Hub) -> None:
    state = visit.browser.find_element(By.ID, "state")
    assert (state.get_attribute("role"), state.get_attribute("aria-live")) == ("status", "polite")
    for said in ("stalled", "connecting", "paused"):
        hub.report(LiveStats(said))  # type: ignore[arg-type]
        visit.until(lambda said=said: visit.text("state") == said)


def test_everything_has_a_name_and_can_be_reached_by_the_keyboard(visit: Visit, hub: Hub) -> None:
    publish(hub, 2, with_regions=True)
    visit.until_frame(2)
    visit.until(lambda: visit.browser.find_element(By.ID, "regions-card").is_displayed())
    tree = visit.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "link", "checkbox", "image", "region", "log", "status", "table", "group", "toolbar"}
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node["ignored"] and node.get("role", {}).get("value") in roles
    ]
    without = [role for role, name in named if not name and role not in {"status", "group", "table"}]
    assert without == []
    assert {"button", "checkbox", "image", "log", "status"} <= {role for role, _ in named}

    reached = set()
    for _ in range(40):
        visit.browser.switch_to.active_element.send_keys(Keys.TAB)
        focus = visit.browser.switch_to.active_element
        reached.add(focus.get_attribute("id") or focus.get_attribute("data-layer"))
        if focus.tag_name == "button":
            assert float(focus.value_of_css_property("outline-width").removesuffix("px")) >= 2
    layers = {box.get_attribute("data-layer") for box in visit.browser.find_elements(By.CSS_SELECTOR, "[data-layer]")}
    assert {"freeze", "pause", "snapshot", "download", "fullscreen", "events", *layers} <= reached


# ------------------------------------------------------------------------------------------------ what it does


def test_freezing_holds_the_view_alone(visit: Visit, hub: Hub) -> None:
    visit.press(" ")
    assert visit.is_pressed("freeze")
    publish(hub, 2)
    visit.until(lambda: visit.text("processed") == "2")
    assert visit.text("frame") == "1"
    assert not hub.paused
    visit.click("#freeze")
    publish(hub, 3)
    visit.until_frame(3)


def test_pausing_reaches_the_loop(visit: Visit, hub: Hub) -> None:
    visit.click("#pause")
    visit.until(lambda: hub.paused and visit.is_pressed("pause"))
    visit.press("p")
    visit.until(lambda: not hub.paused and not visit.is_pressed("pause"))


def test_keys_can_be_turned_off(visit: Visit, hub: Hub) -> None:
    visit.ask("document.querySelector('details').open = true")
    visit.click("#shortcuts")
    visit.press("p")
    visit.click("#pause")
    visit.until(lambda: hub.paused)


def test_snapshot_and_tracks_are_saved(visit: Visit, hub: Hub, tmp_path: Path) -> None:
    behavior = {"behavior": "allow", "downloadPath": str(tmp_path)}
    visit.browser.execute_cdp_cmd("Browser.setDownloadBehavior", behavior)
    visit.press("s")
    picture = tmp_path / "frame-000001.png"
    visit.until(picture.exists)
    image = read(picture.read_bytes())
    assert image.shape == (HEIGHT_PX, WIDTH_PX, 3)
    assert pixels_of(image, SEEN) > 200
    assert (np.abs(image.astype(int) - GROUND).max(axis=2) <= 3).mean() > 0.8

    publish(hub, 2)
    visit.click("#download")
    rows = tmp_path / "tracks.txt"
    visit.until(rows.exists)
    assert rows.read_text() == hub.tracks_text()
    assert [line.split(",")[:2] for line in rows.read_text().splitlines()] == [["1", "5"], ["2", "5"]]


# ------------------------------------------------------------------------------------------------ where it is shown


def test_light_and_dark_follow_the_reader(visit: Visit) -> None:
    def brightness(scheme: str) -> int:
        visit.emulate(prefers_color_scheme=scheme)
        return int(visit.ask("return +getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/)[0]"))

    assert brightness("dark") < 40
    assert brightness("light") > 220


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
def test_nothing_sticks_out_of_a_narrow_screen(visit: Visit, hub: Hub, width: int) -> None:
    visit.emulate(width=width, height=844)
    publish(hub, 2)
    visit.until_frame(2)
    image = visit.screen()
    assert pixels_of(image, SEEN) > 50
    assert visit.ask("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    if width < 500:
        assert image.shape[1] == width  # the picture takes all of it
        heights = visit.ask("return [...document.querySelectorAll('.toolbar > *')].map((e) => e.offsetHeight)")
        assert min(heights) >= 44


# ------------------------------------------------------------------------------------------------ faults


def test_two_viewers_of_which_one_never_reads(visit: Visit, hub: Hub, page: Page) -> None:
    with socket.create_connection(("127.0.0.1", page.port)) as stuck:
        stuck.sendall(
            b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        for index in range(2, 12):
            publish(hub, index)
            visit.until_frame(index)


def test_the_token_opens_the_page_and_leaves_its_address(hub: Hub, browser: webdriver.Chrome) -> None:
    publish(hub, 1)
    with serve(hub, port=0, token="open-sesame") as page:
        visit = Visit(browser)
        visit.emulate()
        browser.get(page.url.partition("?")[0])
        assert "A token is needed" in browser.page_source
        browser.get(page.url)
        visit.until_frame(1)
        assert "open-sesame" not in browser.current_url
        assert pixels_of(visit.screen(), SEEN) > 100
        assert visit.ask("return document.cookie") == ""  # out of the reach of scripts
        browser.get("about:blank")
    browser.get_log("browser")


def test_a_page_outlives_its_server_and_finds_the_next(browser: webdriver.Chrome) -> None:
    first, second = Hub(), Hub()
    visit = Visit(browser)
    visit.emulate()
    with serve(first, port=0) as page:
        publish(first, 70)
        browser.get(page.url)
        visit.until_frame(70)
    visit.until(lambda: visit.text("state") == "ended")
    with serve(second, port=page.port):
        publish(second, 3)
        visit.until_frame(3)
        visit.until(lambda: visit.text("state") == "running")
        events = [line.text for line in browser.find_elements(By.CSS_SELECTOR, "#events li")]
        assert len(events) == 2  # of the second run alone
        browser.get("about:blank")
    browser.get_log("browser")
