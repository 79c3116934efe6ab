"""What every doctest may use without an import, and the code blocks of README and docs as tests."""

from doctest import ELLIPSIS, NORMALIZE_WHITESPACE

import pytest
import torch
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import losscope

# The tutorial's tests import marimo, and beside it transformers would take a test run for a notebook. It asks once.
try:
    from transformers.utils.import_utils import is_in_notebook
except ImportError:
    pass
else:
    is_in_notebook()


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["torch"] = torch
    doctest_namespace["ls"] = losscope


# A page's ```python blocks run from its top to its bottom in one namespace; `>>>` examples are compared.
pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(doctest_optionflags=ELLIPSIS | NORMALIZE_WHITESPACE)],
    patterns=["README.md", "CONTRIBUTING.md", "docs/**/*.md", "docs/*.md"],
).pytest()
