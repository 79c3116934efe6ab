"""One file per family; importing this package registers every rule."""

from losscope.linting.rules import counting

__all__ = ["counting"]
