"""Metrics of a run while it goes on, in OpenMetrics text over HTTP: ``ftpstorm run --metrics ADDRESS:PORT``.

The supervisor opens the listening socket and hands it down, so that it is reached from the host's network also where
the run has a network namespace of its own. Kernel, pool and sessions in flight come from the children's progress; what
carries a load's or a class's name is counted from the spools when somebody asks. Nobody asking costs nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ftpstorm.errors import UsageError

if TYPE_CHECKING:
    from ftpstorm.conduct.dashboard import Dashboard
    from ftpstorm.conduct.exposition import RunCollector
    from ftpstorm.plan.plan import Plan

ENVIRONMENT_KEY: Final = "FTPSTORM_METRICS"
"""Number of the inherited listening socket."""
DEFAULT_HOST: Final = "127.0.0.1"
BACKLOG: Final = 16
REQUEST_BYTES_MAX: Final = 8192
REQUEST_WITHIN_S: Final = 5.0
REUSE_S: Final = 0.2
"""A scrape so soon after another gets the same figures: a hasty scraper must not cost the load anything."""

Scrape = Callable[[str], tuple[bytes, str]]
"""From the request's Accept header to the body and its content type."""


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``ADDRESS:PORT``, ``[IPv6]:PORT`` or ``PORT`` alone, which means loopback.

    Port 0 lets the kernel choose. Raises UsageError that says what to write.
    """
    host, colon, port = text.strip().rpartition(":")
    host = host.strip("[]") if colon else ""
    try:
        number = int(port)
        if not 0 <= number <= 65_535:
            raise ValueError
        address = ip_address(host or DEFAULT_HOST)
    except ValueError:
        raise UsageError(
            f"--metrics {text}: write an address of this host and a port, such as 127.0.0.1:9464 or [::1]:9464; "
            "a port alone means 127.0.0.1"
        ) from None
    return str(address), number


def listen(text: str) -> socket.socket:
    """Return a listening socket for ``--metrics TEXT``. Raises UsageError where that cannot be had here."""
    host, port = parse_address(text)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        # create_server adds words of its own to strerror
        raise UsageError(
            f"--metrics {text}: {os.strerror(error.errno or 0)}; choose another port, or 0 for any that is free"
        ) from None


def url_of(sock: socket.socket) -> str:
    """Return where the metrics are read."""
    host, port = sock.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"


def inherited_socket() -> socket.socket | None:
    """Return the listening socket that the supervisor left to this process, None where there is none."""
    number = os.environ.pop(ENVIRONMENT_KEY, None)
    return socket.socket(fileno=int(number)) if number is not None else None


@asynccontextmanager
async def serve_metrics(
    sock: socket.socket | None, plan: Plan, dashboard: Dashboard, folder: Path
) -> AsyncIterator[None]:
    """Serve the metrics of a run on `sock` for as long as the context lasts; without a socket do nothing.

    Whoever connects gets figures or an HTTP error, and cannot hold the run up: a request is bounded in size and time.
    """
    if sock is None:
        yield
        return
    from ftpstorm.conduct.exposition import RunCollector

    scrape = _reused(RunCollector(plan, dashboard, folder))
    server = await asyncio.start_server(lambda r, w: _answer(r, w, scrape), sock=sock.dup(), limit=REQUEST_BYTES_MAX)
    try:
        yield
    finally:
        server.close()


def _reused(collector: RunCollector) -> Scrape:
    """Return a scrape that renders at most each REUSE_S for one Accept header."""
    last: dict[str, tuple[float, tuple[bytes, str]]] = {}

    def scrape(accept: str) -> tuple[bytes, str]:
        now = time.monotonic()
        at, body = last.get(accept, (-REUSE_S, (b"", "")))
        if now - at >= REUSE_S:
            body = collector.render(accept)
            last.clear()
            last[accept] = (now, body)
        return body

    return scrape


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, scrape: Scrape) -> None:
    """Answer one HTTP request and close (RFC 9112; HTTP/1.1 with `Connection: close`)."""
    try:
        async with asyncio.timeout(REQUEST_WITHIN_S):
            writer.write(_response(await reader.readuntil(b"\r\n\r\n"), scrape))
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
        pass  # no request, or nobody to answer
    finally:
        writer.close()


def _response(request: bytes, scrape: Scrape) -> bytes:
    first, *lines = request.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    headers = dict(_header_fields(lines))
    if method not in ("GET", "HEAD"):
        return _message(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET\n", head=False)
    if path not in ("/metrics", "/"):
        return _message(HTTPStatus.NOT_FOUND, b"the metrics are at /metrics\n", head=method == "HEAD")
    body, kind = scrape(headers.get("accept", ""))
    return _message(HTTPStatus.OK, body, kind=kind, head=method == "HEAD")


def _header_fields(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip().lower(), value.strip()


def _message(status: HTTPStatus, body: bytes, *, kind: str = "text/plain; charset=utf-8", head: bool) -> bytes:
    fields: dict[str, Any] = {"Content-Type": kind, "Content-Length": len(body), "Connection": "close"}
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if head else body)
