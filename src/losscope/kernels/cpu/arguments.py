"""The arguments of a kernel as one block of memory, because a thread can be handed one address only.

The same fields are a `ctypes` structure for Python and a numba record for the kernel. The last field, `element`,
is there for its type alone: it says what the addresses point to, and one kernel compiles once for each.
"""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import torch
from numba import types
from numba.core.datamodel import register_default
from numba.core.datamodel.models import RecordModel

from losscope.kernels.cpu.intrinsics import BFLOAT16, FLOAT16

ELEMENTS = {
    torch.float32: types.float32,
    torch.float64: types.float64,
    torch.bfloat16: BFLOAT16,
    torch.float16: FLOAT16,
}

_ADDRESSES = (
    "counters",  # int64[COUNTERS]: see `team`
    "z",
    "target",  # y (int64) or q (elements)
    "weight",  # w_h, or ones for one block
    "gradient",  # ∂/∂z, or 0 when none is wanted
    "loss",  # ℓ_i, or 0 when only the sum is wanted
    "partial",  # float64: the sum of ℓ_i over each chunk
    "result",  # their sum over the divisor, or 0 when each ℓ_i is wanted
    "upstream",  # one number per sample that its gradient is multiplied by, or 0
    "stats",  # of each sample: correct, entropy, largest probability, logsumexp; or 0
    "scratch",  # of each thread in turn
)
_SIZES = (
    "scratch_size",  # numbers per thread
    "samples",
    "chunks",
    "classes",
    "inner",  # samples i = outer · inner + k, so that (N, H, d) needs no copy
    "chunk",  # samples per chunk
    "together",  # samples per block
    "z_outer",
    "z_class",
    "z_inner",
    "target_outer",
    "target_class",
    "target_inner",
    "gradient_outer",
    "gradient_class",
    "gradient_inner",
    "soft",
    "element_size",  # bytes
    "weighted",
    "averaged",  # whether `survey` is to say what the sum is divided by
    "dense",  # whether an option needs a target for every class
    "streamed",  # whether the gradient goes past the caches
    "ignore_index",
)
_NUMBERS = (
    "smoothing",
    "gamma",
    "z_loss",
    "softcap",
    "over",  # the divisor of the mean, 1 of a sum
    "scale",  # 1 / the divisor, times the upstream gradient
    "lowest",  # the smallest finite number: m starts there, because −inf − (−inf) is NaN
)


def _fields(integers: tuple[str, ...], numbers: tuple[str, ...]) -> list[tuple[str, Any]]:
    """The fields of a `ctypes` structure, `element` last."""
    whole, real = ctypes.c_int64, ctypes.c_double
    return [(name, whole) for name in integers] + [(name, real) for name in numbers] + [("element", whole)]


class Categorical(ctypes.Structure):
    """What a kernel of cross-entropy is told; a field left out is 0."""

    _fields_ = _fields(_ADDRESSES + _SIZES, _NUMBERS)


class Elementwise(ctypes.Structure):
    """What a kernel of single values is told: binary labels, or regression. A field left out is 0."""

    _fields_ = _fields(
        (
            "counters",  # int64[COUNTERS]: see `team`
            "z",
            "target",
            "weight",  # one number per value, or a block of them
            "pos_weight",  # the same
            "upstream",  # the same
            "gradient",  # ∂/∂z, or 0 when none is wanted
            "loss",  # one per value, or 0 when only the sum is wanted
            "partial",  # float64: the sum over each chunk
            "result",  # their sum over the divisor, or 0 when each is wanted
            "values",
            "chunks",
            "block",  # values for which there are weights
            "chunk",  # values that a thread draws at a time: some blocks
            "each_weight",  # 1 where there is a weight for every value, 0 where each block has the same
            "each_pos_weight",
            "each_upstream",
            "streamed",  # whether the gradient goes past the caches
            "plain",  # no weight of any kind, no focal loss, nothing ignored, one sum
            "ignoring",
        ),
        ("smoothing", "gamma", "ignore_index", "over", "scale"),
    )


class Arguments(types.Record):  # type: ignore[misc]
    """The record, by a name that is its own in every process.

    Functions that take it are named after it. Numba names a record by a number that each process gives out anew, so the
    code that two processes put on disk, for two dtypes, had functions of one name in it: a third process, which loaded
    both, ran one where it called the other.
    """

    @property
    def mangling_args(self) -> tuple[str, tuple[()]]:
        """The name, and no parameters of it."""
        return f"Arguments{hashlib.sha256(self.name.encode()).hexdigest()[:16]}", ()


@cache
def version() -> str:
    """A digest of these kernels' sources: numba's cache looks at one file, and they are spread over several."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]


@register_default(Arguments)
class _Model(RecordModel):  # type: ignore[misc]
    """Arguments lie in memory as any record does."""


@cache
def record(structure: type[ctypes.Structure], element: Any) -> Any:
    """The numba type of a pointer to the structure over these elements."""
    kinds = {ctypes.c_int64: types.int64, ctypes.c_double: types.float64}
    fields = [(name, kinds[kind]) for name, kind, *_ in structure._fields_[:-1]]
    like = types.Record.make_c_struct([*fields, ("element", element)])
    return types.CPointer(Arguments([(name, field._asdict()) for name, field in like.fields.items()], like.size, True))
