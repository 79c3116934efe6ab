"""Binary cross-entropy and the squared error in a compiled graph: operators, which the fused kernels serve."""

import pytest
import torch
from tests.kernels.graphs import graphs

import losscope as ls
from losscope.kernels import eager, value_operators

N, H = 1300, 1700  # enough for the fused kernel of each loss
OPTIONS = [
    {},
    {"reduction": "sum"},
    {"reduction": "none"},
    {"label_smoothing": 0.1},
    {"focal_gamma": 2.0, "reduction": "none"},
    {"ignore_index": 0.0},
]
NAMES = {"labels": "losscope.binary_cross_entropy_with_logits", "squares": "losscope.mse_loss"}


@pytest.fixture(autouse=True)
def _fresh():
    torch.manual_seed(0)
    torch.compiler.reset()


def values(dtype=torch.float32):
    return (3 * torch.randn(N, H)).to(dtype).requires_grad_(), torch.randint(0, 2, (N, H)).to(dtype)


def agree(function, name, z, target, *args, **options):
    """The call and the compiled call, for a gradient that differs from value to value."""
    results = []
    backend, seen = graphs()
    for call in (function, torch.compile(function, backend=backend, fullgraph=True)):
        loss = call(z, target, *args, **options)
        upstream = torch.linspace(0.5, 2, loss.numel()).to(loss.dtype).view(loss.shape)
        results.append((loss.detach(), *torch.autograd.grad(loss, z, upstream)))
    (graph,) = seen
    assert any(name in str(node.target) for node in graph.graph.nodes)
    (loss, gradient), (of_compiled, compiled_gradient) = results
    assert of_compiled.dtype == loss.dtype == z.dtype
    torch.testing.assert_close(of_compiled, loss)
    torch.testing.assert_close(compiled_gradient, gradient)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_compiled_call_is_the_call(options):
    agree(ls.binary_cross_entropy_with_logits, NAMES["labels"], *values(), **options)


@pytest.mark.parametrize("shape", [(N, H), (H,), (1,)])
def test_weights(shape):
    weights = {"weight": torch.rand(shape), "pos_weight": torch.rand(shape) + 1}
    agree(ls.binary_cross_entropy_with_logits, NAMES["labels"], *values(), **weights)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_squares(reduction):
    agree(ls.mse_loss, NAMES["squares"], *values(), reduction=reduction)
    torch.compiler.reset()
    agree(ls.mse_loss, NAMES["squares"], *values(), torch.rand(N, H), reduction=reduction)


@pytest.mark.parametrize("dtype", value_operators.DTYPES)
def test_dtypes(dtype):
    agree(ls.binary_cross_entropy_with_logits, NAMES["labels"], *values(dtype))
    agree(ls.mse_loss, NAMES["squares"], *values(dtype))


def test_nothing_is_made_for_what_wants_no_gradient():
    z, t = values()
    compiled = torch.compile(ls.binary_cross_entropy_with_logits, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(z, t), ls.binary_cross_entropy_with_logits(z, t))
    assert not compiled(z.detach(), t).requires_grad


@pytest.mark.parametrize(("reduction", "wanted"), [("mean", True), ("none", False)])
def test_torch_finds_nothing_wrong_with_the_operators(reduction, wanted):
    z, t = torch.randn(5, 6, requires_grad=True), torch.rand(5, 6)
    labels = (z, t, None, torch.rand(6), 0.1, 0.0, None, reduction, wanted, None)
    torch.library.opcheck(value_operators._labels, labels)
    torch.library.opcheck(value_operators._squares, (z, t, None, reduction, wanted, None))


def test_without_numba_torchs_operators_serve_them(monkeypatch):
    """Where a graph made elsewhere meets a machine without it."""
    monkeypatch.setattr(value_operators, "kernel_module", lambda name, device: eager)
    for options in OPTIONS:
        torch.compiler.reset()
        weights = {"weight": torch.rand(H), "pos_weight": torch.rand(H)}
        agree(ls.binary_cross_entropy_with_logits, NAMES["labels"], *values(), **weights, **options)
    agree(ls.mse_loss, NAMES["squares"], *values(), torch.rand(N, H))
    agree(ls.mse_loss, NAMES["squares"], *values(), reduction="none")


def test_few_values_stay_torchs_own():
    backend, seen = graphs()
    z, t = torch.randn(4, 5, requires_grad=True), torch.rand(4, 5)
    torch.compile(ls.mse_loss, backend=backend, fullgraph=True)(z, t).backward()
    assert not any("losscope" in str(node.target) for node in seen[0].graph.nodes)
