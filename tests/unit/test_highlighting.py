"""The words that a text was found by, marked in pieces of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecstore import Highlighter, InvalidArgument, Lexeme

TEXT = "one two three four five six seven eight nine ten"


def lexemes(text: str) -> list[Lexeme]:
    return [Lexeme(it[0].lower(), number, *it.span()) for number, it in enumerate(re.finditer(r"\w+", text), start=1)]


def fragments(text: str, *words: str, **options: Any) -> list[str]:
    return Highlighter(("{",), ("}",), **options).fragments(text, lexemes(text), set(words))


def test_a_fragment_begins_with_its_first_word_and_has_the_size_asked_for() -> None:
    assert fragments(TEXT, "three", fragment_size=15) == ["{three} four five"]


def test_a_fragment_begins_earlier_by_the_offset_and_no_earlier_than_the_text() -> None:
    assert fragments(TEXT, "three", fragment_size=14, fragment_offset=4) == ["two {three} four"]
    assert fragments(TEXT, "two", fragment_size=9, fragment_offset=50) == ["one {two} t"]


def test_words_within_a_fragment_are_marked_in_it_and_the_next_begins_another() -> None:
    assert fragments(TEXT, "one", "two", "nine", fragment_size=9) == ["{one} {two} t", "{nine} ten"]


def test_a_fragment_is_long_enough_for_its_last_word() -> None:
    assert fragments(TEXT, "one", "three", fragment_size=9) == ["{one} two {three}"]
    assert fragments(TEXT, "seven", fragment_size=1) == ["{seven}"]


def test_no_more_fragments_than_were_asked_for() -> None:
    assert fragments(TEXT, "one", "five", "nine", fragment_size=3, num_of_fragments=2) == ["{one}", "{five}"]
    assert fragments(TEXT, "one", num_of_fragments=0) == []


def test_a_text_without_the_words_has_no_fragment() -> None:
    assert fragments(TEXT, "eleven") == fragments("", "one") == fragments(TEXT) == []


def test_tags_are_taken_in_turns_in_each_fragment() -> None:
    highlighter = Highlighter(["<a>", "<b>"], ["</a>", "</b>", "</c>"], fragment_size=13)
    found = highlighter.fragments(TEXT, lexemes(TEXT), {"one", "two", "three", "seven", "eight"})
    assert found == ["<a>one</a> <b>two</b> <a>three</c>", "<a>seven</a> <b>eight</b> n"]


def test_words_that_overlap_or_meet_are_marked_as_one() -> None:
    words = [Lexeme("foo-bar", 1, 0, 7), Lexeme("foo", 2, 0, 3), Lexeme("bar", 3, 4, 7), Lexeme("/baz", 4, 7, 11)]
    marked = Highlighter(["{"], ["}"]).fragments("foo-bar/baz!", words, {"foo-bar", "foo", "/baz"})
    assert marked == ["{foo-bar/baz}!"]


@given(
    st.lists(st.sampled_from("abcde"), max_size=30).map(" ".join),
    st.sets(st.sampled_from("abcde")),
    st.integers(0, 5),
    st.integers(1, 12),
    st.integers(0, 4),
)
def test_every_fragment_is_a_piece_of_the_text_with_marked_words_alone(
    text: str, words: set[str], offset: int, size: int, most: int
) -> None:
    found = fragments(text, *words, fragment_offset=offset, fragment_size=size, num_of_fragments=most)
    assert len(found) <= most
    assert bool(found) is bool(most and words & set(text.split()))
    for fragment in found:
        assert fragment.replace("{", "").replace("}", "") in text
        assert set(re.findall(r"\{(.*?)\}", fragment)) <= words
        assert re.search(r"\{", fragment)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"pre_tags": []}, r"pre_tags must be a list of one text or more, got \[\]"),
        ({"post_tags": "</em>"}, "post_tags must be a list"),
        ({"pre_tags": [7]}, "pre_tags must be a list"),
        ({"fragment_size": 0}, "fragment_size must be an int from 1, got 0"),
        ({"fragment_offset": -1}, "fragment_offset must be an int from 0, got -1"),
        ({"num_of_fragments": True}, "num_of_fragments must be an int from 0, got True"),
    ],
)
def test_a_highlighter_that_is_none_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        Highlighter(**wrong)
