"""The Triton kernels, in Triton's interpreter and compiled ahead of time; test_gpu needs a GPU, these do not.

What holds of every kernel is in tests/properties; here is what is theirs: tiles, strides, the two ways to the gradient,
and that every launch compiles for the GPUs that it is made for without spilling a register.
"""

from __future__ import annotations

import functools
import gc
import os
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import losscope as ls
from losscope.kernels import reference
from losscope.kernels.options import BinaryOptions, CategoricalOptions

if sys.platform != "linux":
    pytest.skip("triton is for Linux", allow_module_level=True)

from losscope.kernels import triton as kernels
from losscope.kernels.triton import classes, configurations, launch, plain, reduction, values

COMPILE = Path(__file__).parents[2] / "tools" / "compile_kernels.py"
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
TINY = configurations.Sizes(short=8, single=(), long=((float("inf"), 8, 4),), strided=(4, 2, 4))


@pytest.fixture(autouse=True)
def _interpreted():
    assert launch.INTERPRETED, "set TRITON_INTERPRET=1 before triton is imported"
    torch.manual_seed(0)
    with ls.kernels.use("triton"):
        yield


@pytest.fixture
def tiny_tiles(monkeypatch):
    """Tiles so small that a short row is many of them."""
    small_tiles(monkeypatch)


def small_tiles(patch):
    patch.setattr(plain, "_kept", functools.cache(lambda *_: []))  # plans of these tiles
    patch.setattr(configurations, "SHORT", 0)
    for name in ("PLAIN", "RICH", "DOUBLE"):
        patch.setattr(configurations, name, TINY)
    patch.setattr(configurations, "INDEXED", ())
    patch.setattr(configurations, "INDEXED_LONG", ((float("inf"), 16, 4, 1, 2),))
    patch.setattr(configurations, "VALUES", (8, 4))


def loss_and_gradient(function, z, *args, upstream=None, **kwargs):
    z = z.detach().requires_grad_()
    loss = function(z, *args, **kwargs)
    loss.backward(torch.ones_like(loss) if upstream is None else upstream.to(loss.dtype))
    return loss.detach(), z.grad


def exact(z, target, weight=None, upstream=None, **kwargs):
    """The reference's formulas in float64."""
    weight = None if weight is None else weight.double()
    target = target.double() if target.is_floating_point() else target
    options = CategoricalOptions(**kwargs)
    function = lambda z: reference.cross_entropy(z, target, weight, options)  # noqa: E731
    return loss_and_gradient(function, z.double(), upstream=upstream)


def near(ours, theirs, dtype, atol=0.0):
    """Within 1e-6 in float32, 1e-14 in float64 and a rounding in the low precisions, relative to the tensor's size."""
    allowed = {torch.float32: 1e-6, torch.float64: 1e-14}.get(dtype, torch.finfo(dtype).eps)
    for x, y in zip(ours, theirs, strict=True):
        assert x.shape == y.shape
        assert float((x.double() - y).norm()) <= allowed * float(y.norm()) + atol


OPTIONS = {
    "plain": {},
    "sum": {"reduction": "sum"},
    "none": {"reduction": "none"},
    "normalizer": {"normalizer": 3.5},
    "smoothing": {"label_smoothing": 0.1},
    "focal": {"focal_gamma": 2.0},
    "root focal": {"focal_gamma": 0.5},
    "z-loss": {"z_loss": 0.1},
    "softcap": {"softcap": 5.0},
    "all": {"label_smoothing": 0.2, "z_loss": 0.01, "softcap": 8.0, "reduction": "none"},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kwargs", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", ["index", "soft"])
@pytest.mark.usefixtures("tiny_tiles")
def test_rows_of_many_tiles(dtype, kwargs, kind):
    if kind == "soft" and "focal_gamma" in kwargs:
        pytest.skip("the focal loss takes hard targets")
    z, weight = (3 * torch.randn(5, 21)).to(dtype), torch.rand(21).add(0.1).to(dtype)
    z[0, :9], z[1, 14:] = -torch.inf, -torch.inf  # a first tile without a class, and a last
    target = torch.tensor([20, 0, 13, -100, 8])
    if kind == "soft":
        target = torch.rand(5, 21).masked_fill(z.isneginf(), 0)
        target = (target / target.sum(1, keepdim=True)).to(dtype)
    upstream = torch.linspace(0.5, 2, 5) if kwargs.get("reduction") == "none" else torch.tensor(1.5)
    ours = loss_and_gradient(ls.cross_entropy, z, target, weight, upstream=upstream, **kwargs)
    near(ours, exact(z, target, weight, upstream, **kwargs), dtype)


@pytest.mark.parametrize("classes", [1, 2, 1024, 1025, 5000, 40_000])
@pytest.mark.parametrize("kwargs", [{}, {"label_smoothing": 0.1}], ids=["plain", "smoothing"])
def test_rows_of_any_length(classes, kwargs):
    z, y = 3 * torch.randn(3, classes), torch.tensor([0, classes // 2, classes - 1])
    loss, gradient = loss_and_gradient(ls.cross_entropy, z, y, **kwargs)
    (true_loss, true_gradient) = exact(z, y, **kwargs)
    near((loss, gradient), (true_loss, true_gradient), torch.float32, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_vocabulary_that_fills_no_whole_tile(dtype):
    z, y = (3 * torch.randn(2, 262_145)).to(dtype), torch.tensor([262_144, 77])
    near(loss_and_gradient(ls.cross_entropy, z, y), exact(z, y), dtype)


def test_no_samples_are_for_torch():
    z, y = torch.zeros(0, 3, requires_grad=True), torch.zeros(0, dtype=torch.int64)
    loss = ls.cross_entropy(z, y)
    assert loss.isnan()
    loss.backward()
    assert z.grad.shape == (0, 3)


PLANNED = {
    "mean": {},
    "sum": {"reduction": "sum"},
    "smoothing": {"label_smoothing": 0.1},
    "focal, z-loss": {"focal_gamma": 2.0, "z_loss": 0.1},
    "softcap": {"softcap": 5.0},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kwargs", PLANNED.values(), ids=PLANNED)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_call_like_an_earlier_one_is_only_launched(dtype, kwargs, weighted, monkeypatch):
    for planned in (False, True):
        if planned:
            for room in (classes, reduction, values):
                monkeypatch.setattr(room, "launch", None)
        z, weight = 3 * torch.randn(6, 1100).to(dtype), torch.rand(1100).to(dtype) if weighted else None
        y = torch.randint(0, 1100, (6,))
        y[2 * planned] = -100
        upstream = torch.tensor(1.5 if planned else 1.0)
        ours = loss_and_gradient(ls.cross_entropy, z, y, weight, upstream=upstream, **kwargs)
        near(ours, exact(z, y, weight, upstream, **kwargs), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("reduced", ["mean", "sum"])
def test_labels_like_earlier_ones_are_only_launched(dtype, reduced, monkeypatch):
    function = F.binary_cross_entropy_with_logits
    for planned in (False, True):
        if planned:
            for room in (classes, reduction, values):
                monkeypatch.setattr(room, "launch", None)
        z, t, upstream = torch.randn(7, 9).to(dtype), torch.rand(7, 9).to(dtype), torch.tensor(1.5)
        ours = loss_and_gradient(ls.binary_cross_entropy_with_logits, z, t, reduction=reduced, upstream=upstream)
        near(ours, loss_and_gradient(function, z.double(), t.double(), reduction=reduced, upstream=upstream), dtype)


def test_a_planned_loss_can_be_differentiated_twice_and_kept():
    z, y = torch.randn(5, 40, requires_grad=True), torch.randint(0, 40, (5,))
    labels = ls.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits, torch.rand(5, 40)
    twice = []
    for function, torchs, target in ((ls.cross_entropy, F.cross_entropy, y), labels):
        for _ in range(2):
            loss = function(z, target)
            grads = [torch.autograd.grad(loss, z, torch.tensor(u), retain_graph=True)[0] for u in (2.0, 1.0, 3.0)]
            torch.testing.assert_close(grads[0], 2 * grads[1])
            torch.testing.assert_close(grads[2], 3 * grads[1])
            odd = torch.tensor([0.0, 4.0])[1]  # lies where no vector starts
            torch.testing.assert_close(torch.autograd.grad(function(z, target), z, odd)[0], 4 * grads[1])
        for losses in ((function, z), (torchs, z.detach().double().requires_grad_())):
            twice.append(second_derivative(*losses, target))
        torch.testing.assert_close(twice[-2].double(), twice[-1], rtol=1e-4, atol=1e-6)


def second_derivative(loss, z, target):
    target = target.to(z) if target.is_floating_point() else target
    (gradient,) = torch.autograd.grad(loss(z, target), z, create_graph=True)
    return torch.autograd.grad(gradient.square().sum(), z)[0]


def test_a_plan_refuses_what_the_losses_refuse():
    z, y, t = torch.randn(5, 40, requires_grad=True), torch.randint(0, 40, (5,)), torch.rand(5, 40)
    for _ in range(2):
        ls.cross_entropy(z, y, focal_gamma=1)
        ls.binary_cross_entropy_with_logits(z, t)
        for wrong in (
            lambda: ls.cross_entropy(z, torch.full((5,), 40)),
            lambda: ls.cross_entropy(z, y, focal_gamma=True),
            lambda: ls.cross_entropy(z, y, softcap=0.0),
            lambda: ls.cross_entropy(z, y, ignore_index=-100.0),
            lambda: ls.cross_entropy(z, y[:4]),
            lambda: ls.cross_entropy(z, y, torch.ones(39)),
            lambda: ls.binary_cross_entropy_with_logits(z, 2 * torch.ones(5, 40)),
            lambda: ls.binary_cross_entropy_with_logits(z, t, reduction="average"),
        ):
            with pytest.raises(ls.InputError):
                wrong()


@pytest.mark.parametrize("kwargs", [{}, {"label_smoothing": 0.1}], ids=["plain", "smoothing"])
def test_a_plan_keeps_no_tensor_of_its_first_call(kwargs):
    def tensors():
        z, y = torch.randn(7, 33, requires_grad=True), torch.randint(0, 33, (7,))
        weight, t = torch.rand(33), torch.rand(7, 33)
        ls.cross_entropy(z, y, weight, **kwargs).backward()
        ls.binary_cross_entropy_with_logits(z, t).backward()
        return [weakref.ref(x) for x in (z, y, weight, t, z.grad)]

    left = tensors()
    gc.collect()
    assert [x() for x in left] == [None] * 5


def test_under_autocast_a_planned_loss_is_float32():
    z, y = torch.randn(5, 40).bfloat16().requires_grad_(), torch.randint(0, 40, (5,))
    assert ls.cross_entropy(z, y).dtype is torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert ls.cross_entropy(z, y).dtype is torch.float32


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("classes", [5, 40])
@pytest.mark.usefixtures("tiny_tiles")
def test_nan_and_inf_reach_their_own_row_only(value, classes):
    z, y = torch.randn(6, classes), torch.randint(1, classes, (6,))
    z[3, -1] = value
    loss, gradient = loss_and_gradient(ls.cross_entropy, z, y, reduction="none")
    assert loss.isnan().tolist() == [i == 3 for i in range(6)]
    assert gradient[3].isnan().all()
    keep = torch.arange(6) != 3
    near((gradient[keep],), (exact(z[keep], y[keep], reduction="sum")[1],), torch.float32)


def test_a_masked_row_is_nan_as_torchs():
    assert ls.cross_entropy(torch.full((2, 40), -torch.inf), torch.zeros(2, dtype=torch.int64)).isnan()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("kwargs", [{}, {"softcap": 5.0, "label_smoothing": 0.1, "return_stats": True}])
def test_an_ignored_row_may_hold_anything(value, kwargs):
    z, y = torch.randn(4, 9), torch.tensor([1, -100, 2, 3])
    z[1] = value
    z.requires_grad_()
    result = ls.cross_entropy(z, y, **kwargs)
    loss, stats = result if isinstance(result, tuple) else (result, ())
    loss.backward()
    assert loss.isfinite()
    assert all(column[1] == 0 for column in stats)
    assert not z.grad[1].any()
    assert z.grad.isfinite().all()


REARRANGED = {
    "transposed": lambda z: z.t().contiguous().t(),
    "every second class": lambda z: z.repeat_interleave(2, 1)[:, ::2],
    "every third row": lambda z: z.repeat_interleave(3, 0)[::3],
    "one row for all": lambda z: z[:1].expand_as(z),
}


@pytest.mark.parametrize("rearrange", REARRANGED.values(), ids=REARRANGED)
@pytest.mark.parametrize("classes", [5, 90])
def test_strided_logits(rearrange, classes):
    z, y = rearrange(torch.randn(70, classes)), torch.randint(0, classes, (70,))
    ours, torchs = loss_and_gradient(ls.cross_entropy, z, y), loss_and_gradient(F.cross_entropy, z, y)
    torch.testing.assert_close(ours, torchs)
    assert ours[1].stride() == torchs[1].stride()


@pytest.mark.parametrize("view", ["as it is", "channels last", "every second pixel", "every second class"])
@pytest.mark.parametrize("soft", [False, True])
def test_images(view, soft):
    z, y = torch.randn(2, 22, 6, 10), torch.randint(0, 11, (2, 6, 10))
    z = z.contiguous(memory_format=torch.channels_last) if view == "channels last" else z
    z = z[..., ::2] if view == "every second pixel" else z[:, ::2] if view == "every second class" else z
    y = torch.softmax(torch.randn(z.shape), 1) if soft else y[..., : z.shape[-1]]
    ours = loss_and_gradient(ls.cross_entropy, z, y)
    torch.testing.assert_close(ours, loss_and_gradient(F.cross_entropy, z, y))
    if not soft:
        torchs = loss_and_gradient(F.nll_loss, z.contiguous(), y)  # of channels last it is an error
        torch.testing.assert_close(loss_and_gradient(ls.nll_loss, z, y), torchs)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.usefixtures("tiny_tiles")
def test_statistics_are_the_references(soft):
    z, y = torch.randn(6, 40, dtype=torch.float64), torch.tensor([3, -100, 7, 39, 0, 1])
    z[0, 30:], z[4, 0] = z[0].max(), 9.0  # the first of equal ones is the decision
    z[2] = -torch.inf
    z[2, 7] = 0.0
    target = torch.softmax(torch.randn(6, 40, dtype=torch.float64), 1).masked_fill(z.isneginf(), 0) if soft else y
    loss, stats = ls.cross_entropy(z, target, softcap=20.0, return_stats=True)
    with ls.kernels.use("reference"):
        true_loss, true_stats = ls.cross_entropy(z, target, softcap=20.0, return_stats=True)
    torch.testing.assert_close(loss, true_loss)
    for got, want in zip(stats, true_stats, strict=True):
        torch.testing.assert_close(got, want)


def test_low_precision_gradients_are_rounded_once_for_any_upstream():
    z, y = torch.randn(64, 50).half().requires_grad_(), torch.randint(0, 50, (64,))
    (ls.cross_entropy(z, y).float() * 2.0**14).backward()
    true = exact(z.detach(), y)[1] * 2.0**14
    assert float((z.grad.double() - true).norm() / true.norm()) < 3e-4


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_backward_twice_gives_the_same_gradient_and_spares_the_first(reduction):
    z, y = torch.randn(30, 40, requires_grad=True), torch.randint(0, 40, (30,))
    loss = ls.cross_entropy(z, y, reduction=reduction)
    (first,) = torch.autograd.grad(loss, z, torch.ones_like(loss), retain_graph=True)
    before = first.clone()
    (second,) = torch.autograd.grad(loss, z, torch.full_like(loss, 3.0))
    torch.testing.assert_close(first, before, rtol=0, atol=0)
    torch.testing.assert_close(second, 3 * first)


def test_a_gradient_of_an_upstream_of_one_is_that_of_the_forward(monkeypatch):
    """Backward's kernel looks at the upstream gradient on the device and leaves what is there."""
    z, y = torch.randn(30, 40, requires_grad=True), torch.randint(0, 40, (30,))
    loss = ls.cross_entropy(z, y)
    made = loss.grad_fn.gradient
    made.fill_(7.0)
    assert (torch.autograd.grad(loss, z, retain_graph=True)[0] == 7.0).all()
    torch.testing.assert_close(torch.autograd.grad(loss, z)[0], exact(z.detach(), y)[1].float())


def test_changed_logits_are_refused_in_backward():
    x = torch.randn(6, 9, requires_grad=True)
    z = x * 2
    loss = ls.cross_entropy(z, torch.randint(0, 9, (6,)))
    z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_takes_the_logits_memory_when_asked(reduction, dtype):
    x, y = torch.randn(30, 40).to(dtype).requires_grad_(), torch.randint(0, 40, (30,))
    y[3] = -100
    z = x * 2
    held, seen = z.clone(), []
    z.register_hook(lambda g: seen.append(g.data_ptr()))
    loss = ls.CrossEntropyLoss(label_smoothing=0.1, reduction=reduction, inplace_backward=True)(z, y)
    assert torch.equal(z, held)  # until backward the logits are there
    loss.backward(torch.full_like(loss, 3.0))
    true = exact(held, y, upstream=torch.full((30,) if reduction == "none" else (), 3.0), label_smoothing=0.1,
                 reduction=reduction)[1]  # fmt: skip
    near((x.grad,), (2 * true,), dtype)
    assert seen == [z.data_ptr()]
    assert "inplace_backward=True" in repr(ls.CrossEntropyLoss(inplace_backward=True))


@pytest.mark.parametrize("later", ["the logits again", "the loss again"])
def test_logits_that_are_gone_are_refused(later):
    x, y = torch.randn(30, 40, requires_grad=True), torch.randint(0, 40, (30,))
    z = x * 2
    square, loss = z.square().sum(), ls.cross_entropy(z, y, inplace_backward=True)
    loss.backward(retain_graph=True)
    if later == "the loss again":
        with pytest.raises(ls.InputError, match="one backward"):
            loss.backward()
    else:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            square.backward()


@pytest.mark.parametrize("view", [lambda z: z, lambda z: z.view(40, 30).t(), lambda z: z[:, 2:]])
def test_a_parameter_is_never_overwritten(view):
    z, y = torch.randn(30, 40, requires_grad=True), torch.randint(0, 30, (30,))
    before = z.detach().clone()
    with pytest.raises(ls.InputError, match="leaf"):
        ls.cross_entropy(view(z), y, inplace_backward=True)
    assert torch.equal(z, before)


def test_overlapping_logits_are_not_overwritten():
    x, y = torch.randn(1, 9, requires_grad=True), torch.randint(0, 9, (6,))
    z = (x * 2).expand(6, 9)
    ls.cross_entropy(z, y, inplace_backward=True).backward()
    near((x.grad,), (2 * exact(z.detach(), y)[1].sum(0, keepdim=True),), torch.float32)


def test_second_derivatives_go_through_the_reference():
    z, y = torch.randn(4, 5, dtype=torch.float64, requires_grad=True), torch.randint(0, 5, (4,))
    assert torch.autograd.gradgradcheck(lambda z: ls.cross_entropy(z, y, focal_gamma=2.0), (z,))
    t = torch.rand(4, 5, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(lambda z: ls.binary_cross_entropy_with_logits(z, t), (z,))


def test_a_weight_that_wants_its_gradient_gets_it():
    weight = torch.rand(5, requires_grad=True)
    ls.cross_entropy(torch.randn(30, 5), torch.randint(0, 5, (30,)), weight, reduction="sum").backward()
    assert weight.grad is not None


def far_apart(x, dim):
    """A copy whose neighbours along ``dim`` lie 2³⁰ numbers apart: of 4 GiB a few pages are ever there."""
    step = 2**30 + 32
    strides = (step, 1) if dim == 0 else (1, step)
    count = sum((size - 1) * stride for size, stride in zip(x.shape, strides, strict=True)) + 1
    return torch.empty(count, dtype=x.dtype).as_strided(x.shape, strides).copy_(x)


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("loss", ["index", "soft", "nll", "labels"])
def test_logits_that_lie_more_than_two_to_the_31_numbers_apart(loss, dim):
    z, y, q = torch.randn(3, 3).bfloat16(), torch.tensor([1, 2, 0]), torch.rand(3, 3).softmax(1).bfloat16()
    far, far_q = far_apart(z, dim), far_apart(q, dim)
    assert far.stride(dim) * 2 > 2**31
    function, near_target, far_target = {
        "index": (ls.cross_entropy, y, y),
        "soft": (ls.cross_entropy, q, far_q),
        "nll": (ls.nll_loss, y, y),
        "labels": (ls.binary_cross_entropy_with_logits, q, far_q),
    }[loss]
    expected = loss_and_gradient(function, z, near_target)
    assert all(map(torch.equal, loss_and_gradient(function, far, far_target), expected))


@pytest.mark.parametrize("function", [kernels.cross_entropy, kernels.nll_loss])
@pytest.mark.parametrize("y", [-1, 5])
def test_a_target_out_of_range_is_an_error_of_the_kernel(function, y, monkeypatch):
    """On a GPU the edge doesn't read the targets; the kernel's assertion is what torch's kernels have."""
    builder = pytest.importorskip("triton.runtime.interpreter").interpreter_builder
    monkeypatch.setattr(builder, "options", replace(builder.options, debug=launch.DEVICE_CHECKS["debug"]))
    with pytest.raises(Exception, match="neither a class nor ignore_index"):
        function(torch.randn(2, 5), torch.tensor([0, y]), None, CategoricalOptions())


LABELS = {
    "plain": {},
    "smoothing": {"label_smoothing": 0.1},
    "focal": {"focal_gamma": 2.0},
    "ignored": {"ignore_index": -1.0},
    "all": {"focal_gamma": 0.5, "ignore_index": -1.0},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kwargs", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.usefixtures("tiny_tiles")
def test_binary_labels_of_many_tiles(dtype, kwargs, reduction):
    z, t = (3 * torch.randn(7, 13)).to(dtype), torch.randint(0, 2, (7, 13)).to(dtype)
    if "label_smoothing" not in kwargs:  # which gives a mask its share of the target
        z[0, 0], t[0, 0], z[0, 1], t[0, 1] = -torch.inf, 0, torch.inf, 1
    t[3, ::2] = t[3, ::2] if kwargs.get("ignore_index") is None else -1
    weight, pos_weight = torch.rand(7, 1).to(dtype), torch.rand(13).to(dtype)
    upstream = torch.linspace(0.5, 2, 91).view(7, 13) if reduction == "none" else torch.tensor(1.5)
    arguments = {"weight": weight, "pos_weight": pos_weight, "reduction": reduction, **kwargs}
    ours = loss_and_gradient(ls.binary_cross_entropy_with_logits, z, t, upstream=upstream, **arguments)
    options = BinaryOptions(**{k: v for k, v in arguments.items() if "weight" not in k})
    double = [x.double() for x in (t, weight, pos_weight)]
    function = lambda z: reference.binary_cross_entropy_with_logits(z, *double, options)  # noqa: E731
    near(ours, loss_and_gradient(function, z.double(), upstream=upstream), dtype)


SHAPES = {
    "a number": ((), ()),
    "a row": ((17,), (17,)),
    "a column": ((9, 1), (1,)),
    "images": ((2, 3, 4, 5), (3, 1, 1)),
    "images, a weight for each row": ((2, 3, 4, 5), (4, 1)),
}


@pytest.mark.parametrize(("shape", "weight"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("rearrange", [lambda x: x, lambda x: x.repeat_interleave(2, -1)[..., ::2] if x.ndim else x])
def test_binary_shapes_and_strides(shape, weight, rearrange):
    z, t, w = rearrange(torch.randn(shape)), rearrange(torch.rand(shape)), torch.rand(weight)
    function = F.binary_cross_entropy_with_logits
    ours = loss_and_gradient(ls.binary_cross_entropy_with_logits, z, t, weight=w)
    torch.testing.assert_close(ours, loss_and_gradient(function, z, t, weight=w))


def test_a_smoothed_label_keeps_the_digits_of_its_rest():
    """1 − t of t = 1 − ε/2, times a large logit: ε/2 · 10⁴."""
    z, t = torch.full((3,), 1e4, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    loss = ls.binary_cross_entropy_with_logits(z, t, label_smoothing=0.001)
    torch.testing.assert_close(loss, torch.tensor(5.0, dtype=torch.float64), rtol=1e-15, atol=0)


def test_transposed_labels_are_not_copied():
    z, t = torch.randn(30, 20).t(), torch.rand(30, 20).t()
    ours = loss_and_gradient(ls.binary_cross_entropy_with_logits, z, t)
    torch.testing.assert_close(ours, loss_and_gradient(F.binary_cross_entropy_with_logits, z, t))
    flat = kernels.values.flat(z.shape, z, t)
    assert [x.data_ptr() for x in flat.tensors] == [z.data_ptr(), t.data_ptr()]
    assert sorted((flat.rows, flat.columns)) == [20, 30]


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_probabilities(dtype):
    s, y, w = torch.log_softmax(torch.randn(300, 40), 1).to(dtype), torch.randint(0, 40, (300,)), torch.rand(40)
    y[::7], s[::7] = -100, torch.nan
    ours = loss_and_gradient(ls.nll_loss, s, y, w.to(dtype))
    near(ours, loss_and_gradient(F.nll_loss, s.double(), y, w.to(dtype).double()), dtype)


def python(code: str, **environment: str) -> str:
    """What a fresh process prints, in which kernels are not interpreted."""
    outside = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=outside | environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_outside_the_interpreter_the_cpus_tensors_are_for_torch():
    code = """
import torch, losscope as ls
z, y = torch.randn(4, 5, requires_grad=True), torch.tensor([0, 1, 2, 3])
with ls.kernels.use("triton"):
    loss = ls.cross_entropy(z, y)
torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(z, y))
print(loss.grad_fn.name())
"""
    assert python(code).split() == ["NllLossBackward0"]


def test_without_triton_torch_serves_with_one_warning():
    code = """
import sys, warnings
sys.modules["triton"] = None
import torch, losscope as ls
z, y = torch.randn(4, 5), torch.tensor([0, 1, 2, 3])
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for _ in range(2):
        with ls.kernels.use("triton"):
            loss = ls.cross_entropy(z, y)
torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(z, y))
print(len(told), told[0].category.__name__)
"""
    assert python(code).split() == ["1", "LosscopeWarning"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("factor", [1.0, -0.3])
def test_a_gradient_that_is_there_is_multiplied_in_place(dtype, factor):
    x, factor = torch.randn(3, 3000).to(dtype), torch.tensor(factor)
    expected = (x.double() * factor).to(dtype)
    made = kernels.multiply_unless_one(x, factor)
    assert made is x
    torch.testing.assert_close(x, expected)


@pytest.mark.parametrize("dtype", DTYPES[:1] + DTYPES[2:])
@pytest.mark.parametrize("largest", [0, 20, 37])
def test_a_largest_logit_far_above_those_of_the_first_tile(dtype, largest, tiny_tiles):
    z = torch.randn(4, 38, generator=torch.Generator().manual_seed(0)).to(dtype)
    z[:, largest] = 300.0
    y = torch.tensor([largest, 3, 22, 37])
    near(loss_and_gradient(ls.cross_entropy, z, y), exact(z, y), dtype)


@settings(max_examples=30)
@given(
    st.integers(17, 70),
    st.integers(0, 20),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["sum", "mean", "none"]),
    st.data(),
)
def test_the_laws_hold_for_rows_of_index_targets(classes, further, seed, reduction, data):
    """Shift, permutation, mask = subset and gradients that sum to 0, of the kernel that only long rows get."""
    with pytest.MonkeyPatch.context() as patch:
        small_tiles(patch)
        g = torch.Generator().manual_seed(seed)
        z = (4 * torch.randn(5, classes + further, generator=g))[:, :classes]
        y = torch.randint(0, classes, (5,), generator=g)
        y[data.draw(st.integers(0, 4))] = -100
        call = functools.partial(loss_and_gradient, ls.cross_entropy, reduction=reduction)
        made, counted = call(z, y), y != -100
        near(made, exact(z, y, reduction=reduction), z.dtype)
        assert float(made[1].sum(1).abs().max()) < 1e-5
        near(call(z + 3.0, y), [x.double() for x in made], z.dtype, atol=1e-5)
        order = torch.randperm(classes, generator=g)
        moved = torch.where(counted, order.argsort()[y.clamp(min=0)], -100)
        near(call(z[:, order], moved), [made[0].double(), made[1][:, order].double()], z.dtype, atol=1e-6)
        rest = made[0] if reduction != "none" else made[0][counted]
        near(call(z[counted], y[counted]), [rest.double(), made[1][counted].double()], z.dtype)


def test_every_launch_compiles_and_spills_no_register():
    """A representative few; ``make kernels`` compiles all."""
    outside = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, COMPILE], env=outside, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 of them spill" in done.stdout
    told = {tuple(line.split(": ")[1].split(",")[0].split()) for line in done.stdout.splitlines()[:-1]}
    rows = ("cross_entropy", "cross_entropy_gradient", "indexed_cross_entropy", "indexed_gradient")
    kernels = (*rows, "binary_cross_entropy", "nll_loss", "nll_gradient", "count", "quotient")
    assert told == {(kernel, f"sm_{target}") for kernel in kernels for target in (80, 90, 100)}
