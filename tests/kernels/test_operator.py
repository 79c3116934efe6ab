"""Cross-entropy in a compiled graph: one operator, which the fused kernel serves."""

import pytest
import torch
from tests.kernels.graphs import graphs

import losscope as ls
from losscope.kernels import operator

N, H = 130, 1009  # enough for the fused kernel
OPTIONS = [
    {},
    {"reduction": "sum"},
    {"reduction": "none"},
    {"label_smoothing": 0.1, "z_loss": 1e-3},
    {"focal_gamma": 2.0, "softcap": 20.0, "normalizer": 50.0},
    {"ignore_index": 3, "reduction": "none", "focal_gamma": 1.0},
]


def logits(dtype=torch.float32):
    torch.manual_seed(0)
    z = (3 * torch.randn(N, H)).to(dtype)
    z[:, 7] = -torch.inf
    return z.requires_grad_()


def index(dtype=torch.float32):
    y = torch.randint(8, H, (N,))
    y[::9] = 3
    return y


def soft(dtype=torch.float32):
    q = torch.rand(N, H).square()
    q[:, 7] = 0
    return (q / q.sum(1, keepdim=True)).to(dtype)


def both(z, target, weight=None, **options):
    """(loss, gradient) of the call and of the compiled call, for a gradient that differs from sample to sample."""
    results = []
    backend, seen = graphs()
    for function in (ls.cross_entropy, torch.compile(ls.cross_entropy, backend=backend, fullgraph=True)):
        loss = function(z, target, weight, **options)
        upstream = torch.linspace(0.5, 2, loss.numel()).to(loss.dtype).view(loss.shape)
        results.append((loss.detach(), *torch.autograd.grad(loss, z, upstream)))
    (graph,) = seen
    assert any("losscope.cross_entropy" in str(node.target) for node in graph.graph.nodes)
    return results


@pytest.fixture(autouse=True)
def _fresh():
    torch.compiler.reset()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_compiled_call_is_the_call(options):
    for weight in (None, torch.rand(H) + 0.5):
        (loss, gradient), (compiled, of_compiled) = both(logits(), index(), weight, **options)
        torch.testing.assert_close(compiled, loss)
        torch.testing.assert_close(of_compiled, gradient)


def test_images_whose_rows_and_columns_are_swapped_in_memory():
    z, y = torch.randn(8, 20, 30, 40).transpose(2, 3).requires_grad_(), torch.randint(0, 20, (8, 40, 30))
    (exact,) = torch.autograd.grad(torch.nn.functional.cross_entropy(z.double(), y, reduction="sum"), z)
    (_, gradient), (_, of_compiled) = both(z, y, reduction="sum")
    for made in (gradient, of_compiled):
        torch.testing.assert_close(made, 0.5 * exact)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_soft_targets(reduction):
    (loss, gradient), (compiled, of_compiled) = both(logits(), soft(), reduction=reduction)
    torch.testing.assert_close(compiled, loss)
    torch.testing.assert_close(of_compiled, gradient)


@pytest.mark.parametrize("dtype", operator.DTYPES)
def test_dtypes(dtype):
    (loss, gradient), (compiled, of_compiled) = both(logits(dtype), index(), label_smoothing=0.1)
    assert compiled.dtype == of_compiled.dtype == dtype
    torch.testing.assert_close(compiled, loss)
    torch.testing.assert_close(of_compiled, gradient)


def test_images():
    z, y = torch.randn(2, 70, 32, 33, requires_grad=True), torch.randint(0, 70, (2, 32, 33))
    (loss, gradient), (compiled, of_compiled) = both(z, y, reduction="none")
    torch.testing.assert_close(compiled, loss)
    torch.testing.assert_close(of_compiled, gradient)


def test_statistics():
    z, y = logits(), index()
    compiled = torch.compile(ls.cross_entropy, backend="aot_eager", fullgraph=True)
    loss, stats = ls.cross_entropy(z, y, ignore_index=3, return_stats=True)
    of_compiled, told = compiled(z, y, ignore_index=3, return_stats=True)
    torch.testing.assert_close(of_compiled, loss)
    for a, b in zip(told, stats, strict=True):
        torch.testing.assert_close(a, b)


def test_nothing_counts():
    z, y = logits(), torch.full((N,), -100)
    _, (loss, gradient) = both(z, y)
    assert loss.isnan()
    assert not gradient.any()


def test_batches_of_any_size_are_one_graph():
    """The size may change from call to call."""
    backend, seen = graphs()
    compiled = torch.compile(ls.cross_entropy, backend=backend, fullgraph=True)
    for n in (200, 300, 400):
        z, y = torch.randn(n, H), torch.randint(0, H, (n,))
        torch._dynamo.mark_dynamic(z, 0)
        torch._dynamo.mark_dynamic(y, 0)
        torch.testing.assert_close(compiled(z, y), ls.cross_entropy(z, y))
    assert len(seen) == 1


@pytest.mark.parametrize("upstream", [None, torch.tensor(0.25)])
def test_torch_finds_nothing_wrong_with_the_operator(upstream):
    images, y = torch.randn(5, 6, 3, 4), torch.randint(0, 6, (5, 3, 4))
    y[1, 2] = -100
    for z in (images, images.transpose(2, 3).contiguous().transpose(2, 3)):
        z.requires_grad_()
        torch.library.opcheck(operator._cross_entropy, (z, y, None, upstream, True, -100, 0.1, 0.0, 0.0, None, True))


def test_without_numba_torchs_operators_serve_it(monkeypatch):
    """In the graph, and where a graph made elsewhere meets a machine without it."""
    z, y = logits(), index()
    expected = ls.cross_entropy(z, y, label_smoothing=0.1, reduction="none")
    monkeypatch.setattr(
        operator, "kernel_module", lambda name, device: __import__("losscope.kernels.eager", fromlist=["_"])
    )
    compiled = torch.compile(ls.cross_entropy, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(z, y, label_smoothing=0.1, reduction="none"), expected)
