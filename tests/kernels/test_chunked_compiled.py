"""The operator that the linear loss is: under torch.compile, by torch's own checks of operators, without numba."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd

import losscope as ls
from losscope.kernels.chunked import sweep

N, D, H = 40, 8, 300


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(sweep, "CHUNK_BYTES", 4 * H * 7)
    monkeypatch.setattr(sweep, "CHUNK_BYTES_OF_16_BITS", 4 * H * 7)
    monkeypatch.setattr(sweep, "FEWEST_ROWS", 7)
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def problem(dtype=torch.float32):
    g = torch.Generator().manual_seed(0)
    layer = [torch.randn(*shape, generator=g).to(dtype).requires_grad_() for shape in ((N, D), (H, D), (H,))]
    y = torch.randint(0, H, (N,), generator=g)
    y[3] = -100
    return layer, y


def loss(x, w, b, y, **options):
    return ls.linear_cross_entropy(x, w, y, linear_bias=b, **options)


def of_logits(x, w, b, y, recompute=False, **options):
    return ls.cross_entropy(F.linear(x, w, b), y, **options)


def gradients(function, layer, y, **options):
    """(loss, gradients) for an upstream that is not 1 and not the same in each row."""
    result = function(*layer, y, **options)
    upstream = torch.linspace(1.5, 2.5, result.numel(), dtype=result.dtype).view_as(result)
    return result.detach(), torch.autograd.grad(result, layer, upstream)


CASES = {
    "mean": {},
    "sum": {"reduction": "sum"},
    "none": {"reduction": "none"},
    "number": {"normalizer": 7.0},
    "tensor": {"normalizer": torch.tensor(9)},
    "many": {"label_smoothing": 0.1, "z_loss": 0.01, "softcap": 5.0, "weight": torch.linspace(0.5, 2, H)},
    "focal": {"focal_gamma": 2.0, "reduction": "sum"},
    "twice": {"recompute": True},
    "twice, none": {"recompute": True, "reduction": "none", "label_smoothing": 0.1},
}


@pytest.mark.parametrize("name", CASES)
def test_compiles_to_the_gradients_of_the_logits(name):
    layer, y = problem()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        gradients(compiled, layer, y, **CASES[name]), gradients(of_logits, layer, y, **CASES[name])
    )


def test_compiles_for_soft_targets_and_statistics():
    layer, _ = problem()
    q = torch.rand(N, H, generator=torch.Generator().manual_seed(1)).softmax(1)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(gradients(compiled, layer, q), gradients(of_logits, layer, q))
    _, stats = compiled(*layer, q, return_stats=True)
    _, expected = of_logits(*layer, q, return_stats=True)
    torch.testing.assert_close([*stats], [*expected])
    assert not any(each.requires_grad for each in stats)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of torch.jit.script
@pytest.mark.parametrize("options", [{}, {"reduction": "none"}])
def test_no_compiled_graph_holds_logits(options):
    sizes = []

    def watch(graph, _):
        values = (node.meta.get("val") for node in graph.graph.nodes)
        sizes.extend(value.numel() for value in values if isinstance(value, torch.Tensor))
        return make_boxed_func(graph.forward)

    layer, y = problem()
    backend = aot_autograd(fw_compiler=watch, bw_compiler=watch)
    gradients(torch.compile(loss, fullgraph=True, backend=backend), layer, y, **options)
    assert H * D in sizes  # the weight was seen
    assert max(sizes) < N * H


def test_one_graph_for_every_number_of_rows():
    layer, y = problem()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch._dynamo.mark_dynamic(layer[0], 0)
    torch._dynamo.mark_dynamic(y, 0)
    compiled(*layer, y)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for rows in (N, 2 * N - 1, 19):
            more = torch.cat([layer[0], -layer[0]])[:rows].detach().requires_grad_()
            targets = torch.cat([y, y])[:rows]
            torch.testing.assert_close(
                gradients(compiled, [more, *layer[1:]], targets), gradients(of_logits, [more, *layer[1:]], targets)
            )


def test_compiles_under_autocast():
    layer, y = problem()

    def step(x, w, b, y):
        with torch.autocast("cpu", torch.bfloat16):
            return loss(x, w, b, y)

    got, expected = (
        gradients(torch.compile(step, fullgraph=True, backend="aot_eager"), layer, y),
        gradients(step, layer, y),
    )
    assert got[0].dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=1e-2, atol=2e-3)  # two kernels, whose gradients have 8 bits


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_compiles_to_machine_code():
    layer, y = problem()
    torch.testing.assert_close(gradients(torch.compile(loss, fullgraph=True), layer, y), gradients(of_logits, layer, y))


def test_compiled_inside_a_transform():
    layer, y = problem()
    f = torch.func.grad(lambda x: loss(x, layer[1].detach(), layer[2].detach(), y))
    x = layer[0].detach()
    torch.testing.assert_close(torch.compile(f, fullgraph=True, backend="aot_eager")(x), f(x))


@pytest.mark.parametrize("kernel", ["cpu", "eager"])
@pytest.mark.parametrize("upstream", [None, torch.tensor(0.5)])
def test_the_operator_is_what_it_says(kernel, upstream):
    (x, w, b), y = problem()
    operator = torch.ops.losscope.linear_cross_entropy.default
    for wanted, bias, stats in ([True, True, True], b, True), ([False, True, False], None, False):
        leaves = (x if wanted[0] else x.detach(), w, bias)
        for recompute in (False, True):
            loss_options = (-100, 0.0, 0.0, 0.0, None, stats)
            arguments = (*leaves, y, None, upstream, wanted, *loss_options, None, recompute, kernel)
            torch.library.opcheck(operator, arguments)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of torch.jit.script
def test_forward_mode_sees_the_operators():
    (x, w, b), y = problem()
    forward, tangents = torch.autograd.forward_ad, []
    with forward.dual_level(), torch.no_grad():
        for f in (loss, of_logits):
            tangents.append(forward.unpack_dual(f(forward.make_dual(x.detach(), x.cos()), w, b, y)).tangent)
    torch.testing.assert_close(*tangents)


def test_without_numba():
    code = """
import sys, warnings
sys.modules["numba"] = None
import torch, losscope as ls
warnings.simplefilter("ignore", ls.LosscopeWarning)
x, w = torch.randn(300, 8, requires_grad=True), torch.randn(20000, 8, requires_grad=True)
y = torch.randint(0, 20000, (300,))
exact = torch.autograd.grad(torch.nn.functional.cross_entropy(x @ w.T, y), (x, w))
for f in ls.linear_cross_entropy, torch.compile(ls.linear_cross_entropy, fullgraph=True, backend="aot_eager"):
    torch.testing.assert_close(torch.autograd.grad(f(x, w, y), (x, w)), exact)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
