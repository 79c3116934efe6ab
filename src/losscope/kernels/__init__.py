"""How the numbers are computed; ``use`` forces one way."""

from losscope.kernels.dispatch import KERNELS, use
from losscope.kernels.options import Stats

__all__ = ["KERNELS", "Stats", "use"]
