"""The gRPC server: bytes to requests, requests to calls, errors to answers.

It is made from the description of Milvus's service: an RPC is served by its function in `calls.CALLS`, and every other
one answers UNIMPLEMENTED with the sentence that `refusals.REFUSED` has for it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from pymilvus.grpc_gen import common_pb2, milvus_pb2
from sqlalchemy import URL, Engine

from ..errors import ConnectionLost, InvalidArgument, VecstoreError
from ..store import connect
from .call import DEFAULT_DATABASE, Call, Stores
from .calls import CALLS, OF_ENTITIES
from .errors import Fault, MilvusError, described, failed, status, with_status
from .refusals import REFUSED
from .undertakings import AT_ONCE, CONNECTIONS_EACH

_SERVICE = milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"]

# What Milvus's own proxy takes: inserts of a client come in one message.
MAX_MESSAGE_BYTES = 256 * 1024 * 1024
_LAST_PORT = 65_535
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ANONYMOUS = "root"
_WRONG_TOKEN = "auth check failure, please check username and password are correct"  # noqa: S105 - Milvus's words
_GRACE_SECONDS = 10.0

_log = logging.getLogger("vecstore.gateway")


@dataclass(frozen=True)
class Tls:
    """The certificate that a gateway shows, and its key, both in files of PEM."""

    certificate: Path
    key: Path

    def credentials(self) -> Any:
        try:
            # gRPC says nothing of what it cannot read; a key that needs a password is none that it can.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key, password="")
            pair = (Path(self.key).read_bytes(), Path(self.certificate).read_bytes())
        except OSError as exc:
            raise InvalidArgument(f"the certificate {self.certificate} or its key cannot be read: {exc}") from exc
        return grpc.ssl_server_credentials([pair])


class Gateway:
    """A gateway that answers, until stop(). A context manager."""

    def __init__(
        self,
        server: Any,
        pool: ThreadPoolExecutor,
        stores: Stores,
        healthy: health.HealthServicer,
        *,
        host: str,
        port: int,
    ) -> None:
        self._server = server
        self._pool = pool
        self._healthy = healthy
        self._stores = stores
        self.host = host
        self.port = port

    def __repr__(self) -> str:
        return f"<Gateway {self.address}>"

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self) -> None:
        """Return when the gateway has been stopped."""
        self._server.wait_for_termination()

    def stop(self, grace: float = _GRACE_SECONDS) -> bool:
        """Take no more calls, let those that are under way end for `grace` seconds, close the stores.

        Returns whether they have ended; the clients of those that have not are gone.
        """
        deadline = time.monotonic() + grace
        self._healthy.enter_graceful_shutdown()
        self._server.stop(grace).wait()
        # A call whose client has gone is over for gRPC, and its thread still at work on a connection of ours.
        ending = threading.Thread(target=self._pool.shutdown, daemon=True)
        ending.start()
        ending.join(max(0.0, deadline - time.monotonic()))
        self._stores.undertakings.end(max(0.0, deadline - time.monotonic()))
        self._stores.close()
        return not ending.is_alive()


def serve(
    target: str | Path | URL | Engine | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 19530,
    token: str | None = None,
    tls: Tls | None = None,
    threads: int = 16,
    shared_port: bool = False,
) -> Gateway:
    """Serve a database to clients of Milvus; returns when the gateway answers.

    target       as connect() takes it; its database is Milvus's `default`
    port         0: a free one, which the gateway's `port` tells
    token        "user:password", or any text, that clients must give; needed unless the host is a loopback address
    threads      how many calls run at once; more wait
    shared_port  other processes listen on the port, too

    Raises InvalidArgument for a host without a token, a port that is none or taken and a certificate that is none, and
    what connect() and upgrade() raise: a server's schema `vecstore` must be there.
    """
    if host not in _LOOPBACK and not token:
        raise InvalidArgument(f"host {host!r} can be reached by others: give a token, which clients then must give too")
    if not 0 <= port <= _LAST_PORT:  # gRPC would take another
        raise InvalidArgument(f"port must be from 0 to {_LAST_PORT:,}, got {port}")
    stores = Stores(connect(target, max_connections=2 * threads + CONNECTIONS_EACH * AT_ONCE))
    try:
        stores.default.list_collections()  # raises NotInstalled, SchemaOutdated
        return _started(stores, host=host, port=port, token=token, tls=tls, threads=threads, shared_port=shared_port)
    except BaseException:
        stores.close()
        raise


def _started(
    stores: Stores, *, host: str, port: int, token: str | None, tls: Tls | None, threads: int, shared_port: bool
) -> Gateway:
    options = {
        "grpc.so_reuseport": int(shared_port),
        "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
        "grpc.max_send_message_length": -1,
        # Clients of Milvus ask every ten seconds whether we are there, calls or not; gRPC would take it for an attack.
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.http2.min_recv_ping_interval_without_data_ms": 1_000,
        "grpc.http2.max_ping_strikes": 0,
    }
    pool = ThreadPoolExecutor(threads, thread_name_prefix="vecstore-gateway")
    server = grpc.server(pool, options=tuple(options.items()))
    server.add_generic_rpc_handlers((_handlers(stores, token),))
    healthy = health.HealthServicer()
    for service in ("", _SERVICE.full_name):
        healthy.set(service, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    gateway = Gateway(server, pool, stores, healthy, host=host, port=port)
    try:
        if tls is None:
            gateway.port = server.add_insecure_port(gateway.address)
        else:
            gateway.port = server.add_secure_port(gateway.address, tls.credentials())
    except RuntimeError as exc:
        raise InvalidArgument(f"cannot listen on {gateway.address}: the port is taken, or not this machine's") from exc
    server.start()
    _log.info("serving", extra={"address": gateway.address, "tls": tls is not None})
    return gateway


def _handlers(stores: Stores, token: str | None) -> Any:
    handlers = {}
    for method in _SERVICE.methods:
        function = CALLS.get(method.name)
        handlers[method.name] = (
            _refusing(method.name)
            if function is None
            else _serving(method, function, stores, None if token is None else token.encode())
        )
    return grpc.method_handlers_generic_handler(_SERVICE.full_name, handlers)


def _refusing(rpc: str) -> Any:
    """An RPC that is not served; on the wire, one message is a stream of one."""

    def refuse(_requests: Any, context: Any) -> Any:
        _abort(context, rpc, grpc.StatusCode.UNIMPLEMENTED, REFUSED[rpc])

    return grpc.stream_stream_rpc_method_handler(refuse)


def _abort(context: Any, rpc: str, status: grpc.StatusCode, why: str) -> NoReturn:
    """End a call by the status of gRPC alone."""
    request_id = dict(context.invocation_metadata()).get("client-request-id")
    about = {"rpc": rpc, "request_id": request_id, "peer": context.peer(), "status": status.name, "reason": why}
    _log.info("call", extra={name: value for name, value in about.items() if value})
    context.abort(status, why)
    raise AssertionError(why)  # abort() has raised


def _serving(method: Any, function: Callable[[Call, Any], Any], stores: Stores, token: bytes | None) -> Any:
    name: str = method.name
    request_class, response_class = GetMessageClass(method.input_type), GetMessageClass(method.output_type)

    def handle(data: bytes, context: Any) -> Any:
        began = time.perf_counter()
        metadata = dict(context.invocation_metadata())
        user = _user(metadata, token)
        if user is None:
            _abort(context, name, grpc.StatusCode.UNAUTHENTICATED, _WRONG_TOKEN)
        try:
            request = request_class.FromString(data)
        except DecodeError:
            _abort(context, name, grpc.StatusCode.INVALID_ARGUMENT, f"the message is no {method.input_type.name}")
        database = metadata.get("dbname") or getattr(request, "db_name", "") or DEFAULT_DATABASE
        call = Call(name, stores, database, user, metadata.get("client-request-id", ""))
        answer = _answer(function, call, request, response_class)
        response = with_status(answer if answer is not None else response_class())
        _log_call(call, request, response, began)
        return response

    return grpc.unary_unary_rpc_method_handler(handle, response_serializer=response_class.SerializeToString)


def _answer(function: Callable[[Call, Any], Any], call: Call, request: Any, response_class: Any) -> Any:
    """What the function answers, or the error that it raised as a response of this class."""
    try:
        return function(call, request)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the client gets an answer
        seen = described(_explained(call, exc), request, call.database)
        if seen is not exc and not isinstance(exc, VecstoreError):
            _log.exception("failed", extra=_about(call, request))
        return failed(response_class, status(seen, exc))
    finally:
        if call.rpc not in OF_ENTITIES:
            call.stores.looks.clear()


def _explained(call: Call, exc: Exception) -> Exception:
    """What a lost connection to a database that is there no more means."""
    if not isinstance(exc, ConnectionLost):
        return exc
    try:
        is_gone = call.stores.is_gone(call.database)
    except VecstoreError:
        return exc
    return MilvusError(Fault.DATABASE_NOT_FOUND, database=call.database) if is_gone else exc


def _about(call: Call, request: Any) -> Mapping[str, object]:
    about = {
        "rpc": call.rpc,
        "database": call.database,
        "collection": getattr(request, "collection_name", ""),
        "user": call.user,
        "request_id": call.request_id,
    }
    return {name: value for name, value in about.items() if value}


def _log_call(call: Call, request: Any, response: Any, began: float) -> None:
    if not _log.isEnabledFor(logging.INFO):
        return
    told = response if isinstance(response, common_pb2.Status) else getattr(response, "status", None)
    code = 0 if told is None else told.code
    milliseconds = round((time.perf_counter() - began) * 1000, 3)
    extra = {**_about(call, request), "code": code, "ms": milliseconds}
    _log.info("call", extra={**extra, "reason": told.reason} if told is not None and code else extra)


def _user(metadata: Mapping[str, Any], token: bytes | None) -> str | None:
    """Who asks; None for one who does not know the token."""
    try:
        given = base64.b64decode(metadata.get("authorization", ""), validate=True)
    except (binascii.Error, ValueError, TypeError):
        given = b""
    if token is not None and not hmac.compare_digest(given, token):
        return None
    name, colon, _ = given.partition(b":")
    return name.decode(errors="replace") if colon else _ANONYMOUS
