"""Databases for tests, each a copy of one that is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import URL

from vecstore.embedded import EmbeddedServer

_left: list[str] = []


@contextmanager
def database(server: EmbeddedServer, name: str, template: str) -> Iterator[URL]:
    """A copy of a database, file by file: cheaper than through WAL and buffers, which nobody else needs here.

    It is dropped when the next one is made: its sessions have ended by then, and DROP DATABASE waits a tenth of a
    second for any that is just ending.
    """
    copy = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(Identifier(name), Identifier(template))
    url = server.url("postgres").set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        while _left:
            connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(_left.pop())))
        connection.execute(copy)
    yield server.url(name)
    _left.append(name)
