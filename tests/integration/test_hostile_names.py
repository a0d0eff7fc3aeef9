"""Names: what is accepted round-trips exactly and is nobody else's; all else is InvalidName; nothing else changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from databases import database
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

import vecstore
from vecstore import (
    AliasNotFound,
    Btree,
    CollectionExists,
    CollectionNotFound,
    DataType,
    Field,
    FieldNotFound,
    IndexExists,
    IndexNotFound,
    InvalidData,
    InvalidName,
    NotOurs,
    PartitionNotFound,
    Store,
)

# Three times thirty names of each kind; a list of thirty that fails takes minutes to shrink, and names the culprit.
batches = settings(
    deadline=None, derandomize=True, database=None, max_examples=3, phases=[Phase.explicit, Phase.generate]
)
BATCH = 30

SYSTEM = ["public", "Public", "pg_catalog", "PG_CATALOG", "pg_foo", "Pg_", "information_schema", "vecstore", "VecStore"]
SYSTEM += ["_vecstore_trash_1", "pg_toast", "pg_temp_1", "template1", "postgres"]
COLUMNS = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "TableOID", "oid", "_partition", "_meta", "_PARTITION"]
# The library's own tables, columns, labels, parameters and statements use or might use these.
OWN = ["entities", "entities__default", "entities_pkey", "_default", "id", "found", "query", "keys", "partitions"]
OWN += ["excluded", "vecstore_id", "distance", "c", "table", "name", "schema", "row", "new", "old", "key", "param_1"]
OWN += ["entities_id_seq", "_entities", "v_idx", "count", "n", "r", "t", "canary"]
WORDS = ["select", "SELECT", "user", "order", "group", "all", "null", "true", "default", "primary", "table", "begin"]
INJECTIONS = [
    "",
    " ",
    "a b",
    'a"b',
    '"',
    '"; DROP SCHEMA canary CASCADE; --',
    "'; DROP SCHEMA canary CASCADE; --",
    "a'); DROP TABLE canary.entities; --",
    "canary.entities",
    '"canary"."entities"',
    "a\0b",
    "\0",
    "a;b",
    "a--",
    "a/*",
    "\\",
    "a\\",
    "%s",
    "%(name)s",
    "%",
    "%%",
    "{}",
    "{name}",
    "{0.__class__}",
    "$1",
    ":name",
    "a:b",
    "$$",
    "a\nb",
    "a\n",
    "a\t",
    "a\r",
    "1a",
    "-a",
    "a-b",
    "a.b",
    "a$b",
    "..",
    "/",
    "../../x",
    "é",
    "e\u0301",
    "naïve",
    "Ω",
    "日本",
    "😀",
    "\u202ea",
    "a\u200b",
    "\ufeffa",
    "\uff41",
    "٣",
    "K",
    "\u0131",
    "ß",
    "\ud800",
    "a\udfff",
]
fixed = st.sampled_from([*SYSTEM, *COLUMNS, *OWN, *WORDS, *INJECTIONS])
# Names that agree in their first 60 bytes, or in all that PostgreSQL would keep.
long_names = st.builds(
    lambda head, fill, length, tail: (head + fill * 70)[: length - len(tail)] + tail,
    st.sampled_from(["", "a", "_", "entities_", "é"]),
    st.sampled_from("xXé_€"),
    st.integers(58, 70),
    st.sampled_from(["", "A", "B", "_idx", "_pkey", "€"]),
)
ordinary = st.from_regex(re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,8}", re.ASCII), fullmatch=True)
names = fixed | long_names | ordinary | st.text(max_size=8)
# Half of them ones that are accepted, so that there is something to mix up.
valid = ordinary | st.builds(
    lambda first, fill, length, last: first + fill * length + last,
    st.sampled_from("aA_"),
    st.sampled_from("xX_"),
    st.integers(55, 61),
    st.sampled_from(["", "A", "b"]),
)
name_lists = st.lists(names | valid, min_size=BATCH, max_size=BATCH, unique=True)

FIELDS = (Field("id", DataType.INT64, primary_key=True), Field("label", DataType.TEXT))

CANARY = """
    SELECT n.oid, c.oid, c.relname, a.attname, k.title
    FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid JOIN pg_attribute a ON a.attrelid = c.oid
    CROSS JOIN canary.entities k
    WHERE n.nspname = 'canary' ORDER BY 1, 2, 3, 4
"""


@pytest.fixture(scope="module")
def own_store(server, template) -> Iterator[Store]:
    with (
        database(server, "test_hostile_names", template) as url,
        vecstore.connect(url) as store,
        store.engine.connect() as connection,
    ):
        connection.exec_driver_sql("CREATE SCHEMA canary CREATE TABLE entities (id int, title text)")
        connection.exec_driver_sql("INSERT INTO canary.entities VALUES (1, 'sings')")
        connection.commit()
        before = connection.exec_driver_sql(CANARY).all()
        connection.rollback()
        yield store
        assert connection.exec_driver_sql(CANARY).all() == before


@contextmanager
def undone(store: Store) -> Iterator[Store]:
    """A store in a transaction that is rolled back, with the canary alive in it to the end."""
    with store.engine.connect() as connection:
        before = connection.exec_driver_sql(CANARY).all()
        yield store.bind(connection)
        assert connection.exec_driver_sql(CANARY).all() == before
        connection.rollback()


def accepted(call: Callable[[str], object], wanted: list[str], *others: type[Exception]) -> list[str]:
    """The names that a call takes; it refuses all the rest as invalid, saying what they are, or as others'."""
    taken = []
    for name in wanted:
        try:
            call(name)
        except InvalidName as exc:
            assert is_hostile(name), name
            str(exc).encode()  # a message that cannot be printed hides the fault
        except others:
            pass
        else:
            taken.append(name)
    return taken


def is_hostile(name: str) -> bool:
    """Whether a name may be refused at all: ordinary ones that PostgreSQL keeps whole must be taken."""
    ordinary_name = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", name, re.ASCII)
    reserved = {*SYSTEM, *COLUMNS}
    return not ordinary_name or name in reserved or name.lower() in {word.lower() for word in reserved}


@batches
@given(name_lists)
def test_a_collections_name_is_its_own_or_invalid(own_store, wanted):
    with undone(own_store) as store:
        taken = accepted(lambda name: store.create_collection(name, FIELDS), wanted, NotOurs)
        assert store.list_collections() == sorted(taken)
        for place, name in enumerate(taken):
            store.collection(name).insert([{"id": place, "label": ascii(name)}])
        for place, name in enumerate(taken):
            collection = store.collection(name)
            assert collection.describe().name == name
            assert collection.get(range(len(taken))) == [{"id": place, "label": ascii(name)}]
            with pytest.raises(CollectionExists):
                store.create_collection(name, FIELDS)
        for name in taken[::2]:
            store.drop_collection(name)
        assert store.list_collections() == sorted(taken[1::2])
        assert all(store.collection(name).count() == 1 for name in taken[1::2])


@batches
@given(name_lists)
def test_an_alias_and_a_new_name_are_their_own_or_invalid(own_store, wanted):
    with undone(own_store) as store:
        store.create_collection("base_", FIELDS).insert([{"id": 1, "label": "base"}])
        aliases = accepted(lambda name: store.create_alias("base_", name), wanted[::2], NotOurs, CollectionExists)
        assert store.list_aliases() == dict.fromkeys(sorted(aliases), "base_")
        assert all(store.collection(name).count() == 1 for name in aliases)
        for place, name in enumerate(wanted[1::2]):
            old = f"old_{place}_"
            store.create_collection(old, FIELDS).insert([{"id": place, "label": ascii(name)}])
            renamed = accepted(lambda new, old=old: store.rename_collection(old, new), [name], NotOurs)
            assert store.has_collection(old) == (not renamed)
            if renamed:
                assert store.collection(name).get([place]) == [{"id": place, "label": ascii(name)}]
        for name in aliases:
            store.drop_alias(name)
        assert store.list_aliases() == {}
        assert store.collection("base_").count() == 1


@batches
@given(name_lists)
@example(INJECTIONS)
@example(SYSTEM)
def test_a_name_that_stands_for_nothing_is_not_found_or_invalid_whatever_the_call(own_store, wanted):
    with undone(own_store) as store:
        store.create_collection("base_", FIELDS)
        store.create_alias("base_", "alias_")
        for name in wanted:
            for call in (
                lambda name=name: store.collection(name),
                lambda name=name: store.drop_collection(name),
                lambda name=name: store.rename_collection(name, "new_"),
                lambda name=name: store.create_alias(name, "other_"),
                lambda name=name: store.alter_alias(name, "alias_"),
                lambda name=name: store.alter_alias("base_", name),
                lambda name=name: store.drop_alias(name),
            ):
                with pytest.raises((CollectionNotFound, AliasNotFound, InvalidName, NotOurs)) as caught:
                    call()
                str(caught.value).encode()
        assert store.list_collections() == ["base_"]
        assert store.list_aliases() == {"alias_": "base_"}


@pytest.mark.parametrize("name", INJECTIONS)
def test_there_is_no_collection_of_a_hostile_name(own_store, name):
    assert not own_store.has_collection(name)


@batches
@given(name_lists)
def test_a_fields_name_is_its_own_or_invalid(own_store, wanted):
    made = []
    taken = accepted(lambda name: made.append(Field(name, DataType.TEXT)), wanted)
    taken = [name for name in taken if name != "id"]
    fields = [FIELDS[0], *(field for field in made if field.name != "id")]
    with undone(own_store) as store:
        collection = store.create_collection("fields_", fields)
        assert [field.name for field in collection.describe().schema.fields] == ["id", *taken]
        collection.insert([{"id": 1, **{name: f"{name} 1" for name in taken}}])
        collection.upsert([{"id": key, **{name: f"{name} {key}" for name in taken}} for key in (1, 2)])
        for key, row in zip((1, 2), collection.get([1, 2], output_fields=["id", *taken]), strict=True):
            assert row == {"id": key, **{name: f"{name} {key}" for name in taken}}
        for name in taken:
            assert collection.count(where=collection.c[name] == f"{name} 2") == 1
        for name in set(wanted) - set(taken) - {"id"}:
            with pytest.raises(InvalidData):
                collection.insert([{**collection.get([1])[0], "id": 3, name: "x"}])
            with pytest.raises(FieldNotFound):
                collection.create_index(name, Btree())
        assert collection.count() == 2


@batches
@given(name_lists)
def test_a_partitions_name_is_its_own_or_invalid(own_store, wanted):
    def is_refusable(name: str) -> bool:
        return not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,254}", name, re.ASCII)

    with undone(own_store) as store:
        collection = store.create_collection("partitions_", FIELDS)
        taken = []
        for name in wanted:
            if name == "_default":
                continue
            try:
                assert collection.create_partition(name).name == name
            except InvalidName:
                assert is_refusable(name), name
                assert not collection.has_partition(name)
                with pytest.raises(PartitionNotFound):
                    collection.insert([{"id": 1, "label": "x"}], partition_name=name)
                with pytest.raises(PartitionNotFound):
                    collection.count(partition_names=[name])
                with pytest.raises((InvalidName, PartitionNotFound)):
                    collection.drop_partition(name)
            else:
                taken.append(name)
        assert_are_apart(collection, taken)


def assert_are_apart(collection: vecstore.Collection, partitions: list[str]) -> None:
    """Each partition holds its own row and no other's; a drop takes one of them."""
    assert [partition.name for partition in collection.partitions] == ["_default", *partitions]
    tables = {partition.table for partition in collection.describe().partitions}
    assert len(tables) == len(partitions) + 1
    assert all(len(table.encode()) <= 63 for table in tables)
    for place, name in enumerate(partitions):
        collection.insert([{"id": place, "label": name}], partition_name=name)
    for place, name in enumerate(partitions):
        found = collection.get(range(len(partitions)), partition_names=[name])
        assert [(row["id"], row["label"]) for row in found] == [(place, name)]
    for name in partitions[::2]:
        collection.drop_partition(name)
    assert [row["label"] for row in collection.get(range(len(partitions)))] == partitions[1::2]


@batches
@given(name_lists)
def test_an_indexs_name_is_its_own_or_invalid(own_store, wanted):
    fields = [FIELDS[0], *(Field(f"f{place}", DataType.INT16) for place in range(len(wanted)))]
    with undone(own_store) as store:
        collection = store.create_collection("indexes_", fields)
        relations = collection.describe().relations
        taken = []
        for place, name in enumerate(wanted):
            try:
                assert collection.create_index(f"f{place}", Btree(), name=name).name == name
            except InvalidName:
                assert not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", name, re.ASCII), name
                with pytest.raises(IndexNotFound):
                    collection.drop_index(name)
            except IndexExists:
                assert name in relations or name in collection.describe().relations
            else:
                taken.append((name, f"f{place}"))
        assert [(index.name, index.field) for index in collection.indexes] == taken
        for name, _ in taken[::2]:
            collection.drop_index(name)
        assert [(index.name, index.field) for index in collection.indexes] == taken[1::2]


@settings(batches, max_examples=2)
@given(name_lists)
@example(INJECTIONS)
@example([*SYSTEM, *COLUMNS])
def test_a_dynamic_key_comes_back_as_it_is_or_is_refused(own_store, wanted):
    with undone(own_store) as store:
        collection = store.create_collection("keys_", FIELDS, dynamic=True)
        taken = []
        for place, name in enumerate(name for name in wanted if name not in {"id", "label"}):
            row = {"id": place, "label": "", name: f"value {place}"}
            try:
                collection.insert([row])
            except InvalidData as exc:
                str(exc).encode()
                assert name in {"_meta", "_partition"} or re.search("[\0\ud800-\udfff]", name), name
            else:
                taken.append(name)
                assert collection.get([place]) == [row]
                if name != "*":
                    assert collection.get([place], output_fields=[name]) == [{name: f"value {place}"}]
                where = collection.c._meta[name].astext == f"value {place}"
                assert collection.count(where=where) == 1
        assert collection.count() == len(taken)


# Names of partitions that PostgreSQL would cut


def test_partition_names_of_255_bytes_that_begin_alike_live_side_by_side(own_store):
    partitions = ["x" * 63, "x" * 54, "x" * 55, "x" * 64, *(f"{'x' * 252}{number:03}" for number in range(8))]
    assert all(len(name) <= 255 for name in partitions)
    with undone(own_store) as store:
        collection = store.create_collection("long_", FIELDS)
        for name in partitions:
            collection.create_partition(name)
        assert_are_apart(collection, partitions)
        with pytest.raises(InvalidName):
            collection.create_partition("x" * 256)


def test_partitions_named_like_other_relations_of_the_collection_work(own_store):
    fields = (
        Field("id", DataType.INT64, primary_key=True, auto_id=True),
        Field("label", DataType.TEXT),
        Field("v", DataType.FLOAT_VECTOR, dim=2),
    )
    partitions = [
        "id_seq",
        "pkey",
        "by_label",
        "_default_pkey",
        "v_idx",
        "entities",
        "novel_pkey",
        "novel",
        "label_idx",
    ]
    with undone(own_store) as store:
        collection = store.create_collection("crowded", fields)
        collection.create_index("label", Btree(), name="entities_by_label")
        collection.create_index("v", vecstore.Hnsw(), name="entities_v_idx")
        for name in partitions:
            collection.create_partition(name)
        assert [partition.name for partition in collection.partitions] == ["_default", *partitions]
        ids = {
            name: collection.insert([{"label": name, "v": [1, 2]}], partition_name=name).ids[0] for name in partitions
        }
        assert len(set(ids.values())) == len(partitions)
        for name, key in ids.items():
            assert [row["id"] for row in collection.get(list(ids.values()), partition_names=[name])] == [key]
            assert collection.search([1, 2], field="v", partition_names=[name])[0].ids.tolist() == [key]
        assert [index.name for index in collection.indexes] == ["entities_by_label", "entities_v_idx"]
        with pytest.raises(IndexExists):
            collection.create_index("label", vecstore.Btree(), name="entities_novel")
        collection.drop_index("entities_v_idx")
        for name in partitions:
            collection.drop_partition(name)
        assert collection.insert([{"label": "last", "v": [1, 2]}]).ids[0] > max(ids.values())


def test_an_online_index_build_does_not_take_a_name_of_somebody_elses(own_store):
    collection = own_store.create_collection("online_", FIELDS)
    try:
        for name in ("x" * 63, "x" * 64, "by_label"):
            collection.create_partition(name)
            collection.insert([{"id": 1, "label": name}], partition_name=name)
        collection.create_index("label", Btree(), name="y" * 63, online=True)
        assert [(index.name, index.state.value) for index in collection.indexes] == [("y" * 63, "ready")]
        assert collection.count(where=collection.c.label == "by_label") == 1
        assert own_store.doctor() == ()
    finally:
        collection.drop()
