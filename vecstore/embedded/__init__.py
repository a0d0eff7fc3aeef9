"""PostgreSQL and pgvector from a wheel, started, tuned and stopped on demand.

settings    what the server is tuned to, from the machine's size
account     the operating system's user that the server runs as
wheel       where the wheel keeps the binaries
locks       which processes use a folder, and whether its server lives
sockets     the private directory of the server's socket
cluster     PostgreSQL's data directory: initdb, start, stop
server      start() and what it hands out

Everything here speaks to the server through a Unix socket that only its own user can reach; there is no TCP port and
no password. docs/decisions/0002-embedded-postgresql.md says why it is built like this.
"""

from __future__ import annotations

from .server import EmbeddedServer, default_folder, start

__all__ = ["EmbeddedServer", "default_folder", "start"]
