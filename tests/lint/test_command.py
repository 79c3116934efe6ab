"""``losscope lint FILE``: findings, JSON, exit codes, selection, and files that are read in part."""

import json
import sys

import numpy as np
import pytest
from tests.lint.samples import classes

from losscope.cli import app
from losscope.reporting import InMemory, data


@pytest.fixture
def file(tmp_path):
    def write(z, y):
        np.savez(tmp_path / "run.npz", outputs=z.numpy(), targets=y.numpy())
        return str(tmp_path / "run.npz")

    return write


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["losscope", "lint", *arguments])
        with pytest.raises(SystemExit) as exit_:
            app.main()
        return exit_.value.code, capsys.readouterr()

    return call


def test_clean(file, run):
    code, out = run(file(*classes(200)))
    assert code == 0
    assert "found nothing" in out.out


def test_findings(file, run):
    z, y = classes(200)
    code, out = run(file(z.softmax(1), y))
    assert code == 1
    assert "softmax-before-cross-entropy" in out.out
    assert "remedy" in out.out


def test_json_and_nothing_else(file, run):
    z, y = classes(200)
    code, out = run(file(z.softmax(1), y), "--json")
    data = json.loads(out.out)
    assert code == 1
    assert [f["rule"] for f in data["findings"]] == ["softmax-before-cross-entropy"]


def test_info_is_clean(file, run):
    z, y = classes(200)
    code, out = run(file(z.log_softmax(1), y), "--json")
    assert code == 0
    assert [f["severity"] for f in json.loads(out.out)["findings"]] == ["info"]


def test_select_and_ignore(file, run):
    z, y = classes(200)
    path = file(z.softmax(1), y + 1)
    assert run(path, "--ignore", "softmax-before-cross-entropy,target-out-of-range,loss-raises")[0] == 0
    _, out = run(path, "--select", "target-out-of-range", "--json")
    assert [f["rule"] for f in json.loads(out.out)["findings"]] == ["target-out-of-range"]


def test_step_and_held_out(file, run):
    z, y = classes(200)
    assert run(file(z, y), "--step", "0")[0] == 1
    assert run(file(z, y), "--held-out", "--select", "label-noise")[0] == 0


@pytest.mark.parametrize("arguments", [["--select", "no-such-rule"], ["--loss", "hinge"], ["--outputs", "nothing"]])
def test_unusable_input(file, run, arguments):
    code, out = run(file(*classes(20)), *arguments)
    assert code == 2
    assert "what to do" in out.err


def test_no_such_file(run):
    assert run("nowhere.npz")[0] == 2


def test_a_large_file_is_read_in_blocks(monkeypatch):
    monkeypatch.setattr(data, "OUTPUTS", 1600)
    z, y = classes(1000)
    some, targets = data.spread(InMemory(z, y))
    assert some.shape == (160, 10)
    assert (some[:10] == z[:10]).all()
    assert (some[-10:] == z[-10:]).all()
    assert (targets[-10:] == y[-10:]).all()


def test_held_out_samples_show_noise_in_their_labels(file, run):
    z, y = classes(1000, strength=8.0)
    y[::10] = (y[::10] + 1) % 10
    path = file(z, y)
    assert run(path, "--select", "label-noise")[0] == 0
    code, out = run(path, "--held-out", "--select", "label-noise", "--json")
    assert code == 1
    assert [f["rule"] for f in json.loads(out.out)["findings"]] == ["label-noise"]


def test_ignored_targets(file, run):
    z, y = classes(200)
    y[::4] = 10
    path = file(z, y)
    assert run(path)[0] == 1
    assert run(path, "--ignore-index", "10")[0] == 0


@pytest.mark.parametrize("option", ["--select", "--ignore"])
@pytest.mark.parametrize("names", [",", ""])
def test_no_names_are_no_choice(file, run, option, names):
    code, out = run(file(*classes(200)), option, names)
    assert code == 2
    assert "names of rules with commas" in out.err


def test_what_was_read_is_said_on_stderr(file, run, monkeypatch):
    monkeypatch.setattr(data, "OUTPUTS", 1600)
    _, out = run(file(*classes(1000)), "--json")
    assert out.err == "Read: 160 of 1,000 rows, in 16 blocks.\n"
    json.loads(out.out)
