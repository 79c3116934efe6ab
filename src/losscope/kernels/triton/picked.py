"""The negative log-likelihood: one log-probability of each row, and a gradient that is 0 everywhere else."""

from __future__ import annotations

import triton
import triton.language as tl

from losscope.kernels.triton.functions import value_at
from losscope.kernels.triton.logits import load_class, place, store_gradient


@triton.jit(do_not_specialize=["samples", "ignore_index"])
def nll_loss(s, target, weight, losses, samples, classes, inner, s_outer, s_class, s_inner, ignore_index,
             WEIGHTED: tl.constexpr, REAL: tl.constexpr, ROWS: tl.constexpr):  # fmt: skip
    """ℓ_i = −w_{y_i} s_{i,y_i}."""
    i = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    live = i < samples
    counted, y = load_class(target, i, live, classes, ignore_index, False)
    at = (i // inner) * s_outer + (i % inner) * s_inner + y * s_class
    loss = -tl.load(s + at, mask=counted, other=0.0).to(REAL)
    if WEIGHTED:
        loss *= tl.load(weight + y, mask=counted, other=0.0).to(REAL)
    tl.store(losses + i, tl.where(counted, loss, 0.0), mask=live)


@triton.jit(do_not_specialize=["samples", "ignore_index"])
def nll_gradient(target, weight, scale, upstream, gradient, samples, classes, inner, g_outer, g_class, g_inner,
                 upstream_step, ignore_index, WEIGHTED: tl.constexpr, REAL: tl.constexpr, WIDE: tl.constexpr,
                 ROWS: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """∂/∂s_h = −w_y [h = y] times ``scale`` and ``upstream``."""
    across = tl.cdiv(classes, BLOCK)
    program = tl.program_id(0).to(tl.int64)
    i = (program // across) * ROWS + tl.arange(0, ROWS)
    h = ((program % across) * BLOCK).to(tl.int32) + tl.arange(0, BLOCK)[None, :]
    live = i < samples
    counted, y = load_class(target, i, live, classes, ignore_index, False)
    up = value_at(scale, 0, REAL) * tl.load(upstream + i * upstream_step, mask=live, other=0.0).to(REAL)
    if WEIGHTED:
        up *= tl.load(weight + y, mask=counted, other=0.0).to(REAL)
    g = tl.where(h == y[:, None], tl.full([ROWS, BLOCK], -1.0, REAL), 0.0)
    inside = live[:, None] & (h < classes)
    store_gradient(gradient, place(i, inner, g_outer, g_inner), h, g_class, inside, g, up, counted, WIDE)
