"""The command that serves Milvus's protocol: serve."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..errors import InvalidArgument
from .commands import DONE, Commands, target

_SERVE = """\
Speak Milvus's gRPC protocol, so that programs written for Milvus work on PostgreSQL: they change their address.

Serves until SIGINT or SIGTERM, then lets calls that are under way end. A server's database must have been upgraded
(`vecstore upgrade`); without --target and DATABASE_URL the data are in an embedded PostgreSQL in your data directory.
The log, on standard error, has a line of JSON for each call.
"""

_EPILOG = """\
Examples:
  vecstore serve
  vecstore serve --target postgresql://me@db/library --workers 4
  VECSTORE_TOKEN=root:Milvus vecstore serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem

and in the program: MilvusClient("http://127.0.0.1:19530"), with token="root:Milvus" where one is needed.

The token may also stand in the variable VECSTORE_TOKEN, where other users of the machine do not see it.
"""


def add_to(commands: Commands) -> None:
    command = commands.add(
        "serve", serve, target, summary="speak Milvus's protocol", description=_SERVE, epilog=_EPILOG
    )
    command.set_defaults(needs_target=False)
    command.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    command.add_argument("--port", type=int, default=19530, help="default: 19530; 0: a free one, which the log tells")
    command.add_argument(
        "--token",
        default=os.environ.get("VECSTORE_TOKEN"),
        metavar="USER:PASSWORD",
        help="what clients must give; needed unless the host is a loopback address",
    )
    command.add_argument("--tls-cert", type=Path, metavar="FILE", help="the certificate, PEM")
    command.add_argument("--tls-key", type=Path, metavar="FILE", help="its key, PEM")
    command.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that share the port (default: 1)"
    )
    command.add_argument(
        "--log-level", choices=["debug", "info", "warning", "error"], default="info", help="default: info, every call"
    )


def serve(arguments: argparse.Namespace) -> int:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what gRPC says by itself is not JSON
    from ..gateway import Tls  # noqa: PLC0415 - an optional part
    from ..gateway.workers import Served, run  # noqa: PLC0415

    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        raise InvalidArgument("--tls-cert and --tls-key go together")
    tls = None if arguments.tls_cert is None else Tls(arguments.tls_cert, arguments.tls_key)
    served = Served(
        arguments.target, arguments.host, arguments.port, arguments.token, tls, log_level=arguments.log_level
    )
    run(served, workers=arguments.workers)
    return DONE
