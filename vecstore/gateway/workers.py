"""Several processes on one port: Python runs one thread at a time in each, PostgreSQL all of their statements."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from ..errors import InvalidArgument
from .logs import write_to_stderr
from .server import Tls, serve

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_log = logging.getLogger("vecstore.gateway")


@dataclass(frozen=True)
class Served:
    """What a gateway process is told: that which serve() takes, and how much to log."""

    target: str | Path | None
    host: str
    port: int
    token: str | None
    tls: Tls | None
    log_level: str


def run(served: Served, *, workers: int) -> None:
    """Serve until SIGINT or SIGTERM, then let calls that are under way end."""
    if workers < 1:
        raise InvalidArgument(f"workers must be 1 or more, got {workers}")
    write_to_stderr(served.log_level)
    if workers == 1:
        with _until_told() as told, _serving(served, served.port, shared_port=False):
            told.wait()
        return
    if not hasattr(socket, "SO_REUSEPORT"):
        raise InvalidArgument("this system cannot share a port between processes: workers must be 1")
    # The first process creates the embedded server, or finds what is wrong, before there are others.
    with _until_told() as told, _reserved(served) as port, _serving(served, port, shared_port=True):
        others = [_spawned(served, port) for _ in range(workers - 1)]
        try:
            while not told.wait(timeout=1.0):
                others = [it if it.is_alive() else _replaced(served, port, it) for it in others]
        finally:
            for process in others:
                process.terminate()
            for process in others:
                process.join()


@contextmanager
def _serving(served: Served, port: int, *, shared_port: bool) -> Iterator[None]:
    """A gateway. Where calls are left at its end, so does the process: Python would wait as long as PostgreSQL does."""
    gateway = serve(
        served.target,
        host=served.host,
        port=port,
        token=served.token,
        tls=served.tls,
        shared_port=shared_port,
    )
    try:
        yield
    finally:
        if not gateway.stop():
            _log.warning("calls were cut off")
            logging.shutdown()
            os._exit(0)


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets."""
    told = threading.Event()
    before = {number: signal.signal(number, lambda *_: told.set()) for number in _SIGNALS}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _reserved(served: Served) -> Iterator[int]:
    """The port, kept for the workers: one who may not share it is told so now, and port 0 becomes a real one."""
    family = socket.AF_INET6 if ":" in served.host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a gateway before it has left in TIME_WAIT
        try:
            held.bind((served.host, served.port))
        except (OSError, OverflowError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else exc
            raise InvalidArgument(f"cannot listen on {served.host}:{served.port}: {why}") from exc
        yield held.getsockname()[1]


def _spawned(served: Served, port: int) -> BaseProcess:
    # Not forked: gRPC's threads do not survive that.
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(served, port), daemon=True)
    process.start()
    return process


def _replaced(served: Served, port: int, ended: BaseProcess) -> BaseProcess:
    _log.error("a worker ended", extra={"pid": ended.pid, "status": ended.exitcode})
    return _spawned(served, port)


def _work(served: Served, port: int) -> None:
    """Until told, or until the first process is there no more, which would leave us on the port with nobody to ask."""
    write_to_stderr(served.log_level)
    first = multiprocessing.parent_process()
    with _until_told() as told, _serving(served, port, shared_port=True):
        while first is not None and first.is_alive() and not told.wait(timeout=1.0):
            pass
