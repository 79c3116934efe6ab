"""``losscope learn`` where it cannot start."""

import sys

import pytest

pytest.importorskip("marimo")

from losscope.cli import main
from losscope.learn.serving import listen


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["losscope", "learn", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_without_marimo_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert command(monkeypatch) == 2
    assert 'pip install "losscope[learn]"' in capsys.readouterr().err


def test_a_port_that_is_taken(monkeypatch, capsys):
    with listen(0) as taken:
        port = taken.getsockname()[1]
        assert command(monkeypatch, "--no-browser", "--port", str(port)) == 2
    assert "a free port" in capsys.readouterr().err
