"""The door of the page: where it is served, who may come in, and the thread in which it runs."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracker.app.hub import Hub
from tracker.errors import ConfigurationError, reason_of

if TYPE_CHECKING:
    import uvicorn

LOOPBACK = "127.0.0.1"
_TOKEN = r"[A-Za-z0-9._~-]+"
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_LONGEST_COMMAND_BYTES = 4096
_FAREWELL_S = 1
_LOST_AFTER_MS = 30_000


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is being served.

    Parameters
    ----------
    url
        What to open, with the token where one is needed.
    host, port
        Where it is bound.
    token
        What a request must carry; None where none is needed.
    """

    url: str
    host: str
    port: int
    token: str | None


def parse_address(text: str) -> tuple[str, int]:
    """Read ``[HOST:]PORT``; without a host it is the loopback, an IPv6 address stands in brackets.

    Raises
    ------
    ConfigurationError
        For anything else.
    """
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535) or (":" in host and not bracketed):
        raise ConfigurationError(f"--serve {text}: must read PORT or HOST:PORT, such as 8000, 0.0.0.0:8000, [::]:8000")
    return host.strip("[]") or LOOPBACK, int(port)


@contextmanager
def serve(hub: Hub, host: str = LOOPBACK, port: int = 8000, token: str | None = None) -> Iterator[Page]:
    """Serve the page in a thread of its own for as long as the context lasts; closes the hub at its end.

    Parameters
    ----------
    hub
        Where the live loop publishes.
    host, port
        Where to listen; port 0 takes any that is free.
    token
        What every request must carry. None: a loopback address asks for none, any other gets a random one.

    Raises
    ------
    ConfigurationError
        When the address cannot be bound, the token is not made of letters, digits and -._~, or the libraries of
        the extra ``web`` are missing.
    """
    try:
        import uvicorn

        from tracker.app.endpoints import create_app
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"--serve needs the library {error.name}, which is not installed: pip install 'gmm-tracker[web]'"
        ) from None
    if token is None and not _is_loopback(host):
        token = secrets.token_urlsafe(24)
    if token is not None and not re.fullmatch(_TOKEN, token):
        raise ConfigurationError(
            "--token: must be made of letters, digits and -._~, which addresses and cookies keep as they are"
        )

    with _listen(host, port) as listener:
        port = listener.getsockname()[1]
        app = create_app(hub, token=token, cookie=f"track_token_{port}", local_names=_LOCAL_NAMES | {host})
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                ws="websockets-sansio",
                ws_max_size=_LONGEST_COMMAND_BYTES,
                ws_per_message_deflate=False,  # pictures are compressed already
                proxy_headers=False,
                server_header=False,
                access_log=False,  # addresses may hold the token
                log_config=None,
                timeout_graceful_shutdown=_FAREWELL_S,
            )
        )
        thread = threading.Thread(target=_run, args=(server, listener), name="page", daemon=True)
        thread.start()
        try:
            yield Page(_url(host, port, token), host, port, token)
        finally:
            hub.close()
            server.should_exit = True
            thread.join()


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    async def serve_to_the_end() -> None:
        await server.serve(sockets=[listener])
        # Who does not read does not let go either.
        for connection in list(server.server_state.connections):
            if (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()
        await asyncio.sleep(0)

    asyncio.run(serve_to_the_end())


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        place = f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
        raise ConfigurationError(
            f"--serve {place}: cannot be bound: {reason_of(error)}; choose another, or port 0 for any free one"
        ) from None
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # viewers that vanish are forgotten sooner than the system would
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _LOST_AFTER_MS)
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _url(host: str, port: int, token: str | None) -> str:
    name = _own_address(host) if host in {"0.0.0.0", "::"} else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + ("" if token is None else f"?token={token}")


def _own_address(host: str) -> str:
    """Return an address of this machine that others can use, in place of one that stands for all."""
    family, elsewhere = (socket.AF_INET6, "2001:db8::1") if host == "::" else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((elsewhere, 9))  # asks for the route; nothing is sent
        except OSError:  # no network: the name is as good as any
            return socket.gethostname()
        return str(probe.getsockname()[0])
