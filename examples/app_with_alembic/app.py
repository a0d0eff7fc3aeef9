"""Lend a book that is near to what somebody asks for: one transaction over collection and table."""

from __future__ import annotations

import os

from sqlalchemy import select

import vecstore
from models import books, loans, readers


def main() -> None:
    with vecstore.connect(os.environ["DATABASE_URL"]) as store:
        store.collection(books.name).upsert(
            [
                {"id": 1, "title": "Middlemarch", "year": 1871, "embedding": [0.9, 0.1, 0.0], "language": "en"},
                {"id": 2, "title": "Effi Briest", "year": 1895, "embedding": [0.7, 0.5, 0.1], "language": "de"},
            ],
            partition_name="novel",
        )
        with store.engine.begin() as connection:
            reader = connection.execute(readers.insert().values(name="Dorothea").returning(readers.c.id)).scalar_one()
            inside = store.bind(connection)
            hit = inside.collection("catalogue").search([[1, 0, 0]], limit=1, filter="language == 'en'")[0][0]
            connection.execute(loans.insert().values(reader_id=reader, book_id=hit.id))
            title = select(inside.collection(books.name).c.title).where(inside.collection(books.name).c.id == hit.id)
            print("Dorothea borrows", connection.execute(title).scalar_one())


if __name__ == "__main__":
    main()
