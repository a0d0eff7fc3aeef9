"""Names: which are accepted, and which names PostgreSQL objects get from them. Pure.

PostgreSQL cuts an identifier at 63 bytes without an error, and a name cut so may be another's: every name that
becomes an identifier is checked here first, and every derived name is made to fit here.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from hashlib import blake2b

from .errors import InvalidArgument, InvalidName, VecstoreError

MAX_IDENTIFIER_BYTES = 63
MAX_PARTITION_BYTES = 255

PARENT_TABLE = "entities"
PARTITION_COLUMN = "_partition"
DYNAMIC_COLUMN = "_meta"
DYNAMIC_FIELD = "$meta"
DEFAULT_PARTITION = "_default"
OWN_SCHEMA = "vecstore"
TRASH_PREFIX = "_vecstore_trash_"

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_NO_IDENTIFIER = re.compile(r"[^A-Za-z0-9_]+", re.ASCII)
_PARTITION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*", re.ASCII)

_RESERVED_DATABASES = frozenset({"postgres", "template0", "template1"})
_RESERVED_SCHEMAS = frozenset({"public", "information_schema", OWN_SCHEMA})
# https://www.postgresql.org/docs/18/ddl-system-columns.html, and our own two.
_RESERVED_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid", PARTITION_COLUMN, DYNAMIC_COLUMN})


def _checked(name: object, kind: str) -> str:
    if not isinstance(name, str):
        raise InvalidName(f"a {kind} name must be a str, not {type(name).__name__}")
    if not _IDENTIFIER.fullmatch(name):
        raise InvalidName(
            f"invalid {kind} name {_shown(name)}: expected a letter or underscore, then letters, digits and "
            "underscores (ASCII)"
        )
    if len(name) > MAX_IDENTIFIER_BYTES:
        raise InvalidName(
            f"invalid {kind} name {_shown(name)}: {len(name)} bytes, PostgreSQL keeps {MAX_IDENTIFIER_BYTES}"
        )
    return name


def _shown(name: str) -> str:
    return repr(name if len(name) <= MAX_IDENTIFIER_BYTES + 17 else name[:MAX_IDENTIFIER_BYTES] + "…")


def check_collection_name(name: object, *, kind: str = "collection") -> str:
    """The name of a collection or alias: it becomes a PostgreSQL schema."""
    checked = _checked(name, kind)
    lowered = checked.lower()
    if lowered in _RESERVED_SCHEMAS or lowered.startswith(("pg_", TRASH_PREFIX)):
        raise InvalidName(f"invalid {kind} name {checked!r}: reserved by PostgreSQL or vecstore")
    return checked


def check_database_name(name: object) -> str:
    """The name of a database that is to be made."""
    checked = _checked(name, "database")
    if checked.lower() in _RESERVED_DATABASES or checked.lower().startswith("pg_"):
        raise InvalidName(f"invalid database name {checked!r}: reserved by PostgreSQL")
    return checked


def check_field_name(name: object) -> str:
    """The name of a field: it becomes a column."""
    checked = _checked(name, "field")
    if checked.lower() in _RESERVED_COLUMNS:
        raise InvalidName(f"invalid field name {checked!r}: PostgreSQL or vecstore has a column of this name")
    return checked


def check_index_name(name: object) -> str:
    """The name of an index: it becomes a relation in the collection's schema."""
    return _checked(name, "index")


def check_partition_name(name: object) -> str:
    """The name of a partition: data, not an identifier, so that Milvus's longer names fit."""
    if not isinstance(name, str):
        raise InvalidName(f"a partition name must be a str, not {type(name).__name__}")
    if not _PARTITION.fullmatch(name):
        raise InvalidName(
            f"invalid partition name {_shown(name)}: expected letters, digits, underscores and, after the first "
            "character, hyphens (ASCII)"
        )
    if len(name) > MAX_PARTITION_BYTES:
        raise InvalidName(f"invalid partition name {_shown(name)}: {len(name)} bytes, at most {MAX_PARTITION_BYTES}")
    return name


def can_be_looked_up(name: object) -> bool:
    """Whether a schema may have this name at all; a text with NUL or a lone surrogate cannot even be sent.

    Raises InvalidName for what is no text.
    """
    if not isinstance(name, str):
        raise InvalidName(f"a name must be a str, not {type(name).__name__}")
    return name.isascii() and "\0" not in name


def check_text(value: object, what: str, error: type[VecstoreError]) -> None:
    """Raise the error for text that PostgreSQL cannot hold: NUL, and surrogates that are no character."""
    if not isinstance(value, str):
        raise error(f"{what} must be a str, not {type(value).__name__}")
    if "\0" in value:
        raise error(f"{what} contains a NUL character, which PostgreSQL cannot store")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise error(f"{what} contains a lone surrogate, which is no character") from None


def names_list(names: object, what: str) -> list[str]:
    """A caller's list of names; raises InvalidArgument for anything else, a single name too."""
    listed = None if isinstance(names, str | bytes) or not isinstance(names, Iterable) else list(names)
    if listed is None or not all(isinstance(name, str) for name in listed):
        raise InvalidArgument(f"{what} must be a list of names, got {names!r:.80}")
    return [str(name) for name in listed]


def fitted(wanted: str, taken: Container[str] = ()) -> str:
    """`wanted` if it fits into an identifier and is free, else cut and told apart by a hash of the whole."""
    candidate = wanted
    for salt in range(1000):
        if len(candidate.encode()) <= MAX_IDENTIFIER_BYTES and candidate not in taken:
            return candidate
        digest = blake2b(f"{wanted}/{salt}".encode(), digest_size=5).hexdigest()
        candidate = f"{wanted[: MAX_IDENTIFIER_BYTES - len(digest) - 1]}_{digest}"
    raise AssertionError(f"a thousand names like {wanted!r} are taken")


def leaf_name(partition: str, taken: Container[str] = ()) -> str:
    """The table of a partition, beside `entities`; `taken` are the schema's relations."""
    return fitted(f"{PARENT_TABLE}_{partition}", taken)


def words_column(field: str) -> str:
    """The column that keeps the words of a text for BM25, beside the field's own."""
    return fitted(f"{field}_words")


def path_text(column: str, keys: Iterable[str | int]) -> str:
    """A place in a JSON column as filters write it: `meta['a'][0]`, `$meta['lang']`."""
    field = DYNAMIC_FIELD if column == DYNAMIC_COLUMN else column
    return field + "".join(f"[{key}]" if isinstance(key, int) else f"[{_quoted(key)}]" for key in keys)


def _quoted(key: str) -> str:
    return f"'{''.join(map(_escaped, key))}'"


def _escaped(letter: str) -> str:
    if letter in {"\\", "'"}:
        return f"\\{letter}"
    return letter if letter.isprintable() else f"\\U{ord(letter):08x}"


def index_name(field: str, *, kind: str | None = None, taken: Container[str] = ()) -> str:
    """The name of an index that the caller did not name: `embedding_idx`, or `embedding_l2_idx` beside it.

    Of the path `meta['lang']`, `meta_lang_idx`.
    """
    stem = _NO_IDENTIFIER.sub(" ", field).strip().replace(" ", "_")
    plain = fitted(f"{stem}_idx")
    if kind is None or plain not in taken:
        return plain
    return fitted(f"{stem}_{kind.lower()}_idx", taken)


def leaf_index_name(index: str, leaf: str) -> str:
    """The index of one leaf while an online build is under way; the hash tells it from any name somebody chose."""
    digest = blake2b(f"{leaf}/{index}".encode(), digest_size=8).hexdigest()
    return f"{index[: MAX_IDENTIFIER_BYTES - len(digest) - 1]}_{digest}"
