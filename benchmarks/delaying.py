"""A link with a round trip of a given length, in a process of its own: TCP here, the server's socket behind it.

Every block that comes in goes out again half a round trip later, whatever else is under way.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import selectors
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from sqlalchemy import URL

_START_SECONDS = 60


class _End(asyncio.Protocol):
    """One end: what comes in here leaves through the other's transport."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.other: _End | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is a stream's
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self.delay, self._pass_on, data)

    def _pass_on(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _ClientEnd(_End):
    """Where a client connects: it is not listened to before there is a server behind it."""

    def __init__(self, delay: float, socket: str) -> None:
        super().__init__(delay)
        self._socket = socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None  # noqa: S101
        self.transport.pause_reading()
        self._reaching = asyncio.get_running_loop().create_task(self._reach())

    async def _reach(self) -> None:
        assert self.transport is not None  # noqa: S101
        behind = _End(self.delay)
        behind.other = self
        await asyncio.get_running_loop().create_unix_connection(lambda: behind, self._socket)
        self.other = behind
        self.transport.resume_reading()


async def _serve(socket: str, delay: float, ready: Connection) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _ClientEnd(delay, socket), "127.0.0.1", 0)
    ready.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _run(socket: str, delay: float, ready: Connection) -> None:
    # epoll waits in whole milliseconds, select in microseconds.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_serve(socket, delay, ready))


@contextmanager
def delayed(url: URL, round_trip: float) -> Iterator[URL]:
    """The same database behind a link whose round trip takes so many seconds, and a little more."""
    socket = Path(str(url.query["host"]), f".s.PGSQL.{url.port}")
    spawning = multiprocessing.get_context("spawn")
    ready, child = spawning.Pipe(duplex=False)
    process = spawning.Process(target=_run, args=(str(socket), round_trip / 2, child), daemon=True)
    process.start()
    try:
        if not ready.poll(_START_SECONDS):
            raise TimeoutError("the delaying link does not start")
        port = ready.recv()
        yield url.set(host="127.0.0.1", port=port, query={})
    finally:
        process.terminate()
        process.join()
