"""A line to the server that breaks where a test says."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

from sqlalchemy import URL


class Line:
    """Forwards what is said, until the client says certain things, one after the other: then it breaks.

    With arrives=True the server hears it and does it, and the line breaks when it answers.
    """

    def __init__(self, url: URL) -> None:
        self._path = f"{url.query['host']}/.s.PGSQL.{url.port}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.set(host="127.0.0.1", port=self._listener.getsockname()[1], query={})
        self._signs: list[bytes] = []
        self._arrives = False
        Thread(target=self._serve, daemon=True).start()

    def break_once_at(self, *signs: bytes, arrives: bool = False) -> None:
        self._signs, self._arrives = [*signs], arrives

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._path)
                Thread(target=self._ask, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        answering = Thread(target=_forward, args=(server, client), daemon=True)
        answering.start()
        said = b""
        with suppress(OSError):
            while data := client.recv(1 << 16):
                said += data
                if self._has_said_all(said):
                    client.shutdown(socket.SHUT_RDWR)  # it hears nothing of the answer
                    if self._arrives:
                        server.sendall(data)
                        answering.join()
                    break
                said = said[-100:] if self._signs else b""
                server.sendall(data)
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _has_said_all(self, said: bytes) -> bool:
        awaited = bool(self._signs)
        while self._signs and self._signs[0] in said:
            said = said.partition(self._signs.pop(0))[2]
        return awaited and not self._signs


def _forward(server: socket.socket, client: socket.socket) -> None:
    with suppress(OSError):
        while data := server.recv(1 << 16):
            client.sendall(data)


@contextmanager
def breakable(url: URL) -> Iterator[Line]:
    line = Line(url)
    yield line
    line.close()
