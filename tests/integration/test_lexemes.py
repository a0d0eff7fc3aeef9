"""What text search makes of a text can be seen, and is what it is searched for by."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import text

from vecstore import Collection, DataType, Field, FieldNotFound, Highlighter, InvalidArgument, Lexeme, Store

PIECES = (
    *("The", "quick", "Foxes", "jumped", "naïve", "Straße", "мир", "数据库", "ﬁx", "don't", "c'est", "a", "of"),
    *("foo-bar-baz2", "well-known", "http://example.com/a/b?c=d", "www.example.org", "ann@example.org", "/usr/bin/x"),
    *("3.14", "-2e5", "v1.2.3", "snake_case", "<b>", "</b>", "&amp;", "\N{GRINNING FACE}", "\N{NO-BREAK SPACE}"),
    "x" * 300,
)
BETWEEN = (" ", "  ", ", ", ".", "\n", "-", "/", "")
AS_A_VECTOR = text("""
    SELECT lexeme, position FROM unnest(to_tsvector(CAST(CAST(:configuration AS text) AS regconfig), :content)) v
    CROSS JOIN LATERAL unnest(v.positions) AS position
""")


def test_a_word_comes_as_it_is_searched_for_with_its_place_in_the_text(store: Store) -> None:
    (found,) = store.lexemes("The naïve foxes: foo-bar", text_search="english")
    assert found == [
        Lexeme("naïv", 2, 4, 9),
        Lexeme("fox", 3, 10, 15),
        Lexeme("foo-bar", 4, 17, 24),
        Lexeme("foo", 5, 17, 20),
        Lexeme("bar", 6, 21, 24),
    ]


def test_the_simple_configuration_drops_no_word_and_each_text_has_a_list(store: Store) -> None:
    found = store.lexemes(["The Foxes", "", "!"])
    assert [[it.text for it in words] for words in found] == [["the", "foxes"], [], []]


@pytest.mark.parametrize("configuration", ["simple", "english", "french"])
def test_words_and_positions_are_those_of_a_tsvector(store: Store, configuration: str) -> None:
    draw = random.Random(7)  # noqa: S311 - the same texts each time
    texts = ["".join(draw.choice(PIECES) + draw.choice(BETWEEN) for _ in range(12)) for _ in range(200)]
    found = store.lexemes(texts, text_search=configuration)
    with store.engine.connect() as connection:
        for content, lexemes in zip(texts, found, strict=True):
            rows = connection.execute(AS_A_VECTOR, {"configuration": configuration, "content": content})
            assert {(it.text, it.position) for it in lexemes} == {(row[0], row[1]) for row in rows}, content


def test_what_a_word_was_made_of_stands_at_its_place(store: Store) -> None:
    draw = random.Random(8)  # noqa: S311
    texts = [" ".join(draw.choices(PIECES, k=12)) for _ in range(50)]
    for content, lexemes in zip(texts, store.lexemes(texts), strict=True):
        assert [content[it.start : it.end].lower() for it in lexemes] == [it.text for it in lexemes]


def test_a_configuration_of_ones_own_has_its_schema_before_it(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text('CREATE SCHEMA "Our Words"'))
        connection.execute(text('CREATE TEXT SEARCH CONFIGURATION "Our Words"."Plain" (COPY = pg_catalog.german)'))
    ((word,),) = store.lexemes("Häuser", text_search="Our Words.Plain")
    assert word.text == "haus"


@pytest.mark.parametrize(
    ("texts", "text_search", "said"),
    [
        ("a", "klingon", r"no text search configuration 'klingon'; there are: arabic, "),
        ("a", ["english"], r"no text search configuration \['english'\]"),
        (7, None, "takes a text, or a list of them"),
        (["a", 7], None, "takes a text, or a list of them"),
        ("a\0", None, "NUL"),
    ],
)
def test_what_is_no_text_and_no_configuration_is_refused(
    store: Store, texts: object, text_search: object, said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said):
        store.lexemes(texts, text_search=text_search)  # type: ignore[arg-type]


@pytest.fixture
def stories(store: Store) -> Collection:
    return store.create_collection(
        "stories",
        [
            Field("id", DataType.INT64, primary_key=True),
            Field("title", DataType.VARCHAR, max_length=100, nullable=True),
            Field("body", DataType.TEXT, text_search="english", bm25=True),
        ],
    )


def test_the_words_of_a_search_are_marked_in_what_it_found(stories: Collection) -> None:
    stories.insert({"id": [1, 2], "title": ["A", None], "body": ["The whales of naïve Ahab", "Ships & whaling"]})
    (hits,) = stories.search_text("a naïve whale", output_fields=["title", "body"])
    found = [hit.fields["body"] for hit in hits]
    assert stories.highlight(found, "a naïve whale") == [
        ["<em>whales</em> of <em>naïve</em> Ahab"],
        ["<em>whaling</em>"],
    ]


def test_the_configuration_of_the_field_says_what_a_word_is(stories: Collection) -> None:
    texts = [None, "The whales", ""]
    assert stories.highlight(texts, ["the", "whale"], field="body") == [[], ["<em>whales</em>"], []]
    how = Highlighter(["["], ["]"])
    assert stories.highlight(texts, ["the", "whale"], field="title", highlighter=how) == [[], ["[The] whales"], []]


def test_what_cannot_be_highlighted_says_why(stories: Collection) -> None:
    for texts, words, field, said in (
        ("a whale", "whale", "body", "takes a list of texts, got str"),
        ([7], "whale", "body", "takes a text, or a list of them"),
        (["a whale"], None, "body", "takes a text, or a list of them"),
        (["a whale"], "whale", "id", "needs a field of text"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            stories.highlight(texts, words, field=field)  # type: ignore[arg-type]
    with pytest.raises(FieldNotFound):
        stories.highlight(["a whale"], "whale", field="nothing")
