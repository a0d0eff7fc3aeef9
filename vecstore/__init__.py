"""Milvus's data model on PostgreSQL and pgvector: every drop and delete inside a transaction.

connect() gives a Store, a Store gives Collections; the rest of the public names are what they take and return.
"""

from __future__ import annotations

from . import errors
from .collection import Collection
from .declaration import CollectionDeclaration, CollectionMetadata, IndexDeclaration
from .description import (
    CollectionDescription,
    CollectionSummary,
    IndexDescription,
    IndexState,
    OtherIndex,
    PartitionDescription,
)
from .errors import *  # noqa: F403 - errors.__all__ is every error
from .facets import Bucket, Facet
from .filters import FilterError
from .fusion import AnnRequest, Rrf, TextRequest, Weighted
from .highlighting import Highlighter
from .hits import Hit, Hits, SearchPath
from .index import Index
from .lexemes import Lexeme
from .lock_modes import LockMode
from .operations.building import IndexBuild
from .operations.compacting import CompactedPartition, CompactResult, PartitionState
from .operations.deleting import DeleteResult
from .operations.entities import InsertResult
from .operations.indexable import IndexQualityWarning
from .operations.loading import SlowLoadWarning
from .operations.maintenance import Finding, FindingKind
from .operations.overview import CollectionOverview, IndexOverview, PartitionOverview
from .operations.statistics import CollectionStats, IndexStats, PartitionStats
from .partition import Partition
from .plan import LockHolder, Plan, PlanKind, PlannedLock, PlannedObject
from .reranking import Boost, Boosts, Decay
from .schema import Btree, CollectionSchema, DataType, Field, Gin, Hnsw, IvfFlat, Metric
from .store import Store, connect
from .trash import TrashEntry

__version__ = "0.1.0"

__all__ = [
    "AnnRequest",
    "Boost",
    "Boosts",
    "Btree",
    "Bucket",
    "Collection",
    "CollectionDeclaration",
    "CollectionDescription",
    "CollectionMetadata",
    "CollectionOverview",
    "CollectionSchema",
    "CollectionStats",
    "CollectionSummary",
    "CompactResult",
    "CompactedPartition",
    "DataType",
    "Decay",
    "DeleteResult",
    "Facet",
    "Field",
    "FilterError",
    "Finding",
    "FindingKind",
    "Gin",
    "Highlighter",
    "Hit",
    "Hits",
    "Hnsw",
    "Index",
    "IndexBuild",
    "IndexDeclaration",
    "IndexDescription",
    "IndexOverview",
    "IndexQualityWarning",
    "IndexState",
    "IndexStats",
    "InsertResult",
    "IvfFlat",
    "Lexeme",
    "LockHolder",
    "LockMode",
    "Metric",
    "OtherIndex",
    "Partition",
    "PartitionDescription",
    "PartitionOverview",
    "PartitionState",
    "PartitionStats",
    "Plan",
    "PlanKind",
    "PlannedLock",
    "PlannedObject",
    "Rrf",
    "SearchPath",
    "SlowLoadWarning",
    "Store",
    "TextRequest",
    "TrashEntry",
    "Weighted",
    "__version__",
    "connect",
]
__all__ += errors.__all__

# Tracebacks and reprs name things by the path that users import them from.
for _name in __all__:
    _public = globals()[_name]
    if isinstance(_public, type) or callable(_public):
        _public.__module__ = __name__
