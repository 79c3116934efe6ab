"""Every kernel and dtype against the contract in extended precision, values and gradients, with every option.

float32 and float64 within a few roundings. float16 and bfloat16 are computed in float32 and rounded once: within one
rounding of the exact value.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.properties import oracle
from tests.properties.common import (
    DTYPES,
    EXTREME,
    every_dtype,
    every_kernel,
    near,
    options,
    reductions,
    samples,
    seeds,
    soft_targets,
    uniform,
    using,
    value_and_grad,
    values,
    weights,
)

import losscope as ls

LOW = DTYPES[2:]
MASKED = (*EXTREME, -np.inf, -np.inf, -np.inf)


def agrees(result, exact, dtype, scale=1.0):
    """One rounding in the low precisions, with float32's error of the computation below it."""
    for x, reference in zip(result, exact, strict=True):
        if dtype in LOW:
            reference = reference.to(dtype).double() if bool((reference.abs() > 6e4).any()) else reference
            near(x, reference, roundings=0.6, atol=16 * torch.finfo(torch.float32).eps * scale)
        else:
            near(x, reference, atol=16 * torch.finfo(dtype).eps * scale)


@st.composite
def masked_samples(draw):
    """Logits with masks, each row with one that is not, and targets that are not masked."""
    z, y = draw(samples(MASKED))
    rows, open_ = torch.arange(len(z)), draw(seeds) % z.shape[1]
    z[:, open_] = z[:, open_].masked_fill(z[:, open_].isinf(), 0.25)
    return z, torch.where((y >= 0) & z[rows, y.clamp(min=0)].isinf(), open_, y)


@every_kernel
@every_dtype
@settings(max_examples=25)
@given(masked_samples(), options(), st.data())
def test_index_targets(kernel, dtype, sample, kwargs, data):
    z, y = sample[0].to(dtype), sample[1]
    w = data.draw(st.none() | weights(z.shape[1]).map(lambda w: w.to(dtype)))
    exact = oracle.cross_entropy(z, y, w, **kwargs)
    with using(kernel):
        agrees(value_and_grad(ls.cross_entropy, z, y, w, **kwargs), exact, dtype, scale_of(z, kwargs))


@every_kernel
@every_dtype
@settings(max_examples=25)
@given(masked_samples(), options(soft=True), st.data())
def test_soft_targets(kernel, dtype, sample, kwargs, data):
    z = sample[0].to(dtype)
    q = data.draw(soft_targets(z.shape)).masked_fill(z.isneginf(), 0).to(dtype)
    w = data.draw(st.none() | weights(z.shape[1]).map(lambda w: w.to(dtype)))
    exact = oracle.cross_entropy(z, q, w, **kwargs)
    with using(kernel):
        agrees(value_and_grad(ls.cross_entropy, z, q, w, **kwargs), exact, dtype, scale_of(z, kwargs))


def scale_of(z, kwargs):
    """The size of what is added up, whose rounding the sum cannot undo: the gap, and λ lse²."""
    cap = kwargs.get("softcap") or torch.inf
    largest = min(z[z.isfinite()].double().abs().max().item(), cap)
    return max(1.0, 2 * largest) * (1 + kwargs.get("z_loss", 0) * max(1, largest))


@every_kernel
@every_dtype
@settings(max_examples=25)
@given(
    st.sampled_from([(3,), (2, 3), (2, 1, 2), ()]).flatmap(
        lambda shape: st.tuples(values(shape, EXTREME), uniform(shape, -0.5, 1.5).map(lambda t: t.clamp(0, 1)))
    ),
    reductions,
    st.data(),
)
def test_binary_targets(kernel, dtype, sample, reduction, data):
    z, t = (x.to(dtype) for x in sample)
    kwargs = {"reduction": reduction}
    if data.draw(st.booleans()):
        kwargs["label_smoothing"] = data.draw(st.floats(0, 1))
    elif data.draw(st.booleans()):
        kwargs["focal_gamma"], t = data.draw(st.sampled_from([0.5, 1.0, 2.0, 3.7])), t.round()
    if data.draw(st.booleans()):
        kwargs["pos_weight"] = data.draw(weights(z.shape[-1:])).to(dtype)
    if data.draw(st.booleans()):
        kwargs["weight"] = data.draw(weights(z.shape)).to(dtype)
    if data.draw(st.booleans()):
        kwargs["ignore_index"], t = -1, t.masked_fill(data.draw(values(z.shape)) > 0, -1)
    exact = oracle.binary_cross_entropy_with_logits(z, t, **kwargs)
    with using(kernel):
        agrees(value_and_grad(ls.binary_cross_entropy_with_logits, z, t, **kwargs), exact, dtype)


@every_kernel
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=["float64", "float32"])
def test_a_small_loss_keeps_its_digits(kernel, dtype):
    """−ln σ(z) ≈ e^{−z}: torch's own gives 0 from z = 17 on in float32."""
    z = torch.tensor([20.0, 40.0, 80.0, -20.0], dtype=dtype)
    t = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=dtype)
    with using(kernel):
        loss = ls.binary_cross_entropy_with_logits(z, t, reduction="none")
    torch.testing.assert_close(loss, torch.log1p(torch.exp(-z.abs())), rtol=2e-6, atol=0)


@every_kernel
@every_dtype
@settings(max_examples=25)
@given(values((3, 4), MASKED))
def test_links(kernel, dtype, z):
    z[:, 0] = z[:, 0].masked_fill(z[:, 0].isinf(), 0)
    z = z.to(dtype)
    x = oracle.to_long(z)
    m = x.max(1, keepdims=True)
    lse = m + np.log(np.exp(x - m).sum(1, keepdims=True))
    with using(kernel):
        results = ls.softmax(z, 1), ls.log_softmax(z, 1), ls.logsumexp(z, 1), ls.sigmoid(z), ls.log_sigmoid(z)
    log_sum = np.log(np.exp(x - m).sum(1, keepdims=True))
    expected = np.exp(x - lse), x - m - log_sum, lse[:, 0], np.exp(oracle.log_sigmoid(x)), oracle.log_sigmoid(x)
    for result, reference in zip(results, expected, strict=True):
        assert result.dtype == dtype
        near(result, oracle.to_torch(reference), roundings=4)


@every_kernel
@every_dtype
@pytest.mark.parametrize("size", [20, 20_000])
def test_squared_errors_are_computed_in_float32(kernel, dtype, size):
    """The logarithm of the target too: rounded to bfloat16 it would be off by 0.4 %."""
    generator = torch.Generator().manual_seed(size)
    z, y = (torch.rand(size, generator=generator).add(0.1).to(dtype) for _ in range(2))
    exact = z.double() - y.double(), z.double() - y.double().log()
    with using(kernel):
        results = [value_and_grad(f, z, y, reduction="none") for f in (ls.mse_loss, ls.mean_squared_log_error)]
    for result, difference in zip(results, exact, strict=True):
        agrees(result, (difference.square(), 2 * difference), dtype)


@every_kernel
@every_dtype
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_many_samples(kernel, dtype, reduction):
    """Large enough for every kernel to be the one that is chosen, and in pieces; some samples ignored and unusable."""
    generator = torch.Generator().manual_seed(0)
    z = (3 * torch.randn(300, 67, generator=generator)).to(dtype)
    y = torch.randint(0, 67, (300,), generator=generator)
    y[::7], z[::7] = -100, torch.nan
    z[1::7, 5], y[1::7] = -torch.inf, 6
    kwargs = {"reduction": reduction, "label_smoothing": 0.1, "z_loss": 0.01, "softcap": 20.0}
    exact = oracle.cross_entropy(z.double().nan_to_num(0, neginf=-torch.inf), y, **kwargs)
    with using(kernel):
        agrees(value_and_grad(ls.cross_entropy, z, y, **kwargs), exact, dtype, scale=300 if reduction == "sum" else 4)
