"""The Triton kernels and the linear loss on a GPU, against the reference's formulas in float64.

Skipped where there is no CUDA device; ``TRITON_INTERPRET=0 pytest tests/kernels/test_gpu.py`` runs them. What holds of
every kernel is in tests/properties, whose inputs are small and on the CPU; here are the sizes of real vocabularies,
what only a device does, and that nothing waits for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import pytest
import torch

import losscope as ls
from losscope.kernels import reference
from losscope.kernels.chunked import sweep, twice
from losscope.kernels.options import BinaryOptions, CategoricalOptions

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1",
        reason="no CUDA device, or TRITON_INTERPRET is not 0: the GPU kernels run in Triton's interpreter",
    ),
]

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
CLASSES = [2, 1000, 1001, 5000, 32000, 50257, 262147]
OPTIONS = {
    "plain": {},
    "sum": {"reduction": "sum"},
    "none": {"reduction": "none"},
    "smoothing": {"label_smoothing": 0.1},
    "focal": {"focal_gamma": 2.0},
    "everything": {"label_smoothing": 0.1, "z_loss": 1e-3, "softcap": 20.0, "normalizer": 7},
}
some_options = pytest.mark.parametrize("kwargs", list(OPTIONS.values()), ids=list(OPTIONS))
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).removeprefix("torch."))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    with ls.kernels.use("triton"):  # small tensors too
        yield


def logits(*shape, dtype=torch.float32):
    return (3 * torch.randn(*shape, device="cuda")).to(dtype)


def indices(n, classes, ignored=True):
    y = torch.randint(0, classes, (n,), device="cuda")
    if ignored and n > 2:
        y[1] = -100
    return y


def soft(n, classes, dtype):
    return torch.softmax(2 * torch.randn(n, classes, device="cuda"), 1).to(dtype)


def value_and_grad(function, *leaves):
    """The loss and the gradients of its sum, each leaf a tensor of its own."""
    leaves = [x.detach().requires_grad_() for x in leaves]
    loss = function(*leaves)
    loss = loss[0] if isinstance(loss, tuple) else loss
    return [loss.detach(), *torch.autograd.grad(loss.sum(), leaves)]


def near(ours, exact, dtype, factor=1.0):
    """Within 2e-6 in float32, 1e-13 in float64 and a rounding in the low precisions, relative to the tensor's size.

    And within half of the smallest number of the dtype, of which a mean over many may be few.
    """
    allowed = {torch.float32: 2e-6, torch.float64: 1e-13}.get(dtype, torch.finfo(dtype).eps)
    for x, y in zip(ours, exact, strict=True):
        assert x.shape == y.shape
        least = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps * y.numel() ** 0.5
        assert float((x.double() - y).norm()) <= factor * allowed * float(y.norm()) + least


@every_dtype
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("kind", ["index", "soft"])
@some_options
def test_cross_entropy(dtype, classes, kind, kwargs):
    if kind == "soft" and "focal_gamma" in kwargs:
        pytest.skip("the focal loss is of index targets")
    if dtype in (torch.float64, torch.float16) and classes not in (1000, 50257):
        pytest.skip("a kernel takes a second to compile: these two dtypes at two lengths only")
    n = 7
    z, weight = logits(n, classes, dtype=dtype), torch.rand(classes, device="cuda").to(dtype) + 0.5
    target = indices(n, classes) if kind == "index" else soft(n, classes, dtype)
    wide = target.double() if kind == "soft" else target
    options = CategoricalOptions(**kwargs)
    for w in (None, weight):
        made = value_and_grad(lambda z, w=w: ls.cross_entropy(z, target, w, **kwargs), z)
        double = None if w is None else w.double()
        exact = value_and_grad(lambda z, w=double: reference.cross_entropy(z, wide, w, options), z.double())
        near(made, exact, dtype)


@every_dtype
@pytest.mark.parametrize("classes", [10, 50257])
def test_calls_like_earlier_ones(dtype, classes):
    """With other numbers, in another stream, and of a graph that is captured once and replayed."""
    z, y = logits(64, classes, dtype=dtype).requires_grad_(), indices(64, classes)
    t = torch.rand(64, classes, device="cuda").to(dtype)

    def step():
        losses = ls.cross_entropy(z, y, label_smoothing=0.1), ls.binary_cross_entropy_with_logits(z, t)
        return [(loss.detach(), *torch.autograd.grad(2 * loss, z)) for loss in losses]

    def check(made):
        wide, labels, options = z.detach().double(), t.double(), CategoricalOptions(label_smoothing=0.1)
        exact = (
            lambda x: reference.cross_entropy(x, y, None, options),
            lambda x: reference.binary_cross_entropy_with_logits(x, labels, None, None, BinaryOptions()),
        )
        for (loss, gradient), function in zip(made, exact, strict=True):
            true_loss, true_gradient = value_and_grad(function, wide)
            near((loss, gradient), (true_loss, 2 * true_gradient), dtype)

    stream = torch.cuda.Stream()
    for where in (torch.cuda.current_stream(), stream, stream):
        where.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(where):
            made = step()
        torch.cuda.synchronize()
        check(made)
        with torch.no_grad():
            z.normal_(), y.random_(0, classes), t.uniform_()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = step()
    for _ in range(2):
        with torch.no_grad():
            z.normal_(), y.random_(0, classes), t.uniform_()
        graph.replay()
        torch.cuda.synchronize()
        check(made)


@pytest.mark.parametrize("classes", [10, 1000, 32000, 50257])
@pytest.mark.parametrize("kind", ["index", "soft"])
def test_statistics(classes, kind):
    z = logits(9, classes)
    target = indices(9, classes) if kind == "index" else soft(9, classes, torch.float32)
    _, ours = ls.cross_entropy(z, target, return_stats=True)
    wide = target.double() if kind == "soft" else target
    _, exact = reference.cross_entropy(z.double(), wide, None, CategoricalOptions(return_stats=True))
    assert ours.counted.equal(exact.counted)
    assert ours.correct.equal(exact.correct)
    near(ours[2:], exact[2:], torch.float32)


@pytest.mark.parametrize("rearrange", ["transposed", "every other", "offset", "image"])
@pytest.mark.parametrize("classes", [100, 5000, 50257])
def test_strided_logits(rearrange, classes):
    makes = {
        "transposed": lambda: logits(classes, 6).T,
        "every other": lambda: logits(6, 2 * classes)[:, ::2],
        "offset": lambda: logits(6, classes + 5)[:, 3 : classes + 3],
        "image": lambda: logits(2, classes, 3),
    }
    z = makes[rearrange]()
    y = torch.randint(0, classes, (2, 3) if rearrange == "image" else (6,), device="cuda")
    made = value_and_grad(lambda z: ls.cross_entropy(z, y), z)
    exact = value_and_grad(lambda z: reference.cross_entropy(z, y, None, CategoricalOptions()), z.double())
    near(made, exact, torch.float32)


@every_dtype
@pytest.mark.parametrize("shape", [(70, 33), (2, 3, 70001)])
@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize("kwargs", [{}, {"label_smoothing": 0.1}, {"focal_gamma": 2.0}], ids=str)
def test_binary_labels(dtype, shape, reduction, kwargs):
    z, t = logits(*shape, dtype=dtype), torch.randint(0, 2, shape, device="cuda").to(dtype)
    weight, positive = torch.rand(shape[-1], device="cuda").to(dtype), torch.rand(shape[-1], device="cuda").to(dtype)
    call = ls.binary_cross_entropy_with_logits
    made = value_and_grad(lambda z: call(z, t, weight, reduction=reduction, pos_weight=positive, **kwargs), z)
    options = BinaryOptions(reduction=reduction, **kwargs)
    plain = reference.binary_cross_entropy_with_logits
    wide = [x.double() for x in (t, weight, positive)]
    near(made, value_and_grad(lambda z: plain(z, *wide, options), z.double()), dtype)


@every_dtype
@pytest.mark.parametrize("classes", [3, 1000, 50257])
def test_nll_loss(dtype, classes):
    s, y = torch.log_softmax(logits(8, classes), 1).to(dtype), indices(8, classes)
    made = value_and_grad(lambda s: ls.nll_loss(s, y), s)
    near(made, value_and_grad(lambda s: reference.nll_loss(s, y, None, CategoricalOptions()), s.double()), dtype)


@pytest.mark.parametrize("upstream", [1.0, 0.37, -2.0])
def test_an_upstream_gradient_is_multiplied_in_before_the_rounding(upstream):
    z, y = logits(64, 32000, dtype=torch.bfloat16), indices(64, 32000)
    made = value_and_grad(lambda z: upstream * ls.cross_entropy(z, y), z)
    plain = CategoricalOptions()
    exact = value_and_grad(lambda z: upstream * reference.cross_entropy(z, y, None, plain), z.double())
    near(made, exact, torch.bfloat16, factor=0.5)


def test_the_same_bits_every_time():
    z, y = logits(512, 50257, dtype=torch.bfloat16), indices(512, 50257)
    first, again = (value_and_grad(lambda z: ls.cross_entropy(z, y, label_smoothing=0.1), z) for _ in range(2))
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))


def test_nothing_waits_for_the_device():
    z, y = logits(64, 5000), indices(64, 5000)
    t = torch.rand(64, 5000, device="cuda")
    x, w = logits(64, 32), logits(5000, 32)
    losses = {
        "cross_entropy": lambda: value_and_grad(lambda z: ls.cross_entropy(z, y, label_smoothing=0.1), z),
        "binary": lambda: value_and_grad(lambda z: ls.binary_cross_entropy_with_logits(z, t), z),
        "linear": lambda: value_and_grad(lambda x, w: ls.linear_cross_entropy(x, w, y), x, w),
    }
    for loss in losses.values():
        loss()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for loss in losses.values():
            loss()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_gradient_takes_the_logits_memory_when_asked():
    x, w, y = logits(256, 64), logits(32000, 64).requires_grad_(), indices(256, 32000)
    ls.cross_entropy(x @ w.T, y, inplace_backward=True).backward()
    plain = CategoricalOptions()
    exact = value_and_grad(lambda w: reference.cross_entropy(x.double() @ w.T, y, None, plain), w.double())
    near([w.grad], exact[1:], torch.float32, factor=10)


def test_logits_of_more_than_two_to_the_31_numbers():
    classes = 2**16
    z = torch.zeros(2**15 + 8, classes, dtype=torch.float16, device="cuda")
    z[-1] = logits(classes, dtype=torch.float16)
    y = torch.zeros(len(z), dtype=torch.int64, device="cuda")
    loss, gradient = value_and_grad(lambda z: ls.cross_entropy(z, y, reduction="none"), z)
    last = value_and_grad(lambda z: reference.cross_entropy(z, y[-1:], None, CategoricalOptions()), z[-1:].double())
    near([loss[-1], gradient[-1:]], last, torch.float16)


@pytest.mark.parametrize("target", [-1, 50, 2**40])
def test_a_target_out_of_range_is_an_error_of_the_device(target):
    code = (
        "import torch, losscope as ls\n"
        f"ls.cross_entropy(torch.zeros(3, 50, device='cuda'), torch.tensor([1, {target}, 2], device='cuda'))\n"
        "torch.cuda.synchronize()\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode != 0
    assert "device-side assert" in told.stderr


# ---------------------------------------------------------------------------------------------- linear loss


@pytest.fixture
def small_chunks(monkeypatch):
    """Some dozen chunks where there would be one."""
    monkeypatch.setattr(sweep, "GPU_CHUNK_BYTES", 2**18)
    monkeypatch.setattr(sweep, "GPU_FEWEST_ROWS", 64)
    monkeypatch.setattr(sweep, "GPU_TWICE_BYTES", 2**18)
    monkeypatch.setattr(sweep, "GPU_TWICE_FEWEST", 64)
    monkeypatch.setattr(twice, "GPU_CLASSES", 1100)


@every_dtype
@pytest.mark.parametrize("size", [(300, 8, 1000), (600, 8, 50257), (33, 8, 128256)])
@pytest.mark.parametrize("kind", ["index", "soft"])
@pytest.mark.parametrize("kwargs", [{}, {"label_smoothing": 0.1, "softcap": 20.0, "z_loss": 1e-3}], ids=str)
@pytest.mark.parametrize("chunks", ["one", "many"])
@pytest.mark.parametrize("recompute", [False, True])
def test_linear_cross_entropy(dtype, size, kind, kwargs, chunks, recompute, request):
    if chunks == "many":
        request.getfixturevalue("small_chunks")
    n, d, classes = size
    x, w = logits(n, d, dtype=dtype), (torch.randn(classes, d, device="cuda") / d**0.5).to(dtype)
    bias = torch.randn(classes, device="cuda").to(dtype)
    target = indices(n, classes) if kind == "index" else soft(n, classes, dtype)
    kwargs = kwargs | {"reduction": "sum"}  # ŷ / N is no number of float16
    ours = partial(ls.linear_cross_entropy, recompute=recompute, **kwargs)
    made = value_and_grad(lambda x, w, b: ours(x, w, target, linear_bias=b), x, w, bias)
    wide = target.double() if kind == "soft" else target
    options = CategoricalOptions(**kwargs)
    layer = [t.double() for t in (x, w, bias)]
    exact = value_and_grad(lambda x, w, b: reference.linear_cross_entropy(x, w, wide, b, None, options), *layer)
    near(made, exact, dtype, factor=4)


def held_for_gradients(n, d, classes, **options):
    """Bytes at the most, the gradients among them."""
    x, w, y = logits(n, d, dtype=torch.bfloat16), logits(classes, d, dtype=torch.bfloat16), indices(n, classes)
    x, w = x.requires_grad_(), w.requires_grad_()
    ls.linear_cross_entropy(x, w, y, **options).backward()  # what a first call takes for good
    x.grad = w.grad = None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    ls.linear_cross_entropy(x, w, y, **options).backward()
    return torch.cuda.max_memory_allocated() - before


def test_the_linear_loss_never_holds_the_logits():
    n, d, classes = 16384, 256, 50257
    assert held_for_gradients(n, d, classes) < 0.5 * 2 * n * classes


def test_logits_made_twice_leave_the_gradients_and_a_chunk():
    n, d, classes = 8192, 2048, 128256
    gradients = 2 * d * (n + classes)
    assert held_for_gradients(n, d, classes, recompute=True) < gradients + 2**28


def test_the_weights_gradient_is_summed_in_float32(small_chunks):
    n, d, classes = 4000, 16, 5000
    x, w, y = logits(n, d, dtype=torch.bfloat16), logits(classes, d, dtype=torch.bfloat16) / 8, indices(n, classes)
    _, gradient = value_and_grad(lambda w: ls.linear_cross_entropy(x, w, y), w)
    plain = CategoricalOptions()
    _, exact = value_and_grad(lambda w: reference.linear_cross_entropy(x.double(), w, y, None, None, plain), w.double())
    _, eager = value_and_grad(lambda w: torch.nn.functional.cross_entropy(x @ w.T, y), w)
    assert float((gradient - exact).norm()) <= 1.2 * float((eager - exact).norm())


def test_an_upstream_gradient_of_the_linear_loss():
    x, w, y = logits(256, 64), logits(20000, 64), indices(256, 20000)
    made = value_and_grad(lambda x, w: 0.25 * ls.linear_cross_entropy(x, w, y), x, w)
    plain = CategoricalOptions()
    exact = value_and_grad(
        lambda x, w: 0.25 * reference.linear_cross_entropy(x, w, y, None, None, plain), x.double(), w.double()
    )
    near(made, exact, torch.float32, factor=2)


def test_the_linear_loss_in_a_compiled_graph():
    x, w, y = logits(512, 64, dtype=torch.bfloat16), logits(5000, 64, dtype=torch.bfloat16) / 8, indices(512, 5000)
    compiled = torch.compile(lambda x, w: ls.linear_cross_entropy(x, w, y), fullgraph=True)
    made, plain = (value_and_grad(f, x, w) for f in (compiled, lambda x, w: ls.linear_cross_entropy(x, w, y)))
    near(made, [t.double() for t in plain], torch.bfloat16)
