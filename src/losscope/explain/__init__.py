"""A loss taken apart into its steps."""

from losscope.explain.apart import explain
from losscope.explain.explanation import Explanation
from losscope.explain.step import Step

__all__ = ["Explanation", "Step", "explain"]
