"""The linear loss a chunk at a time: the reference's numbers, whatever the chunk, and the logits never held."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import losscope as ls
from losscope.kernels.chunked import sweep

F64 = torch.float64
OPTIONS = st.fixed_dictionaries(
    {
        "reduction": st.sampled_from(["none", "mean", "sum"]),
        "z_loss": st.sampled_from([0.0, 0.1]),
        "softcap": st.sampled_from([None, 3.0]),
        "extra": st.sampled_from([{}, {"label_smoothing": 0.1}, {"focal_gamma": 2.0}]),
    }
)


@pytest.fixture(autouse=True, params=["eager", "cpu", "triton"])
def _small_chunks(monkeypatch, request):
    """Chunks of three rows, so that small problems are many chunks; "cpu" and "triton" write dz where z lay."""
    monkeypatch.setattr(sweep, "CHUNK_BYTES", 1)
    monkeypatch.setattr(sweep, "FEWEST_ROWS", 3)
    with ls.kernels.use(request.param):
        yield


def problem(n=11, d=4, h=7, dtype=F64, seed=0):
    g = torch.Generator().manual_seed(seed)
    x, w, b = (torch.randn(*shape, generator=g, dtype=F64).to(dtype) for shape in ((n, d), (h, d), (h,)))
    y = torch.randint(0, h, (n,), generator=g)
    return [x.requires_grad_(), w.requires_grad_(), b.requires_grad_()], y


def both(layer, y, upstream=None, **options):
    """(loss, gradients) of the default and of the reference kernel."""
    out = []
    for name in (None, "reference"):
        x, w, b = (t.detach().clone().requires_grad_(t.requires_grad) for t in layer)
        with ls.kernels.use(name) if name else torch.enable_grad():
            loss = ls.linear_cross_entropy(x, w, y, linear_bias=b, **options)
        up = torch.ones_like(loss) if upstream is None else upstream(loss)
        wanted = [t for t in (x, w, b) if t.requires_grad]
        out.append((loss.detach(), torch.autograd.grad(loss, wanted, up)))
    return out


@settings(max_examples=40)
@given(OPTIONS, st.booleans(), st.integers(0, 3), st.sampled_from(["index", "soft"]))
def test_every_option_equals_the_reference(options, weighted, seed, kind):
    extra = options.pop("extra")
    layer, y = problem(seed=seed)
    if kind == "soft":
        y = torch.rand(11, 7, dtype=F64, generator=torch.Generator().manual_seed(seed)).softmax(1)
        extra = {k: v for k, v in extra.items() if k != "focal_gamma"}
    else:
        y[::4] = -100
    weight = torch.linspace(0.5, 2, 7, dtype=F64) if weighted else None
    arguments = {**options, **extra, "weight": weight}
    (loss, gradients), (expected, right) = both(
        layer, y, lambda loss: 1 + torch.arange(loss.numel(), dtype=F64).view_as(loss), **arguments
    )
    torch.testing.assert_close(loss, expected)
    for got, want in zip(gradients, right, strict=True):
        torch.testing.assert_close(got, want)


def test_a_second_backward_gives_the_same_gradient():
    layer, y = problem()
    loss = 3 * ls.linear_cross_entropy(layer[0], layer[1], y)
    first = [g.clone() for g in torch.autograd.grad(loss, layer[:2], retain_graph=True)]
    again = torch.autograd.grad(loss, layer[:2])
    for got, want in zip(again, first, strict=True):
        torch.testing.assert_close(got, want)


def test_two_backwards_add_up_in_grad():
    layer, y = problem()
    loss = ls.linear_cross_entropy(layer[0], layer[1], y)
    loss.backward(retain_graph=True)
    once = layer[1].grad.clone()
    loss.backward()
    torch.testing.assert_close(layer[1].grad, 2 * once)


@pytest.mark.parametrize("frozen", range(3))
def test_a_frozen_part_leaves_the_others_their_gradients(frozen):
    layer, y = problem()
    layer[frozen].requires_grad_(False)
    (_, gradients), (_, right) = both(layer, y)
    for got, want in zip(gradients, right, strict=True):
        torch.testing.assert_close(got, want)


def test_an_ignored_row_may_hold_anything():
    layer, y = problem()
    y[4] = -100
    with torch.no_grad():
        layer[0][4] = torch.inf
    (loss, gradients), _ = both(layer, y)
    assert loss.isfinite()
    assert not gradients[0][4].any()
    assert gradients[0][:4].isfinite().all()


def test_nothing_counts_gives_nan_and_no_gradient():
    layer, y = problem()
    (loss, gradients), _ = both(layer, torch.full_like(y, -100))
    assert loss.isnan()
    assert not any(g.any() for g in gradients)


def test_no_gradient_is_computed_that_nobody_wants(monkeypatch):
    layer, y = problem()
    monkeypatch.setattr(sweep, "_spend", lambda *_: pytest.fail("a gradient was computed"))
    with torch.no_grad():
        ls.linear_cross_entropy(layer[0], layer[1], y)


def test_second_derivative():
    layer, y = problem(n=5, d=2, h=3)
    f = lambda x, w, b: ls.linear_cross_entropy(x, w, y, linear_bias=b, label_smoothing=0.1)  # noqa: E731
    assert torch.autograd.gradcheck(f, layer)
    assert torch.autograd.gradgradcheck(f, layer)


def test_statistics_are_those_of_the_logits():
    (x, w, b), y = problem()
    y[2] = -100
    _, stats = ls.linear_cross_entropy(x, w, y, linear_bias=b, return_stats=True)
    _, expected = ls.cross_entropy(torch.nn.functional.linear(x, w, b), y, return_stats=True)
    for got, want in zip(stats, expected, strict=True):
        torch.testing.assert_close(got, want)


def test_further_dimensions_of_the_weight():
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(6, 3, generator=g, dtype=F64), torch.randn(4, 5, 3, generator=g, dtype=F64)
    y = torch.randint(0, 4, (6, 5), generator=g)
    got = ls.linear_cross_entropy(x, w, y)
    torch.testing.assert_close(got, torch.nn.functional.linear_cross_entropy(x, w, y))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_sums_the_weight_gradient_in_float32(dtype):
    """256 equal rows: a bfloat16 sum would stop growing long before the end."""
    layer, _ = problem(n=1, dtype=dtype)
    x = layer[0].detach().expand(256, -1).contiguous()
    w, y = layer[1], torch.zeros(256, dtype=torch.long)
    (got,) = torch.autograd.grad(ls.linear_cross_entropy(x, w, y, reduction="sum"), w)
    exact = w.detach().double().requires_grad_()
    (want,) = torch.autograd.grad(torch.nn.functional.cross_entropy(x.double() @ exact.T, y, reduction="sum"), exact)
    torch.testing.assert_close(got.double(), want, rtol=2e-2, atol=2e-2 * want.abs().max().item())


def test_autocast_gives_torchs_dtype_and_value():
    layer, y = problem(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        ours = ls.linear_cross_entropy(layer[0], layer[1], y)
        theirs = torch.nn.functional.linear_cross_entropy(layer[0], layer[1], y)
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-2)
    ours.backward()
    assert layer[1].grad.dtype == torch.float32


def test_under_activation_checkpointing():
    layer, y = problem()
    f = lambda x, w: ls.linear_cross_entropy(x, w, y)  # noqa: E731
    expected = torch.autograd.grad(f(*layer[:2]), layer[:2])
    loss = torch.utils.checkpoint.checkpoint(f, *layer[:2], use_reentrant=False)
    for got, want in zip(torch.autograd.grad(loss, layer[:2]), expected, strict=True):
        torch.testing.assert_close(got, want)
