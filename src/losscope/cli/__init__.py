"""The command ``losscope``; ``main`` is its entry."""

from losscope.cli.app import main

__all__ = ["main"]
