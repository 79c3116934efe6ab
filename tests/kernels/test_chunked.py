"""The linear loss a chunk at a time: the reference's numbers, whatever the chunk, and the logits never held."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import losscope as ls
from losscope.kernels.chunked import sweep, twice

F64 = torch.float64
OPTIONS = st.fixed_dictionaries(
    {
        "reduction": st.sampled_from(["none", "mean", "sum"]),
        "z_loss": st.sampled_from([0.0, 0.1]),
        "softcap": st.sampled_from([None, 3.0]),
        "recompute": st.booleans(),
        "extra": st.sampled_from([{}, {"label_smoothing": 0.1}, {"focal_gamma": 2.0}]),
    }
)


@pytest.fixture(autouse=True, params=["eager", "cpu", "triton"])
def _small_chunks(monkeypatch, request):
    """Chunks of three rows, so that small problems are many chunks; "cpu" and "triton" write dz where z lay."""
    monkeypatch.setattr(sweep, "CHUNK_BYTES", 1)
    monkeypatch.setattr(sweep, "CHUNK_BYTES_OF_16_BITS", 1)
    monkeypatch.setattr(sweep, "FEWEST_ROWS", 3)
    monkeypatch.setattr(twice, "CLASSES", 2)
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


@pytest.mark.parametrize(("threads", "onednn"), [(1, True), (2, True), (2, False)])
@pytest.mark.parametrize("classes", [1, 3, 7, 1031])
def test_float32_takes_products_of_any_size_and_layout(classes, threads, onednn):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch._C._set_mkldnn_enabled(onednn)  # torch.backends.mkldnn.flags warns of hardware that is not here
    try:
        layer, y = problem(n=11, d=5, h=classes)
        narrow = [t.detach().float().requires_grad_() for t in (layer[0], layer[1].T.contiguous().T, layer[2])]
        (loss, gradients), _ = both(narrow, y)
        _, (expected, right) = both(layer, y)
    finally:
        torch.set_num_threads(before)
        torch._C._set_mkldnn_enabled(True)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    for got, want in zip(gradients, right, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-6)


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


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("frozen", range(3))
def test_a_frozen_part_leaves_the_others_their_gradients(frozen, recompute):
    layer, y = problem()
    layer[frozen].requires_grad_(False)
    (_, gradients), (_, right) = both(layer, y, recompute=recompute)
    for got, want in zip(gradients, right, strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("recompute", [False, True])
def test_an_ignored_row_may_hold_anything(recompute):
    layer, y = problem()
    y[4] = -100
    with torch.no_grad():
        layer[0][4] = torch.inf
    (loss, gradients), _ = both(layer, y, recompute=recompute)
    assert loss.isfinite()
    assert not gradients[0][4].any()
    assert gradients[0][:4].isfinite().all()


@pytest.mark.parametrize("recompute", [False, True])
def test_nothing_counts_gives_nan_and_no_gradient(recompute):
    layer, y = problem()
    (loss, gradients), _ = both(layer, torch.full_like(y, -100), recompute=recompute)
    assert loss.isnan()
    assert not any(g.any() for g in gradients)


def test_no_gradient_is_computed_that_nobody_wants(monkeypatch):
    layer, y = problem()
    monkeypatch.setattr(sweep, "spend", lambda *_: pytest.fail("a gradient was computed"))
    with torch.no_grad():
        ls.linear_cross_entropy(layer[0], layer[1], y)


def test_second_derivative():
    layer, y = problem(n=5, d=2, h=3)
    for recompute in (False, True):
        options = {"label_smoothing": 0.1, "recompute": recompute}
        f = lambda x, w, b, options=options: ls.linear_cross_entropy(x, w, y, linear_bias=b, **options)  # noqa: E731
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


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (1, 2, 0)])
def test_the_weight_s_dimensions_in_any_order_in_memory(order, recompute):
    g = torch.Generator().manual_seed(0)
    x, shape = torch.randn(6, 3, generator=g, dtype=F64), (5, 4, 3)
    in_memory = torch.randn(*(shape[d] for d in order), generator=g, dtype=F64)
    w = in_memory.permute(*(order.index(d) for d in range(3)))
    y = torch.randint(0, 5, (6, 4), generator=g)
    got, right = (t.detach().clone(memory_format=torch.preserve_format).requires_grad_() for t in (w, w))
    ls.linear_cross_entropy(x, got, y, recompute=recompute).backward()
    torch.nn.functional.cross_entropy(torch.einsum("nd,hkd->nhk", x, right), y).backward()
    torch.testing.assert_close(got.grad, right.grad)


@pytest.mark.parametrize("options", [{}, {"z_loss": 0.1, "weight": torch.linspace(0.5, 2, 2500)}])
def test_blocks_of_many_classes_made_twice(options, monkeypatch):
    """So many that Triton's kernel for index targets takes each block; targets at the ends of all of them."""
    monkeypatch.setattr(twice, "CLASSES", 1100)
    layer, _ = problem(n=7, h=2500, dtype=torch.float32)
    y = torch.tensor([0, 1099, 1100, 2199, 2200, 2499, -100])
    (loss, gradients), _ = both(layer, y, recompute=True, **options)
    wide = options | {k: v.double() for k, v in options.items() if k == "weight"}
    _, (expected, right) = both([t.detach().double().requires_grad_() for t in layer], y, **wide)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    for got, want in zip(gradients, right, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rows", [3, 300])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_weight_gradient_of_logits_made_twice_is_rounded_once(dtype, rows, monkeypatch):
    """256 equal rows: a bfloat16 sum would stop growing long before the end."""
    monkeypatch.setattr(sweep, "FEWEST_ROWS", rows)
    layer, _ = problem(n=1, dtype=dtype)
    x = layer[0].detach().expand(256, -1).contiguous()
    w, y = layer[1], torch.zeros(256, dtype=torch.long)
    (got,) = torch.autograd.grad(ls.linear_cross_entropy(x, w, y, reduction="sum", recompute=True), w)
    exact = w.detach().double().requires_grad_()
    (want,) = torch.autograd.grad(torch.nn.functional.cross_entropy(x.double() @ exact.T, y, reduction="sum"), exact)
    torch.testing.assert_close(got.double(), want, rtol=2e-2, atol=2e-2 * want.abs().max().item())


def peak(call):
    """The most bytes that torch had given out at once for the call."""
    call()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    events = profile.profiler.kineto_results.events()
    return max(itertools.accumulate(event.nbytes() for event in events if event.name() == "[memory]"))


def test_logits_made_twice_take_no_float32_copy_of_the_weight_s_gradient():
    layer, y = problem(n=30, d=200, h=1000, dtype=torch.bfloat16)
    copy = 4 * layer[1].numel()

    def held(**options):
        return peak(lambda: torch.autograd.grad(ls.linear_cross_entropy(layer[0], layer[1], y, **options), layer[1]))

    assert held() > 1.5 * copy  # and the gradient itself, half as large
    assert held(recompute=True) < 0.75 * copy


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


# ---------------------------------------------------------------------------------------------- filter_eps


def peaked(seed=0, n=23, d=4, h=60):
    g = torch.Generator().manual_seed(seed)
    x, w = (torch.randn(n, d, generator=g, dtype=F64), 3 * torch.randn(h, d, generator=g, dtype=F64))
    y = torch.randint(0, h, (n,), generator=g)
    y[::5] = -100
    return x.requires_grad_(), w.requires_grad_(), torch.zeros(h, dtype=F64, requires_grad=True), y


FILTERED = {
    "mean": {},
    "none": {"reduction": "none"},
    "z_loss": {"z_loss": 0.01, "softcap": 5.0},
    "weight": {"weight": torch.linspace(0.5, 2, 60, dtype=F64)},
    "focal": {"focal_gamma": 2.0, "reduction": "sum"},
    "soft": {"soft": True},
}


@settings(max_examples=12)
@given(st.sampled_from(sorted(FILTERED)), st.integers(0, 9), st.sampled_from([0.0, 1e-4, 1e-2, 0.2]), st.booleans())
def test_what_is_left_out_is_bounded(name, seed, eps, recompute):
    """|Δdx_i| ≤ eps |u_i| Σ_h |W_h|, |ΔdW_h| ≤ eps Σ_i |u_i| |x_i|; the loss and db are exact."""
    x, w, b, y = peaked(seed)
    options = {**FILTERED[name]}
    y = torch.rand(23, 60, dtype=F64).mul(9).softmax(1) if options.pop("soft", False) else y
    upstream = torch.linspace(-1, 1, 23, dtype=F64) if options.get("reduction") == "none" else torch.ones((), dtype=F64)
    results = []
    for filter_eps in (eps, None):
        loss = ls.linear_cross_entropy(x, w, y, linear_bias=b, filter_eps=filter_eps, recompute=recompute, **options)
        results.append((loss.detach(), *torch.autograd.grad(loss, (x, w, b), upstream)))
    (loss, dx, dw, db), (right_loss, right_dx, right_dw, right_db) = results
    assert torch.equal(loss, right_loss)
    torch.testing.assert_close(db, right_db)
    each = upstream.abs()
    if options.get("reduction", "mean") == "mean":
        counted = torch.ones(23, dtype=F64) if y.is_floating_point() else (y != -100).to(F64)
        counted = counted if "weight" not in options else counted * options["weight"][y.clamp(min=0)]
        each = 1 / counted.sum()
    each = eps * each.expand(23)
    rounding = 1e-12
    assert ((dx - right_dx).abs() <= each[:, None] * w.detach().abs().sum(0) + rounding).all()
    assert ((dw - right_dw).abs() <= each @ x.detach().abs() + rounding).all()


@pytest.mark.parametrize("recompute", [False, True])
def test_classes_are_left_out_and_targets_never(recompute, monkeypatch):
    """One chunk of one row: what is kept is the target's class, and those that are more likely than eps."""
    x, w, _, _ = peaked(n=1)
    likely = (x @ w.T).softmax(1)[0]
    rare = int(likely.argmin())
    monkeypatch.setattr(twice, "CLASSES", 60)  # of a few, more than half may be likely
    options = {"filter_eps": 0.01, "recompute": recompute}
    (dw,) = torch.autograd.grad(ls.linear_cross_entropy(x, w, torch.tensor([rare]), **options), w)
    kept = likely > 0.01
    kept[rare] = True
    assert 1 < kept.sum() < 60
    assert torch.equal(dw.any(1), kept)


@pytest.mark.parametrize(("kept", "left_out"), [(30, True), (31, False)])
def test_where_more_than_half_stay_nothing_is_left_out(kept, left_out):
    """One row, of whose 60 classes so many are likely."""
    w = torch.zeros(60, 2, dtype=F64, requires_grad=True)
    with torch.no_grad():
        w[kept:, 0] = -20
    x = torch.tensor([[1.0, 0.5]], dtype=F64)
    (dw,) = torch.autograd.grad(ls.linear_cross_entropy(x, w, torch.tensor([0]), filter_eps=1e-6), w)
    assert dw[:kept].all()
    assert not dw[kept:].any() if left_out else dw[kept:].all()


def test_a_gradient_that_is_nan_is_not_left_out():
    x, w, _, y = peaked()
    with torch.no_grad():
        x[1] = torch.nan
    dx, dw = torch.autograd.grad(ls.linear_cross_entropy(x, w, y, filter_eps=0.01), (x, w))
    assert dx[1].isnan().all()
    assert dw.isnan().all()


@pytest.mark.parametrize("eps", [-0.1, 1, float("nan"), True, "0.1"])
def test_filter_eps_must_be_below_1(eps):
    x, w, _, y = peaked()
    with pytest.raises(ls.InputError, match="filter_eps"):
        ls.linear_cross_entropy(x, w, y, filter_eps=eps)


def test_filter_eps_is_not_for_label_smoothing():
    module = ls.LinearCrossEntropyLoss(4, 60, label_smoothing=0.1, filter_eps=1e-3)
    with pytest.raises(ls.InputError, match="label_smoothing"):
        module(torch.zeros(2, 4), torch.tensor([0, 1]))


@pytest.mark.parametrize("recompute", [False, True])
def test_the_module_recomputes(recompute, monkeypatch):
    seen = []
    monkeypatch.setattr(twice, "sweep", lambda *a, sweep=twice.sweep: (seen.append(True), sweep(*a))[1])
    module = ls.LinearCrossEntropyLoss(4, 60, recompute=recompute)
    module(torch.randn(9, 4), torch.zeros(9).long()).backward()
    assert seen == [True] * recompute


def test_the_module_filters():
    x, w, _, y = peaked()
    module = ls.LinearCrossEntropyLoss(4, 60, filter_eps=0.01, dtype=F64)
    module.linear.weight = torch.nn.Parameter(w.detach())
    got = torch.autograd.grad(module(x, y), x)
    assert torch.equal(*got, *torch.autograd.grad(ls.linear_cross_entropy(x, w, y, filter_eps=0.01), x))
    assert not torch.equal(*got, *torch.autograd.grad(ls.linear_cross_entropy(x, w, y), x))


def test_further_dimensions_are_filtered_each_on_its_own():
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(3, 3, generator=g, dtype=F64), 4 * torch.randn(20, 2, 3, generator=g, dtype=F64)
    y = torch.tensor([[0, -100], [1, 2], [-100, -100]])
    w.requires_grad_()
    (dw,) = torch.autograd.grad(ls.linear_cross_entropy(x, w, y, filter_eps=0.02, reduction="sum"), w)
    likely = torch.einsum("nd,hkd->nhk", x, w.detach()).softmax(1)
    kept = ((likely > 0.02) & (y != -100).unsqueeze(1)).any(0)
    kept[0, 0] = kept[1, 0] = kept[2, 1] = True
    assert not kept.all()
    assert torch.equal(dw.any(2), kept)
