"""Milvus's gRPC protocol on PostgreSQL: programs written for Milvus change their address, and nothing else."""

from __future__ import annotations

from ..errors import MissingExtra

try:
    import grpc as _grpc  # noqa: F401 - to say what is missing
    import grpc_health as _grpc_health  # noqa: F401
    import pymilvus as _pymilvus  # noqa: F401
except ImportError as exc:
    raise MissingExtra(f"the gateway needs {exc.name}: pip install 'vecstore[gateway]'") from exc

from .server import Gateway, Tls, serve

__all__ = ["Gateway", "Tls", "serve"]
