"""The page's door and its WebSocket, through real connections on the loopback."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.moments import tracks_of
from tracker.app.hub import Event, Hub, LiveFrame, LiveStats
from tracker.app.web import Page, parse_address, serve
from tracker.errors import ConfigurationError
from tracker.formats.motchallenge import format_rows

ENDPOINTS = ["/", "/page.js", "/page.css", "/tracks", "/tracks.txt", "/health", "/metrics"]
LEVELS = 11
DEADLINE_S = 20.0


def publish(hub: Hub, index: int, *, width: int = 64) -> None:
    """Publish a frame whose grey level tells its index."""
    image = np.full((48, width, 3), index * LEVELS, np.uint8)
    tracks = tracks_of(index)
    events = (Event(index, index / 10, f"{index} enters", (index,)),)
    stats = LiveStats("running", processed=index)
    hub.publish(LiveFrame(index, index / 10, image, tracks, tracks_of(), stats, events))


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: str


def get(page: Page, path: str, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=DEADLINE_S)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return Answer(
            response.status, {name.lower(): value for name, value in response.getheaders()}, response.read().decode()
        )
    finally:
        connection.close()


class Viewer:
    """A viewer that answers when it is told to."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def receive(self, timeout_s: float = DEADLINE_S) -> tuple[dict[str, Any], bytes]:
        data = self._connection.recv(timeout_s)
        assert isinstance(data, bytes)
        length = int.from_bytes(data[:4])
        return json.loads(data[4 : 4 + length]), data[4 + length :]

    def send(self, text: str) -> None:
        self._connection.send(text)

    def tell(self, **command: object) -> None:
        self.send(json.dumps(command))

    def vanish(self) -> None:
        self._connection.socket.shutdown(socket.SHUT_RDWR)

    def acknowledge(self) -> None:
        self.tell(do="ack")

    def meet(self) -> None:
        """Wait until the server has got all commands, and all that it sent is here."""
        assert self._connection.ping().wait(DEADLINE_S)

    def waiting(self) -> list[dict[str, Any]]:
        """Take all that has been sent, without answering."""
        self.meet()
        headers = []
        with suppress(TimeoutError):
            while True:
                headers.append(self.receive(timeout_s=0.0)[0])
        return headers

    def to_the_end(self) -> tuple[str, int | None]:
        """Take messages until the connection is closed; return the last state and the reason's code."""
        state = ""
        with suppress(ConnectionClosed):
            while True:
                state = self.receive()[0]["state"]
                self.acknowledge()
        return state, self._connection.close_code

    def next_frame(self) -> tuple[dict[str, Any], bytes]:
        """Take messages until one brings a picture."""
        while True:
            header, jpeg = self.receive()
            self.acknowledge()
            if jpeg:
                return header, jpeg


@contextmanager
def viewer_of(page: Page, path: str = "/live", **options: Any) -> Iterator[Viewer]:
    with connect(f"ws://127.0.0.1:{page.port}{path}", proxy=None, max_size=None, **options) as connection:
        yield Viewer(connection)


def level_of(jpeg: bytes) -> int:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return round(float(image.mean()) / LEVELS)


def metric(page: Page, name: str) -> float:
    (line,) = (line for line in get(page, "/metrics").body.splitlines() if line.startswith(f"{name} "))
    return float(line.split()[1])


def until(condition: Callable[[], bool]) -> None:
    """Ask again until it is so."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def page(hub: Hub) -> Iterator[Page]:
    with serve(hub, port=0) as page:
        yield page


@pytest.fixture
def guarded(hub: Hub) -> Iterator[Page]:
    with serve(hub, port=0, token="open-sesame") as page:
        yield page


# ------------------------------------------------------------------------------------------------ the address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8000", ("127.0.0.1", 8000)),
        (":8000", ("127.0.0.1", 8000)),
        ("0", ("127.0.0.1", 0)),
        ("localhost:80", ("localhost", 80)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
        ("[::1]:8000", ("::1", 8000)),
    ],
)
def test_an_address_is_a_port_with_or_without_a_host(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["", "host", "host:", "65536", "-1", "::1:8000", "8000:host", "1.5", "²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^--serve .*: must read PORT or HOST:PORT"):
        parse_address(text)


def test_a_port_that_is_taken_is_named_before_anything_runs(page: Page) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"^--serve 127.0.0.1:{page.port}: cannot be bound: address already in use"
    ):
        serve(Hub(), port=page.port).__enter__()


def test_a_host_that_is_not_there_is_named() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^--serve 192\.0\.2\.1:0: cannot be bound: cannot assign requested address"
    ):
        serve(Hub(), "192.0.2.1", 0).__enter__()


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigurationError, match=r"library uvicorn, .*pip install 'gmm-tracker\[web\]'"):
        serve(Hub(), port=0).__enter__()


def test_the_page_ends_with_its_context_and_frees_its_port() -> None:
    hub = Hub()
    with serve(hub, port=0) as page:
        assert get(page, "/health").status == 503
    assert hub.closed
    with pytest.raises(OSError, match="refused"):
        get(page, "/health")
    with serve(Hub(), port=page.port) as again:
        assert get(again, "/").status == 200


# ------------------------------------------------------------------------------------------------ who may come in


def test_on_the_loopback_no_token_is_asked_for(page: Page) -> None:
    assert page.token is None
    assert page.url == f"http://127.0.0.1:{page.port}/"
    for name in ("localhost", "LOCALHOST:9000", "[::1]:80", "127.0.0.1"):
        assert get(page, "/tracks", Host=name).status == 200


@pytest.mark.parametrize("name", ["attacker.example", "attacker.example:80", "127.0.0.1.attacker.example", "[", ""])
def test_a_foreign_name_for_this_machine_is_refused(page: Page, name: str) -> None:
    assert {get(page, path, Host=name).status for path in ENDPOINTS} == {421}


def test_another_site_cannot_use_the_websocket(page: Page) -> None:
    for origin in ("http://attacker.example", f"http://127.0.0.1:{page.port + 1}", "null"):
        with pytest.raises(InvalidStatus) as refused, viewer_of(page, origin=origin):
            pass
        assert refused.value.response.status_code == 403
    with viewer_of(page, origin=f"http://127.0.0.1:{page.port}") as viewer:
        assert viewer.receive()[0]["state"] == "connecting"


def test_elsewhere_a_token_is_made() -> None:
    with serve(Hub(), "0.0.0.0", 0) as first, serve(Hub(), "0.0.0.0", 0) as second:
        assert first.token is not None
        assert second.token is not None
        assert first.token != second.token
        assert len(first.token) >= 32
        assert first.url.endswith(f":{first.port}/?token={first.token}")
        assert "0.0.0.0" not in first.url
        assert get(first, "/").status == 401
        assert get(first, f"/tracks?token={first.token}", Host="any.name").status == 200


@pytest.mark.parametrize("token", ["", "open sesame", "sésame", 'a"b', "a;b", "a\n"])
def test_a_token_is_what_addresses_and_cookies_can_carry(token: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^--token: must be made of letters, digits"):
        serve(Hub(), port=0, token=token).__enter__()


def test_every_endpoint_asks_for_the_token(guarded: Page) -> None:
    for path in ENDPOINTS:
        assert get(guarded, path).status == 401
        assert get(guarded, f"{path}?token=").status == 401
        assert get(guarded, f"{path}?token=open-sesam%C3%A9").status == 401
        assert get(guarded, path, Authorization="Basic open-sesame").status == 401
        assert get(guarded, path, Authorization="Bearer open").status == 401
        assert get(guarded, path, Authorization="Bearer open-sesame").status in {200, 503}


def test_the_websocket_asks_for_the_token(guarded: Page) -> None:
    for path in ("/live", "/live?token=wrong"):
        with pytest.raises(InvalidStatus) as refused, viewer_of(guarded, path):
            pass
        assert refused.value.response.status_code == 401
    with viewer_of(guarded, "/live?token=open-sesame") as viewer:
        assert viewer.receive()[0]["state"] == "connecting"


def test_the_first_visit_turns_the_token_into_a_cookie(guarded: Page) -> None:
    first = get(guarded, guarded.url.partition(str(guarded.port))[2])
    assert (first.status, first.headers["location"]) == (303, "./")
    cookie, *attributes = first.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(attributes)
    assert get(guarded, "/", Cookie=cookie).status == 200
    assert get(guarded, "/tracks", Cookie=cookie.replace("sesame", "barley")).status == 401
    with viewer_of(guarded, additional_headers={"Cookie": cookie}) as viewer:
        assert viewer.receive()[0]["state"] == "connecting"


def test_the_browser_is_told_to_do_no_more_than_the_page_needs(page: Page, guarded: Page) -> None:
    for answer in (get(page, "/"), get(page, "/nothing"), get(guarded, "/")):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


# ------------------------------------------------------------------------------------------------ what is to be had


def test_the_page_and_its_parts_are_there(page: Page) -> None:
    index = get(page, "/")
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    for part in ("page.js", "page.css"):
        assert f'"{part}"' in index.body
        assert get(page, f"/{part}").headers["content-type"].startswith("text/")
    assert "http://" not in index.body.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in index.body


def test_health_is_the_state_of_the_loop(hub: Hub, page: Page) -> None:
    assert get(page, "/health").status == 503
    publish(hub, 1)
    answer = get(page, "/health")
    assert (answer.status, json.loads(answer.body)["state"]) == (200, "running")
    hub.report(LiveStats("stalled"))
    assert get(page, "/health").status == 503


def test_tracks_come_as_json_and_as_a_file(hub: Hub, page: Page) -> None:
    tracks = tracks_of(4)
    image = np.zeros((48, 64, 3), np.uint8)
    hub.publish(LiveFrame(3, 0.3, image, tracks, tracks, LiveStats("running")))
    assert [track["id"] for track in json.loads(get(page, "/tracks").body)["tracks"]] == [4]
    answer = get(page, "/tracks.txt")
    assert answer.body == hub.tracks_text() == format_rows(3, tracks)
    assert answer.headers["content-disposition"] == 'attachment; filename="tracks.txt"'


def test_metrics_have_prometheus_type(page: Page) -> None:
    answer = get(page, "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "# TYPE track_frames_processed_total counter\n" in answer.body


# ------------------------------------------------------------------------------------------------ the pictures


def test_picture_and_tracks_belong_together(hub: Hub, page: Page) -> None:
    with viewer_of(page) as viewer:
        assert viewer.receive()[0]["frame"] is None
        viewer.acknowledge()
        for index in range(1, 20):
            publish(hub, index)
            header, jpeg = viewer.next_frame()
            assert header["frame"] == level_of(jpeg) == index
            assert header["tracks"]["ids"] == [index]
            assert [event["text"] for event in header["events"]] == [f"{index} enters"]


def test_a_viewer_that_comes_late_gets_the_newest_and_all_events(hub: Hub, page: Page) -> None:
    for index in range(1, 6):
        publish(hub, index)
    with viewer_of(page) as viewer:
        header, jpeg = viewer.receive()
        assert header["frame"] == level_of(jpeg) == 5
        assert [event["number"] for event in header["events"]] == [1, 2, 3, 4, 5]


def test_a_picture_is_sent_once_and_news_without_it(hub: Hub, page: Page) -> None:
    publish(hub, 1)
    with viewer_of(page) as viewer:
        assert viewer.receive()[1] != b""
        viewer.acknowledge()
        hub.report(LiveStats("stalled"))
        header, jpeg = viewer.receive()
        assert (header["state"], header["frame"], jpeg) == ("stalled", 1, b"")


def test_a_slow_viewer_skips_to_the_newest_and_delays_nobody(hub: Hub, page: Page) -> None:
    with viewer_of(page) as slow, viewer_of(page) as quick:
        slow.receive()
        quick.receive()
        quick.acknowledge()
        publish(hub, 1)
        assert slow.receive()[0]["frame"] == quick.next_frame()[0]["frame"] == 1
        for index in range(2, 21):  # the slow one has two messages to answer
            publish(hub, index)
            assert quick.next_frame()[0]["frame"] == index
        assert slow.waiting() == []
        slow.acknowledge()
        header, jpeg = slow.receive()
        assert header["frame"] == level_of(jpeg) == 20
        assert [event["number"] for event in header["events"]] == list(range(2, 21))


def test_answers_to_nothing_give_no_credit(hub: Hub, page: Page) -> None:
    with viewer_of(page) as greedy, viewer_of(page) as quick:
        greedy.receive()
        quick.receive()
        for _ in range(50):
            greedy.acknowledge()
        greedy.meet()
        quick.acknowledge()
        for index in range(1, 10):
            publish(hub, index)
            quick.next_frame()
        assert len(greedy.waiting()) == 2


def test_a_frame_is_encoded_once_for_all_and_only_for_viewers(
    hub: Hub, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    imencode = cv2.imencode

    def counted(suffix: str, image: np.ndarray, options: list[int]) -> Any:
        encoded.append(round(float(image.mean()) / LEVELS))
        return imencode(suffix, image, options)

    monkeypatch.setattr(cv2, "imencode", counted)
    publish(hub, 1)
    get(page, "/tracks")
    assert encoded == []
    with viewer_of(page) as first, viewer_of(page) as second:
        for index in range(2, 12):
            publish(hub, index)
            # The newest may be the one before when a viewer has just come.
            while first.next_frame()[0]["frame"] != index:
                pass
            while second.next_frame()[0]["frame"] != index:
                pass
        assert sorted(set(encoded)) == sorted(encoded)
        assert encoded[-1] == 11
        for viewer in (first, second):
            viewer.tell(do="watch", on=False)
            viewer.tell(do="pause", on=True)
        until(lambda: hub.paused)
    until(lambda: metric(page, "track_viewers") == 0)
    before = len(encoded)
    publish(hub, 12)
    get(page, "/tracks")
    assert len(encoded) == before


def test_who_leaves_while_a_picture_is_encoded_takes_it_from_nobody(
    hub: Hub, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    imencode = cv2.imencode

    def held(*arguments: Any) -> Any:
        begun.set()
        assert go_on.wait(DEADLINE_S)
        return imencode(*arguments)

    monkeypatch.setattr(cv2, "imencode", held)
    with viewer_of(page) as leaves, viewer_of(page) as stays:
        for viewer in (leaves, stays):
            viewer.receive()
            viewer.acknowledge()
        publish(hub, 1)
        assert begun.wait(DEADLINE_S)
        leaves.vanish()
        until(lambda: metric(page, "track_viewers") == 1)
        go_on.set()
        assert stays.next_frame()[0]["frame"] == 1


def test_a_hidden_page_is_left_in_peace_until_it_looks_again(hub: Hub, page: Page) -> None:
    with viewer_of(page) as hidden, viewer_of(page) as quick:
        hidden.receive()
        hidden.tell(do="watch", on=False)
        hidden.tell(do="pause", on=True)
        until(lambda: hub.paused)  # commands are obeyed in their order
        quick.receive()
        quick.acknowledge()
        for index in range(1, 10):
            publish(hub, index)
            quick.next_frame()
        assert [header["frame"] for header in hidden.waiting()] in ([], [None])  # sent before it hid
        hidden.tell(do="watch", on=True)
        hidden.acknowledge()
        assert hidden.next_frame()[0]["frame"] == 9


def test_a_large_picture_is_sent_smaller_with_its_own_size_told(hub: Hub, page: Page) -> None:
    publish(hub, 3, width=2000)
    with viewer_of(page) as viewer:
        header, jpeg = viewer.receive()
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape[1] == 1280
        assert header["width_px"] == 2000


# ------------------------------------------------------------------------------------------------ commands and faults


def test_pausing_reaches_the_loop_and_every_viewer(hub: Hub, page: Page) -> None:
    with viewer_of(page) as one, viewer_of(page) as other:
        one.receive()
        other.receive()
        one.tell(do="pause", on=True)
        while not other.receive()[0]["paused"]:
            other.acknowledge()
        assert hub.paused
        other.acknowledge()
        other.tell(do="pause", on=False)
        until(lambda: not hub.paused)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"do": "format"}', '{"do": "pause"}', '{"do": "pause", "on": "yes"}']
)
def test_what_is_no_command_ends_the_connection(page: Page, text: str) -> None:
    with viewer_of(page) as viewer:
        viewer.send(text)
        assert viewer.to_the_end()[1] == 1008


def test_viewers_that_leave_are_forgotten(hub: Hub, page: Page) -> None:
    with viewer_of(page) as polite, viewer_of(page) as rude:
        polite.receive()
        rude.receive()
        until(lambda: metric(page, "track_viewers") == 2)
        rude.vanish()
        until(lambda: metric(page, "track_viewers") == 1)
        publish(hub, 1)
        polite.acknowledge()
        assert polite.next_frame()[0]["frame"] == 1
    until(lambda: metric(page, "track_viewers") == 0)


def test_a_viewer_that_never_reads_holds_up_neither_the_others_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    create_server = socket.create_server

    def with_a_small_buffer(*arguments: Any, **options: Any) -> socket.socket:
        server = create_server(*arguments, **options)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        return server

    monkeypatch.setattr(socket, "create_server", with_a_small_buffer)
    hub = Hub()
    noise = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with stuck, serve(hub, port=0) as page:
        stuck.connect(("127.0.0.1", page.port))
        stuck.sendall(
            b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            # An answer to everything: a masked frame that says {"do":"ack"}, with a mask of zeros.
            + 50
            * (b"\x81\x8c\0\0\0\0" + b'{"do":"ack"}')
        )
        until(lambda: metric(page, "track_viewers") == 1)
        with viewer_of(page) as viewer:
            for index in range(1, 9):
                tracks = tracks_of(index)
                hub.publish(LiveFrame(index, index / 10, noise + np.uint8(index), tracks, tracks, LiveStats("running")))
                while viewer.next_frame()[0]["frame"] != index:
                    pass
            assert metric(page, "track_viewers") == 2
    assert hub.closed
    assert not any(thread.name == "page" for thread in threading.enumerate())


def test_the_end_is_told_to_every_viewer(hub: Hub, page: Page) -> None:
    with viewer_of(page) as viewer:
        viewer.receive()
        viewer.acknowledge()
        hub.close()
        assert viewer.to_the_end() == ("ended", 1001)
