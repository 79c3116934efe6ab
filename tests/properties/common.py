"""What the properties share: every kernel and dtype, inputs that are hard, and how near is near."""

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

import losscope as ls

KERNELS = ["auto", *ls.kernels.KERNELS]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
IGNORED = -100

every_kernel = pytest.mark.parametrize("kernel", KERNELS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).removeprefix("torch."))

EXTREME = (0.0, 1e4, -1e4, 9.999e3, 88.0, -88.0, 1e-40, -5e-324, 6e-8)
reductions = st.sampled_from(["none", "sum", "mean"])
seeds = st.integers(0, 2**32 - 1)


def using(kernel):
    return contextlib.nullcontext() if kernel == "auto" else ls.kernels.use(kernel)


def values(shape, special=()):
    """float64 values, a third of them ordinary, a third small and a third out of ``special``.

    Drawn as a seed: the shapes and options are what is worth shrinking.
    """
    return seeds.map(lambda seed: _values(np.random.default_rng(seed), shape, special))


def _values(rng, shape, special):
    x = rng.normal(size=shape) * rng.choice([0.1, 1.0, 10.0])
    if special:
        x = np.where(rng.random(shape) < 0.3, rng.choice(special, shape), x)
    return torch.from_numpy(np.asarray(x))


def uniform(shape, low, high):
    return seeds.map(lambda seed: torch.from_numpy(np.asarray(np.random.default_rng(seed).uniform(low, high, shape))))


@st.composite
def samples(draw, special=(), ignored=True, min_n=1, min_h=1):
    """(z, y): float64 logits (N, H) and an index target, some of it ignored."""
    n, h = draw(st.integers(min_n, 5)), draw(st.integers(min_h, 5))
    y = torch.from_numpy(np.random.default_rng(draw(seeds)).integers(0, h, n))
    if ignored and draw(st.booleans()):
        y[draw(st.integers(0, n - 1)) :: 2] = IGNORED
    return draw(values((n, h), special)), y


@st.composite
def options(draw, soft=False):
    """The options of cross-entropy, in combinations that have a meaning."""
    kwargs = {"reduction": draw(reductions)}
    if draw(st.booleans()):
        kwargs["label_smoothing"] = draw(st.floats(0, 1))
    elif not soft and draw(st.booleans()):
        kwargs["focal_gamma"] = draw(st.sampled_from([0.5, 1.0, 2.0, 3.7]))
    if draw(st.booleans()):
        kwargs["z_loss"] = draw(st.sampled_from([1e-4, 0.01, 0.1]))
    if draw(st.booleans()):
        kwargs["softcap"] = draw(st.sampled_from([1.0, 5.0, 30.0]))
    if kwargs["reduction"] == "mean" and draw(st.booleans()):
        kwargs["normalizer"] = draw(st.sampled_from([1.0, 3, 17.5]))
    return kwargs


def weights(shape):
    return uniform(shape, 0.125, 4)


@st.composite
def soft_targets(draw, shape):
    """q ≥ 0 with zeros in it, each row summing to one."""
    q = draw(uniform(shape, -0.5, 1)).clamp(min=0) + torch.eye(shape[1])[0] / 8
    return q / q.sum(1, keepdim=True)


def value_and_grad(function, z, *args, upstream=None, **kwargs):
    """The loss, and its gradient to z; of "none" that of Σ ℓ_i unless there is an upstream gradient."""
    z = z.detach().clone().requires_grad_()
    loss = function(z, *args, **kwargs)
    (grad,) = torch.autograd.grad(loss, z, torch.ones_like(loss) if upstream is None else upstream)
    return loss.detach(), grad


def near(x, expected, dtype=None, roundings=8, atol=None):
    """Within so many roundings of the expected value, or of ``atol`` (1 when left out); inf and NaN exactly."""
    eps = torch.finfo(dtype or x.dtype).eps
    x, expected = x.double(), expected.double()
    assert x.shape == expected.shape
    allowed = roundings * eps * expected.abs() + (roundings * eps if atol is None else atol)
    same = (x == expected) | (x.isnan() & expected.isnan()) | ((x - expected).abs() <= allowed)
    assert bool(same.all()), f"{x} is not {expected}: off by {(x - expected).abs().max()}, allowed {allowed.max()}"
