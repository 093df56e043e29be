"""The web application: the page, its WebSocket, and what programs and monitoring read.

A message of the WebSocket is a 4-byte big-endian length, a JSON header of that length (see
:func:`~tracker.app.telemetry.page_header`) and a JPEG, so that picture and tracks always belong together. The JPEG
is empty when the viewer has the newest picture already. The page answers every message with ``{"do": "ack"}``; with
``_IN_FLIGHT`` unanswered messages a viewer is sent nothing, and then the newest, which is how a slow viewer gets
fewer pictures and holds nobody back. ``{"do": "watch", "on": false}`` asks for silence while the page is hidden,
``{"do": "pause", "on": true}`` for the live loop to pause.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from typing import Any, NoReturn
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from tracker.app.hub import Hub, LiveFrame
from tracker.app.telemetry import METRICS_TYPE, health, metrics_text, page_header, tracks_record
from tracker.media.jpeg import encode_jpeg

_IN_FLIGHT = 2  # one being drawn, one on its way: a viewer far away is not slowed by the time of the answer
_HEARTBEAT_S = 1.0
_PROTOCOL_ERROR, _GOING_AWAY = 1008, 1001  # RFC 6455, section 7.4.1
_PAGE = {"index.html": "text/html", "page.js": "text/javascript", "page.css": "text/css"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_app(
    hub: Hub,
    *,
    token: str | None = None,
    cookie: str = "track_token",
    local_names: frozenset[str] = frozenset({"localhost", "127.0.0.1", "::1"}),
) -> Starlette:
    """Return the application that shows ``hub`` to any number of viewers.

    Parameters
    ----------
    hub
        Where the live loop publishes.
    token
        What every request must carry; None lets in everybody who asks for one of ``local_names``.
    cookie
        Name of the cookie that keeps the token after the first visit.
    local_names
        Host names that a request may ask for when there is no token.
    """
    room = _Room(hub)
    page = {name: files("tracker.app").joinpath("page", name).read_bytes() for name in _PAGE}

    def part_of_page(name: str) -> Route:
        async def endpoint(_: Request) -> Response:
            return Response(page[name], media_type=_PAGE[name])

        return Route("/" if name == "index.html" else f"/{name}", endpoint)

    async def tracks(_: Request) -> Response:
        return JSONResponse(tracks_record(hub.snapshot()))

    async def tracks_file(_: Request) -> Response:
        text = await asyncio.to_thread(hub.tracks_text)
        return PlainTextResponse(text, headers={"Content-Disposition": 'attachment; filename="tracks.txt"'})

    async def health_(_: Request) -> Response:
        healthy, record = health(hub.snapshot())
        return JSONResponse(record, 200 if healthy else 503)

    async def metrics(_: Request) -> Response:
        text = metrics_text(hub.snapshot(), viewers=room.viewers, pictures_sent=room.pictures_sent)
        return Response(text, headers={"Content-Type": METRICS_TYPE})

    return Starlette(
        routes=[
            *map(part_of_page, _PAGE),
            Route("/tracks", tracks),
            Route("/tracks.txt", tracks_file),
            Route("/health", health_),
            Route("/metrics", metrics),
            WebSocketRoute("/live", room.show),
        ],
        middleware=[Middleware(_Guard, token=token, cookie=cookie, local_names=local_names)],
        lifespan=room.open,
    )


class _Guard:
    """Lets in who may come in, and sets the headers that keep a browser from doing more than the page needs."""

    def __init__(self, app: ASGIApp, *, token: str | None, cookie: str, local_names: frozenset[str]) -> None:
        self._app = app
        self._token = token
        self._cookie = cookie
        self._local_names = local_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"].endswith("http.response.start"):
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        answer = self._answer(HTTPConnection(scope)) or self._app
        return await answer(scope, receive, send_with_headers)

    def _answer(self, request: HTTPConnection) -> Response | None:
        """Return the answer to a request that the application shall not see."""
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return PlainTextResponse("This page may not be used from another site.\n", 403)
        if self._token is None:
            # A name that an attacker lets point to this machine would make his site the page's own origin.
            if _host_name(request) not in self._local_names:
                return PlainTextResponse("Without a token the page answers to the names of this machine only.\n", 421)
            return None
        if not any(hmac.compare_digest(given.encode(), self._token.encode()) for given in self._given(request)):
            text = "A token is needed: open the address that was printed at the start, with ?token=... at its end.\n"
            return PlainTextResponse(text, 401, {"WWW-Authenticate": "Bearer"})
        if request.url.path == "/" and "token" in request.query_params:
            # The token moves from the address, which is shown and kept, to a cookie.
            redirect = RedirectResponse("./", 303)
            redirect.set_cookie(self._cookie, self._token, httponly=True, samesite="lax")
            return redirect
        return None

    def _given(self, request: HTTPConnection) -> list[str]:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        return [
            request.query_params.get("token", ""),
            request.cookies.get(self._cookie, ""),
            bearer.strip() if scheme.lower() == "bearer" else "",
        ]


def _host_name(request: HTTPConnection) -> str | None:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:  # brackets without an address between them
        return None


class _Room:
    """Where the viewers are; all of it lives in the event loop's thread but for the encoding."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._run = secrets.token_hex(8)  # frames and events of another run do not continue this one's
        self._news = asyncio.Event()
        self._encoded: tuple[LiveFrame, asyncio.Future[bytes]] | None = None
        self._encoder = ThreadPoolExecutor(1, "jpeg")
        self.viewers = 0
        self.pictures_sent = 0

    @asynccontextmanager
    async def open(self, _: Starlette) -> AsyncIterator[None]:
        """Listen to the hub for as long as the application runs."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the event loop has just been closed
                loop.call_soon_threadsafe(self._wake_viewers)

        unsubscribe = self._hub.subscribe(wake)
        try:
            yield
        finally:
            unsubscribe()
            self._encoder.shutdown(wait=False)

    async def show(self, websocket: WebSocket) -> None:
        """Serve one viewer until it leaves or nothing more will come."""
        await websocket.accept()
        viewer = _Viewer()
        self.viewers += 1
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._listen(websocket, viewer))
                both.create_task(self._send(websocket, viewer))
        except* WebSocketDisconnect:
            pass
        finally:
            self.viewers -= 1

    async def _listen(self, websocket: WebSocket, viewer: _Viewer) -> None:
        """Do what the viewer asks for, until it leaves: :class:`WebSocketDisconnect`."""
        while True:
            match _command(await websocket.receive()):
                case {"do": "ack"}:
                    viewer.acknowledge()
                case {"do": "watch", "on": True}:
                    viewer.watching.set()
                case {"do": "watch", "on": False}:
                    viewer.watching.clear()
                case {"do": "pause", "on": bool(on)}:
                    self._hub.request_pause(on)
                case _:
                    await _hang_up(websocket, _PROTOCOL_ERROR, "not a command")

    async def _send(self, websocket: WebSocket, viewer: _Viewer) -> None:
        """Send the newest, again and again, as fast as the viewer takes it."""
        version, event, shown = -1, 0, None
        while True:
            await viewer.ready()
            await self._newer_than(version)
            if not viewer.watching.is_set():  # it hid in the meantime
                continue
            snapshot = self._hub.snapshot()
            version, frame = snapshot.version, snapshot.frame
            content = page_header(snapshot, event) | {"run": self._run}
            header = json.dumps(content, separators=(",", ":")).encode()
            event = snapshot.events[-1][0] if snapshot.events else 0
            jpeg = b""
            if frame is not None and frame is not shown:
                jpeg, shown = await self._jpeg(frame), frame
                self.pictures_sent += 1
            viewer.sent()
            await websocket.send_bytes(len(header).to_bytes(4) + header + jpeg)
            if snapshot.closed:
                await _hang_up(websocket, _GOING_AWAY, "ended")

    async def _newer_than(self, version: int) -> None:
        """Wait for news, but not for long: the page shall know that the connection lives."""
        news = self._news
        if self._hub.version == version:
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), _HEARTBEAT_S)

    def _wake_viewers(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _jpeg(self, frame: LiveFrame) -> bytes:
        """Return the frame's picture, encoded outside the event loop and once for all viewers."""
        if self._encoded is None or self._encoded[0] is not frame:
            loop = asyncio.get_running_loop()
            self._encoded = frame, loop.run_in_executor(self._encoder, encode_jpeg, frame.image)
        return await asyncio.shield(self._encoded[1])  # a viewer that leaves takes nothing from the others


class _Viewer:
    """What is known of one viewer."""

    def __init__(self) -> None:
        self.watching = asyncio.Event()
        self.watching.set()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._in_flight = 0

    async def ready(self) -> None:
        """Wait until the viewer looks and has room for another message."""
        await self._has_room.wait()
        await self.watching.wait()

    def sent(self) -> None:
        """Note that a message is on its way."""
        self._in_flight += 1
        if self._in_flight >= _IN_FLIGHT:
            self._has_room.clear()

    def acknowledge(self) -> None:
        """Note that a message has arrived; answers to nothing do not count."""
        self._in_flight = max(0, self._in_flight - 1)
        self._has_room.set()


async def _hang_up(websocket: WebSocket, code: int, reason: str) -> NoReturn:
    """Close the connection and leave it as a viewer that left does."""
    await websocket.close(code, reason)
    raise WebSocketDisconnect(code, reason)


def _command(message: Message) -> Any:
    """Return what a viewer sent, None where it is not JSON.

    Raises
    ------
    WebSocketDisconnect
        When the viewer has left.
    """
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"], message.get("reason"))
    try:
        return json.loads(message.get("text") or "")
    except ValueError:
        return None
