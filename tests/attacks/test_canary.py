"""No value, and no card number from anywhere in a request, is ever written down.

Canaries go into every place of accepted and refused requests, also while the database
fails, and are then looked for in all that the service, the database and the collector
of traces keep (PCI-DSS 3.4.1, 3.5.1, 10.3.1; OWASP ASVS 5 16.2.5). The database logs all
it can: every statement with every parameter.
"""

import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx2
import psycopg
import pytest

from tests.attacks import barrage
from tests.attacks.canaries import PAN, WORD
from tests.attacks.dumps import dump, tables
from tests.attacks.failing_database import database_errors, database_gone
from tests.attacks.kept_places import Collector, Kept, group, process, shared_counts
from tests.attacks.needles import Sweep, leaves, writings
from tests.fresh_services import new_server
from tests.serving import Server
from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres

CONTROL_PAN: Final = "4539148803"
CONTROL_WORD: Final = "qzalbatros"
_SWEEP: Final = Sweep(PAN, WORD)
_CONTROL: Final = Sweep(CONTROL_PAN, CONTROL_WORD)
_DATABASE_SETTINGS: Final = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "log_min_messages": "debug1",
    "log_min_error_statement": "debug1",
    "log_error_verbosity": "verbose",
    "wal_compression": "off",  # it would hide a text from the search
    "synchronous_commit": "off",  # nothing is asked here of durability
}


@pytest.fixture(scope="module")
def collector() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        server.bodies = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, pg_bindir: Path | None
) -> Iterator[EmbeddedPostgres]:
    """A server of its own, so that all of its files can be searched."""
    home = tmp_path_factory.mktemp("canary")
    with EmbeddedPostgres.own(home, bindir=pg_bindir, shared_buffers="32MB") as server:
        yield server
    shutil.rmtree(home)


def _server(
    cluster: EmbeddedPostgres, folder: Path, environment: dict[str, str], workers: int
) -> Server:
    (folder / "temporary").mkdir()
    environment = {**environment, "TMPDIR": str(folder / "temporary")}
    server = new_server(cluster, folder, workers=workers, environment=environment)
    for name, value in _DATABASE_SETTINGS.items():
        server.query(f"ALTER DATABASE {server.database} SET {name} = '{value}'")
    return server.start()


@pytest.fixture(scope="module")
def kept(
    cluster: EmbeddedPostgres,
    collector: ThreadingHTTPServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Kept]:
    """Both ways in, with tracing and without it, after all canaries have passed."""
    kept = Kept(data=cluster.home / "postgres")
    endpoint = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    servers = {
        "traced": _server(cluster, tmp_path_factory.mktemp("traced"), endpoint, 1),
        "plain": _server(cluster, tmp_path_factory.mktemp("plain"), {}, 2),
    }
    with ThreadPoolExecutor(len(servers)) as threads:
        for answers, raw_answers in threads.map(_attack, servers.values()):
            kept.answers += answers
            kept.raw_answers += raw_answers
    kept.answers += database_gone(cluster, servers["plain"])
    for name, server in servers.items():
        server.wait()
        kept.metrics[name] = server.caller(None).get("/metrics").content
        assert server.process is not None
        pids = group(server.process.pid)
        for pid in pids:
            kept.processes |= process(pid)
        _plant(server)
        server.query("ANALYZE")
        shared = shared_counts(pids)
        if shared is not None:
            kept.folders.append(shutil.copytree(shared, server.directory / "counts"))
        server.stop()
        kept.outputs[f"{name} stdout"] = server.stdout.read_bytes()
        kept.outputs[f"{name} stderr"] = server.stderr.read_bytes()
        kept.folders += [server.home, server.directory / "temporary"]
        kept.dumps[name] = dump(server.superuser_url)
        for table, rows in tables(server):
            kept.rows[f"{name} {table}"] = b"\n".join(leaves(rows))
        server.query("CHECKPOINT")
    kept.traces = {"spans": b"\n".join(collector.bodies)}  # type: ignore[attr-defined]
    kept.log = (cluster.home / "postgres.log").read_bytes()
    yield kept
    for server in servers.values():
        server.close()


def _attack(server: Server) -> tuple[list[httpx2.Response], list[bytes]]:
    answers = barrage.accepted(server) + barrage.refused(server)
    answers += barrage.headers(server) + barrage.urls(server)
    answers += barrage.credentials(server, server.key("load-tester"))
    raw_answers = barrage.broken_http(server)
    return answers + database_errors(server), raw_answers


def _plant(server: Server) -> None:
    """The other canaries, in every writing, where a real one would be found."""
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE public.planted (word text, raw bytea, parts jsonb)")
        for text in (CONTROL_PAN, CONTROL_WORD):
            for pattern in writings(text).values():
                shown = pattern.decode("latin-1").replace("\0", "~")
                connection.execute(
                    "INSERT INTO public.planted VALUES (%s, %s, %s)",
                    (shown, pattern, json.dumps([shown])),
                )
            connection.execute(f"SELECT 'log {text}'".encode())


def _texts(answer: httpx2.Response) -> Iterator[bytes]:
    yield answer.content
    for name, value in answer.headers.raw:
        yield name + b": " + value


def test_answers_do_not_echo(kept: Kept) -> None:
    assert len(kept.answers) > 900
    texts = {str(at): b"\n".join(_texts(answer)) for at, answer in enumerate(kept.answers)}
    assert _SWEEP.of_texts(texts) == []
    assert len(kept.raw_answers) >= 50
    assert _SWEEP.of(b"\n".join(kept.raw_answers)) == []


def test_service_output_holds_no_canary(kept: Kept) -> None:
    assert _SWEEP.of_texts(kept.outputs) == []
    for name in ("traced", "plain"):
        assert b"Strongroom is ready" in kept.outputs[f"{name} stdout"]
        assert b"database_error" in kept.outputs[f"{name} stderr"]


def test_metrics_hold_no_canary(kept: Kept) -> None:
    assert _SWEEP.of_texts(kept.metrics) == []
    assert all(b"strongroom_" in page for page in kept.metrics.values())


def test_traces_hold_no_canary(kept: Kept) -> None:
    assert _SWEEP.of_texts(kept.traces) == []
    assert b"/v1/tokens/{token}" in kept.traces["spans"]


def test_database_log_holds_no_canary(kept: Kept) -> None:
    assert _SWEEP.of(kept.log) == []
    assert b"strongroom.store_new" in kept.log, "statements are logged"
    assert kept.log.count(b"DETAIL:  parameters: $1 = ") > 100, "and their parameters"


def test_dump_holds_no_canary(kept: Kept) -> None:
    assert _SWEEP.of_texts(kept.dumps) == []
    assert all(dump.count(b"tok_pan_") > 400 for dump in kept.dumps.values())


def test_rows_hold_no_canary(kept: Kept) -> None:
    assert _SWEEP.of_texts(kept.rows) == []
    assert all(kept.rows[f"{name} strongroom.tokens"] for name in ("traced", "plain"))


def test_data_files_and_wal_hold_no_canary(kept: Kept) -> None:
    files, found = _SWEEP.of_folder(kept.data)
    assert found == []
    assert files > 500


def test_other_files_hold_no_canary(kept: Kept) -> None:
    for folder in kept.folders:
        assert _SWEEP.of_folder(folder)[1] == []
    assert any((folder / "root.key").exists() for folder in kept.folders)


def test_processes_show_no_canary(kept: Kept) -> None:
    assert _SWEEP.of_texts(kept.processes) == []
    assert len(kept.processes) >= 4


def test_planted_canaries_are_found(kept: Kept) -> None:
    """The search means something: in each place it finds what does stand there."""
    planted = {
        pattern for text in (CONTROL_PAN, CONTROL_WORD) for pattern in writings(text).values()
    }
    places: dict[str, Any] = {"log": kept.log, **kept.dumps}
    for name, content in places.items():
        assert _CONTROL.of(content), name
    rows = kept.rows["plain public.planted"]
    assert all(pattern in rows for pattern in planted)
    _, found = _CONTROL.of_folder(kept.data)
    assert len([hit for hit in found if "/base/" in hit]) >= len(planted)
    assert len([hit for hit in found if "/pg_wal/" in hit]) >= len(planted)
