"""What every doctest may use without an import."""

import pytest
import torch

import losscope


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["torch"] = torch
    doctest_namespace["ls"] = losscope
