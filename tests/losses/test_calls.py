"""What a call has to stand beside its values: nothing at all, batches of gradients, tracing, variables, scaling."""

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import losscope as ls

LABELS = ls.binary_cross_entropy_with_logits
SMALL, LARGE, VAST = 40, 1 << 18, 1 << 21  # what torch's operators serve, what is fused, and of squares and picks too


def randn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def rand(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def index(samples, classes):
    return torch.randint(classes, (samples,), generator=torch.Generator().manual_seed(2))


def case(name, size):
    """(loss, raw outputs, target) of so many of them."""
    if name in ("cross_entropy", "nll_loss"):
        return getattr(ls, name), randn(size // 8, 8), index(size // 8, 8)
    return getattr(ls, name), rand(size) if name == "binary_cross_entropy" else randn(size), 0.1 + 0.9 * rand(size)


ALL = ["cross_entropy", "nll_loss", LABELS.__name__, "binary_cross_entropy", "mse_loss", "mean_squared_log_error"]


# -------------------------------------------------------------------------------------------- of nothing


@pytest.mark.parametrize("kernel", ["auto", "eager", "cpu"])
@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
@pytest.mark.parametrize(("ours", "torchs"), [(LABELS, F.binary_cross_entropy_with_logits), (ls.mse_loss, F.mse_loss)])
def test_a_batch_of_nothing(ours, torchs, shape, wanted, kernel):
    for reduction in ("mean", "sum", "none"):
        z = torch.zeros(shape, requires_grad=wanted)
        with ls.kernels.use(kernel) if kernel != "auto" else torch.enable_grad():
            loss = ours(z, torch.zeros(shape), reduction=reduction)
        torch.testing.assert_close(loss, torchs(z, torch.zeros(shape), reduction=reduction), equal_nan=True)
        if wanted:
            loss.sum().backward()
            assert z.grad.shape == z.shape


# --------------------------------------------------------------------------------------------- backwards


@pytest.mark.parametrize("size", [SMALL, LARGE, VAST])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("name", ALL)
def test_many_gradients_at_once(name, reduction, size):
    loss, z, target = case(name, size)
    z.requires_grad_()
    made = loss(z, target, reduction=reduction)
    upstream = torch.stack([torch.ones_like(made), torch.linspace(-1, 1, made.numel()).view_as(made)])
    (got,) = torch.autograd.grad(made, z, upstream, is_grads_batched=True)
    for each, u in zip(got, upstream, strict=True):
        torch.testing.assert_close(each, *torch.autograd.grad(loss(z, target, reduction=reduction), z, u))


def test_many_gradients_of_a_linear_loss_at_once():
    x, w, y = randn(3000, 8).requires_grad_(), randn(1000, 8).requires_grad_(), index(3000, 1000)
    loss = ls.linear_cross_entropy(x, w, y)
    got = torch.autograd.grad(loss, (x, w), torch.tensor([1.0, 3.0]), is_grads_batched=True)
    for batch, one in zip(got, torch.autograd.grad(ls.linear_cross_entropy(x, w, y), (x, w)), strict=True):
        torch.testing.assert_close(batch, torch.stack([one, 3 * one]))


@pytest.mark.parametrize("link", [ls.softmax, ls.log_softmax])
def test_a_link_of_many_logits_keeps_what_it_gives_and_not_what_it_was_given(link):
    base = randn(1 << 13, 1 << 11).requires_grad_()
    z = base * 1
    out = link(z, 1)
    z.mul_(0)  # torch's allows it too
    weights = randn(1, 1 << 11)
    (got,) = torch.autograd.grad((out * weights).sum(), base, create_graph=True)
    twin = base.detach()[:100].requires_grad_()
    small = getattr(torch, link.__name__)(twin, 1)
    (want,) = torch.autograd.grad((small * weights).sum(), twin, create_graph=True)
    torch.testing.assert_close(got[:100], want)
    (second,) = torch.autograd.grad(got[:100].square().sum(), base)
    torch.testing.assert_close(second[:100], *torch.autograd.grad(want.square().sum(), twin))


def changes(which):
    """A loss of large tensors and one of those that it was given beside z."""
    t, w = torch.ones(LARGE), torch.ones(LARGE)
    if which == "labels":
        return lambda z: LABELS(z, t, reduction="none").sum(), t
    if which == "labels' weight":
        return lambda z: LABELS(z, t, weight=w, reduction="sum"), w
    if which == "pos_weight":
        return lambda z: LABELS(z, t, pos_weight=w, reduction="sum"), w
    if which == "weight":
        weight, y = torch.ones(4), index(LARGE // 4, 4)
        return lambda z: ls.cross_entropy(z.view(-1, 4), y, weight, reduction="none").sum(), weight
    t = torch.ones(VAST)
    return lambda z: ls.mse_loss(z.repeat(VAST // LARGE), t, reduction="sum"), t


@pytest.mark.parametrize("which", ["labels", "labels' weight", "pos_weight", "weight", "squares"])
def test_what_a_gradient_still_needs_may_not_be_written_over(which):
    f, constant = changes(which)
    z = torch.zeros(LARGE, requires_grad=True)
    loss = f(z)
    constant.mul_(7)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (2 * loss).backward()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ["linear", "linear, twice", "cross_entropy", "labels"])
def test_float16_scaled_up_is_no_worse_than_torch(name, compiled):
    """As GradScaler does: 1 / N is a subnormal number of float16, its product with 2^16 is not."""
    n, d, h = 3000, 16, 600
    x, w, y, m = randn(n, d), randn(h, d) / d**0.5, index(n, h), rand(n, h).round()
    with_layer = {
        "linear": lambda x, w, linear, _: linear(x, w, y),
        "linear, twice": lambda x, w, linear, _: linear(x, w, y, recompute=True),
    }
    of_logits = {
        "cross_entropy": lambda z, losses: losses.cross_entropy(z, y),
        "labels": lambda z, losses: losses.binary_cross_entropy_with_logits(z, m.to(z.dtype)),
    }

    def ours(x, w):
        if name in with_layer:
            return with_layer[name](x, w, ls.linear_cross_entropy, ls)
        return of_logits[name](F.linear(x, w).half(), ls)

    def torchs(x, w):
        z = F.linear(x, w)
        return of_logits[name if name in of_logits else "cross_entropy"](z, F)

    step = torch.compile(ours, fullgraph=True, backend="aot_eager") if compiled else ours
    x.requires_grad_()
    w.requires_grad_()
    exact = torch.autograd.grad(torchs(x.half().double(), w.half().double()), (x, w))
    errors = []
    for f in (step, torchs):
        with torch.autocast("cpu", torch.float16):
            loss = f(x, w)
        got = torch.autograd.grad(2.0**16 * loss.float(), (x, w))
        errors.append([float((a.double() / 2**16 - b).norm() / b.norm()) for a, b in zip(got, exact, strict=True)])
    assert all(a <= 1.2 * b for a, b in zip(*errors, strict=True)), errors


# ------------------------------------------------------------------------------------------------ graphs


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("name", ALL)
def test_tracing_with_real_tensors(name, size):
    loss, z, target = case(name, size)
    traced = make_fx(lambda z, t: loss(z, t), tracing_mode="real")(z, target)
    torch.testing.assert_close(traced(z / 2, target), loss(z / 2, target))
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert loss(z, target).shape == ()


@pytest.mark.parametrize("name", ALL)
def test_meta_tensors_give_a_meta_loss(name):
    loss, z, target = case(name, SMALL)
    made = loss(z.to("meta"), target.to("meta"))
    assert made.is_meta
    assert made.shape == ()


def test_meta_tensors_of_a_linear_loss():
    x, w, y = (t.to("meta") for t in (randn(5, 3), randn(7, 3), index(5, 7)))
    assert ls.linear_cross_entropy(x, w, y).is_meta


MODULES = {
    "labels": (ls.BCEWithLogitsLoss(), "labels"),
    "labels, smoothed": (ls.BCEWithLogitsLoss(label_smoothing=0.1), "labels"),
    "probabilities": (ls.BCELoss(), "probabilities"),
    "squares": (ls.MSELoss(), "labels"),
    "logarithms": (ls.MSLELoss(), "values"),
    "picks": (ls.NLLLoss(ignore_index=3), "index"),
    "classes": (ls.CrossEntropyLoss(label_smoothing=0.1, z_loss=0.1), "index"),
    "focal": (ls.CrossEntropyLoss(focal_gamma=2.0, softcap=3.0), "index"),
    "normalizer": (ls.CrossEntropyLoss(normalizer=3.0), "index"),
    "linear": (ls.LinearCrossEntropyLoss(8, 8, label_smoothing=0.1), "index"),
}


@pytest.mark.parametrize("name", MODULES)
def test_compiles_with_every_size_and_number_a_variable(name):
    loss, kind = MODULES[name]
    torch.compiler.reset()
    step = torch.compile(loss, fullgraph=True, dynamic=True, backend="aot_eager")
    for samples in (16, 21):
        z = rand(samples, 8) if kind == "probabilities" else randn(samples, 8)
        target = {"index": index(samples, 8), "values": 0.1 + rand(samples, 8)}.get(kind, rand(samples, 8))
        torch.testing.assert_close(step(z, target), loss(z, target))


def test_an_option_that_changes_compiles_to_a_variable():
    torch.compiler.reset()
    z, m, y = randn(16, 8), rand(16, 8), index(16, 8)
    for f, target in (
        (lambda z, t, e: LABELS(z, t, label_smoothing=e), m),
        (lambda z, t, e: ls.cross_entropy(z, t, label_smoothing=e, z_loss=e, softcap=1 + e), y),
    ):
        step = torch.compile(f, fullgraph=True, backend="aot_eager")
        for e in (0.1, 0.2, 0.3):
            torch.testing.assert_close(step(z, target, e), f(z, target, e))


@pytest.mark.parametrize("kernel", ["auto", "eager", "cpu", "reference"])
@pytest.mark.parametrize("loss", [ls.nll_loss, ls.cross_entropy])
@pytest.mark.parametrize("wide", [False, True])
def test_where_all_that_counts_weighs_nothing_the_mean_is_nan_and_its_gradient_zero(loss, kernel, wide):
    z = torch.zeros(1100 if wide else 2, 2000 if wide else 2, requires_grad=True)
    w = torch.ones(z.shape[1]).index_fill(0, torch.tensor(0), 0.0)
    with ls.kernels.use(kernel) if kernel != "auto" else torch.enable_grad():
        made = loss(z, torch.zeros(len(z)).long(), w)
    made.backward()
    assert made.isnan()
    assert not z.grad.any()


# ------------------------------------------------------------------------------------------ what is not plain


LAYER = 0.1 * randn(9000, 8)


def of_layer(z, y, **options):
    """The loss of a last layer whose input is a part of z."""
    return ls.linear_cross_entropy(z[:, :8], LAYER, y, **options)


@pytest.mark.parametrize("loss", [ls.cross_entropy, of_layer])
@pytest.mark.parametrize("wrong", [-1, 10**12])
def test_a_compiled_graph_looks_at_its_targets(loss, wrong):
    z, y = randn(400, 900).requires_grad_(), index(400, 900)
    y[5] = wrong
    step = torch.compile(lambda z, y: loss(z, y), backend="aot_eager")
    with pytest.raises(ls.InputError, match=f"got {wrong} at"):
        step(z, y)
    with FlopCounterMode(display=False), pytest.raises((ls.InputError, IndexError, RuntimeError)):
        loss(z, y)
    step(z, y.clamp(0, 899))


class Labels(torch.Tensor):
    """A subclass, as libraries of data have them."""


def test_targets_of_a_subclass_are_looked_at():
    z, y = randn(400, 900), index(400, 900)
    good = of_layer(z, y)
    torch.testing.assert_close(torch.Tensor(of_layer(z, y.as_subclass(Labels))), good)
    y[5] = 9000
    with pytest.raises((ls.InputError, IndexError, RuntimeError)):
        of_layer(z, y.as_subclass(Labels))


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("classes", [10, 64, 300, 2000])
def test_an_infinite_row_leaves_its_neighbours_alone(classes, place):
    z, y = randn(8, classes), torch.arange(8)
    clean = ls.cross_entropy(z, y, reduction="none")
    z[place], y[place] = torch.inf, -100
    others = torch.arange(8) != place
    for reduction in ("none", "mean"):
        leaf = z.clone().requires_grad_()
        loss = ls.cross_entropy(leaf, y, reduction=reduction)
        want = clean[others] if reduction == "none" else clean[others].mean()
        torch.testing.assert_close(loss[others] if reduction == "none" else loss, want)
        loss.sum().backward()
        assert leaf.grad.isfinite().all()
    y[place] = 1
    loss = ls.cross_entropy(z.requires_grad_(), y, reduction="none")
    torch.testing.assert_close(loss[others], clean[others])


@pytest.mark.parametrize("name", ["cross_entropy", LABELS.__name__])
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_checkpoint_without_reentry(name, size):
    loss, z, target = case(name, size)
    z.requires_grad_()
    (want,) = torch.autograd.grad(0.5 * loss(z, target), z)
    again = checkpoint(lambda z: loss(z, target), z, use_reentrant=False)
    (got,) = torch.autograd.grad(0.5 * again, z, create_graph=True)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("size", [SMALL, LARGE, VAST])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("name", ALL)
def test_a_sign_that_torch_left_for_later(name, reduction, size):
    loss, z, target = case(name, size)
    given = z if name == "binary_cross_entropy" else torch._neg_view(-z)
    labels = torch._neg_view(-target) if target.is_floating_point() else target
    z, given = z.clone().requires_grad_(), given.requires_grad_()
    made, want = loss(given, labels, reduction=reduction), loss(z, target, reduction=reduction)
    torch.testing.assert_close(made, want)
    upstream = randn(made.numel()).view_as(made)
    got = torch.autograd.grad(made, given, torch._neg_view(-upstream))
    torch.testing.assert_close(got, torch.autograd.grad(want, z, upstream))


def test_class_weights_whose_sign_was_left_for_later():
    z, y, w = randn(400, 900), index(400, 900), 0.5 + rand(900)
    for loss in (ls.cross_entropy, of_layer):
        weight = w if loss is ls.cross_entropy else 0.5 + rand(9000)
        torch.testing.assert_close(loss(z, y, weight=torch._neg_view(-weight)), loss(z, y, weight=weight))


def test_a_normalizer_is_as_it_was():
    z, y, n = randn(4000, 50).requires_grad_(), index(4000, 50), torch.tensor(100.0)
    loss = ls.cross_entropy(z, y, normalizer=n)
    n.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (2 * loss).backward()


@pytest.mark.parametrize("loss", [ls.cross_entropy, of_layer])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_normalizer_may_be_learned(loss, compiled):
    z, y = randn(400, 900), index(400, 900)
    n = torch.tensor(10.0, requires_grad=True)
    step = torch.compile(loss, backend="aot_eager") if compiled else loss
    made = step(z.requires_grad_(), y, normalizer=n)
    (got,) = torch.autograd.grad(made, n)
    torch.testing.assert_close(got, -made.detach() / 10)


def test_the_dtype_of_a_linear_loss_does_not_depend_on_its_size():
    w = randn(9000, 5)
    for n in (4, 400):
        q = randn(n, 9000).double().softmax(1)
        made = ls.linear_cross_entropy(randn(n, 5), w, q)
        assert made.dtype == torch.float64
        torch.testing.assert_close(made, F.cross_entropy((randn(n, 5) @ w.T).double(), q), rtol=1e-6, atol=0)
        with torch.autocast("cpu", torch.bfloat16):
            wide = ls.linear_cross_entropy(randn(n, 5).double(), w.double(), index(n, 9000))
        assert wide.dtype == torch.float64


def test_a_layer_without_features():
    made = ls.linear_cross_entropy(torch.zeros(20, 0), torch.zeros(30, 0), index(20, 30))
    torch.testing.assert_close(made, torch.tensor(30.0).log())


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_a_traced_linear_loss():
    arguments = randn(400, 8), randn(9000, 8), index(400, 9000)
    traced = torch.jit.trace(lambda x, w, y: ls.linear_cross_entropy(x, w, y), arguments)
    torch.testing.assert_close(traced(*arguments), ls.linear_cross_entropy(*arguments))


def test_a_distribution_may_be_off_by_its_rounding():
    q = torch.zeros(4, 5)
    q[:, 0] = 1.0000001
    torch.testing.assert_close(ls.cross_entropy(randn(4, 5), q), F.cross_entropy(randn(4, 5), q))
    with pytest.raises(ls.InputError, match=r"1\.0001 at"):
        ls.cross_entropy(randn(4, 5), q.clamp(max=1) * 1.0001)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_an_error_says_where_under_any_default_device(device):
    z, y = randn(4, 5), torch.tensor([0, 1, 9, 2])
    with torch.device(device), pytest.raises(ls.InputError, match=r"9 at \(2,\)"):
        ls.cross_entropy(z, y)


def test_an_ignore_index_has_64_bits():
    with pytest.raises(ls.InputError, match="64 bits"):
        ls.cross_entropy(randn(3000, 50), torch.full((3000,), -100), ignore_index=2**64 - 100)


def test_a_missing_layer_is_named():
    with pytest.raises(ls.InputError, match="expected linear_weight as a tensor"):
        ls.linear_cross_entropy(randn(6, 5), None, index(6, 5))


# ------------------------------------------------------------------------------------------- truth values


@pytest.mark.parametrize("kernel", ["auto", "eager", "cpu", "reference"])
@pytest.mark.parametrize("weight", [None, rand(SMALL), rand(SMALL).gt(0.5)], ids=["plain", "weighted", "masked"])
def test_truth_values_are_numbers_to_a_squared_error(weight, kernel):
    z, t = randn(SMALL).requires_grad_(), rand(SMALL) > 0.5
    with ls.kernels.use(kernel) if kernel != "auto" else torch.enable_grad():
        made, expected = ls.mse_loss(z, t, weight), ls.mse_loss(z, t.float(), weight)
    torch.testing.assert_close(made, expected)
    torch.testing.assert_close(torch.autograd.grad(made, z), torch.autograd.grad(expected, z))


# ----------------------------------------------------------------------------------------- narrow indices


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_indices_of_any_width_are_those_of_int64(dtype):
    """In eight bits −100 is 156, and a weight would be picked by a mask."""
    wide = torch.tensor([56, 2, 100, 99] if dtype == torch.int8 else [156, 2, 100, 199])
    y, z, w = wide.to(dtype), randn(4, 200), 0.5 + rand(200)
    assert int(ls.parallel.global_normalizer(y)) == 4
    torch.testing.assert_close(ls.parallel.global_normalizer(y, weight=w), w[wide].double().sum())
    for options in (
        {"normalizer": "global"},
        {"weight": w, "normalizer": "global"},
        {"weight": w},
        {"ignore_index": 2},
    ):
        torch.testing.assert_close(ls.cross_entropy(z, y, **options), ls.cross_entropy(z, wide, **options))
    torch.testing.assert_close(ls.nll_loss(z, y, w), ls.nll_loss(z, wide, w))
    layer = randn(200, 3)
    torch.testing.assert_close(
        ls.linear_cross_entropy(z[:, :3], layer, y, normalizer="global"),
        ls.linear_cross_entropy(z[:, :3], layer, wide, normalizer="global"),
    )
    assert ls.one_hot(y, 200).sum(1).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_a_class_that_is_the_rest_of_ignore_index_counts_where_it_is_explained_and_looked_at(dtype):
    z, y = randn(30, 200), torch.full((30,), 156, dtype=dtype)
    assert ls.lint(z, y, loss="cross_entropy", select=["nothing-counts", "target-out-of-range"]).ok
    assert "Every target counts" in str(ls.explain("cross_entropy", z[:2], y[:2]))
    assert ls.summarize("cross_entropy", z, y).num_counted == 30


# ------------------------------------------------------------------------------------------------ digits


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("ignored", [-999, 0.1, -9999])
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_label_is_ignored_as_its_dtype_has_it(dtype, ignored, size):
    t = torch.zeros(size, dtype=dtype)
    t[::4] = ignored
    z = torch.full((size,), -1.0, dtype=dtype, requires_grad=True)
    loss = LABELS(z, t, ignore_index=ignored)
    torch.testing.assert_close(loss.float(), F.softplus(torch.tensor(-1.0)), rtol=5e-3, atol=0)
    loss.backward()
    assert not z.grad[::4].any()


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("smoothing", [1e-6, 1e-4, 0.05])
def test_a_smoothed_label_keeps_the_digits_of_what_is_left(smoothing, reduction, size):
    for sign in (1.0, -1.0):
        z = torch.full((size,), 30.0 * sign, requires_grad=True)
        loss = LABELS(z, torch.full((size,), float(sign > 0)), label_smoothing=smoothing, reduction=reduction)
        loss.sum().backward()
        want = sign * torch.tensor(smoothing / 2)
        torch.testing.assert_close(z.grad[0], want, rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(loss.sum() / size, torch.tensor(30 * smoothing / 2), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("z", [-5.0, -10.0, -20.0])
def test_a_small_loss_of_labels_has_all_its_digits(z, wanted):
    """torch's operator loses ln(1 + e^−|z|) below the rounding of 1."""
    logits = torch.full((100,), z, requires_grad=wanted)
    exact = F.softplus(torch.tensor(z, dtype=torch.float64)).float()
    torch.testing.assert_close(LABELS(logits, torch.zeros(100)).detach(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("z", "dtype", "y", "of"),
    [
        (11.156, torch.float16, 70000.0, torch.float32),
        (-18.4, torch.float16, 1e-8, torch.float32),
        (0.0, torch.bfloat16, 1.001, torch.float32),
        (-100.0, torch.float32, 1e-50, torch.float64),
    ],
)
def test_the_logarithm_is_that_of_the_target_as_it_is_given(z, dtype, y, of):
    outputs, target = torch.tensor([z], dtype=dtype), torch.tensor([y], dtype=of)
    exact = (outputs.double() - target.double().log()).square().mean()
    torch.testing.assert_close(ls.mean_squared_log_error(outputs, target).double(), exact, rtol=1e-3, atol=1e-9)
