"""One file per family; importing this package registers every rule, in the order they are asked."""

from losscope.linting.rules import targets  # isort: skip  the order is that of the rules
from losscope.linting.rules import activations, counting, finite, layout, learning, calibration  # isort: skip

__all__ = ["activations", "calibration", "counting", "finite", "layout", "learning", "targets"]
