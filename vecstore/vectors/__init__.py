"""Vector values: what callers may give, the one form that is stored, and what they get back. Pure.

A column of vectors is made canonical once, rounded to what PostgreSQL will hold, and only then checked: a vector that
is fine before rounding can be infinite, or zero, after it. pgvector tells six faults by one SQLSTATE, so all of them
are found here. No message shows a vector: it may be somebody's secret.
"""

from __future__ import annotations

from .columns import DenseColumn, SparseColumn, VectorColumn, as_matrix, as_query, check_norms, picked
from .faults import Array, Fault, Nulls, Rows
from .sparse import MAX_INDEXED_SPARSE_NONZERO
from .wire import DENSE_TYPES, decoder, dense_head, plain_query

__all__ = [
    "DENSE_TYPES",
    "MAX_INDEXED_SPARSE_NONZERO",
    "Array",
    "DenseColumn",
    "Fault",
    "Nulls",
    "Rows",
    "SparseColumn",
    "VectorColumn",
    "as_matrix",
    "as_query",
    "check_norms",
    "decoder",
    "dense_head",
    "picked",
    "plain_query",
]
