"""The report made by several ranks: the digits of one rank, one page, and an error on all where one has an error."""

import json
import os
import signal
import socket
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.parallel.ranks import on_ranks

import losscope as ls
from losscope.io import open_source
from losscope.summary import Summary, ranks, streaming

COMMAND = "from losscope.cli import main; main()"
LOSS = ls.CrossEntropyLoss()


def write(path, rows=3001, classes=7, group=250):
    g = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(rows, classes, generator=g)
    y = torch.multinomial(z.softmax(1), 1, generator=g).squeeze(1)
    columns = {f"z_{h}": z[:, h].numpy() for h in range(classes)} | {"y": y.numpy()}
    pq.write_table(pa.table(columns), path, row_group_size=group, write_page_checksum=True)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(tmp_path_factory.mktemp("ranks") / "outputs.parquet")


def measured(path, rows=None):
    """What this rank knows in the end, as JSON."""
    monkeypatch = pytest.MonkeyPatch()
    if rows is not None:
        monkeypatch.setattr(streaming, "rows_at_once", lambda data: rows)
    source = open_source(path)
    summary = streaming.stream(Summary(LOSS), source, ranks.share(source))
    monkeypatch.undo()
    return json.dumps(summary.compute().to_dict())


def shared_out(path):
    return [ranks.share(open_source(path)), *(measured(path, rows) for rows in (7, 1000, None))]


def test_four_ranks_give_the_same_digits_whatever_the_batches(file):
    alone = measured(file)
    assert alone == measured(file, 13)
    found = on_ranks(4, shared_out, file)
    assert [digits for _, *digits in found] == [[alone] * 3] * 4
    parts = [part for part, *_ in found]
    assert [start for start, _ in parts] == [0, *(stop for _, stop in parts[:-1])]
    assert parts[-1][1] == 3001
    assert all(start % 250 == 0 for start, _ in parts)  # whole row groups


def reported(path, folder):
    """The numbers of a page about the file, and of one about tensors of this rank's own."""
    rank = torch.distributed.get_rank()
    of_file = ls.report("cross_entropy", path, path=folder / f"file{rank}.html")
    own = next(open_source(path).batches(50, 100 * rank, 100 * rank + 50))
    of_tensors = ls.report("cross_entropy", *own, folder / f"own{rank}.html")
    return json.dumps(of_file.summary.to_dict()), of_tensors.summary.num_samples


def test_a_report_is_of_all_rows_of_a_file_and_of_a_rank_s_own_tensors(file, tmp_path):
    assert on_ranks(2, reported, file, tmp_path) == [(measured(file), 50)] * 2


class Rows:
    """As much of a source as sharing needs."""

    def __init__(self, rows, begins):
        self.rows, self.begins = rows, begins

    def __len__(self):
        return self.rows


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 9))
def test_parts_are_all_rows_once_and_none_is_much_larger(groups, count):
    begins = tuple(sum(groups[:i]) for i in range(len(groups)))
    rows = Rows(sum(groups), begins)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "_ranks", lambda: count)
        parts = []
        for own in range(count):
            patch.setattr(ranks, "rank", lambda own=own: own)
            parts.append(ranks.share(rows))
    assert [n for start, stop in parts for n in range(start, stop)] == list(range(len(rows)))
    assert max(stop - start for start, stop in parts) <= 1.5 * len(rows) / count + 1


def start(rank, count, port, *arguments, command=COMMAND):
    """One rank of the command, in the environment that torchrun gives it."""
    where = {"RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, "-c", command, "report", *map(str, arguments)],
        env=os.environ | where | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_the_first_rank_writes_the_report_of_one(file, tmp_path):
    """Through torchrun itself."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    command = ["-c", COMMAND, "report", file, "--json", "--out"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python", sys.executable]
    told = {}
    for folder, start_of in (("one", []), ("two", torchrun)):
        page = tmp_path / folder / "report.html"
        done = subprocess.run(
            [sys.executable, *start_of, *command, page], capture_output=True, text=True, cwd=tmp_path, check=True
        )
        told[folder] = done.stdout
        assert sorted(os.listdir(tmp_path / folder)) == ["report.html", "report.json"]
    assert told["one"] == told["two"]  # and so only one rank spoke
    one, two = ((tmp_path / folder / "report.json").read_bytes() for folder in ("one", "two"))
    assert one == two


def test_a_damaged_row_group_on_one_rank_is_named_on_all(tmp_path):
    path = write(tmp_path / "part.parquet")
    last = pq.read_metadata(path).row_group(6).column(2)
    damaged = bytearray(path.read_bytes())
    damaged[last.data_page_offset + last.total_compressed_size - 3] ^= 0xFF
    path.write_bytes(damaged)
    port = free_port()
    both = [start(rank, 2, port, path, "--out", tmp_path / "report.html", "--timeout", "60") for rank in (0, 1)]
    for process in both:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "part.parquet, row group 6" in said
    assert os.listdir(tmp_path) == ["part.parquet"]


DIES = "import os; from losscope.summary import streaming; streaming.stream = lambda *_, **__: os._exit(9); " + COMMAND


def test_a_rank_that_dies_ends_the_others_with_an_error_and_no_file(file, tmp_path):
    """It has joined, and is gone in the middle of its rows."""
    port, arguments = free_port(), (file, "--out", tmp_path / "report.html", "--timeout", "30")
    first, second = start(0, 2, port, *arguments), start(1, 2, port, *arguments, command=DIES)
    second.communicate(timeout=60)
    _, said = first.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (2, 9)
    assert "an answer from every rank" in said
    assert os.listdir(tmp_path) == []


INTERRUPTED = """
import os, signal, sys
from losscope.cli import main

def stopped(*_):
    os.kill(os.getpid(), NUMBER)

os.replace = stopped  # the last moment: the content is written, under its temporary name
sys.argv[1:1] = ["report"]
main()
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "kill"])
def test_a_report_that_is_stopped_leaves_the_old_page_and_nothing_else(file, tmp_path, sent, code):
    page = tmp_path / "report.html"
    page.write_text("old")
    script = INTERRUPTED.replace("NUMBER", str(int(sent)))
    done = subprocess.run([sys.executable, "-c", script, file, "--out", page], capture_output=True, check=False)
    assert done.returncode == code
    assert os.listdir(tmp_path) == ["report.html"]
    assert page.read_text() == "old"


def summarized(path, rows):
    return json.dumps(ls.summarize(LOSS, path, batch_rows=rows).to_dict())


def test_summarize_shares_a_file_out_and_says_what_the_report_says(file, tmp_path):
    source = open_source(file)
    z, y = source.read()
    alone = summarized(file, None)
    assert [summarized(file, 13), summarized(source, 1000)] == [alone, alone]
    assert json.loads(alone) == ls.report(LOSS, z, y, tmp_path / "report.html").to_dict()["summary"]
    assert on_ranks(2, summarized, file, 100) == [alone, alone]


def test_summarize_names_a_file_that_is_cut_off(file, tmp_path):
    path = tmp_path / "short.parquet"
    path.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ls.InputError, match=r"short\.parquet"):
        ls.summarize(LOSS, path)
