from __future__ import annotations

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from vecstore import NotInstalled, SchemaOutdated, SchemaTooNew, UnsupportedServer
from vecstore.revisions import check, refuse_newer, revisions

HEAD = revisions()[-1]


def test_the_names_of_the_files_say_what_alembic_finds_in_them() -> None:
    config = Config()
    config.set_main_option("script_location", "vecstore:migrations")
    history = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert revisions() == tuple(reversed(history))


def test_this_librarys_revision_will_do() -> None:
    check([HEAD])


@pytest.mark.parametrize("older", revisions()[:-1])
def test_an_older_revision_is_named_with_the_command_that_helps(older: str) -> None:
    with pytest.raises(SchemaOutdated, match=rf"'{older}', this library needs '{HEAD}': run `vecstore upgrade`"):
        check([older])


@pytest.mark.parametrize("found", [["vecstore_9999"], [HEAD, "vecstore_9999"], ["a_revision", "vecstore_x"]])
def test_a_newer_revision_is_named_with_what_helps(found: list[str]) -> None:
    for refuse in (check, refuse_newer):
        with pytest.raises(SchemaTooNew, match=rf"install the newer vecstore, or .*`vecstore downgrade {HEAD}`"):
            refuse(found)


def test_no_revision_is_no_installation() -> None:
    refuse_newer([])
    with pytest.raises(NotInstalled, match=r"`vecstore upgrade`, or store\.upgrade\(\)"):
        check([])


@pytest.mark.parametrize("found", [["a_revision"], ["a_revision", HEAD], ["a_revision", *revisions()]])
def test_revisions_of_an_application_that_includes_ours_are_its_own(found: list[str]) -> None:
    check(found)


def test_every_one_of_these_says_that_the_database_will_not_do() -> None:
    assert all(issubclass(kind, UnsupportedServer) for kind in (NotInstalled, SchemaOutdated, SchemaTooNew))
