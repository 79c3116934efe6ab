"""One planted mistake for each rule of the linter, beside the same thing done right."""

from losscope.learn.mistakes import activations, counting, learning, numbers, targets
from losscope.learn.mistakes.case import MISTAKES, Case, Mistake

__all__ = ["MISTAKES", "Case", "Mistake", "activations", "counting", "learning", "numbers", "targets"]
