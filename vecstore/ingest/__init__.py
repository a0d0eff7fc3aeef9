"""Data on their way in: any shape -> columns -> a checked batch -> PostgreSQL's binary COPY. Pure."""

from __future__ import annotations

from .validation import Batch, as_keys, narrowed, prepare, with_plain_default

__all__ = ["Batch", "as_keys", "narrowed", "prepare", "with_plain_default"]
