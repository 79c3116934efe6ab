"""What a mean divides by, and the mean itself, in one launch each where torch's operators take eight.

One program walks over all samples, always in the same order; with very many, torch's own sums are quicker.
"""

from __future__ import annotations

import triton
import triton.language as tl

from losscope.kernels.triton.functions import value_at


@triton.jit(do_not_specialize=["samples", "ignore_index"])
def count(target, weight, numbers, samples, ignore_index, WEIGHTED: tl.constexpr, REAL: tl.constexpr,
          BLOCK: tl.constexpr):  # fmt: skip
    """The divisor Σ v_i w_{y_i}, and behind it one over that, or 0 where nothing counts."""
    total = tl.zeros([BLOCK], tl.float64)
    for first in range(0, samples, BLOCK):
        i = first + tl.arange(0, BLOCK)
        y = tl.load(target + i, mask=i < samples, other=0)
        counted = (i < samples) & (y != ignore_index)
        if WEIGHTED:
            total += tl.load(weight + y, mask=counted, other=0.0).to(tl.float64)
        else:
            total += tl.where(counted, 1.0, 0.0)
    divisor = tl.sum(total, 0)
    tl.store(numbers, divisor.to(REAL))
    tl.store(numbers + 1, tl.where(divisor == 0.0, 0.0, 1.0 / tl.where(divisor == 0.0, 1.0, divisor)).to(REAL))


@triton.jit(do_not_specialize=["samples"])
def quotient(losses, divisor, loss, samples, BLOCK: tl.constexpr):
    """Σ ℓ_i by the divisor, which may be a number, summed in float64; 0/0 is the NaN of a mean over nothing."""
    total = tl.zeros([BLOCK], tl.float64)
    for first in range(0, samples, BLOCK):
        i = first + tl.arange(0, BLOCK)
        total += tl.load(losses + i, mask=i < samples, other=0.0).to(tl.float64)
    mean = tl.sum(total, 0) / value_at(divisor, 0, tl.float64)
    if loss.dtype.element_ty.primitive_bitwidth < 32:  # from 64 bits there is no way but over 32
        mean = mean.to(tl.float32)
    tl.store(loss, mean.to(loss.dtype.element_ty))


@triton.jit
def multiply(x, factor, numbers, BLOCK: tl.constexpr):
    """All of x times a factor, in its place; nothing at all if that is 1."""
    by = tl.load(factor).to(tl.float64)
    if by != 1.0:
        for first in range(tl.program_id(0).to(tl.int64) * BLOCK, numbers, tl.num_programs(0) * BLOCK):
            i = first + tl.arange(0, BLOCK)
            value = tl.load(x + i, mask=i < numbers)
            real = value if value.dtype == tl.float64 else value.to(tl.float32)
            tl.store(x + i, (real * by.to(real.dtype)).to(value.dtype), mask=i < numbers)
