"""The command as a user meets it: what it prints, what it writes, and what it exits with."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import losscope as ls
from losscope.cli import main


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs ``losscope …`` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["losscope", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, *capsys.readouterr()

    return call


@pytest.fixture
def file(tmp_path):
    """60 samples of 3 classes, whose targets are mostly where the outputs say."""
    generator = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(60, 3, generator=generator)
    y = torch.where(torch.rand(60, generator=generator) < 0.8, z.argmax(1), z.argmin(1))
    np.savez(tmp_path / "outputs.npz", outputs=z.numpy(), targets=y.numpy())
    return tmp_path / "outputs.npz"


def read(file: Path) -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(file) as arrays:
        return torch.tensor(arrays["outputs"]), torch.tensor(arrays["targets"])


def test_report_writes_the_page_and_its_numbers(run, file, tmp_path):
    code, out, err = run("report", file)
    assert (code, err) == (0, "")
    assert out.rstrip().endswith(f"The report is {tmp_path / 'report.html'}")
    z, y = read(file)
    numbers = json.loads((tmp_path / "report.json").read_text())
    expected = torch.nn.functional.cross_entropy(z.double(), y)
    assert numbers["summary"]["loss"] == pytest.approx(float(expected), rel=1e-12)
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_report_says_what_the_linter_found(run, tmp_path):
    z = torch.randn(200, 3, generator=torch.Generator().manual_seed(4))
    np.savez(tmp_path / "soft.npz", outputs=z.softmax(1).numpy(), targets=z.argmax(1).numpy())
    code, out, err = run("report", "soft.npz")
    assert (code, err) == (0, "")
    assert "error softmax-before-cross-entropy" in out
    assert "remedy: " in out


def test_report_of_the_built_in_example(run, tmp_path):
    code, out, _ = run("report", "--out", "page.html", "--samples", "2")
    assert code == 0
    assert "accuracy" in out
    assert "Sample 0" in out
    assert "ln 10" in out
    numbers = json.loads((tmp_path / "page.json").read_text())
    assert numbers["summary"]["num_classes"] == 10
    assert len(numbers["samples"]) == 2


def test_output_in_a_pipe_is_plain(run, file):
    _, out, _ = run("report", file)
    assert "\x1b" not in out
    advice = json.loads(file.with_name("report.json").read_text())["advice"]
    assert [line for line in out.splitlines() if line.startswith(f"{len(advice)}. {advice[-1]['text']}")]  # unbroken
    _, out, _ = run("explain", file)
    assert "\x1b" not in out


def test_json_is_all_there_is_on_stdout(run, file, tmp_path):
    code, out, _ = run("report", file, "--json")
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "report.json").read_text())


def test_explain_shows_the_library_s_own_numbers(run, file):
    code, out, _ = run("explain", file, "--rows", "4,7", "--json")
    z, y = read(file)
    steps = {step["symbol"]: step["value"] for step in json.loads(out)["steps"]}
    assert code == 0
    torch.testing.assert_close(torch.tensor(steps["ŷ"]), torch.softmax(z[[4, 7]], 1))
    assert steps["ℓ"] == pytest.approx(ls.cross_entropy(z, y, reduction="none")[[4, 7]].tolist(), rel=1e-5)


def test_explain_names_rows_and_classes(run, file):
    code, out, _ = run("explain", file, "--rows", "4,7", "--classes", "cat,dog,owl")
    assert code == 0
    assert "i=4" in out
    assert "i=7" in out
    assert "owl" in out


def test_explain_takes_the_first_samples_and_says_so(run, file):
    _, out, _ = run("explain", file, "--samples", "2", "--json")
    steps = {step["symbol"]: step["value"] for step in json.loads(out)["steps"]}
    torch.testing.assert_close(torch.tensor(steps["ŷ"]), torch.softmax(read(file)[0][:2], 1))
    assert "worst" not in run("explain", "--help")[1]


def test_names_of_arrays_and_a_file_for_the_targets(run, tmp_path):
    z, y = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 4
    save_file({"head": z, "body": -z}, tmp_path / "z.safetensors")
    np.save(tmp_path / "y.npy", y.numpy())
    code, out, err = run("report", "z.safetensors", "--outputs", "head", "--targets-file", "y.npy", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["summary"]["loss"] == pytest.approx(float(ls.cross_entropy(z.double(), y)), rel=1e-6)


def test_another_loss_and_ignored_labels(run, tmp_path):
    z = torch.randn(50, 3, generator=torch.Generator().manual_seed(2))
    m = (torch.rand(50, 3, generator=torch.Generator().manual_seed(3)) < 0.4).float()
    m[::5, 0] = -1
    np.savez(tmp_path / "labels.npz", outputs=z.numpy(), targets=m.numpy())
    code, out, err = run("report", "labels.npz", "--loss", "bce_with_logits", "--ignore-index", "-1", "--json")
    assert (code, err) == (0, "")
    counted = m >= 0
    expected = torch.nn.functional.binary_cross_entropy_with_logits(z[counted].double(), m[counted].double())
    assert json.loads(out)["summary"]["loss"] == pytest.approx(float(expected), rel=1e-6)
    assert json.loads(out)["summary"]["num_ignored"] == 10


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_class_names_from_a_file(run, file, tmp_path, encoding):
    """The mark that some editors write first is no part of a name."""
    (tmp_path / "names.txt").write_text("cat\ndog\nowl\n", encoding=encoding)
    code, out, _ = run("report", file, "--classes", "names.txt", "--json")
    assert code == 0
    assert json.loads(out)["summary"]["classes"]["labels"] == ["cat", "dog", "owl"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report", "missing.npz"], "nothing at this path"),
        (["report", "broken.npz"], "broken.npz"),
        (["report", "notes.txt"], ".npz"),
        (["report", "FILE", "--loss", "hinge"], "cross_entropy"),
        (["report", "FILE", "--outputs", "nope"], "nope"),
        (["report", "FILE", "--classes", "a,b"], "--classes: expected 3 names"),
        (["report", "--classes", "a,b"], "--classes: expected 10 names"),
        (["report", "FILE", "--classes", "names.txt"], "no file names.txt"),
        (["report", "far.npz"], "rows 0 to 59: expected class indices in 0…2"),
        (["report", "word.csv"], "one word makes a whole column text"),
        (["report", "model.pt"], "never opened"),
        (["report", "FILE", "--rows", "60"], "0…59"),
        (["report", "FILE", "--rows", "one"], "0,17"),
        (["report", "FILE", "--out", "page.pdf"], ".html"),
        (["report", "FILE", "--out", "no/such/folder/page.html"], "folder"),
        (["report", "FILE", "--out", "."], ".html"),
        (["report", "FILE", "--loss", "mse"], "shape"),
        (["report", "FILE", "--loss", "mse", "--ignore-index", "3"], "--ignore-index"),
        (["report", "FILE", "--ignore-index", "0.5"], "whole number"),
        (["report", "--outputs", "z"], "--outputs"),
        (["explain", "FILE", "--rows", "99"], "0…59"),
        (["explain", "FILE", "--rows", ""], "0,17"),
        (["explain", "FILE", "--classes", "binary.dat"], "UTF-8"),
        (["explain", "FILE", "--classes", "a,b,c,d"], "--classes: expected 3 names"),
        (["explain", "FILE", "--samples", "0"], "--samples"),
        (["report", "FILE", "--nonsense"], "--nonsense"),
    ],
)
def test_what_cannot_be_done_says_why_and_exits_with_2(run, file, tmp_path, arguments, said):
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not really")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "binary.dat").write_bytes(b"\xff\xfe\x00\x80")
    (tmp_path / "word.csv").write_text("z_0,z_1,y\n1,2,0\n1,abc,1\n")
    z, y = read(file)
    np.savez(tmp_path / "far.npz", outputs=z.numpy(), targets=y.numpy() + 3)
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    before = set(tmp_path.iterdir())
    code, out, err = run(*(str(file) if a == "FILE" else a for a in arguments))
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert set(tmp_path.iterdir()) == before


def test_a_file_that_is_there_survives_a_failure_to_write(run, file, tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("the old page")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    code, _, err = run("report", file)
    assert code == 2
    assert "no space left" in err
    assert {p.name for p in tmp_path.iterdir()} == {"report.html", "outputs.npz"}
    assert (tmp_path / "report.html").read_text() == "the old page"


def _raise(error):
    def fail(*_, **__):
        raise error

    return fail


def test_ctrl_c_exits_with_130_and_leaves_nothing(run, file, tmp_path, monkeypatch):
    monkeypatch.setattr("losscope.reporting.build", _raise(KeyboardInterrupt()))
    code, _, _ = run("report", file)
    assert code == 130
    assert {p.name for p in tmp_path.iterdir()} == {"outputs.npz"}


def test_a_bug_keeps_its_traceback(file, monkeypatch):
    monkeypatch.setattr("losscope.reporting.build", _raise(ZeroDivisionError("a bug")))
    monkeypatch.setattr(sys, "argv", ["losscope", "report", str(file)])
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main()


def test_version_and_help(run):
    assert run("--version") == (0, f"losscope {ls.__version__}\n", "")
    code, out, _ = run("--help")
    assert code == 0
    assert "report" in out
    assert "explain" in out


def test_the_installed_command():
    command = Path(sys.executable).with_name("losscope")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"losscope {ls.__version__}\n"


@pytest.mark.parametrize(
    ("loss", "lines"),
    [
        ("bce_with_logits", "z,y\n0.5,1\n-1.5,0\n"),
        ("bce_with_logits", "z_0,z_1,m_0,m_1\n0.5,1,1,0\n-2,3,0,1\n"),
        ("bce", "z,y\n0.5,1\n0.25,0\n"),
        ("mse", "z,y\n3,4\n-1,2\n"),
        ("msle", "z,y\n3,4\n-1,2\n"),
        ("cross_entropy", "z_0,z_1,y\n0.5,1,0.0\n2,1,1.0\n"),
        ("cross_entropy", "z_0,z_1,y_0,y_1\n0.5,1,0,1\n2,1,1,0\n"),
        ("bce_with_logits", "z,y\n0.5,true\n-1.5,false\n"),
        ("cross_entropy", "z_0,z_1,y\n0.5,1,false\n2,1,true\n"),
        ("cross_entropy", "z_0,z_1,y_0,y_1\n0.5,1,false,true\n2,1,true,false\n"),
    ],
)
def test_whole_numbers_of_a_text_are_what_the_loss_takes(run, tmp_path, loss, lines):
    """A text names no dtype; truth values are 0 and 1."""
    (tmp_path / "hand.csv").write_text(lines)
    of_text = run("report", "hand.csv", "--loss", loss, "--json")
    assert of_text[0] == 0, of_text
    summary = json.loads(of_text[1])["summary"]
    assert summary["num_counted"] in (2, 4)
    assert ls.summarize(loss, tmp_path / "hand.csv").loss == pytest.approx(summary["loss"], rel=1e-6)


@pytest.mark.parametrize("lines", ["z,y\n20000001,20000000\n1,1\n", "z_0,z_1,y_0,y_1\n20000001,1,20000000,1\n"])
@pytest.mark.parametrize("rows", [1, 2])
def test_whole_numbers_of_a_text_are_not_rounded(tmp_path, lines, rows):
    """float32 would take the two large ones for one."""
    (tmp_path / "large.csv").write_text(lines)
    assert ls.summarize("mse", tmp_path / "large.csv", batch_rows=rows).loss == 0.5


@pytest.mark.parametrize("written", ["0.5", "inf", "1e30"])
def test_a_class_that_is_no_whole_number_is_still_refused(run, tmp_path, written):
    (tmp_path / "hand.csv").write_text(f"z_0,z_1,y\n0.5,1,{written}\n2,1,1.0\n")
    code, _, err = run("report", "hand.csv")
    assert code == 2
    assert "float32" in err


def test_a_file_of_fewer_rows_than_are_shown_is_explained_whole(run, tmp_path):
    np.savez(tmp_path / "two.npz", outputs=np.eye(2, 3, dtype=np.float32), targets=np.array([0, 2]))
    code, out, err = run("explain", "two.npz")
    assert (code, err) == (0, "")
    assert "i=1" in out


def test_explain_as_json_writes_what_is_not_finite_as_a_word(run, tmp_path):
    z = np.array([[0.0, -np.inf, 1.0]], dtype=np.float32)
    np.savez(tmp_path / "masked.npz", outputs=z, targets=np.array([0]))
    _, out, _ = run("explain", "masked.npz", "--json")
    steps = {step["symbol"]: step["value"] for step in json.loads(out)["steps"]}
    assert steps["z"] == [[0.0, "-inf", 1.0]]


def test_explain_leaves_out_what_is_ignored(run, file):
    _, y = read(file)
    _, out, _ = run("explain", file, "--ignore-index", str(int(y[0])), "--samples", "1", "--json")
    steps = {step["symbol"]: step["value"] for step in json.loads(out)["steps"]}
    assert (steps["v"], steps["ℓ"]) == ([0], [0.0])


def test_report_shows_the_rows_that_are_asked_for(run, file):
    _, out, _ = run("report", file, "--rows", "4,7", "--json")
    assert [(sample["index"], sample["why"]) for sample in json.loads(out)["samples"]] == [
        (4, "asked for"),
        (7, "asked for"),
    ]


def test_a_row_that_is_not_there_is_told_before_the_file_is_measured(run, file, monkeypatch):
    monkeypatch.setattr("losscope.summary.streaming.stream", _raise(AssertionError("the file was measured")))
    code, _, err = run("report", file, "--rows", "60")
    assert code == 2
    assert "0…59" in err


def test_a_rank_waits_for_the_others_as_long_as_it_is_told(run, file, monkeypatch):
    waits = []

    @contextmanager
    def together(seconds):
        waits.append(seconds)
        yield None

    monkeypatch.setattr("losscope.summary.ranks.together", together)
    assert run("report", file, "--timeout", "7")[0] == 0
    assert waits == [7]


def test_the_classes_of_the_built_in_example_may_be_named(run):
    code, out, _ = run("report", "--classes", ",".join(f"digit{h}" for h in range(10)), "--samples", "1", "--json")
    assert code == 0
    assert json.loads(out)["summary"]["classes"]["labels"][3] == "digit3"


def test_spaces_beside_the_commas_are_no_part_of_a_name(run, file):
    _, out, _ = run("report", file, "--classes", "cat, dog , owl", "--json")
    assert json.loads(out)["summary"]["classes"]["labels"] == ["cat", "dog", "owl"]


def test_a_long_name_is_cut_above_its_column(run, file):
    _, out, _ = run("report", file, "--classes", "cat,dog,ornithorhynchus", "--samples", "1")
    assert "ornithorh…" in out.partition("Sample 0")[2]
