"""Which texts can be among the best: compared with every text there could be."""

from __future__ import annotations

import random
from itertools import product

import pytest

from vecstore import maxscore
from vecstore.maxscore import Term, best, likely, reaching

Text = frozenset[str]


def matches(query: str, text: Text) -> bool:
    """What a tsquery of one-letter words says, read by Python."""
    python = "".join(str(part.strip("'") in text) if part.isalpha() else part for part in query.replace("'", ""))
    return bool(eval(python.replace("&", " and ").replace("|", " or ")))  # noqa: S307 - made here


def terms_of(most: list[float], shares: list[float] | None = None) -> list[Term]:
    shares = shares or [0.1] * len(most)
    return [Term(f"'{chr(97 + n)}'", *of) for n, of in enumerate(zip(most, shares, strict=True))]


def worth(terms: list[Term], text: Text) -> float:
    return sum(term.most for term in terms if term.query.strip("'") in text)


def every_text(terms: list[Term]) -> list[Text]:
    letters = [term.query.strip("'") for term in terms]
    chosen = product([False, True], repeat=len(letters))
    return [frozenset(letter for letter, is_in in zip(letters, each, strict=True) if is_in) for each in chosen]


@pytest.mark.parametrize("seed", range(40))
def test_every_text_that_can_score_so_much_matches_and_few_others(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    terms = terms_of([chance.choice([0.1, 1.0, 2.5, chance.random() * 9]) for _ in range(chance.randint(1, 9))])
    least = chance.random() * sum(term.most for term in terms)
    query = reaching(terms, least)
    reach = {text for text in every_text(terms) if worth(terms, text) >= least}
    found = {text for text in every_text(terms) if matches(query, text)}
    assert reach <= found
    if len(terms) <= 3:
        assert found == reach


def test_a_query_says_no_more_than_it_has_to() -> None:
    terms = terms_of([1.0, 8.0, 2.0, 3.0])
    assert reaching(terms, 0) == "'b' | 'd' | 'c' | 'a'"
    assert reaching(terms, 5) == "'b' | 'd' & ( 'c' )"
    assert reaching(terms, 6) == "'b' | 'd' & ( 'c' & ( 'a' ) )"
    assert reaching(terms, 12) == "'b' & ( 'd' & ( 'c' | 'a' ) )"
    assert reaching(terms_of([2.0]), 2.0) == "'a'"


def test_a_query_of_many_words_stays_short() -> None:
    terms = [Term(f"'w{n}'", 1 + n / 1000, 0.01) for n in range(256)]
    assert reaching(terms, 5.0).count("'w") == 256 - 4
    assert reaching(terms, sum(term.most for term in terms) - 0.5) == "'w255' & ( 'w254' & ( 'w253' ) )"


def test_what_is_likely_is_what_a_share_of_the_texts_reaches() -> None:
    terms = terms_of([1.0, 3.0], [0.5, 0.1])
    assert likely(terms, 0.04) == pytest.approx(4.0)
    assert likely(terms, 0.08) == pytest.approx(3.0)
    assert likely(terms, 0.3) == pytest.approx(1.0)
    assert likely(terms, 0.56) == 0.0  # 0.55 have one of them
    assert likely(terms, 1.0) == likely(terms, 7.0) == 0.0
    assert likely(terms_of([1.0], [1.0]), 0.5) == pytest.approx(1.0)


class Texts:
    """So many texts, of which a filter leaves some, and what they score."""

    def __init__(self, terms: list[Term], seed: int, count: int, limit: int, kept: float) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - not for secrets
        self.limit, self.asked = limit, list[str]()
        self.scores = [self.scored(terms) for _ in range(count)]
        self.kept = [number for number in range(count) if self.chance.random() < kept]

    def scored(self, terms: list[Term]) -> tuple[Text, float]:
        having = [term for term in terms if self.chance.random() < term.share]
        score = sum(term.most * self.chance.choice([0.3, 0.5, 1.0]) for term in having)
        return frozenset(term.query.strip("'") for term in having), score

    def find(self, query: str) -> list[tuple[int, float]]:
        self.asked.append(query)
        found = [(number, self.scores[number][1]) for number in self.kept if matches(query, self.scores[number][0])]
        return sorted(found, key=lambda it: (-it[1], it[0]))[: self.limit]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kept", [1.0, 0.02, 0.0])
def test_the_best_are_found_as_if_every_text_were_looked_at(seed: int, kept: float) -> None:
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    count = chance.randint(1, 7)
    shares = [chance.choice([0.01, 0.1, 0.6, 1.0]) for _ in range(count)]
    terms = terms_of([chance.random() * 9 + 0.01 for _ in range(count)], shares)
    texts = Texts(terms, seed, 3000, chance.choice([1, 10, 300]), kept)
    assert best(terms, 3000, texts.limit, texts.find) == texts.find(reaching(terms, 0))


def test_what_vanishes_between_two_questions_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them may be of another moment."""
    monkeypatch.setattr(maxscore, "_TEXTS_AT_FIRST", 20)
    monkeypatch.setattr(maxscore, "_TEXTS_FOR_EACH_WANTED", 2)
    terms = terms_of([9.0, 8.0, 7.0, 6.0, 1.0], [0.02, 0.1, 0.2, 0.3, 0.9])
    texts = Texts(terms, 3, 3000, 10, 1.0)

    def find(query: str) -> list[tuple[int, float]]:
        rows = texts.find(query)
        if len(texts.asked) == 1:
            texts.kept = [number for number in texts.kept if texts.scores[number][1] < rows[-1][1] / 2]
        return rows

    found = best(terms, 3000, 10, find)
    assert len(texts.asked) == 3
    assert found == texts.find(reaching(terms, 0))


def test_nobody_is_asked_twice_for_the_same() -> None:
    terms = terms_of([9.0, 1.0], [0.4, 0.4])
    texts = Texts(terms, 1, 5000, 10, 1.0)
    best(terms, 5000, 10, texts.find)
    assert len(texts.asked) == len(set(texts.asked)) <= 2
    none = Texts(terms, 1, 5000, 10, 0.0)
    assert best(terms, 5000, 10, none.find) == []
    assert len(none.asked) == len(set(none.asked))
