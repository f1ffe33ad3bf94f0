"""Writing tables: whole or not at all, for the right eyes, in little memory."""

import stat
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vault_service.client.tables import open_table, open_writer


def _copy_then_stop(source: Path, target: Path) -> None:
    with open_table(source) as table, open_writer(target, table, []) as writer:
        for batch in table:
            writer.write(batch)
        raise KeyboardInterrupt


def test_a_failed_run_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    for target in (tmp_path / "b.csv", tmp_path / "b.ndjson", tmp_path / "b.parquet"):
        target.write_text("before")
        with pytest.raises(KeyboardInterrupt):
            _copy_then_stop(tmp_path / "a.csv", target)
        assert target.read_text() == "before"
    assert not list(tmp_path.glob("*.partial"))


def test_plaintext_is_for_its_owner_alone(tmp_path: Path) -> None:
    source, target = tmp_path / "a.csv", tmp_path / "b.csv"
    source.write_text("a,b\n1,2\n")
    with open_table(source) as table, open_writer(target, table, [], private=True) as writer:
        assert stat.S_IMODE((tmp_path / "b.csv.partial").stat().st_mode) == 0o600
        for batch in table:
            writer.write(batch)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


_MEASURE = """
import resource, sys
from pathlib import Path
from vault_service.client.tables import open_table, open_writer
source, target = map(Path, sys.argv[1:])
with open_table(source) as table, open_writer(target, table, ["b"]) as writer:
    for batch in table:
        writer.write(batch.replaced({"b": batch.texts("b")}))
try:  # Linux counts the parent's size into ru_maxrss
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
except OSError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("suffix", [".csv", ".ndjson", ".parquet"])
def test_memory_stays_flat(tmp_path: Path, suffix: str) -> None:
    """A file of some 130 MB in one row group goes through well below its own size."""
    source = tmp_path / f"a{suffix}"
    rows, texts = 200_000, [f"{i:0>600}" for i in range(1000)]
    if suffix == ".parquet":
        column = pa.chunked_array([texts] * (rows // 1000))
        pq.write_table(
            pa.table({"a": column, "b": column}), source, row_group_size=rows, use_dictionary=False
        )
    else:
        line = '{{"a":"{0}","b":"x"}}\n' if suffix == ".ndjson" else "{0},x\n"
        block = "".join(line.format(text) for text in texts)
        with source.open("w") as file:
            file.write("" if suffix == ".ndjson" else "a,b\n")
            for _ in range(rows // 1000):
                file.write(block)
    command = [sys.executable, "-c", _MEASURE, str(source), str(tmp_path / f"b{suffix}")]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert peak < 200 * 2**20
