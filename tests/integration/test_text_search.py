"""Full-text search ranked by BM25, against the formula computed in Python from the same words."""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import URL, Connection, text

from migrating import compared, revision, run
from vecstore import (
    AnnRequest,
    Boost,
    Collection,
    CollectionMetadata,
    DataType,
    Decay,
    DependentObjects,
    Field,
    FieldNotFound,
    FilterError,
    Gin,
    IndexDeclaration,
    InvalidArgument,
    InvalidData,
    InvalidSchema,
    OperationRefused,
    PartitionNotFound,
    Rrf,
    Store,
    TextRequest,
    Weighted,
    bm25,
    connect,
    maxscore,
)
from vecstore.bm25 import Word
from vecstore.operations import texts
from vecstore.operations.corpus import Frequencies
from vecstore.wire import Command, WireValue

BODY = Field("body", DataType.VARCHAR, max_length=65_535, nullable=True, text_search="english", bm25=True)
FIELDS = (
    Field("id", DataType.INT64, primary_key=True),
    BODY,
    Field("year", DataType.INT32, nullable=True),
    Field("vector", DataType.FLOAT_VECTOR, dim=2),
)
VOCABULARY = ["whale", "whales", "sea", "the", "of", "a", "ship", "ships", "harpoon", "captain", "white", "leg", "it's"]
TEXTS = ["a tale of a whale, about whales", "the sea, the sea", "It's a cat & dog's sea whale", None, "the of", ""]

Reference = Callable[..., dict[int, float]]


def row(key: int, body: str | None, **changes: object) -> dict[str, object]:
    return {"id": key, "body": body, "year": 1900 + key, "vector": [1, key], **changes}


@pytest.fixture
def pages(store: Store) -> Collection:
    return store.create_collection("pages", FIELDS)


@pytest.fixture
def filled(pages: Collection) -> Collection:
    pages.insert([row(key, body) for key, body in enumerate(TEXTS)])
    return pages


@pytest.fixture
def reference(store: Store) -> Reference:
    """The scores of the texts that have any of a query's words, by their keys."""

    counted = text(
        "SELECT t.key, w.lexeme, cardinality(w.positions) FROM unnest(CAST(:keys AS int[]), CAST(:bodies AS text[])) "
        "AS t (key, body), unnest(to_tsvector('english', t.body)) AS w"
    )

    def words(bodies: Mapping[int, str]) -> dict[int, Counter[str]]:
        counts: dict[int, Counter[str]] = {key: Counter() for key in bodies}
        with store.engine.connect() as connection:
            given = {"keys": list(bodies), "bodies": list(bodies.values())}
            for key, lexeme, times in connection.execute(counted, given):
                counts[key][lexeme] = times
        return counts

    def scores(query: str, bodies: Mapping[int, str | None], k1: float = 1.2, b: float = 0.75) -> dict[int, float]:
        documents = words({key: body for key, body in bodies.items() if body is not None})
        mean = sum(document.total() for document in documents.values()) / len(documents)
        found: Counter[int] = Counter()
        for word, times in words({0: query})[0].items():
            having = sum(word in document for document in documents.values())
            idf = math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
            for key, document in documents.items():
                if word in document:
                    norm = k1 * (1 - b + b * document.total() / mean)
                    found[key] += times * idf * document[word] * (k1 + 1) / (document[word] + norm)
        return dict(found)

    return scores


def found(collection: Collection, query: str, limit: int = 1000, **options: object) -> dict[int, float]:
    [hits] = collection.search_text(query, limit, **options)  # type: ignore[arg-type]
    assert list(hits.distances) == sorted(hits.distances, reverse=True)
    return dict(zip(hits.ids.tolist(), hits.distances.tolist(), strict=True))


def random_texts(count: int) -> dict[int, str | None]:
    chance = random.Random(7)  # noqa: S311 - not for secrets
    bodies: dict[int, str | None] = {
        key: " ".join(chance.choices(VOCABULARY, k=chance.randint(0, 40))) for key in range(count)
    }
    return bodies | dict.fromkeys(range(0, count, 50), None)


@pytest.mark.parametrize("indexed", [False, True], ids=["without an index", "with an index"])
def test_scores_are_those_of_the_formula(pages: Collection, reference: Reference, *, indexed: bool) -> None:
    bodies = random_texts(300)
    pages.insert([row(key, body) for key, body in bodies.items()])
    if indexed:
        assert pages.create_index("body", Gin()).name == "body_idx"
    for query in ("whale", "the white whale", "ship ships captain", "harpoon nothing", "LEG of the Captain's ship"):
        assert found(pages, query) == pytest.approx(reference(query, bodies))
    for k1, b in ((0, 0), (0, 1), (3, 1), (2.0, 0), (0.5, 0.3)):
        expected = reference("white whale", bodies, k1, b)
        assert found(pages, "white whale", k1=k1, b=b) == pytest.approx(expected)


def questions(chance: random.Random, words: list[str]) -> Iterator[dict[str, object]]:
    for _ in range(25):
        yield {
            "query": " ".join(chance.choices(words, k=chance.choice([1, 2, 3, 6, 12]))),
            "limit": chance.choice([1, 3, 10, 200]),
            "offset": chance.choice([0, 0, 2]),
            "filter": chance.choice([None, None, "year < 1920", "year == 1907", "id > 900", "year % 2 == 0"]),
            "k1": chance.choice([1.2, 1.2, 0, 3]),
            "b": chance.choice([0.75, 0, 1]),
            "partition_names": chance.choice([None, None, ["novel"], ["_default", "novel"]]),
        }


@pytest.mark.parametrize("seed", range(3))
def test_an_index_leaves_texts_out_and_changes_neither_answer_nor_score_nor_order(
    pages: Collection, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Without one every text with any of the words is looked at. Words are as rare as they are in a language."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    words = [f"word{number}" for number in range(300)]
    often = [1 / (number + 1) for number in range(300)]
    pages.create_partition("novel")
    for partition, keys in (("_default", range(600)), ("novel", range(500, 1000))):
        bodies = (" ".join(chance.choices(words, often, k=chance.randint(1, 30))) for _ in keys)
        rows = [row(key, body, year=1900 + chance.randint(0, 50)) for key, body in zip(keys, bodies, strict=True)]
        pages.insert(rows, partition_name=partition)
    asked = list(questions(chance, words[:2] + words))
    whole = [pages.search_text(**question)[0] for question in asked]  # type: ignore[arg-type]
    pages.create_index("body", Gin())
    looked_at = list[str]()
    matching = bm25.matching

    def noticed(query: str) -> dict[str, WireValue]:
        looked_at.append(query)
        return matching(query)

    monkeypatch.setattr(bm25, "matching", noticed)
    monkeypatch.setattr(maxscore, "_TEXTS_AT_FIRST", 5)
    monkeypatch.setattr(maxscore, "_TEXTS_FOR_EACH_WANTED", 1)
    for question, expected in zip(asked, whole, strict=True):
        [hits] = pages.search_text(**question)  # type: ignore[arg-type]
        assert hits.ids.tolist() == expected.ids.tolist()
        assert hits.distances.tolist() == expected.distances.tolist()
    assert any("&" in query for query in looked_at)
    assert len(looked_at) > len(asked)


def test_a_search_answers_the_same_however_often_it_is_made(filled: Collection) -> None:
    """From some time on the server has a plan for any words."""
    filled.create_index("body", Gin())
    answers = [found(filled, query) for _ in range(10) for query in ("sea whale", "cat tale")]
    assert answers == answers[:2] * 10
    assert answers[0].keys() == {0, 1, 2}


def test_equal_scores_are_in_the_order_of_the_keys_and_pages_fit_together(pages: Collection) -> None:
    pages.insert([row(key, "one whale" if key % 2 else "a whale and a whale") for key in range(20)])
    [whole] = pages.search_text("whale", 20)
    assert whole.ids.tolist() == [*range(0, 20, 2), *range(1, 20, 2)]
    parts = [pages.search_text("whale", 7, offset=offset)[0].ids.tolist() for offset in (0, 7, 14)]
    assert [key for part in parts for key in part] == whole.ids.tolist()


def test_no_word_finds_nothing_and_null_is_never_found(filled: Collection) -> None:
    queries = ["the", "", "nothing", " \t\n", "& | ! ( ) : * \\ '", "sea"]
    answers = filled.search_text(queries, output_fields=["body"])
    assert [len(hits) for hits in answers] == [0, 0, 0, 0, 0, 2]
    assert answers[-1][0].fields == {"body": "the sea, the sea"}
    assert filled.search_text([]) == []


def test_an_empty_collection_and_one_of_nothing_but_stop_words_find_nothing(pages: Collection) -> None:
    assert found(pages, "whale") == {}
    pages.insert([row(1, "the of"), row(2, None)])
    assert found(pages, "whale") == {}


HOSTILE = [
    "o'clock",
    "back\\slash",
    "'quoted'",
    "a&b",
    "x86_64",
    "me@example.com",
    "https://example.com/x?y=1",
    "größe",
    "猫",
]


@pytest.mark.parametrize("configuration", ["english", "simple", None])
def test_a_text_finds_itself_whatever_letters_it_has(store: Store, configuration: str | None) -> None:
    pages = store.create_collection("pages", (FIELDS[0], replace(BODY, text_search=configuration)))
    pages.insert([{"id": key, "body": f"{word} and more"} for key, word in enumerate(HOSTILE)])
    for key, word in enumerate(HOSTILE):
        assert next(iter(found(pages, word))) == key


def test_what_was_deleted_replaced_and_inserted_counts_at_once(filled: Collection, reference: Reference) -> None:
    bodies = dict(enumerate(TEXTS))
    filled.create_index("body", Gin())
    assert found(filled, "sea whale") == pytest.approx(reference("sea whale", bodies))
    filled.delete("id == 1")
    del bodies[1]
    assert found(filled, "sea whale") == pytest.approx(reference("sea whale", bodies))
    bodies |= {0: "another whale whale whale", 9: "sea, sea, sea", 3: "no longer nothing, a whale"}
    filled.upsert([row(key, bodies[key]) for key in (0, 3, 9)])
    assert found(filled, "sea whale") == pytest.approx(reference("sea whale", bodies))
    filled.truncate()
    assert found(filled, "sea whale") == {}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words that have been counted."""
    words = list[str]()
    command = Frequencies.command

    def noticed(self: Frequencies, given: Sequence[Word]) -> Command:
        words.extend(word.lexeme for word in given)
        return command(self, given)

    monkeypatch.setattr(Frequencies, "command", noticed)
    return words


def uncounted(collection: Collection, query: str, counted: list[str]) -> dict[int, float]:
    """What is found when nothing is counted: soon, for the server may have written something on its own."""
    for _ in range(200):
        counted.clear()
        answer = found(collection, query)
        if not counted:
            return answer
    raise AssertionError("the words are counted each time")


@pytest.mark.parametrize("indexed", [False, True], ids=["without an index", "with an index"])
def test_words_are_counted_once_until_somebody_writes(
    filled: Collection, store: Store, reference: Reference, counted: list[str], *, indexed: bool
) -> None:
    bodies = dict(enumerate(TEXTS))
    if indexed:
        filled.create_index("body", Gin())
    assert uncounted(filled, "sea whale", counted) == pytest.approx(reference("sea whale", bodies))
    assert uncounted(filled, "cat whale", counted) == pytest.approx(reference("cat whale", bodies))
    other = store.create_collection("other", FIELDS)
    other.insert([row(1, "whale")])
    counted.clear()
    assert found(filled, "sea whale") == pytest.approx(reference("sea whale", bodies))
    assert counted == ["sea", "whale"]  # it may have been here
    assert list(uncounted(other, "whale", counted)) == [1]
    for partition in (["_default"], None):
        assert found(filled, "sea", partition_names=partition) == pytest.approx(reference("sea", bodies))


def test_a_count_of_another_moment_is_never_taken(filled: Collection, store: Store) -> None:
    """In a caller's transaction words are counted each time."""
    chance = random.Random(3)  # noqa: S311 - not for secrets
    filled.create_index("body", Gin())
    for key in range(60):
        match chance.randrange(5):
            case 0:
                filled.insert([row(100 + key, " ".join(chance.choices(VOCABULARY, k=8)))])
            case 1:
                filled.delete(f"id == {100 + chance.randrange(60)}")
            case 2:
                filled.upsert([row(chance.randrange(6), " ".join(chance.choices(VOCABULARY, k=8)))])
        query = " ".join(chance.choices(VOCABULARY, k=2))
        with store.transaction() as together:
            expected = found(together.collection("pages"), query)
        assert found(filled, query) == expected


def test_what_others_have_not_committed_does_not_count(filled: Collection, store: Store) -> None:
    before = found(filled, "whale")
    with store.transaction() as together:
        inside = together.collection("pages")
        inside.insert([row(key, "whale") for key in range(100, 200)])
        inside.delete("id == 0")
        assert found(filled, "whale") == before
        assert 0 not in found(inside, "whale")
        assert len(found(inside, "whale")) == 101
    assert len(found(filled, "whale")) == 101


def test_a_filter_chooses_texts_and_changes_no_score(filled: Collection) -> None:
    scores = found(filled, "sea whale")
    assert found(filled, "sea whale", filter="year < 1902") == {key: scores[key] for key in (0, 1)}
    assert found(filled, "sea whale", where=filled.c.id == 2) == {2: scores[2]}
    matched = found(filled, "sea whale", filter="text_match(body, {word})", filter_params={"word": "cat"})
    assert matched == {2: scores[2]}
    assert found(filled, "sea whale", filter="phrase_match(body, 'sea whale')") == {2: scores[2]}


def test_partitions_are_searched_by_what_they_have_themselves(pages: Collection, reference: Reference) -> None:
    pages.create_partition("novel")
    novels = {key: f"whale number {'sea ' * key}" for key in range(1, 6)}
    pages.insert([row(key, body) for key, body in novels.items()], partition_name="novel")
    pages.insert([row(key, "a whale, and no ship") for key in range(10, 20)])
    assert found(pages, "whale sea", partition_names=["novel"]) == pytest.approx(reference("whale sea", novels))
    assert len(found(pages, "whale sea")) == 15


def test_partitions_of_a_key_are_searched_as_one(store: Store, reference: Reference) -> None:
    tenant = Field("tenant", DataType.INT64, partition_key=True)
    pages = store.create_collection("pages", (*FIELDS, tenant), num_partitions=4)
    bodies = random_texts(60)
    pages.insert([row(key, body, tenant=key % 7) for key, body in bodies.items()])
    pages.create_index("body", Gin())
    scores = reference("white whale", bodies)
    assert found(pages, "white whale") == pytest.approx(scores)
    mine = {key: score for key, score in scores.items() if key % 7 == 3}
    assert found(pages, "white whale", filter="tenant == 3") == pytest.approx(mine)


def test_an_alias_is_searched_and_a_long_name_has_its_words(store: Store) -> None:
    body = replace(BODY, name="b" * 63)
    pages = store.create_collection("pages", (FIELDS[0], body))
    pages.insert([{"id": 1, body.name: "a whale"}])
    pages.create_index(body.name, Gin())
    store.create_alias("pages", "prod")
    assert list(found(store.collection("prod"), "whales")) == [1]
    assert [index.field for index in pages.describe().indexes] == [body.name]
    pages.drop_field(body.name)
    assert list(pages.table.c.keys()) == ["id", "_partition"]


def test_a_text_of_too_many_words_is_refused(store: Store) -> None:
    endless = " ".join(f"word{number}" for number in range(150_000))
    plain = Field("body", DataType.TEXT)
    pages = store.create_collection("pages", (FIELDS[0], replace(plain, bm25=True)))
    with pytest.raises(InvalidData, match=r"field 'body', row 0: .* too long"):
        pages.insert([{"id": 1, "body": endless}])
    pages.alter_field(plain)
    pages.insert([{"id": 1, "body": endless}])
    with pytest.raises(InvalidData, match="more words than PostgreSQL's text search takes"):
        pages.alter_field(replace(plain, bm25=True))


def test_the_length_of_a_text_is_the_number_of_its_words(pages: Collection, store: Store) -> None:
    bodies = ["whale " * 300, " ".join(f"word{n}" for n in range(2000)), "the of", "one", "one two three", None]
    counted = text(
        "SELECT avg((SELECT coalesce(sum(cardinality(positions)), 0) FROM unnest(body_words))) FROM pages.entities "
        "WHERE body IS NOT NULL"
    )
    for key, body in enumerate(bodies):
        pages.insert([row(key, body)])
        with store.engine.connect() as connection:
            share, mean = connection.execute(bm25.lengths(pages.table, BODY, None, 100.0)).one()
            assert mean == pytest.approx(float(connection.execute(counted).scalar_one()))
            assert share == pytest.approx(1 if body is not None else 5 / 6)


def test_of_a_large_collection_a_sample_tells_the_lengths(
    pages: Collection, store: Store, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = random_texts(3000)
    pages.insert([row(key, body) for key, body in bodies.items()])
    exact = found(pages, "white whale", 10)
    assert exact == pytest.approx(dict(sorted(reference("white whale", bodies).items(), key=lambda it: -it[1])[:10]))
    monkeypatch.setattr(texts, "EXACT_PAGES", 10)
    sampled = found(pages, "white whale", 10)
    assert sampled != exact
    assert list(sampled.values()) == pytest.approx(list(exact.values()), rel=0.2)
    assert found(pages, "white whale", 10) == sampled
    with store.transaction() as together:
        assert found(together.collection("pages"), "white whale", 10) == pytest.approx(sampled)
    pages.delete("id >= 1500")
    assert all(key < 1500 for key in found(pages, "white whale", 1000))


def test_texts_are_searched_while_others_write(pages: Collection) -> None:
    """Each answer is one of a moment: nothing is found that was gone before, and no writer stops a search."""
    pages.insert([row(key, "a white whale") for key in range(50)])
    pages.create_index("body", Gin())
    done, wrong = threading.Event(), list[object]()

    def write() -> None:
        try:
            for key in range(60):
                pages.upsert([row(key % 50, "a black whale" if key % 2 else "a white whale")])
                pages.insert([row(1000 + key, "whale after whale")])
                pages.delete(f"id == {1000 + key}")
        except Exception as exc:  # noqa: BLE001 - to be told by the test
            wrong.append(exc)
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        scores = found(pages, "whale")
        assert set(range(50)) <= scores.keys()
        assert all(score > 0 for score in scores.values())
    writer.join()
    assert wrong == []
    assert len(found(pages, "whale")) == 50


def test_words_are_one_of_the_requests_of_a_hybrid_search(filled: Collection) -> None:
    words = TextRequest("body", "cat sea")
    scores = found(filled, "cat sea")
    [alone] = filled.hybrid_search([words], Weighted(1, norm_score=False), output_fields=["body"])
    assert dict(zip(alone.ids.tolist(), alone.distances.tolist(), strict=True)) == pytest.approx(scores)
    [normed] = filled.hybrid_search([words], Weighted(1))
    assert normed[0].distance == pytest.approx(2 * math.atan(max(scores.values())) / math.pi)
    [both] = filled.hybrid_search([words, AnnRequest([1, 2], limit=2)], Rrf(k=60), limit=1)
    assert (both[0].id, both[0].distance) == (2, pytest.approx(2 / 61))
    [other] = filled.hybrid_search([TextRequest(None, "whale", k1=0)], Weighted(1, norm_score=False))
    assert len(set(other.distances)) == 1


def test_what_words_find_is_ranked_anew(filled: Collection) -> None:
    scores = found(filled, "sea whale")
    words = TextRequest("body", "sea whale", filter="id < 3")
    newest = Decay("year", origin=1902, scale=1, function="linear")
    for _ in range(2):
        [hits] = filled.hybrid_search([words], newest, output_fields=["year"])
        expected = {2: scores[2], 1: scores[1] / 2, 0: scores[0] / 2}
        assert dict(zip(hits.ids.tolist(), hits.distances, strict=True)) == pytest.approx(expected)
        assert hits[0].fields == {"year": 1902}
    [hits] = filled.hybrid_search([words], Boost("text_match(body, 'tale')", weight=9), limit=1)
    assert (hits[0].id, hits[0].distance) == (0, pytest.approx(9 * scores[0]))


@pytest.fixture(scope="module")
def asked(module_url: URL) -> Iterator[Collection]:
    with connect(module_url) as store:
        yield store.create_collection("asked", FIELDS)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"query": 7}, InvalidArgument, "takes a text"),
        ({"query": ["sea", 7]}, InvalidArgument, "takes a text"),
        ({"query": "nul\0"}, InvalidArgument, "NUL"),
        ({"query": "\ud800"}, InvalidArgument, "surrogate"),
        ({"query": " ".join(f"word{n}" for n in range(257))}, InvalidArgument, "257 words is too long"),
        ({"query": "sea", "field": "year"}, InvalidArgument, "is INT32"),
        ({"query": "sea", "field": "nothing"}, FieldNotFound, "no field 'nothing'"),
        ({"query": "sea", "k1": -1}, InvalidArgument, "k1 must be from 0 to 3"),
        ({"query": "sea", "b": 1.5}, InvalidArgument, "b must be from 0 to 1"),
        ({"query": "sea", "b": True}, InvalidArgument, "b must be from 0 to 1"),
        ({"query": "sea", "limit": 0}, InvalidArgument, "limit"),
        ({"query": "sea", "offset": 16_384}, InvalidArgument, "offset"),
        ({"query": "sea", "filter": "year >"}, FilterError, "year >"),
        ({"query": "sea", "output_fields": ["nothing"]}, FieldNotFound, "no field 'nothing'"),
        ({"query": "sea", "partition_names": ["nothing"]}, PartitionNotFound, "no partition 'nothing'"),
        ({"query": "sea", "partition_names": []}, InvalidArgument, "must name a partition"),
    ],
)
def test_a_wrong_question_is_answered_by_an_error_of_its_own(
    asked: Collection, options: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        asked.search_text(**options)  # type: ignore[arg-type]


def test_which_field_is_searched_must_be_told_where_several_could_be(store: Store) -> None:
    second = replace(BODY, name="title")
    pages = store.create_collection("pages", (FIELDS[0], BODY, second, Field("plain", DataType.TEXT, nullable=True)))
    pages.insert([{"id": 1, "body": "sea", "title": "whale", "plain": "ship"}])
    with pytest.raises(InvalidArgument, match="fields with bm25: body, title"):
        pages.search_text("whale")
    assert list(found(pages, "whale", field="title")) == [1]
    assert found(pages, "whale", field="body") == {}
    assert list(found(pages, "ship", field="plain")) == [1]  # by ts_rank_cd


def test_bm25_belongs_to_texts_and_its_column_to_nobody_else() -> None:
    with pytest.raises(InvalidSchema, match="bm25 belongs to VARCHAR and TEXT"):
        Field("year", DataType.INT32, bm25=True)
    metadata = CollectionMetadata()
    with pytest.raises(InvalidSchema, match=r"'body_words': bm25 keeps the words"):
        metadata.declare("pages", [FIELDS[0], BODY, Field("body_words", DataType.JSON)])


def test_analysts_see_the_words_as_a_column(filled: Collection, store: Store) -> None:
    filled.create_index("body", Gin())
    with store.engine.connect() as connection:
        matching = "SELECT id FROM pages.entities WHERE body_words @@ to_tsquery('english', 'whale & sea')"
        assert connection.execute(text(matching)).scalars().all() == [2]
        connection.execute(
            text(
                "INSERT INTO pages.entities (id, body, vector, _partition) VALUES "
                "(50, 'a whale by SQL', '[1,2]', '_default')"
            )
        )
        connection.commit()
    assert 50 in found(filled, "whale")
    assert [field.name for field in filled.describe().schema.fields] == ["id", "body", "year", "vector"]
    assert filled.get([2], output_fields=["*"])[0].keys() == {"id", "body", "year", "vector"}
    assert store.doctor() == ()


def test_a_field_begins_to_be_ranked_and_ends(filled: Collection, store: Store, reference: Reference) -> None:
    bodies = dict(enumerate(TEXTS))
    store.create_alias("pages", "prod")
    filled.create_index("body", Gin())
    plain = replace(BODY, bm25=False)
    with pytest.raises(OperationRefused, match="'body_idx', of 'english' with bm25: drop it first"):
        filled.alter_field(plain)
    filled.drop_index()
    filled.alter_field(plain)
    assert filled.describe().schema.field("body") == plain
    assert "body_words" not in filled.table.c
    assert list(found(filled, "whale", field="body")) == [0, 2]
    filled.create_index("body", Gin())
    with pytest.raises(OperationRefused, match="'body_idx', of 'english': drop it first"):
        filled.alter_field(BODY)
    filled.drop_index()
    filled.alter_field(BODY)
    assert found(filled, "sea whale") == pytest.approx(reference("sea whale", bodies))
    filled.alter_field(replace(BODY, text_search="simple"))
    assert list(found(filled, "whales")) == [0]
    assert list(found(filled, "the")) == [1, 4]


def test_a_field_is_added_and_dropped_with_its_words(filled: Collection, store: Store) -> None:
    filled.add_field(replace(BODY, name="note", default_value="a note of whales"))
    assert len(found(filled, "whale", field="note")) == len(TEXTS)
    filled.create_index("note", Gin())
    with store.engine.begin() as connection:
        connection.execute(text("CREATE VIEW public.notes AS SELECT note_words FROM pages.entities"))
    with pytest.raises(DependentObjects, match="notes"):
        filled.drop_field("note")
    assert len(found(filled, "whale", field="note")) == len(TEXTS)
    filled.drop_field("note", cascade=True)
    assert filled.describe().indexes == ()
    assert "note_words" not in filled.table.c


def test_a_field_of_that_name_is_not_taken_for_the_words_of_another(store: Store) -> None:
    plain = replace(BODY, bm25=False)
    pages = store.create_collection("pages", (FIELDS[0], plain, Field("body_words", DataType.JSON, nullable=True)))
    pages.insert([{"id": 1, "body": "whale", "body_words": [1]}])
    pages.drop_field("body")
    assert pages.get([1]) == [{"id": 1, "body_words": [1]}]


def test_what_was_dropped_comes_back_ranked(store: Store, reference: Reference) -> None:
    pages = store.create_collection("pages", FIELDS, properties={"vecstore.keep_dropped": "1 day"})
    pages.insert([row(key, body) for key, body in enumerate(TEXTS)])
    pages.create_index("body", Gin())
    expected = reference("sea whale", dict(enumerate(TEXTS)))
    pages.drop()
    store.restore("pages")
    assert found(pages, "sea whale") == pytest.approx(expected)
    pages.create_partition("novel")
    pages.insert([row(100, "a whale in a novel")], partition_name="novel")
    pages.drop_partition("novel")
    store.restore_partition("pages", "novel")
    assert 100 in found(pages, "whale", partition_names=["novel"])


def declared(*fields: Field, indexed: bool) -> CollectionMetadata:
    metadata = CollectionMetadata()
    metadata.declare("pages", fields, indexes=[IndexDeclaration("body", Gin())] if indexed else [])
    return metadata


@pytest.fixture
def connection(store: Store) -> Iterator[Connection]:
    with store.engine.connect() as connection:
        yield connection


def test_migrations_see_that_a_field_is_ranked(connection: Connection) -> None:
    plain = declared(FIELDS[0], replace(BODY, bm25=False), indexed=True)
    ranked = declared(*FIELDS[:2], indexed=True)
    run(connection, revision(compared(connection, plain)))
    proposed = compared(connection, ranked)
    assert [it.verb for it in proposed.ops] == ["drop_scalar_index", "alter_field", "create_scalar_index"]
    run(connection, revision(proposed))
    assert compared(connection, ranked).ops == []
    back = proposed.reverse()
    run(connection, revision(back))
    assert compared(connection, plain).ops == []
