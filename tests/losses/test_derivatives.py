"""Derivatives of every loss to any order, through autograd, torch.func, torch.compile and autocast."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacrev, jvp, vmap

import losscope as ls

KERNELS = ["auto", *ls.kernels.KERNELS]
IGNORED = -100


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=generator(sum(shape)))


def rand(*shape, dtype=torch.float64):
    return 0.1 + 0.8 * torch.rand(*shape, dtype=dtype, generator=generator(sum(shape)))


Z, Y = randn(4, 3), torch.tensor([0, 2, IGNORED, 1])
Q, M = randn(4, 3).softmax(1), (rand(4, 3) > 0.5).double()
W = rand(3)

# name: (loss of its first argument, that argument, the other tensors)
CASES = {
    "cross_entropy": (ls.cross_entropy, Z, (Y,)),
    "weight": (lambda z, y, w: ls.cross_entropy(z, y, w), Z, (Y, W)),
    "smoothing": (lambda z, y: ls.cross_entropy(z, y, label_smoothing=0.1), Z, (Y,)),
    "focal": (lambda z, y: ls.cross_entropy(z, y, focal_gamma=2.0), Z, (Y,)),
    "focal, root": (lambda z, y: ls.cross_entropy(z, y, focal_gamma=0.5), Z, (Y,)),
    "z_loss, softcap": (lambda z, y: ls.cross_entropy(z, y, z_loss=0.1, softcap=2.0), Z, (Y,)),
    "normalizer": (lambda z, y: ls.cross_entropy(z, y, normalizer=7.0), Z, (Y,)),
    "none": (lambda z, y: ls.cross_entropy(z, y, reduction="none"), Z, (Y,)),
    "everything": (
        lambda z, y, w: ls.cross_entropy(z, y, w, label_smoothing=0.1, z_loss=0.1, softcap=5.0, reduction="sum"),
        Z,
        (Y, W),
    ),
    "soft": (ls.cross_entropy, Z, (Q,)),
    "soft, smoothing": (lambda z, q: ls.cross_entropy(z, q, label_smoothing=0.2, z_loss=0.1), Z, (Q,)),
    "image": (ls.cross_entropy, randn(2, 3, 2), (torch.tensor([[0, 1], [IGNORED, 2]]),)),
    "unbatched": (ls.cross_entropy, randn(3), (torch.tensor(1),)),
    "nll": (ls.nll_loss, Z.log_softmax(1), (Y,)),
    "nll, weight": (lambda s, y, w: ls.nll_loss(s, y, w), Z.log_softmax(1), (Y, W)),
    "linear": (ls.linear_cross_entropy, randn(4, 5), (randn(3, 5), Y)),
    "bce with logits": (ls.binary_cross_entropy_with_logits, Z, (M,)),
    "bce with logits at 0": (ls.binary_cross_entropy_with_logits, torch.zeros(4, 3).double(), (M,)),
    "bce, pos_weight": (lambda z, m, p: ls.binary_cross_entropy_with_logits(z, m, pos_weight=p), Z, (M, W)),
    "bce, smoothing": (lambda z, m: ls.binary_cross_entropy_with_logits(z, m, label_smoothing=0.1), Z, (M,)),
    "bce, focal": (lambda z, m: ls.binary_cross_entropy_with_logits(z, m, focal_gamma=1.5), Z, (M,)),
    "bce, ignore": (lambda z, m: ls.binary_cross_entropy_with_logits(z, m, ignore_index=1, reduction="sum"), Z, (M,)),
    "bce, soft": (ls.binary_cross_entropy_with_logits, Z, (rand(4, 3),)),
    "bce, weights": (
        lambda z, m, w, p: ls.binary_cross_entropy_with_logits(z, m, w, pos_weight=p),
        Z,
        (rand(4, 3), rand(4, 3), W),
    ),
    "bce of probabilities": (ls.binary_cross_entropy, rand(4, 3), (M,)),
    "mse": (ls.mse_loss, Z, (randn(4, 3),)),
    "mse, weight": (lambda z, y, w: ls.mse_loss(z, y, w), Z, (randn(4, 3), rand(4, 3))),
    "msle": (ls.mean_squared_log_error, Z, (rand(4, 3),)),
    "softmax": (lambda z: ls.softmax(z, 1), Z, ()),
    "log_softmax": (lambda z: ls.log_softmax(z, 1), Z, ()),
    "logsumexp": (lambda z: ls.logsumexp(z, 1), Z, ()),
    "sigmoid": (ls.sigmoid, Z, ()),
    "log_sigmoid": (ls.log_sigmoid, Z, ()),
}
torchs_own_warning = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script"
)  # torch's own, from its forward-mode decompositions
every_case = pytest.mark.parametrize("name", CASES)


@pytest.fixture(params=KERNELS)
def kernel(request):
    if request.param == "auto":
        yield "auto"
    else:
        with ls.kernels.use(request.param):
            yield request.param


def total(loss):
    return lambda *args: loss(*args).sum()


def leaf(x):
    return x.clone().requires_grad_()


# ----------------------------------------------------------------------------------------------- autograd


@every_case
def test_first_and_second_derivatives(kernel, name):
    loss, z, rest = CASES[name]
    assert gradcheck(lambda x: loss(x, *rest), leaf(z), fast_mode=True)
    assert gradgradcheck(lambda x: loss(x, *rest), leaf(z), fast_mode=True)


@pytest.mark.parametrize(
    "name", ["soft", "soft, smoothing", "weight", "nll, weight", "bce, soft", "bce, weights", "linear"]
)
def test_derivatives_to_the_other_tensors(kernel, name):
    loss, z, rest = CASES[name]
    leaves = [leaf(x) if x.is_floating_point() else x for x in (z, *rest)]
    assert gradcheck(loss, leaves)
    assert gradgradcheck(loss, leaves, fast_mode=True)


@torchs_own_warning
def test_forward_mode(kernel):
    for loss, z, rest in (CASES[name] for name in ("cross_entropy", "smoothing", "bce with logits", "mse", "nll")):
        tangent = randn(*z.shape)
        _, directional = jvp(lambda x, loss=loss, rest=rest: total(loss)(x, *rest), (z,), (tangent,))
        (gradient,) = torch.autograd.grad(total(loss)(x := leaf(z), *rest), x)
        torch.testing.assert_close(directional, (gradient * tangent).sum())


# --------------------------------------------------------------------------------------------- torch.func


@every_case
def test_func_grad_is_autograd(kernel, name):
    loss, z, rest = CASES[name]
    (expected,) = torch.autograd.grad(total(loss)(x := leaf(z), *rest), x)
    torch.testing.assert_close(grad(total(loss))(z, *rest), expected)


@torchs_own_warning
@every_case
def test_jacobian_and_hessian(kernel, name):
    loss, z, rest = CASES[name]
    scalar = total(loss)
    torch.testing.assert_close(jacrev(scalar)(z, *rest), grad(scalar)(z, *rest))
    second = hessian(scalar)(z, *rest).reshape(z.numel(), z.numel())
    torch.testing.assert_close(second, second.T)


@pytest.mark.parametrize(
    "options", [{}, {"label_smoothing": 0.1}, {"focal_gamma": 2.0}, {"z_loss": 0.1, "softcap": 3.0}]
)
def test_gradients_of_each_sample(kernel, options):
    """vmap(grad) of one sample gives the rows of the sum's gradient, and ignored samples 0."""

    def one(z, y):
        return ls.cross_entropy(z, y, reduction="sum", **options)

    each = vmap(grad(one))(Z, Y)
    torch.testing.assert_close(each, grad(one)(Z, Y))
    assert not each[2].any()


def test_gradients_of_each_sample_to_a_model(kernel):
    x, w = randn(4, 5), randn(3, 5)
    each = vmap(grad(lambda w, x, y: ls.cross_entropy(x @ w.T, y, reduction="sum")), in_dims=(None, 0, 0))(w, x, Y)
    whole = grad(lambda w: ls.cross_entropy(x @ w.T, Y, reduction="sum"))(w)
    torch.testing.assert_close(each.sum(0), whole)


@every_case
def test_vmap_over_the_logits(kernel, name):
    loss, z, rest = CASES[name]
    stack = torch.stack((z, z.flip(0).contiguous())) if name != "unbatched" else torch.stack((z, 0.5 * z))
    expected = torch.stack([loss(x, *rest) for x in stack])
    torch.testing.assert_close(vmap(lambda x: loss(x, *rest))(stack), expected)


# ------------------------------------------------------------------------------------------ torch.compile


@pytest.fixture
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("_fresh_compiler")
@every_case
def test_compiles_without_a_graph_break(name):
    loss, z, rest = CASES[name]
    compiled = torch.compile(
        loss, fullgraph=True, backend="aot_eager" if name in ("cross_entropy", "soft") else "eager"
    )
    expected, result = total(loss)(x := leaf(z), *rest), total(compiled)(other := leaf(z), *rest)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(torch.autograd.grad(result, other), torch.autograd.grad(expected, x))


@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.parametrize("kernel", ls.kernels.KERNELS)
def test_compiles_with_a_kernel_chosen_outside(kernel):
    with ls.kernels.use(kernel):
        result = torch.compile(ls.cross_entropy, fullgraph=True, backend="eager")(Z, Y)
    torch.testing.assert_close(result, ls.cross_entropy(Z, Y))


@pytest.mark.usefixtures("_fresh_compiler")
def test_modules_compile_too():
    for module, target in (
        (ls.CrossEntropyLoss(W, label_smoothing=0.1), Y),
        (ls.BCEWithLogitsLoss(focal_gamma=2.0), M),
    ):
        compiled = torch.compile(module, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(Z, target), module(Z, target))


@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_compiles_to_machine_code():
    def loss(z):
        return ls.cross_entropy(z, Y, label_smoothing=0.1, z_loss=0.01)

    x, other = leaf(Z.float()), leaf(Z.float())
    expected, result = loss(x), torch.compile(loss, fullgraph=True)(other)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(torch.autograd.grad(result, other), torch.autograd.grad(expected, x))


# ------------------------------------------------------------------------------- autocast and determinism


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
def test_autocast_gives_torchs_dtype(kernel, dtype):
    z, m, y = Z.to(dtype), M.to(dtype), Y
    x, w = randn(4, 5).to(dtype), randn(3, 5).to(dtype)
    pairs = [
        (ls.cross_entropy, F.cross_entropy, (z, y)),
        (ls.cross_entropy, F.cross_entropy, (z, Q.to(dtype))),
        (ls.nll_loss, F.nll_loss, (z.log_softmax(1), y)),
        (ls.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits, (z, m)),
        (ls.binary_cross_entropy, F.binary_cross_entropy, (z.sigmoid(), m)),
        (ls.mse_loss, F.mse_loss, (z, m)),
        (ls.linear_cross_entropy, F.linear_cross_entropy, (x, w, y)),
        (lambda z: ls.softmax(z, 1), lambda z: F.softmax(z, 1), (z,)),
        (lambda z: ls.log_softmax(z, 1), lambda z: F.log_softmax(z, 1), (z,)),
        (lambda z: ls.logsumexp(z, 1), lambda z: torch.logsumexp(z, 1), (z,)),
        (ls.sigmoid, torch.sigmoid, (z,)),
    ]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for ours, theirs, args in pairs:
            result, expected = ours(*args), theirs(*args)
            assert result.dtype == expected.dtype, (ours, expected.dtype)
            torch.testing.assert_close(result, expected, rtol=2e-2, atol=2e-2)


def test_the_same_bits_every_time(kernel):
    z, y = torch.randn(500, 40, generator=generator()), torch.randint(0, 40, (500,), generator=generator())
    q = torch.rand(500, 40, generator=generator())
    torch.use_deterministic_algorithms(True)
    try:
        for loss, target in ((ls.cross_entropy, y), (ls.cross_entropy, q), (ls.binary_cross_entropy_with_logits, q)):
            runs = [(value := loss(x := leaf(z), target), *torch.autograd.grad(value, x)) for _ in range(3)]
            assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(run, runs[0], strict=True))
    finally:
        torch.use_deterministic_algorithms(False)


# ------------------------------------------------------------------------------------------ low precision


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_low_precision_is_no_worse_than_torch(kernel, dtype):
    """Against float64 of the same rounded inputs: the loss, and the worst gradient."""
    z, y = 3 * torch.randn(2000, 50, generator=generator()), torch.randint(0, 50, (2000,), generator=generator())
    m = torch.rand(2000, 50, generator=generator()).round()
    pairs = [
        (ls.cross_entropy, F.cross_entropy, z, y),
        (ls.cross_entropy, F.cross_entropy, z, torch.softmax(z.flip(0), 1)),
        (ls.nll_loss, F.nll_loss, z.log_softmax(1), y),
        (ls.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits, z, m),
        (ls.binary_cross_entropy, F.binary_cross_entropy, z.sigmoid().clamp(0.01, 0.99), m),
        (ls.mse_loss, F.mse_loss, z, m),
    ]
    for ours, theirs, logits, target in pairs:
        x = logits.to(dtype)
        t = target.to(dtype) if target.is_floating_point() else target
        exact = derivatives(theirs, x.double(), t.double() if t.is_floating_point() else t)
        for mine, torchs, reference in zip(derivatives(ours, x, t), derivatives(theirs, x, t), exact, strict=True):
            rounding = torch.finfo(dtype).eps / 2 * reference.abs().max()
            error, allowed = ((r.double() - reference).abs().max() for r in (mine, torchs))
            assert error <= torch.maximum(allowed, rounding), ours


def derivatives(loss, z, target):
    value = loss(x := leaf(z), target, reduction="sum") / len(z)
    return value.detach(), *torch.autograd.grad(value, x)
