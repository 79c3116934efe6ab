"""What every doctest may use without an import, and the code blocks of README and docs as tests."""

import os
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE

import pytest
import torch
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import losscope

# GPU kernels run in Triton's interpreter, which is chosen before triton's first import.
os.environ.setdefault("TRITON_INTERPRET", "1")
try:
    from triton.runtime import interpreter
except ImportError:  # no triton for this system
    collect_ignore_glob = ["src/losscope/kernels/triton/*"]
else:
    interpreter_convert = interpreter._convert_float

    def convert_float(x, source, goal, rounding_mode):
        """Its conversion, but to bfloat16 rounded as a GPU does: it cuts the digits off."""
        if str(source) != "fp32" or str(goal) != "bf16":
            return interpreter_convert(x, source, goal, rounding_mode)
        rounded = torch.from_numpy(x.view("float32").copy()).bfloat16()
        return rounded.view(torch.int16).numpy().view("uint16").reshape(x.shape)

    interpreter._convert_float = convert_float

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
