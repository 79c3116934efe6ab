"""The interactive tutorial: a marimo app whose every number and figure comes from losscope's own functions.

``tutorial.py`` is the notebook, ``chapters`` what it shows; ``losscope learn`` serves it.
"""

from pathlib import Path

TUTORIAL = Path(__file__).with_name("tutorial.py")

__all__ = ["TUTORIAL"]
