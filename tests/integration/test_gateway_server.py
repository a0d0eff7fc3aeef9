"""The server itself: who may come in, what it does when something breaks, and how it ends."""

from __future__ import annotations

import base64
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pymilvus import MilvusClient, MilvusException
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc
from sqlalchemy import URL, text

import vecstore
from killing import children_of, is_gone
from samples import BOOK_FIELDS
from vecstore import Store
from vecstore.cli import main
from vecstore.embedded import start
from vecstore.embedded.cluster import launch, stop
from vecstore.errors import InvalidArgument, NotInstalled
from vecstore.gateway import Gateway, Tls, serve, server
from vecstore.gateway.calls import CALLS
from vecstore.gateway.workers import Served, _reserved
from waiting import SECONDS, eventually

CREATE = "/milvus.proto.milvus.MilvusService/CreateCollection"


@pytest.fixture
def channel(gateway: Gateway) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.address, options=[("grpc.max_send_message_length", -1)]) as channel:
        yield channel


def stub_of(channel: grpc.Channel) -> Any:
    return milvus_pb2_grpc.MilvusServiceStub(channel)


def code_of(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code(), raised.value.details()


# Who may come in


def test_a_client_connects_and_reads_the_version(milvus: MilvusClient) -> None:
    assert milvus.get_server_version() == "v2.6.17"
    assert milvus.get_server_type() == "milvus"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])  # noqa: S104 - what is refused
def test_a_host_that_others_reach_needs_a_token(database_url: URL, host: str) -> None:
    with pytest.raises(InvalidArgument, match="give a token"):
        serve(database_url, host=host, port=0)


def test_only_who_knows_the_token_comes_in(database_url: URL) -> None:
    with serve(database_url, port=0, token="ann:secret") as gateway:  # noqa: S106
        address = f"http://{gateway.address}"
        for given in ({"token": "ann:secret"}, {"user": "ann", "password": "secret"}):
            client = MilvusClient(address, **given)
            assert client.list_users() == ["ann"]
            client.close()
        with grpc.insecure_channel(gateway.address) as channel:
            for name in ("", "ann:wrong", "ann", "root:Milvus"):
                metadata = (("authorization", base64.b64encode(name.encode()).decode()),)
                code, why = code_of(
                    lambda metadata=metadata: stub_of(channel).ListDatabases(
                        milvus_pb2.ListDatabasesRequest(), metadata=metadata
                    )
                )
                assert (code, "auth check failure" in why) == (grpc.StatusCode.UNAUTHENTICATED, True)
            assert code_of(lambda: stub_of(channel).GetVersion(milvus_pb2.GetVersionRequest()))[0] is code


def test_a_client_comes_in_by_tls(database_url: URL, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with serve(database_url, port=0, tls=Tls(certificate, key)) as gateway:
        address = f"https://localhost:{gateway.port}"
        client = MilvusClient(address, server_pem_path=str(certificate), server_name="localhost")
        assert client.list_databases() == ["default"]
        client.close()
    (tmp_path / "no.pem").write_text("-----BEGIN CERTIFICATE-----")
    for pair in (Tls(certificate, tmp_path / "nothing"), Tls(tmp_path / "no.pem", key), Tls(key, key)):
        with pytest.raises(InvalidArgument, match="cannot be read"):
            serve(database_url, port=0, tls=pair)


def test_a_port_that_is_taken_is_said(database_url: URL, gateway: Gateway) -> None:
    with pytest.raises(InvalidArgument, match=f"cannot listen on 127.0.0.1:{gateway.port}"):
        serve(database_url, port=gateway.port)


def test_a_server_without_the_schema_is_not_served(empty_url: URL) -> None:
    with pytest.raises(NotInstalled):
        serve(empty_url, port=0)


def test_a_database_that_is_not_there_is_said(gateway: Gateway) -> None:
    client = MilvusClient(f"http://{gateway.address}", db_name="nothing")
    with pytest.raises(MilvusException, match=r"database not found\[database=nothing\]"):
        client.list_collections()
    client.close()


def test_the_health_of_grpc_is_told(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "milvus.proto.milvus.MilvusService"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert stub_of(channel).CheckHealth(milvus_pb2.CheckHealthRequest()).isHealthy


# What is no request


def test_bytes_that_are_no_message_are_refused(channel: grpc.Channel) -> None:
    raw = channel.unary_unary(CREATE)
    for data in (b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"not protobuf at all"):
        assert code_of(lambda data=data: raw(data))[0] is grpc.StatusCode.INVALID_ARGUMENT
    answer = common_pb2.Status.FromString(raw(b""))
    assert (answer.code, answer.error_code) == (1100, common_pb2.IllegalArgument)
    assert answer.extra_info["is_input_error"] == "true"


def test_a_schema_that_is_no_message_is_refused(channel: grpc.Channel, store: Store) -> None:
    request = milvus_pb2.CreateCollectionRequest(collection_name="books", schema=b"\xff\xff")
    answer = stub_of(channel).CreateCollection(request)
    assert (answer.code, answer.reason) == (1100, "the schema is no CollectionSchema: invalid parameter")
    assert store.list_collections() == []


def test_a_message_that_is_too_large_is_refused_and_the_next_is_served(
    database_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_MESSAGE_BYTES", 100_000)
    with serve(database_url, port=0) as gateway, grpc.insecure_channel(gateway.address) as channel:
        large = milvus_pb2.CreateCollectionRequest(collection_name="books", schema=b"x" * 200_000)
        assert code_of(lambda: stub_of(channel).CreateCollection(large))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub_of(channel).ListDatabases(milvus_pb2.ListDatabasesRequest()).db_names == ["default"]


def test_what_nobody_foresaw_is_logged_and_not_shown(
    database_url: URL, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(call: object, request: object) -> None:
        raise ZeroDivisionError("the secret of line 1")

    monkeypatch.setitem(CALLS, "GetVersion", broken)
    with serve(database_url, port=0) as gateway, grpc.insecure_channel(gateway.address) as channel:
        answer = stub_of(channel).GetVersion(milvus_pb2.GetVersionRequest())
    assert answer.status.code == 65535
    assert "secret" not in str(answer)
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.rpc == "GetVersion"


def test_each_call_is_a_line_with_the_clients_request_id(database_url: URL, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vecstore.gateway")
    token = base64.b64encode(b"ann:secret").decode()
    metadata = (("client-request-id", "r-17"), ("authorization", token))
    with (
        serve(database_url, port=0, token="ann:secret") as gateway,  # noqa: S106
        grpc.insecure_channel(gateway.address) as channel,
    ):
        request = milvus_pb2.ReleaseCollectionRequest(collection_name="books")
        stub_of(channel).ReleaseCollection(request, metadata=metadata)
    (record,) = [record for record in caplog.records if record.message == "call"]
    assert (record.request_id, record.rpc, record.collection, record.user) == (
        "r-17",
        "ReleaseCollection",
        "books",
        "ann",
    )
    assert (record.code, record.reason) == (100, "collection not found[database=default][collection=books]")
    assert record.ms > 0
    assert "secret" not in caplog.text
    assert token not in caplog.text


def test_a_call_that_is_turned_away_is_a_line_as_well(database_url: URL, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vecstore.gateway")
    token = base64.b64encode(b"ann:guessed").decode()
    with (
        serve(database_url, port=0, token="ann:secret") as gateway,  # noqa: S106
        grpc.insecure_channel(gateway.address) as channel,
    ):
        for call, metadata in (
            (lambda metadata: channel.unary_unary(CREATE)(b"", metadata=metadata), (("authorization", token),)),
            (
                lambda metadata: stub_of(channel).CreateRole(milvus_pb2.CreateRoleRequest(), metadata=metadata),
                (("client-request-id", "r-18"),),
            ),
        ):
            code_of(lambda call=call, metadata=metadata: call(metadata))
    denied, refused = [record for record in caplog.records if record.message == "call"]
    assert (denied.rpc, denied.status, denied.peer.split(":")[0]) == ("CreateCollection", "UNAUTHENTICATED", "ipv4")
    assert (refused.rpc, refused.status, refused.request_id) == ("CreateRole", "UNIMPLEMENTED", "r-18")
    assert "guessed" not in caplog.text
    assert token not in caplog.text


# What breaks


def test_a_client_that_goes_away_leaves_nothing_half_done(
    database_url: URL, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, drop = threading.Event(), CALLS["DropCollection"]

    def told(call: Any, request: Any) -> Any:
        began.set()
        return drop(call, request)

    monkeypatch.setitem(CALLS, "DropCollection", told)
    with serve(database_url, port=0) as gateway, grpc.insecure_channel(gateway.address) as channel:
        client = MilvusClient(f"http://{gateway.address}")
        client.create_collection("books", dimension=4)
        client.create_partition("books", "novel")
        with store.engine.connect() as other:
            other.execute(text("SELECT count(*) FROM books.entities"))  # holds a lock that the drop needs
            future = stub_of(channel).DropCollection.future(milvus_pb2.DropCollectionRequest(collection_name="books"))
            assert began.wait(SECONDS)
            future.cancel()
            assert client.list_partitions("books") == ["_default", "novel"]
        eventually(lambda: not client.has_collection("books"))
        client.create_collection("books", dimension=4)
        assert client.list_partitions("books") == ["_default"]
        client.close()


def test_postgresql_may_be_restarted_under_a_running_gateway(tmp_path: Path, major: int) -> None:
    with start(tmp_path, major=major) as postgresql:
        with vecstore.connect(postgresql.url()) as store:
            store.upgrade()
        cluster = postgresql._finalizer.peek()[2][0]
        with serve(postgresql.url(), port=0) as gateway, grpc.insecure_channel(gateway.address) as channel:
            client = MilvusClient(f"http://{gateway.address}")
            client.create_collection("books", dimension=4)
            stop(cluster)
            request = milvus_pb2.ReleaseCollectionRequest(collection_name="books")
            answer = stub_of(channel).ReleaseCollection(request)
            assert (answer.code, "service unavailable" in answer.reason) == (2, True)
            launch(cluster, postgresql.socket_directory)
            client.release_collection("books")
            client.drop_collection("books")
            assert client.list_collections() == []
            client.close()


def test_sixteen_clients_at_once_are_all_served(gateway: Gateway, store: Store) -> None:
    def program(number: int) -> list[str]:
        client = MilvusClient(f"http://{gateway.address}", alias=f"client_{number}")
        name = f"books_{number}"
        client.create_collection(name, dimension=4)
        client.create_partition(name, "novel")
        client.release_collection(name)
        client.drop_index(name, "vector")
        partitions: list[str] = client.list_partitions(name)
        client.drop_collection(name)
        client.close()
        return partitions

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(program, range(16))) == [["_default", "novel"]] * 16
    assert store.list_collections() == []


def test_sixteen_clients_write_search_and_delete_in_one_collection(gateway: Gateway, milvus: MilvusClient) -> None:
    milvus.create_collection("books", dimension=4)
    size, rounds = 20, 5

    def program(number: int) -> int:
        client = MilvusClient(f"http://{gateway.address}", alias=f"writer_{number}")
        for part in range(rounds):
            first = (number * rounds + part) * size + 1
            keys = range(first, first + size)
            client.insert("books", [{"id": key, "vector": [key, 1, 1, number], "owner": number} for key in keys])
            hits = client.search("books", [[first, 1, 1, number]], limit=5, filter=f"owner == {number}")
            assert len(hits[0]) == 5
            assert client.delete("books", ids=[first])["delete_count"] == 1
            assert client.query("books", ids=[first]) == []
        client.close()
        return rounds * (size - 1)

    with ThreadPoolExecutor(16) as pool:
        left = sum(pool.map(program, range(16)))
    assert milvus.get_collection_stats("books") == {"row_count": left}
    assert milvus.query("books", output_fields=["count(*)"]) == [{"count(*)": left}]


# How it ends


def test_a_call_that_is_under_way_is_answered_before_the_gateway_ends(
    database_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slow(call: object, request: object) -> Any:
        began.set()
        assert go_on.wait(SECONDS)
        return milvus_pb2.GetVersionResponse(version="slow")

    monkeypatch.setitem(CALLS, "GetVersion", slow)
    gateway = serve(database_url, port=0)
    with grpc.insecure_channel(gateway.address) as channel:
        answer = stub_of(channel).GetVersion.future(milvus_pb2.GetVersionRequest())
        assert began.wait(SECONDS)
        ending = threading.Thread(target=gateway.stop, kwargs={"grace": SECONDS})
        ending.start()
        go_on.set()
        assert answer.result(SECONDS).version == "slow"
        ending.join(SECONDS)
        assert not ending.is_alive()
    gateway.wait()


@pytest.fixture
def served(database_url: URL) -> Iterator[Callable[..., tuple[subprocess.Popen[str], int]]]:
    """The command `vecstore serve`, and the port that its log tells."""
    started: list[subprocess.Popen[str]] = []

    def run(*options: str) -> tuple[subprocess.Popen[str], int]:
        target = database_url.render_as_string(hide_password=False)
        words = [sys.executable, "-m", "vecstore", "serve", "--port", "0", "--target", target, *options]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        started.append(process)
        for line in process.stderr:
            told = json.loads(line)
            if told["message"] == "serving":
                return process, int(told["address"].rpartition(":")[2])
        raise AssertionError("it did not serve")

    yield run
    for process in started:
        process.terminate()
        process.communicate(timeout=SECONDS)


def workers_of(process: subprocess.Popen[str]) -> set[int]:
    """Those that the first process has started; it is a worker, too."""
    children = {pid: Path(f"/proc/{pid}/cmdline") for pid in children_of(process.pid)}
    return {pid for pid, words in children.items() if not is_gone(pid) and b"spawn_main" in words.read_bytes()}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_command_serves_until_it_is_told_to_end(
    served: Callable[..., tuple[subprocess.Popen[str], int]], workers: str
) -> None:
    process, port = served("--workers", workers, "--token", "ann:secret")
    for number in range(4):
        client = MilvusClient(f"http://127.0.0.1:{port}", token="ann:secret", alias=f"c{number}")  # noqa: S106
        client.create_collection(f"books_{number}", dimension=4)
        assert client.describe_index(f"books_{number}", "vector")["state"] == "Finished"
        client.close()
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert all(line["level"] == "info" for line in lines)
    assert "secret" not in log


def test_a_worker_that_dies_is_replaced(served: Callable[..., tuple[subprocess.Popen[str], int]]) -> None:
    process, _ = served("--workers", "2")
    eventually(lambda: workers_of(process))
    (first,) = workers_of(process)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: workers_of(process) - {first})


def test_calls_that_do_not_end_hold_no_process_back(
    served: Callable[..., tuple[subprocess.Popen[str], int]], store: Store
) -> None:
    store.create_collection("books", BOOK_FIELDS)
    process, port = served()
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'books.entities'::regclass")
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, store.engine.begin() as other:
        other.execute(text("LOCK TABLE books.entities IN ACCESS EXCLUSIVE MODE"))
        request = milvus_pb2.GetCollectionStatisticsRequest(collection_name="books")
        future = stub_of(channel).GetCollectionStatistics.future(request)
        eventually(lambda: other.execute(waiting).scalar())
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=SECONDS)
        assert future.code() is not grpc.StatusCode.OK
    assert process.returncode == 0
    assert "calls were cut off" in log


def test_no_worker_outlives_the_first_process(served: Callable[..., tuple[subprocess.Popen[str], int]]) -> None:
    process, _ = served("--workers", "2")
    eventually(lambda: workers_of(process))
    workers = workers_of(process)
    process.kill()
    process.wait(SECONDS)
    eventually(lambda: all(map(is_gone, workers)))


def test_a_port_on_which_connections_have_just_ended_can_be_served() -> None:
    with socket.create_server(("127.0.0.1", 0)) as before:
        port = before.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            before.accept()[0].close()  # who closes first keeps it for a minute
            assert client.recv(1) == b""
    with _reserved(Served(None, "127.0.0.1", port, None, None, "info")) as reserved:
        assert reserved == port


@pytest.fixture
def log_of_the_tests() -> Iterator[None]:
    """Handed back at the end: the command takes the process's log for its own, and this process has other tests."""
    loggers = [logging.getLogger(), logging.getLogger("vecstore")]
    before = [(logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.mark.usefixtures("log_of_the_tests")
@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--workers", "0"], "workers must be 1 or more"),
        (["--port", "65536"], "port must be from 0 to 65,535, got 65536"),
        (["--port", "65536", "--workers", "2"], "cannot listen on 127.0.0.1:65536"),
        (["--tls-cert", "cert.pem"], "--tls-cert and --tls-key go together"),
    ],
)
def test_wrong_options_are_said_in_a_line(options: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "0", *options]) == 1
    assert why in capsys.readouterr().err


def test_what_cannot_be_served_is_said_in_a_line(database_url: URL) -> None:
    target = database_url.render_as_string(hide_password=False)
    words = [sys.executable, "-m", "vecstore", "serve", "--port", "0", "--target", target, "--host", "0.0.0.0"]  # noqa: S104
    ended = subprocess.run(words, capture_output=True, check=False, text=True)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (1, "", 1)
    assert ended.stderr.startswith("vecstore: host '0.0.0.0' can be reached by others: give a token")
