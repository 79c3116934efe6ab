"""Plain calls in training, which have plans of their own: nothing of one call may be left in the next."""

from __future__ import annotations

import os
import threading

import pytest
import torch
import torch.nn.functional as F
from tests.kernels.test_cpu import distance, loss_and_gradient, python
from torch.utils.checkpoint import checkpoint

import losscope as ls
from losscope.kernels.cpu import plain, plans

SHAPES = [(1, 1), (1, 7), (64, 10), (1024, 10), (70, 48), (9, 200), (3, 1025), (5, 5000), (40_001, 17), (700, 2000)]
LAST_PLACE = 0.6 * torch.finfo(torch.float32).eps
LABELS = ls.binary_cross_entropy_with_logits


def index(samples, classes):
    y = torch.randint(0, classes, (samples,))
    if samples > 1:
        y[samples // 2] = -100
    return y


def case(name, shape):
    """A loss with its twin of torch and a target."""
    if name == "index":
        return ls.cross_entropy, F.cross_entropy, index(*shape)
    return LABELS, F.binary_cross_entropy_with_logits, torch.randint(0, 2, shape).float()


each = pytest.mark.parametrize("name", ["index", "labels"])


def is_planned(loss):
    return type(loss.grad_fn).__name__ == "PlainLossBackward"


@each
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_each_shape_twice_against_float64(name, shape, reduction):
    ours, torchs, target = case(name, shape)
    for _ in range(2):
        z = torch.randn(shape) * 4
        assert is_planned(ours(z.clone().requires_grad_(), target, reduction=reduction))
        loss, gradient = loss_and_gradient(ours, z, target, reduction=reduction)
        wide = target if target.dtype == torch.int64 else target.double()
        true_loss, true_gradient = loss_and_gradient(torchs, z.double(), wide, reduction=reduction)
        torchs_gradient = loss_and_gradient(torchs, z, target, reduction=reduction)[1]
        torch.testing.assert_close(loss.double(), true_loss, rtol=4e-7, atol=1e-7)
        if shape[1] > 1 or ours is LABELS:  # of one class the gradient is 0
            assert distance(gradient, true_gradient) <= max(
                1.1 * distance(torchs_gradient, true_gradient), 2e-7 if len(z) < 70 else LAST_PLACE
            )


OPTIONS = {
    "nothing": {},
    "smoothing": {"label_smoothing": 0.1},
    "focal": {"focal_gamma": 2.0},
    "the rest": {"z_loss": 1e-2, "softcap": 5.0},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [(64, 10), (70, 100), (9, 2500)])
@pytest.mark.parametrize("kind", ["index", "soft"])
def test_each_option_against_the_reference_in_float64(kind, shape, options):
    """With other weights and targets in the next call, with an ignored row of -inf, and without a gradient."""
    options = OPTIONS[options]
    if kind == "soft" and "focal_gamma" in options:
        pytest.skip("not defined for soft targets")
    for weight in (None, torch.rand(shape[1]), torch.rand(shape[1]) - 0.2, None):
        z, y, q = torch.randn(shape) * 3, index(*shape), torch.randn(shape).softmax(1)
        target = y if kind == "index" else q
        if kind == "index":
            z[shape[0] // 2] = -torch.inf
        wide = None if weight is None else weight.double()
        loss, gradient = loss_and_gradient(ls.cross_entropy, z, target, weight, **options)
        assert is_planned(ls.cross_entropy(z.clone().requires_grad_(), target, weight, **options))
        with ls.kernels.use("reference"):
            target = target if kind == "index" else target.double()
            true = loss_and_gradient(ls.cross_entropy, z.double(), target, wide, **options)
        torch.testing.assert_close((loss.double(), gradient.double()), true, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(2000, 10), (2000, 100), (60, 5000)])
@pytest.mark.parametrize("options", OPTIONS)
def test_many_logits_without_a_gradient(shape, options):
    """Evaluation has a plan of its own, with the same loss as training."""
    z, y = torch.randn(shape), index(*shape)
    trained = ls.cross_entropy(z.clone().requires_grad_(), y, **OPTIONS[options])
    with ls.kernels.use("reference"):
        true = ls.cross_entropy(z.double(), y, **OPTIONS[options])
    for loss in (trained.detach(), ls.cross_entropy(z, y, **OPTIONS[options])):
        torch.testing.assert_close(loss.double(), true, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("wrong", [True, 1.5, -0.1, torch.nan, "0.1"])
def test_an_option_out_of_range_is_refused_after_one_that_is_not(wrong):
    z, y = torch.randn(6, 5, requires_grad=True), index(6, 5)
    ls.cross_entropy(z, y, label_smoothing=1.0)
    with pytest.raises(ls.InputError, match="label_smoothing"):
        ls.cross_entropy(z, y, label_smoothing=wrong)


@each
def test_more_shapes_than_plans_are_kept(name):
    for h in range(1, plain.PLANS + 9):
        ours, torchs, target = case(name, (3, h))
        z = torch.randn(3, h)
        torch.testing.assert_close(loss_and_gradient(ours, z, target), loss_and_gradient(torchs, z, target))


@pytest.mark.parametrize("ignore_index", [0, 3, -1, 2**62])
def test_any_index_may_be_ignored(ignore_index):
    z, y = torch.randn(50, 4), torch.randint(0, 4, (50,))
    y[7] = ignore_index
    mine = loss_and_gradient(ls.cross_entropy, z, y, ignore_index=ignore_index)
    torch.testing.assert_close(mine, loss_and_gradient(F.cross_entropy, z, y, ignore_index=ignore_index))


def test_an_ignored_row_may_hold_anything():
    z, y = torch.randn(50, 4), torch.randint(0, 4, (50,))
    z[9], y[9] = torch.nan, -100
    kept = torch.arange(50) != 9
    loss, gradient = loss_and_gradient(ls.cross_entropy, z, y)
    true_loss, true_gradient = loss_and_gradient(F.cross_entropy, z[kept], y[kept])
    torch.testing.assert_close((loss, gradient[kept]), (true_loss, true_gradient))
    assert not gradient[9].any()


def test_where_nothing_counts_the_mean_is_nan_and_the_sum_zero():
    z, y = torch.randn(5, 4), torch.full((5,), -100)
    loss, gradient = loss_and_gradient(ls.cross_entropy, z, y)
    assert loss.isnan()
    assert not gradient.any()
    assert loss_and_gradient(ls.cross_entropy, z, y, reduction="sum")[0] == 0


@pytest.mark.parametrize("wrong", [-1, 4, 2**40, -(2**63)])
@pytest.mark.parametrize("samples", [3, 20_000])
def test_a_target_out_of_range_is_refused_and_the_next_call_is_right(wrong, samples):
    z, y = torch.randn(samples, 4, requires_grad=True), torch.randint(0, 4, (samples,))
    right = y.clone()
    y[1] = wrong
    for _ in range(2):
        with pytest.raises(ls.InputError, match="class indices in"):
            ls.cross_entropy(z, y)
        torch.testing.assert_close(ls.cross_entropy(z, right), F.cross_entropy(z, right))


@pytest.mark.parametrize("wrong", [-0.5, 1.25, torch.nan, torch.inf])
@pytest.mark.parametrize("samples", [3, 20_000])
def test_a_label_out_of_range_is_refused_and_the_next_call_is_right(wrong, samples):
    z, target = torch.randn(samples, 4, requires_grad=True), torch.rand(samples, 4)
    right = target.clone()
    target[1, 2] = wrong
    for _ in range(2):
        with pytest.raises(ls.InputError, match=r"targets in \[0, 1\]"):
            LABELS(z, target)
        torch.testing.assert_close(LABELS(z, right), F.binary_cross_entropy_with_logits(z, right))


@each
def test_nan_logits_are_no_fault_of_the_target(name):
    z = torch.randn(5, 4)
    z[1, 1] = torch.nan
    ours, torchs, target = case(name, (5, 4))
    torch.testing.assert_close(
        loss_and_gradient(ours, z, target)[1], loss_and_gradient(torchs, z, target)[1], equal_nan=True
    )


@pytest.mark.parametrize("y", [torch.zeros(5).long(), torch.zeros(4, 1).long(), torch.zeros(()).long()])
def test_a_target_of_another_shape_is_refused(y):
    with pytest.raises(ls.InputError, match="index target of shape"):
        ls.cross_entropy(torch.randn(4, 5, requires_grad=True), y)


@pytest.mark.parametrize("shape", [(0, 5), (0,), (5,), (2, 5, 3)])
def test_other_shapes_of_logits(shape):
    z = torch.randn(shape, requires_grad=True)
    y = torch.zeros(shape[:1] + shape[2:] if len(shape) > 1 else (), dtype=torch.long)
    if shape == (0,):
        with pytest.raises(ls.InputError, match="at least one class"):
            ls.cross_entropy(z, y)
    else:
        torch.testing.assert_close(ls.cross_entropy(z, y), F.cross_entropy(z, y), equal_nan=True)


@each
def test_backward_twice_and_with_another_upstream(name):
    ours, torchs, target = case(name, (30, 7))
    z = torch.randn(30, 7, requires_grad=True)
    loss, true = ours(z, target), torchs(z, target)
    (first,) = torch.autograd.grad(loss, z, retain_graph=True)
    before = first.clone()
    torch.testing.assert_close(first, torch.autograd.grad(true, z, retain_graph=True)[0])
    for upstream in (1.0, -3.0):
        (again,) = torch.autograd.grad(loss * upstream, z, retain_graph=True)
        torch.testing.assert_close(again, torch.autograd.grad(true * upstream, z, retain_graph=True)[0])
    assert torch.equal(first, before)


@each
def test_a_gradient_is_never_written_again(name):
    ours, _, target = case(name, (64, 10))
    gradients = [loss_and_gradient(ours, torch.randn(64, 10), target)[1] for _ in range(3)]
    copies = [g.clone() for g in gradients]
    loss_and_gradient(ours, torch.randn(64, 10), target)
    assert all(map(torch.equal, gradients, copies))


@each
def test_second_derivatives(name):
    ours, torchs, target = case(name, (6, 5))
    z, v = torch.randn(6, 5, requires_grad=True), torch.randn(6, 5)
    products = []
    for function in (ours, torchs):
        (gradient,) = torch.autograd.grad(function(z, target), z, create_graph=True)
        products.append(torch.autograd.grad((gradient * v).sum(), z)[0])
    torch.testing.assert_close(*products)


@each
def test_a_target_that_was_overwritten_is_noticed(name):
    ours, _, target = case(name, (6, 5))
    loss = ours(torch.randn(6, 5, requires_grad=True), target)
    loss.backward(retain_graph=True)
    target.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@each
def test_checkpoints_and_saved_tensor_hooks(name):
    ours, torchs, target = case(name, (6, 5))
    z, weight = torch.randn(6, 5), torch.randn(5, 5, requires_grad=True)
    gradients = []
    for function in (ours, torchs):
        loss = checkpoint(lambda w, f=function, t=target: f(z @ w, t), weight, use_reentrant=False)
        gradients.append(torch.autograd.grad(loss, weight)[0])
    torch.testing.assert_close(*gradients)
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, torch.clone):
        loss = ours(weight, target[:5])
    torch.testing.assert_close(
        torch.autograd.grad(loss * 2, weight), torch.autograd.grad(torchs(weight, target[:5]) * 2, weight)
    )


def through_dual(function, z, direction):
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(z, direction)
        return torch.autograd.forward_ad.unpack_dual(function(dual)).tangent


TRANSFORMS = {
    "grad": lambda f, z, direction: torch.func.grad(f)(z),
    "jvp": lambda f, z, direction: torch.func.jvp(f, (z,), (direction,))[1],
    "vmap": lambda f, z, direction: torch.vmap(f)(torch.stack([z, direction])),
    "dual": through_dual,
}


@each
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's forward mode uses it
def test_transforms_take_another_way(name, transform):
    ours, torchs, target = case(name, (6, 5))
    z, direction = torch.randn(6, 5, requires_grad=True), torch.randn(6, 5)
    mine, theirs = (TRANSFORMS[transform](lambda x, f=f: f(x, target), z, direction) for f in (ours, torchs))
    torch.testing.assert_close(mine, theirs)


@each
@pytest.mark.parametrize("shape", [(64, 10), (4096, 100), (40, 4097), (300_000, 11)])
def test_a_default_device_is_not_where_the_loss_is(name, shape):
    ours, torchs, target = case(name, shape)
    z = torch.randn(shape, requires_grad=True)
    expected = loss_and_gradient(torchs, z, target)
    plain._of_classes.cache_clear()
    plain._of_labels.cache_clear()
    with torch.device("meta"):
        loss = ours(z, target)
        loss.backward()
        losses = ours(z.detach(), target, reduction="none")
    torch.testing.assert_close((loss.detach(), z.grad), expected)
    torch.testing.assert_close(losses, torchs(z.detach(), target, reduction="none"))


@each
def test_the_number_of_threads_changes_no_bit(name):
    threads = torch.get_num_threads()
    ours, _, target = case(name, (30_000, 20))
    z, results = torch.randn(30_000, 20), []
    for count in (1, 2, 5, 1):
        torch.set_num_threads(count)
        results.append(loss_and_gradient(ours, z, target))
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in results for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("shape", [(64, 10), (4000, 50)])
def test_callers_in_many_threads_share_a_plan(shape):
    cases = [
        (ours, z, target, loss_and_gradient(ours, z, target))
        for _ in range(4)
        for z in [torch.randn(shape)]
        for ours, _, target in [case("index", shape), case("labels", shape)]
    ]
    wrong = []

    def work(ours, z, target, expected):
        for _ in range(100):
            mine = loss_and_gradient(ours, z, target)
            wrong.extend(1 for a, b in zip(mine, expected, strict=True) if not torch.equal(a, b))

    workers = [threading.Thread(target=work, args=case) for case in cases]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_plans_of_many_shapes_share_their_scratch():
    """Batches of many lengths, as of text, would otherwise keep some megabytes each."""
    before = len(plans._idle)
    for samples in range(1, 30):
        loss_and_gradient(ls.cross_entropy, torch.randn(samples, 5000), torch.zeros(samples, dtype=torch.long))
    assert len(plans._idle) == max(before, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_computes_the_same():
    code = """
import os, torch, losscope as ls
torch.set_num_threads(2)
z, y = torch.randn(4000, 50, requires_grad=True), torch.randint(0, 50, (4000,))
def gradient():
    return torch.autograd.grad(ls.cross_entropy(z, y), z)[0].numpy().tobytes()
before = gradient()
child = os.fork()
if child == 0:  # where torch's own parallel operators would hang
    os._exit(0 if gradient() == before else 1)
print(os.waitpid(child, 0)[1])
"""
    assert python(code).strip() == "0"


@pytest.mark.parametrize(
    "without",
    [
        "import sys; sys.modules['numba'] = None",
        "from losscope.kernels.cpu import compiled; compiled.cfunc = lambda *args, **kwargs: 1 / 0",
    ],
)
def test_where_numba_cannot_be_used_torch_serves_with_one_warning(without):
    code = f"""
import warnings, torch
{without}
import losscope as ls
z, y, t = torch.randn(64, 10, requires_grad=True), torch.randint(0, 10, (64,)), torch.rand(64, 10)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    losses = [f(z, x) for _ in range(3) for f, x in
              ((ls.cross_entropy, y), (ls.binary_cross_entropy_with_logits, t))]
torch.testing.assert_close(losses[0], torch.nn.functional.cross_entropy(z, y))
torch.testing.assert_close(losses[1], torch.nn.functional.binary_cross_entropy_with_logits(z, t))
print(len(told), told[0].category.__name__)
"""
    assert python(code).split() == ["1", "LosscopeWarning"]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("index", {"softcap": 0.0}),
        ("index", {"focal_gamma": torch.inf}),
        ("index", {"focal_gamma": 2.0, "label_smoothing": 0.1}),
        ("soft", {"focal_gamma": 2.0}),
        ("soft", {"ignore_index": 0}),
    ],
)
def test_training_refuses_the_options_that_the_checks_refuse(kind, options):
    z = torch.randn(6, 5, requires_grad=True)
    with pytest.raises(ls.InputError, match=next(iter(options))):
        ls.cross_entropy(z, index(6, 5) if kind == "index" else torch.randn(6, 5).softmax(1), **options)


def test_an_error_inside_does_not_leave_the_kernel_chosen():
    with pytest.raises(ZeroDivisionError), ls.kernels.use("reference"):
        1 / 0  # noqa: B018
    assert is_planned(ls.cross_entropy(torch.randn(6, 5, requires_grad=True), index(6, 5)))


def test_one_bias_for_all_outputs_is_refused():
    with pytest.raises(ls.InputError, match="linear_bias of shape"):
        ls.linear_cross_entropy(
            torch.zeros(4, 5), torch.zeros(3, 5), torch.tensor([0, 1, 2, 0]), linear_bias=torch.zeros(1)
        )


def test_few_infinite_logits_that_are_sure_and_right_cost_nothing():
    z, target = torch.tensor([[torch.inf, -torch.inf, 0.0]]), torch.tensor([[1.0, 0.0, 1.0]])
    torch.testing.assert_close(LABELS(z, target, reduction="sum"), torch.tensor(2.0).log())
