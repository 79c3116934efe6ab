"""The laws of the losses, on every kernel: what must hold whatever the numbers are."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.properties.common import (
    DTYPES,
    EXTREME,
    IGNORED,
    every_dtype,
    every_kernel,
    near,
    options,
    reductions,
    samples,
    seeds,
    soft_targets,
    using,
    value_and_grad,
    values,
    weights,
)

import losscope as ls

quick = settings(max_examples=20)
epsilons = st.floats(0, 1)
UNUSABLE = (torch.nan, torch.inf, -torch.inf)


def same(result, expected, roundings=32):
    for x, y in zip(result, expected, strict=True):
        near(x, y, roundings=roundings)


# -------------------------------------------------------------------------------------------- invariances


@every_kernel
@quick
@given(samples(), options(), st.sampled_from([-1000.0, -3.0, 0.5, 64.0]))
def test_a_shift_of_all_logits_changes_nothing(kernel, sample, kwargs, shift):
    kwargs.pop("z_loss", None), kwargs.pop("softcap", None)
    z, y = sample
    with using(kernel):
        shifted = value_and_grad(ls.cross_entropy, z + shift, y, **kwargs)
        same(shifted, value_and_grad(ls.cross_entropy, z, y, **kwargs), roundings=1e5)


@every_kernel
@quick
@given(samples(EXTREME), options(), st.data())
def test_a_permutation_of_the_classes_changes_nothing(kernel, sample, kwargs, data):
    z, y = sample
    order = torch.tensor(data.draw(st.permutations(range(z.shape[1]))))
    w = data.draw(weights(z.shape[1]))
    renamed = torch.where(y == IGNORED, y, order.argsort()[y.clamp(min=0)])
    with using(kernel):
        loss, grad = value_and_grad(ls.cross_entropy, z, y, w, **kwargs)
        permuted = value_and_grad(ls.cross_entropy, z[:, order], renamed, w[order], **kwargs)
        same(permuted, (loss, grad[:, order]), roundings=1e5)


@every_kernel
@quick
@given(samples(EXTREME, ignored=False), options(soft=True), st.data())
def test_one_hot_is_the_index(kernel, sample, kwargs, data):
    z, y = sample
    w = data.draw(st.none() | weights(z.shape[1]))
    t = ls.one_hot(y, z.shape[1], dtype=z.dtype)
    if w is not None and kwargs["reduction"] == "mean":
        kwargs["normalizer"] = 2.0  # the two divide by Σ w_y and by N
    with using(kernel):
        soft, index = (value_and_grad(ls.cross_entropy, z, target, w, **kwargs) for target in (t, y))
        same(soft, index, roundings=1e5)


@every_kernel
@quick
@given(samples(EXTREME), options())
def test_gradient_rows_sum_to_zero(kernel, sample, kwargs):
    """Where the loss does not change with a shift: without z_loss and softcap."""
    kwargs.pop("z_loss", None), kwargs.pop("softcap", None)
    with using(kernel):
        _, grad = value_and_grad(ls.cross_entropy, *sample, **kwargs)
    near(grad.sum(1), torch.zeros(len(grad)), dtype=torch.float64, roundings=64)


# -------------------------------------------------------------------------------------- what does not count


@every_kernel
@every_dtype
@quick
@given(samples(EXTREME), options(), st.sampled_from(UNUSABLE), st.data())
def test_ignored_samples_are_a_subset(kernel, dtype, sample, kwargs, unusable, data):
    """The same loss as without them, whatever their logits hold, and a gradient of exactly 0."""
    z, y = sample[0].to(dtype), sample[1]
    counted = y != IGNORED
    w = data.draw(st.none() | weights(z.shape[1]).map(lambda w: w.to(dtype)))
    spoiled = torch.where(counted[:, None], z, unusable)
    with using(kernel):
        loss, grad = value_and_grad(ls.cross_entropy, spoiled, y, w, **kwargs)
        expected, expected_grad = value_and_grad(ls.cross_entropy, z[counted], y[counted], w, **kwargs)
    same((loss[counted] if loss.ndim else loss, grad[counted]), (expected, expected_grad))
    assert not grad[~counted].any()
    assert not (loss[~counted].any() if loss.ndim else False)


@every_kernel
@quick
@given(samples(ignored=False, min_h=2), options(), st.data())
def test_masked_classes_are_a_subset(kernel, sample, kwargs, data):
    z, y = sample
    masked = data.draw(st.integers(0, z.shape[1] - 1))
    y = torch.where(y == masked, (masked + 1) % z.shape[1], y)
    kept = torch.arange(z.shape[1]) != masked
    w = data.draw(weights(z.shape[1]))
    z[:, masked] = -torch.inf
    with using(kernel):
        loss, grad = value_and_grad(ls.cross_entropy, z, y, w, **kwargs)
        subset = value_and_grad(ls.cross_entropy, z[:, kept], y - (y > masked).long(), w[kept], **kwargs)
    same((loss, grad[:, kept]), subset, roundings=1e5)
    assert not grad[:, masked].any()


@every_kernel
@quick
@given(samples(ignored=False, min_h=2), options(soft=True), st.data())
def test_masked_classes_are_a_subset_for_soft_targets(kernel, sample, kwargs, data):
    z, _ = sample
    q = data.draw(soft_targets(z.shape))
    q[:, -1], z[:, -1] = 0, -torch.inf
    with using(kernel):
        loss, grad = value_and_grad(ls.cross_entropy, z, q, **kwargs)
        subset = value_and_grad(ls.cross_entropy, z[:, :-1], q[:, :-1], **kwargs)
    same((loss, grad[:, :-1]), subset, roundings=1e5)
    assert not grad[:, -1].any()


@every_kernel
@every_dtype
@pytest.mark.parametrize("unusable", [0.0, *UNUSABLE])
@pytest.mark.parametrize("kwargs", [{}, {"label_smoothing": 0.1, "z_loss": 0.1}, {"focal_gamma": 2.0, "softcap": 5.0}])
def test_nothing_counts(kernel, dtype, unusable, kwargs):
    """The mean is NaN as torch's, the rest 0, and every gradient exactly 0."""
    z, y = torch.full((3, 4), unusable, dtype=dtype), torch.full((3,), IGNORED)
    for reduction in ("mean", "sum", "none"):
        with using(kernel):
            loss, grad = value_and_grad(ls.cross_entropy, z, y, reduction=reduction, **kwargs)
        assert bool(loss.isnan()) if reduction == "mean" else not loss.any()
        assert torch.equal(grad, torch.zeros_like(z))


@every_kernel
@every_dtype
@pytest.mark.parametrize("unusable", [0.0, *UNUSABLE])
@pytest.mark.parametrize("loss", [ls.nll_loss, ls.binary_cross_entropy_with_logits], ids=lambda f: f.__name__)
def test_nothing_counts_in_the_other_losses(kernel, dtype, unusable, loss):
    z = torch.full((3, 4), unusable, dtype=dtype)
    is_nll = loss is ls.nll_loss
    target = torch.full((3,), IGNORED) if is_nll else torch.full((3, 4), -1, dtype=dtype)
    for reduction in ("mean", "sum", "none"):
        with using(kernel):
            value, grad = value_and_grad(loss, z, target, reduction=reduction, ignore_index=IGNORED if is_nll else -1)
        assert bool(value.isnan()) if reduction == "mean" else not value.any()
        assert torch.equal(grad, torch.zeros_like(z))


@every_kernel
@quick
@given(values((4, 3), EXTREME), st.sampled_from(UNUSABLE), reductions)
def test_ignored_labels_are_a_subset(kernel, z, unusable, reduction):
    t, counted = (z > 0.3).to(z.dtype), torch.arange(12).view(4, 3) % 4 != 1
    spoiled, marked = z.masked_fill(~counted, unusable), t.masked_fill(~counted, -1)
    loss = ls.binary_cross_entropy_with_logits
    with using(kernel):
        value, grad = value_and_grad(loss, spoiled, marked, reduction=reduction, ignore_index=-1)
        expected, expected_grad = value_and_grad(loss, z[counted], t[counted], reduction=reduction)
    same((value[counted] if value.ndim else value, grad[counted]), (expected, expected_grad))
    assert not grad[~counted].any()


# ----------------------------------------------------------------------------------------------- mixtures


@every_kernel
@quick
@given(samples(EXTREME), options(), st.data())
def test_a_weight_is_a_multiplicity(kernel, sample, kwargs, data):
    """A class of weight 2 counts as if each of its samples came twice, in the mean too. Smoothing spreads a sample
    over classes of other weights, so there it holds for the sum without smoothing only."""
    kwargs.pop("label_smoothing", None)
    assume(kwargs["reduction"] != "none")
    z, y = sample
    double = data.draw(st.integers(0, z.shape[1] - 1))
    w = torch.ones(z.shape[1], dtype=z.dtype)
    w[double] = 2
    again = y == double
    with using(kernel):
        weighted, _ = value_and_grad(ls.cross_entropy, z, y, w, **kwargs)
        twice, _ = value_and_grad(ls.cross_entropy, torch.cat((z, z[again])), torch.cat((y, y[again])), **kwargs)
    same((weighted,), (twice,), roundings=1e5)


@every_kernel
@quick
@given(samples(EXTREME, min_n=2), options(), st.data())
def test_the_shards_sum_to_the_whole(kernel, sample, kwargs, data):
    """Over accumulation steps and ranks, with the count of all of them as the normalizer."""
    z, y = sample
    cut = data.draw(st.integers(1, len(y) - 1))
    kwargs |= {"reduction": "mean", "normalizer": max(int((y != IGNORED).sum()), 1)}
    with using(kernel):
        loss, grad = value_and_grad(ls.cross_entropy, z, y, **kwargs)
        parts = [value_and_grad(ls.cross_entropy, z[s], y[s], **kwargs) for s in (slice(cut), slice(cut, None))]
        plain = {k: v for k, v in kwargs.items() if k != "normalizer"}
        if bool((y != IGNORED).any()):
            same((loss,), (ls.cross_entropy(z, y, **plain),))
    same((sum(p[0] for p in parts), torch.cat([p[1] for p in parts])), (loss, grad))


@every_kernel
@quick
@given(samples(EXTREME), epsilons, reductions)
def test_label_smoothing_is_a_mixture(kernel, sample, epsilon, reduction):
    """(1−ε) of the loss and ε of that with the uniform target."""
    z, y = sample
    counted = y != IGNORED
    uniform = torch.full_like(z, 1 / z.shape[1])
    with using(kernel):
        smoothed = ls.cross_entropy(z, y, label_smoothing=epsilon, reduction="none")
        hard = ls.cross_entropy(z, y, reduction="none")
        other = ls.cross_entropy(z, uniform, reduction="none")
        same((smoothed,), ((1 - epsilon) * hard + epsilon * other * counted,), roundings=64)
        total = ls.cross_entropy(z, y, label_smoothing=epsilon, reduction="sum")
        same((total,), (smoothed.sum(),))


@every_kernel
@quick
@given(samples(EXTREME), options())
def test_the_softcap_is_a_function_of_the_logits(kernel, sample, kwargs):
    z, y = sample
    cap = kwargs.pop("softcap", 5.0)
    with using(kernel):
        inside = value_and_grad(ls.cross_entropy, z, y, softcap=cap, **kwargs)
        outside = value_and_grad(lambda z, y: ls.cross_entropy(cap * torch.tanh(z / cap), y, **kwargs), z, y)
    same(inside, outside, roundings=1e3)


@every_kernel
@quick
@given(samples(EXTREME), reductions, st.sampled_from([0.5, 1.0, 2.0]))
def test_focal_of_gamma_zero_is_the_cross_entropy(kernel, sample, reduction, gamma):
    z, y = sample
    with using(kernel):
        none = value_and_grad(ls.cross_entropy, z, y, reduction=reduction, focal_gamma=0.0)
        same(none, value_and_grad(ls.cross_entropy, z, y, reduction=reduction))
        each = ls.cross_entropy(z, y, reduction="none")
        focal = ls.cross_entropy(z, y, reduction="none", focal_gamma=gamma)
    same((focal,), ((1 - torch.exp(-each)) ** gamma * each,), roundings=1e5)


@every_kernel
@quick
@given(samples(EXTREME), options())
def test_the_reductions_are_sums_of_the_samples(kernel, sample, kwargs):
    z, y = sample
    kwargs.pop("normalizer", None), kwargs.pop("reduction")
    with using(kernel):
        each = ls.cross_entropy(z, y, reduction="none", **kwargs)
        near(ls.cross_entropy(z, y, reduction="sum", **kwargs), each.sum())
        near(ls.cross_entropy(z, y, **kwargs), each.sum() / (y != IGNORED).sum())


@every_kernel
@quick
@given(values((5,), EXTREME), values((5,)), st.sampled_from([0.0, 1.0, 2.0]), reductions)
def test_binary_is_the_softmax_of_zero_and_z(kernel, z, target, gamma, reduction):
    m = (target > 0).to(z.dtype)
    kwargs = {"focal_gamma": gamma, "reduction": reduction}

    def of_two(z, y):
        return ls.cross_entropy(torch.stack((torch.zeros_like(z), z), 1), y, **kwargs)

    with using(kernel):
        binary = value_and_grad(ls.binary_cross_entropy_with_logits, z, m, **kwargs)
        same(binary, value_and_grad(of_two, z, m.long()), roundings=1e5)


# ------------------------------------------------------------------------------------------ the machinery


@every_kernel
@every_dtype
@quick
@given(samples(EXTREME), options(), st.data())
def test_any_upstream_gradient(kernel, dtype, sample, kwargs, data):
    """The gradient is linear in it, row by row where nothing is reduced."""
    z, y = sample[0].to(dtype), sample[1]
    with using(kernel):
        if kwargs["reduction"] == "none":
            upstream = data.draw(values(y.shape)).to(dtype)
            _, ones = value_and_grad(ls.cross_entropy, z, y, **kwargs)
            expected = ones.double() * upstream[:, None].double()
        else:
            upstream = torch.tensor(-3.5, dtype=dtype)
            expected = -3.5 * value_and_grad(ls.cross_entropy, z, y, **kwargs)[1].double()
        _, grad = value_and_grad(ls.cross_entropy, z, y, upstream=upstream, **kwargs)
    # Upstream times ŷ − q, where both may be nearly 1: what is left of them is as exact as the upstream is large.
    size = max([1.0, *upstream.abs().flatten().tolist()])
    near(grad, expected, roundings=4, atol=8 * size * torch.finfo(dtype).eps)


@every_kernel
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=["float64", "float32"])
@pytest.mark.parametrize("kwargs", [{}, {"reduction": "none"}, {"label_smoothing": 0.1, "softcap": 5.0}])
def test_a_second_backward_gives_the_same(kernel, dtype, kwargs):
    z, y = torch.randn(4, 5, dtype=dtype, requires_grad=True), torch.tensor([0, IGNORED, 2, 4])
    before = z.detach().clone()
    with using(kernel):
        loss = ls.cross_entropy(z, y, **kwargs)
    upstreams = [torch.full_like(loss, u) for u in (3.0, 1.0, 1.0)]
    grads = [torch.autograd.grad(loss, z, u, retain_graph=True)[0] for u in upstreams]
    torch.testing.assert_close(grads[0], 3 * grads[1])
    assert torch.equal(grads[1], grads[2])
    assert torch.equal(z.detach(), before), "the caller's logits were written to"


def layouts(z):
    """The same numbers, laid out in memory in other ways."""
    n, h = z.shape
    yield z.t().contiguous().t()
    yield torch.stack((z, z), -1)[..., 0]
    yield torch.cat((z, z), 1)[:, :h]
    yield torch.cat((z, z))[n:]
    yield z.flip(0).flip(0)


@every_kernel
@every_dtype
def test_any_layout(kernel, dtype):
    z, y = torch.randn(6, 7).to(dtype), torch.tensor([0, IGNORED, 2, 4, 6, 6])
    q = torch.rand(6, 7).to(dtype)
    with using(kernel):
        expected = [value_and_grad(loss, z, t, **kw) for loss, t, kw in layout_cases(y, q)]
        for view in layouts(z):
            for (loss, t, kw), reference in zip(layout_cases(y, q), expected, strict=True):
                view_ = view.detach().requires_grad_()
                value = loss(view_, t, **kw)
                (grad,) = torch.autograd.grad(value.sum(), view_)
                same((value.detach(), grad), reference, roundings=2)
        for view in layouts(q):
            same(value_and_grad(ls.cross_entropy, z, view), value_and_grad(ls.cross_entropy, z, q), roundings=2)


@every_kernel
@quick
@given(st.permutations(range(4)), st.permutations(range(4)), st.sampled_from([1, 2]), seeds)
def test_any_layout_of_images(kernel, order, order_of_targets, step, seed):
    g = torch.Generator().manual_seed(seed)
    z, q = torch.randn(2, 3, 4, 5, generator=g), torch.rand(2, 3, 4, 5, generator=g)
    y = torch.randint(0, 3, (2, 4, 5), generator=g)
    y[0, 1] = IGNORED
    for loss, t, kw in layout_cases(y, q):
        laid_out = in_memory(t, order_of_targets, step) if t.ndim == 4 else t
        with using(kernel):
            view = in_memory(z, order, step).requires_grad_()
            value = loss(view, laid_out, **kw)
            (grad,) = torch.autograd.grad(value.sum(), view)
        with using("reference"):
            exact = value_and_grad(loss, z.double(), t.double() if t.ndim == 4 else t, **kw)
        same((value.detach(), grad), exact)


def in_memory(x, order, step):
    """The same numbers with the dimensions in another order, and a gap behind each number."""
    spread = x.permute(order).contiguous().repeat_interleave(step, -1)[..., ::step]
    return spread.permute([order.index(d) for d in range(x.ndim)])


def layout_cases(y, q):
    return [
        (ls.cross_entropy, y, {}),
        (ls.cross_entropy, y, {"label_smoothing": 0.1, "reduction": "none"}),
        (ls.cross_entropy, q, {}),
        (ls.nll_loss, y, {}),
        (ls.binary_cross_entropy_with_logits, q, {}),
        (ls.binary_cross_entropy_with_logits, q.round(), {"focal_gamma": 2.0}),
        (ls.mse_loss, q, {}),
    ]


@every_kernel
def test_expanded_logits_and_targets(kernel):
    row = torch.randn(1, 5, requires_grad=True)
    y = torch.tensor([2]).expand(4)
    with using(kernel):
        loss = ls.cross_entropy(row.expand(4, 5), y)
        (grad,) = torch.autograd.grad(loss, row)
        expected, expected_grad = value_and_grad(ls.cross_entropy, row, y[:1])
    torch.testing.assert_close(loss.detach(), expected)
    torch.testing.assert_close(grad, expected_grad)


@every_kernel
def test_n_dimensional_samples_are_the_flat_ones(kernel):
    z, y = torch.randn(2, 5, 3, 4), torch.randint(0, 5, (2, 3, 4))
    y[0, 0] = IGNORED
    flat, flat_y = z.movedim(1, -1).reshape(-1, 5), y.reshape(-1)
    for kwargs in ({}, {"label_smoothing": 0.1}, {"focal_gamma": 1.0}, {"z_loss": 0.1}, {"softcap": 3.0}):
        with using(kernel):
            loss, grad = value_and_grad(ls.cross_entropy, z, y, torch.arange(1.0, 6), **kwargs)
            expected = value_and_grad(ls.cross_entropy, flat, flat_y, torch.arange(1.0, 6), **kwargs)
        same((loss, grad.movedim(1, -1).reshape(-1, 5)), expected)


@every_kernel
def test_one_unbatched_sample(kernel):
    z, y = torch.randn(5), torch.tensor(3)
    with using(kernel):
        for kwargs in ({}, {"label_smoothing": 0.2, "z_loss": 0.1}, {"focal_gamma": 2.0}):
            loss, grad = value_and_grad(ls.cross_entropy, z, y, **kwargs)
            expected, expected_grad = value_and_grad(ls.cross_entropy, z[None], y[None], **kwargs)
            same((loss, grad), (expected, expected_grad[0]))


@every_kernel
@every_dtype
def test_no_samples_and_one_class(kernel, dtype):
    with using(kernel):
        for target in (torch.empty(0, dtype=torch.int64), torch.empty(0, 3, dtype=dtype)):
            for reduction in ("mean", "sum", "none"):
                loss, grad = value_and_grad(
                    ls.cross_entropy, torch.empty(0, 3, dtype=dtype), target, reduction=reduction
                )
                assert grad.shape == (0, 3)
                assert bool(loss.isnan()) if reduction == "mean" else not loss.any()
        loss, grad = value_and_grad(ls.cross_entropy, torch.randn(3, 1).to(dtype), torch.zeros(3, dtype=torch.int64))
        assert loss == 0
        assert not grad.any()


@every_kernel
def test_a_frozen_part_leaves_the_others_their_gradient(kernel):
    x, w, b = torch.randn(6, 4), torch.randn(5, 4), torch.randn(5)
    y = torch.tensor([0, 1, 2, 3, 4, IGNORED])
    with using(kernel):
        everything = linear_grads(x, w, b, y, (True, True, True))
        for wanted in [(True, False, False), (False, True, False), (False, False, True), (False, True, True)]:
            grads = linear_grads(x, w, b, y, wanted)
            assert [g is not None for g in grads] == list(wanted)
            for grad, full in zip(grads, everything, strict=True):
                if grad is not None:
                    torch.testing.assert_close(grad, full)
        assert not ls.cross_entropy(x, torch.zeros(6, dtype=torch.int64)).requires_grad


def linear_grads(x, w, b, y, wanted):
    leaves = [t.clone().requires_grad_(g) for t, g in zip((x, w, b), wanted, strict=True)]
    ls.linear_cross_entropy(leaves[0], leaves[1], y, linear_bias=leaves[2]).backward()
    return [t.grad for t in leaves]


@every_kernel
@quick
@given(samples(EXTREME), options())
def test_the_stats_are_those_of_the_logits(kernel, sample, kwargs):
    z, y = sample
    counted = y != IGNORED
    with using(kernel):
        loss, stats = ls.cross_entropy(z, y, return_stats=True, **kwargs)
        same((loss,), (ls.cross_entropy(z, y, **kwargs),))
    cap = kwargs.get("softcap")
    x = z if cap is None else cap * torch.tanh(z / cap)
    p = torch.softmax(x, 1)
    assert torch.equal(stats.counted, counted)
    assert torch.equal(stats.correct, counted & (x.argmax(1) == y))
    near(stats.entropy, torch.special.entr(p).sum(1) * counted)
    near(stats.max_probability, p.amax(1) * counted)
    near(stats.logsumexp, torch.logsumexp(x, 1) * counted)
