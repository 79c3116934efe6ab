"""explain: each step against float64 formulas, L against the loss, the gradient against autograd, and its looks."""

import io
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.special import expit, log_softmax, logsumexp, softmax

import losscope as ls

Z = torch.tensor([[1.0, 10.0], [2.0, -2.0], [2.0, 2.0], [0.0, 2.0], [4.5, 5.0], [0.0, 0.0]])
Y = torch.tensor([1, 1, 1, 0, 1, 0])


def logits(*shape, seed=0, dtype=torch.float64, size=3.0):
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * size).to(dtype)


def indices(*shape, classes, seed=1):
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def close(step, expected):
    np.testing.assert_allclose(step.value.numpy(), np.asarray(expected), rtol=1e-12, atol=1e-14)


# ------------------------------------------------------------------------------------- the steps, by formulas


def test_cross_entropy_steps_are_those_of_the_formulas():
    z, y, w = logits(5, 4), torch.tensor([0, 3, -100, 2, 2]), torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    e = ls.explain(ls.CrossEntropyLoss(w), z, y)
    x, v = z.numpy(), y.numpy() != -100
    wy = np.where(v, w.numpy()[np.where(v, y, 0)], 0)
    m = x.max(1)
    t = np.eye(4)[np.where(v, y, 0)] * v[:, None]
    loss = -wy * (t * log_softmax(x, 1)).sum(1)
    close(e["z"], x)
    close(e["m"], m)
    close(e["exp(z−m)"], np.exp(x - m[:, None]))
    close(e["Σ exp(z−m)"], np.exp(x - m[:, None]).sum(1))
    close(e["lse"], logsumexp(x, 1))
    close(e["s"], log_softmax(x, 1))
    close(e["ŷ"], softmax(x, 1))
    close(e["t"], t)
    close(e["v"], v)
    close(e["ℓ"], loss)
    close(e["L"], (v * loss).sum() / (v * wy).sum())
    close(e["∂ℓ/∂z"], (softmax(x, 1) - t) * (v * wy)[:, None])
    close(e["∂L/∂z"], (softmax(x, 1) - t) * (v * wy)[:, None] / (v * wy).sum())
    assert e["y"].value.tolist() == y.tolist()
    assert e["w"].value[v].tolist() == wy[v].tolist()
    assert e.agrees


def test_the_order_of_the_steps_is_that_of_the_computation():
    symbols = [step.symbol for step in ls.explain("cross_entropy", Z, Y).steps]
    expected = ["z", "m", "exp(z−m)", "Σ exp(z−m)", "lse", "s", "ŷ", "y", "t", "v", "w", "ℓ", "L", "∂ℓ/∂z", "∂L/∂z"]
    assert symbols == expected


def test_the_tutorials_numbers():
    e = ls.explain("cross_entropy", Z, Y)
    probabilities = [1.2339e-04, 0.98201, 0.5, 0.1192, 0.37754, 0.5]
    assert e["ŷ"].value[:, 0].tolist() == pytest.approx(probabilities, rel=1e-4)
    assert e["L"].value.item() == pytest.approx(1.3343, abs=5e-5)
    assert "1.33426" in str(e)


def test_smoothing_spreads_over_the_classes_that_are_not_masked():
    z = torch.tensor([[1.0, -torch.inf, 0.0]], dtype=torch.float64)
    e = ls.explain(ls.CrossEntropyLoss(label_smoothing=0.2), z, torch.tensor([0]))
    close(e["q̃"], [[0.9, 0.0, 0.1]])
    s = log_softmax([1.0, 0.0])
    close(e["ℓ"], [-(0.9 * s[0] + 0.1 * s[1])])
    close(e["∂ℓ/∂z"], [[np.exp(s[0]) - 0.9, 0, np.exp(s[1]) - 0.1]])
    assert e.agrees


def test_focal_z_loss_and_softcap_by_their_formulas():
    z, y = logits(6, 5), indices(6, classes=5)
    e = ls.explain(ls.CrossEntropyLoss(focal_gamma=2.0, z_loss=0.1, softcap=4.0), z, y)
    capped = 4 * np.tanh(z.numpy() / 4)
    s, p = log_softmax(capped, 1), softmax(capped, 1)
    rows = np.arange(6)
    close(e["z̃"], capped)
    close(e["f"], (1 - p[rows, y]) ** 2)
    close(e["λ lse²"], 0.1 * logsumexp(capped, 1) ** 2)
    close(e["ℓ"], -((1 - p[rows, y]) ** 2) * s[rows, y] + 0.1 * logsumexp(capped, 1) ** 2)


def test_soft_targets_with_weights():
    z, q = logits(3, 4), torch.softmax(logits(3, 4, seed=2), 1)
    w = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    e = ls.explain(ls.CrossEntropyLoss(w), z, q)
    close(e["ℓ"], -(w.numpy() * q.numpy() * log_softmax(z.numpy(), 1)).sum(1))
    close(e["A"], (w * q).sum(1))
    assert "v" not in [step.symbol for step in e.steps]
    assert e.agrees


@pytest.mark.parametrize("target", ["index", "smoothed", "soft"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_class_weights_are_in_the_loss_of_a_sample_whatever_the_target(target, reduction):
    """One notation: what is added up is ℓ, so that "none" is ℓ."""
    z, w = logits(5, 4), torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    y = torch.softmax(logits(5, 4, seed=2), 1) if target == "soft" else torch.tensor([0, 3, -100, 2, 2])
    loss = ls.CrossEntropyLoss(w, reduction=reduction, label_smoothing=0.1 if target == "smoothed" else 0.0)
    e = ls.explain(loss, z, y)
    close(e["ℓ"], ls.CrossEntropyLoss(w, reduction="none", label_smoothing=loss.label_smoothing)(z, y))
    v = "" if target == "soft" else "v_i "
    divisor = "N" if target == "soft" else "Σ_j v_j w_{y_j}"
    said = {"mean": f"L_mean = Σ_i {v}ℓ_i / {divisor}", "sum": f"L_sum = Σ_i {v}ℓ_i", "none": f"L_i = {v}ℓ_i"}
    assert e["L"].text == said[reduction]
    assert e.agrees


@pytest.mark.parametrize("options", [{}, {"focal_gamma": 2.0}, {"z_loss": 0.1}, {"focal_gamma": 2.0, "softcap": 4.0}])
def test_the_weight_multiplies_every_term_of_a_picked_sample(options):
    z, y, w = logits(5, 4), indices(5, classes=4), torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    e, plain = ls.explain(ls.CrossEntropyLoss(w, **options), z, y), ls.explain(ls.CrossEntropyLoss(**options), z, y)
    close(e["ℓ"], w[y] * plain["ℓ"].value)
    close(e["∂ℓ/∂z"], w[y].unsqueeze(1) * plain["∂ℓ/∂z"].value)
    assert e["ℓ"].text == f"ℓ_i = w_{{y_i}} ({plain['ℓ'].text.removeprefix('ℓ_i = ')})"


@pytest.mark.parametrize("loss", [ls.BCEWithLogitsLoss, ls.BCELoss])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_weight_of_a_label_is_in_its_loss(loss, reduction):
    z, w = torch.sigmoid(logits(3, 4)), logits(3, 4, seed=4).abs()
    m = (logits(3, 4, seed=2) > 0).double()
    e = ls.explain(loss(w, reduction=reduction), z, m)
    close(e["ℓ"], loss(w, reduction="none")(z, m))
    assert e["ℓ"].text.startswith("ℓ_ih = w_ih (")
    said = {"mean": "L_mean = Σ_ih ℓ_ih / (N·H)", "sum": "L_sum = Σ_ih ℓ_ih", "none": "L_ih = ℓ_ih"}
    assert e["L"].text == said[reduction]
    assert e.agrees


def test_binary_steps_are_those_of_the_formulas():
    z = torch.tensor([[1.5, -200.0, 3.0], [0.0, 2.0, -2.0]], dtype=torch.float64)
    m = torch.tensor([[1.0, 0.0, 1.0], [0.0, -1.0, 1.0]], dtype=torch.float64)
    p = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    e = ls.explain(ls.BCEWithLogitsLoss(pos_weight=p, ignore_index=-1), z, m)
    x, t, v = z.numpy(), m.clamp(min=0).numpy(), (m != -1).numpy()
    loss = (p.numpy() * t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)) * v
    close(e["ŷ"], expit(x))
    close(e["1−ŷ"], expit(-x))
    close(e["ln ŷ"], -np.logaddexp(0, -x))
    close(e["ln(1−ŷ)"], -np.logaddexp(0, x))
    close(e["ℓ"], loss)
    close(e["v"], v)
    close(e["L"], loss.sum() / v.sum())
    close(e["∂ℓ/∂z"], ((1 - t) * expit(x) - p.numpy() * t * expit(-x)) * v)
    assert e.agrees


def test_probabilities_that_were_rounded_are_held():
    e = ls.explain("bce", torch.tensor([0.0, 0.5, 1.0]), torch.tensor([1.0, 0.0, 1.0]))
    assert e["ℓ"].value.flatten().tolist() == pytest.approx([100, math.log(2), 0])
    assert e["∂ℓ/∂ŷ"].value[1].item() == pytest.approx(2)
    assert e.agrees
    assert any("breaks here" in note for note in e.notes)


def test_nll_is_a_pick():
    s, y = log_softmax(logits(4, 3).numpy(), 1), torch.tensor([0, 2, -100, 1])
    e = ls.explain(torch.nn.NLLLoss(), torch.from_numpy(s), y)
    close(e["ℓ"], [-s[0, 0], -s[1, 2], 0, -s[3, 1]])
    close(e["ŷ"], np.exp(s))
    close(e["∂L/∂s"], -np.eye(3)[[0, 2, 0, 1]] * np.array([[1], [1], [0], [1]]) / 3)
    assert e.agrees


def test_regression_weighs_values_and_divides_by_the_weights():
    z, y, w = logits(4, 3), logits(4, 3, seed=3).abs() + 0.1, logits(4, 3, seed=4).abs()
    e = ls.explain("mse", z, y, weight=w)
    close(e["ℓ"], w * (z - y) ** 2)
    close(e["L"], (w * (z - y) ** 2).sum() / w.sum())
    close(e["∂L/∂z"], 2 * w * (z - y) / w.sum())
    assert (e["ℓ"].text, e["L"].text) == ("ℓ_ih = w_ih r_ih²", "L_mean = Σ_ih ℓ_ih / Σ_jk w_jk")
    e = ls.explain("msle", z, y, weight=w)
    close(e["ln y"], y.log())
    close(e["L"], (w * (z - y.log()) ** 2).sum() / w.sum())
    assert e.agrees


@pytest.mark.parametrize("out_features", [(), (2, 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_the_linear_layers_gradients(out_features, bias):
    loss = torch.nn.LinearCrossEntropyLoss(6, 4, out_features=out_features, bias=bias, dtype=torch.float64)
    x, y = logits(5, 6), indices(5, *out_features, classes=4)
    e = ls.explain(loss, x, y)
    assert e.agrees
    assert set(e.differences) == {"L", "∂L/∂x", "∂L/∂W"} | ({"∂L/∂b"} if bias else set())
    loss(x, y).backward()
    close(e["∂L/∂W"], loss.linear.weight.grad)
    if bias:
        close(e["∂L/∂b"], loss.linear.bias.grad)


@pytest.mark.parametrize(
    ("loss", "soft", "true"),
    [
        (ls.CrossEntropyLoss(), False, True),
        (ls.CrossEntropyLoss(label_smoothing=0.1), False, True),
        (ls.CrossEntropyLoss(), True, True),
        (ls.CrossEntropyLoss(focal_gamma=2.0), False, False),
        (ls.CrossEntropyLoss(z_loss=0.1), False, False),
        (ls.CrossEntropyLoss(torch.tensor([2.0, 3.0, 4.0]), label_smoothing=0.1), False, False),
        (ls.BCEWithLogitsLoss(), True, True),
        (ls.CrossEntropyLoss(torch.tensor([2.0, 3.0, 4.0])), False, False),
        (ls.BCEWithLogitsLoss(torch.tensor(3.0)), True, False),
        (ls.BCEWithLogitsLoss(focal_gamma=2.0), True, False),
        (ls.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0)), True, False),
    ],
)
def test_what_a_guess_costs_is_said_where_it_is_true(loss, soft, true):
    """At equal logits ℓ is what is said."""
    e = ls.explain(loss, torch.zeros(1, 3), torch.eye(3)[:1] if soft else torch.tensor([0]))
    binary = isinstance(loss, ls.BCEWithLogitsLoss)
    guess = math.log(2 if binary else 3)
    step = e["ℓ"]
    assert (f"{guess:.4f}" in step.sentence) == true
    if true:
        torch.testing.assert_close(step.value, torch.full_like(step.value, guess))
    assert ("−Σ_h t_ih s_ih" in step.sentence) == (true and not soft and not loss.label_smoothing)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(
    "options", [{"label_smoothing": 0.1}, {"z_loss": 0.1}, {"label_smoothing": 0.2, "softcap": 5.0}]
)
def test_the_linear_layer_under_a_soft_or_smoothed_target(options, soft):
    """The layer's W is not what the shares of the target come to."""
    loss = ls.LinearCrossEntropyLoss(4, 5, dtype=torch.float64, weight=torch.linspace(1, 2, 5).double(), **options)
    e = ls.explain(loss, logits(6, 4), logits(6, 5, seed=1).softmax(1) if soft else indices(6, classes=5))
    assert e.agrees
    symbols = [step.symbol for step in e.steps]
    assert len(symbols) == len(set(symbols))


# --------------------------------------------------------------- L is the loss, the gradient is autograd's


@st.composite
def categorical_losses(draw):
    classes = draw(st.integers(1, 6))
    spatial = draw(st.sampled_from([None, (), (2,), (2, 3)]))
    batch = draw(st.integers(1, 5))
    shape = (classes,) if spatial is None else (batch, classes, *spatial)
    places = () if spatial is None else (batch, *spatial)
    seed, soft = draw(st.integers(0, 99)), draw(st.booleans())
    dtype = draw(st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
    z = logits(*shape, seed=seed, dtype=dtype, size=draw(st.sampled_from([0.1, 3.0, 50.0])))
    if soft:
        y = torch.softmax(logits(*shape, seed=seed + 1, dtype=dtype), 1 if spatial is not None else 0)
    else:
        y = indices(*places, classes=classes, seed=seed)
        y = torch.where(logits(*places, seed=seed + 2) > 2, -100, y)
    smoothing = draw(st.sampled_from([0.0, 0.1, 1.0]))
    reduction = draw(st.sampled_from(["mean", "sum", "none"]))
    weighted = draw(st.booleans())
    options = {
        "weight": logits(classes, seed=seed + 3, dtype=dtype).abs() + 0.1 if weighted else None,
        "reduction": reduction,
        "label_smoothing": smoothing,
        "focal_gamma": 0.0 if soft or smoothing else draw(st.sampled_from([0.0, 0.5, 2.0])),
        "z_loss": draw(st.sampled_from([0.0, 0.01])),
        "softcap": draw(st.sampled_from([None, 5.0])),
        "normalizer": draw(st.sampled_from([None, 7.0])) if reduction == "mean" else None,
        "return_stats": draw(st.booleans()),
    }
    return options, z, y


@given(categorical_losses())
def test_L_is_the_loss_and_the_gradient_autograds_for_every_option(case):
    options, z, y = case
    z.requires_grad_()
    value = ls.cross_entropy(z, y, **options)
    value = value[0] if options["return_stats"] else value
    value.sum().backward()
    e = ls.explain(ls.CrossEntropyLoss(**options), z, y)
    rtol, atol = {torch.float64: (1e-9, 1e-12), torch.float32: (1e-4, 2e-5), torch.bfloat16: (2e-2, 1e-2)}[z.dtype]
    gradient = z.grad.movedim(1 if z.ndim > 1 else 0, -1).reshape(e["∂L/∂z"].value.shape)
    assert e["L"].value.dtype == value.dtype
    torch.testing.assert_close(e["L"].value.flatten(), value.detach().flatten(), rtol=rtol, atol=atol, equal_nan=True)
    torch.testing.assert_close(e["∂L/∂z"].value, gradient.to(e["∂L/∂z"].value.dtype), rtol=rtol, atol=atol)
    assert e.agrees, e.differences
    assert str(e)


@given(
    shape=st.sampled_from([(), (4,), (3, 4), (2, 3, 5)]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    weight=st.sampled_from([None, "label", "element"]),
    pos_weight=st.booleans(),
    ignore=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.2]),
    gamma=st.sampled_from([0.0, 0.5, 2.0]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.float16]),
    seed=st.integers(0, 99),
)
def test_binary_L_and_gradient_for_every_option(
    shape, reduction, weight, pos_weight, ignore, smoothing, gamma, dtype, seed
):
    z = logits(*shape, seed=seed, dtype=dtype, size=10)
    m = (logits(*shape, seed=seed + 1) > 0).to(dtype)
    m = torch.where(logits(*shape, seed=seed + 2) > 2, torch.tensor(-1, dtype=dtype), m) if ignore else m
    per = {None: None, "label": shape[-1:], "element": shape}[weight]
    loss = ls.BCEWithLogitsLoss(
        None if per is None else logits(*per, seed=seed + 3, dtype=dtype).abs(),
        reduction=reduction,
        pos_weight=logits(*shape[-1:], seed=seed + 4, dtype=dtype).abs() if pos_weight else None,
        label_smoothing=0.0 if gamma else smoothing,
        focal_gamma=gamma,
        ignore_index=-1 if ignore else None,
    )
    e = ls.explain(loss, z, m)
    value = loss(z, m)
    rtol, atol = {torch.float64: (1e-9, 1e-12), torch.float32: (1e-4, 1e-5), torch.float16: (1e-2, 1e-2)}[dtype]
    ours = e["L"].value.flatten()
    theirs = value.movedim(1, -1).flatten() if value.ndim > 2 else value.flatten()
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol, equal_nan=True)
    assert e.agrees, e.differences


@pytest.mark.parametrize("name", ["nll", "bce", "mse", "msle"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_other_losses_for_every_reduction(name, reduction, dtype):
    loss = ls.as_loss(name)
    loss.reduction = reduction
    z = logits(4, 3, 2, dtype=dtype)
    z = {"nll": z.log_softmax(1), "bce": z.sigmoid(), "mse": z, "msle": z}[name]
    y = indices(4, 2, classes=3) if name == "nll" else logits(4, 3, 2, seed=5, dtype=dtype).sigmoid() + 1e-2
    e = ls.explain(loss, z, y.clamp(max=1))
    assert e.agrees, e.differences
    assert e.gradient_error <= max(e.differences.values())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_probabilities_of_0_and_1_have_autograds_gradient(reduction, dtype):
    """Its divisor is held by a number that torch writes in float32; in float16 what it gives is infinite."""
    p = torch.tensor([0, 1, 0, 1, 0.25], dtype=dtype, requires_grad=True)
    m = torch.tensor([1, 0, 0, 1, 1], dtype=dtype)
    loss = ls.BCELoss(reduction=reduction)
    e = ls.explain(loss, p, m)
    loss(p, m).sum().backward()
    ours = e["∂L/∂ŷ"].value.to(dtype).flatten()
    torch.testing.assert_close(ours, p.grad, rtol=2 * torch.finfo(dtype).eps, atol=0)
    assert e.agrees, e.differences


def test_it_says_so_when_they_disagree():
    class Doubled(ls.CrossEntropyLoss):
        def forward(self, input, target):
            return 2 * super().forward(input, target)

    e = ls.explain(Doubled(), Z, Y)
    assert not e.agrees
    assert e.differences["L"] == pytest.approx(e["L"].value.item(), rel=1e-5)
    assert e.gradient_error == pytest.approx(e["∂L/∂z"].value.abs().max().item(), rel=1e-5)
    assert "NOT agree" in e["L"].sentence
    assert "NOT agree" in e["∂L/∂z"].sentence


def test_a_gradient_that_disagrees_is_named():
    class Detached(ls.MSELoss):
        def forward(self, input, target):
            loss = super().forward(input, target)
            return loss.detach() + 0 * input.sum()

    e = ls.explain(Detached(), Z, Z + 1)
    assert "NOT" not in e["L"].sentence
    assert "NOT agree" in e["∂L/∂z"].sentence
    assert e.gradient_error == pytest.approx(e["∂L/∂z"].value.abs().max().item())


# ---------------------------------------------------------------------------------------------- edge cases


def test_ignored_rows_may_hold_anything():
    z = torch.tensor([[torch.nan, 1.0], [-torch.inf, -torch.inf], [torch.inf, 0.0], [1.0, 2.0]])
    e = ls.explain("cross_entropy", z, torch.tensor([-100, -100, -100, 1]))
    assert e["ℓ"].value[:3].tolist() == [0, 0, 0]
    assert e["∂L/∂z"].value[:3].abs().sum() == 0
    assert e["L"].value.item() == pytest.approx(math.log1p(math.exp(-1)))
    assert e.agrees
    assert "3 of 4 targets are ignored" in str(e)


def test_everything_ignored_has_no_mean_and_no_gradient():
    e = ls.explain("cross_entropy", Z, torch.full((6,), -100))
    assert e["L"].value.isnan()
    assert not e["∂L/∂z"].value.any()
    assert e.agrees
    assert "no mean" in e["L"].sentence


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"softcap": 5.0}, {"focal_gamma": 2.0}])
def test_minus_infinity_is_a_mask(options):
    z = torch.tensor([[1.0, -torch.inf, 2.0, 0.5]])
    e = ls.explain(ls.CrossEntropyLoss(**options), z, torch.tensor([2]))
    assert e["ŷ"].value[0, 1] == 0
    assert e["∂L/∂z"].value[0, 1] == 0
    assert e["ℓ"].value.isfinite().all()
    assert e.agrees
    assert "-inf" in str(e)


def test_a_masked_true_class_costs_infinitely_much():
    e = ls.explain("cross_entropy", torch.tensor([[1.0, -torch.inf]]), torch.tensor([1]))
    assert e["L"].value == torch.inf
    assert e.agrees


def test_infinite_logits_that_are_right_cost_nothing():
    z, m = torch.tensor([-torch.inf, torch.inf]), torch.tensor([0.0, 1.0])
    e = ls.explain("bce_with_logits", z, m)
    assert e["L"].value == 0
    assert e.agrees


def test_inputs_of_more_dimensions_become_rows_and_it_says_so():
    z, y = logits(2, 3, 2, 5), indices(2, 2, 5, classes=3)
    e = ls.explain("cross_entropy", z, y, rows=[7])
    assert e["ŷ"].value.shape == (20, 3)
    torch.testing.assert_close(e["z"].value[7], z[0, :, 1, 2])
    assert e["y"].value[7] == y[0, 1, 2]
    assert "(0,1,2)" in str(e)
    assert "2·2·5 = 20 rows" in str(e).replace("\n", " ")


def test_unbatched_and_zero_dimensional_inputs():
    assert ls.explain("cross_entropy", Z[0], Y[0])["ŷ"].value.shape == (1, 2)
    e = ls.explain("bce_with_logits", torch.tensor(0.0), torch.tensor(1.0))
    assert e["L"].value.item() == pytest.approx(math.log(2))


def test_an_empty_batch():
    e = ls.explain("cross_entropy", torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    assert e["L"].value.isnan()
    assert str(e)
    assert e._repr_html_()


def test_nothing_of_the_callers_is_changed():
    z = Z.clone().requires_grad_()
    layer = ls.LinearCrossEntropyLoss(2, 3)
    with torch.no_grad():
        e = ls.explain("cross_entropy", z, Y)
        ls.explain(layer, Z, Y)
    assert z.grad is None
    assert layer.linear.weight.grad is None
    assert not any(step.value.requires_grad for step in e.steps)
    with torch.inference_mode():
        assert ls.explain("cross_entropy", Z * 1, Y).agrees


def test_the_loss_of_torch_has_the_same_steps():
    ours = ls.explain(ls.CrossEntropyLoss(label_smoothing=0.1, ignore_index=0), Z, Y)
    theirs = ls.explain(torch.nn.CrossEntropyLoss(label_smoothing=0.1, ignore_index=0), Z, Y)
    assert str(ours) == str(theirs)


# -------------------------------------------------------------------------------------- the forms on paper


def test_the_notes_say_where_the_forms_on_paper_overflow():
    e = ls.explain("cross_entropy", torch.tensor([[0.0, 1.0], [0.0, 200.0]]), torch.tensor([1, 1]))
    overflowing = [note for note in e.notes if "breaks here" in note]
    assert len(overflowing) == 4
    assert "softmax as exp(z) / Σ exp(z): breaks here in 1 of 4, first at i = 1, h = 1: nan in place of 1." in e.notes
    assert "logsumexp as ln Σ exp(z): breaks here in 1 of 2, first at i = 1: inf in place of 200." in e.notes
    assert all(step.value.isfinite().all() for step in e.steps)


def test_the_first_form_underflows_where_the_third_does_not():
    e = ls.explain("cross_entropy", torch.tensor([[0.0, -80.0, -120.0]]), torch.tensor([2]))
    assert [note for note in e.notes if "breaks" in note] == [
        "log-softmax, first form ln(softmax(z)): breaks here in 1 of 3, first at i = 0, h = 2: -inf in place of -120."
    ]


def test_the_notes_say_that_the_forms_hold():
    assert all("holds here" in note for note in ls.explain("cross_entropy", Z, Y).notes)


# --------------------------------------------------------------------------------------------------- looks


def test_plain_text_fits_80_columns_and_has_no_colour():
    cases = [
        ls.explain("cross_entropy", logits(4, 10, dtype=torch.float32), torch.tensor([3, 1, -100, 9])),
        ls.explain("cross_entropy", logits(9, 12000, dtype=torch.float32, size=300), indices(9, classes=12000)),
        ls.explain("cross_entropy", logits(20, 30, 3, 100), indices(20, 3, 100, classes=30), rows=[5999]),
        ls.explain("mse", logits(30, 20, size=1e9), logits(30, 20, size=1e-9)),
    ]
    for e in cases:
        text = str(e)
        assert max(map(len, text.splitlines())) <= 80
        assert "\x1b" not in text
        assert not any(line.endswith(" ") for line in text.splitlines())
        assert repr(e) == text


def test_a_table_in_text_reads_as_it_should():
    text = str(ls.explain("cross_entropy", torch.tensor([[1.0, 10.0], [2.0, -2.0]]), torch.tensor([1, 1])))
    expected = """\
 7  ŷ  estimated probability
    ŷ_ih = exp(s_ih) = exp(z_ih − m_i) / Σ_k exp(z_ik − m_i)
             h=0     h=1
    i=0  1.23e-4  0.9999
    i=1   0.9820  0.0180
    The softmax: each row sums to one."""
    assert expected in text


def test_a_terminal_gets_colours():
    file = io.StringIO()
    Console(file=file, force_terminal=True, color_system="standard", width=100).print(ls.explain("cross_entropy", Z, Y))
    assert "\x1b[1;32m10.0000\x1b[0m" in file.getvalue()


def test_large_inputs_are_shown_in_part_and_kept_whole():
    z, y = logits(100, 32000, dtype=torch.float32), indices(100, classes=32000)
    e = ls.explain("cross_entropy", z, y)
    text = str(e)
    assert "… 94 more rows, 31,992 more outputs" in text
    assert "6 of 100 rows and 8 of 32,000 outputs" in text
    heads = next(line for line in text.splitlines() if "h=" in line).split()
    assert {f"h={int(target)}" for target in y[:6]} <= set(heads)
    assert f"h={int(z[0].argmax())}" in heads
    assert e["ŷ"].value.shape == (100, 32000)
    assert len(text) < 15_000
    assert len(e._repr_html_()) < 60_000


def test_the_columns_of_a_soft_target_are_its_largest_shares_and_the_largest_outputs():
    z, q = torch.zeros(1, 500), torch.full((1, 500), 0.5 / 498)
    q[0, 300], q[0, 17], z[0, 44], z[0, 4] = 0.3, 0.2, 9.0, 8.0
    text = str(ls.explain("cross_entropy", z, q))
    heads = next(line for line in text.splitlines() if "h=" in line).split()
    assert {"h=300", "h=17", "h=44", "h=4"} <= set(heads)


def test_rows_choose_what_is_shown():
    text = str(ls.explain("cross_entropy", Z, Y, rows=2))
    assert "i=1" in text
    assert "i=2" not in text
    assert "… 4 more rows" in text
    text = str(ls.explain("cross_entropy", Z, Y, rows=[4, -1]))
    assert "i=4" in text
    assert "i=5" in text
    assert "i=0" not in text


def test_markdown_has_the_formulas_and_the_numbers():
    text = ls.explain("cross_entropy", Z, Y)._repr_markdown_()
    assert r"$$\hat{y}_{ih} = e^{s_{ih}} = \frac{e^{z_{ih} - m_i}}{\sum_k e^{z_{ik} - m_i}}$$" in text
    assert "| i=0 | 1.23e-4 | **0.9999** |" in text
    assert "**1.33426**" in text


NAMES = ["<script>alert(1)</script>", "a|b_c$d*e", "[bold]x[/bold]\n# y"]


@pytest.fixture
def named():
    return ls.explain("cross_entropy", logits(2, 3), torch.tensor([0, 2]), classes=NAMES)


def test_class_names_are_text_in_html(named):
    page = named._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_formula_is_text_in_html_with_its_subscripts():
    page = ls.explain("bce_with_logits", torch.zeros(1), torch.ones(1))._repr_html_()
    assert "where</span> z<sub>ih</sub> &lt; 0" in page


def test_class_names_are_text_in_markdown(named):
    text = named._repr_markdown_()
    assert "<script>" not in text
    assert r"a\|b\_c\$d\*e" in text
    assert r"\[bold\]x\[/bold\] # y" in text


def test_class_names_are_text_in_a_terminal(named):
    text = str(named)
    assert "[bold]" in text
    assert "<script" in text


def test_the_page_loads_nothing_and_does_not_overflow(page, named):
    page.set_viewport_size({"width": 390, "height": 800})
    page.set_content(f"<!doctype html><meta charset=utf8>{named._repr_html_()}")
    assert page.requests_made == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("li.step").count() == len(named.steps)
    assert page.locator("script").count() == 0
    assert page.locator("li.step", has_text="estimated probability").locator("sub").first.inner_text() == "ih"


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("nonsense", Z, Y), {}, "cross_entropy"),
        ((torch.nn.L1Loss(), Z, Y), {}, "L1Loss"),
        (("cross_entropy", Z, Y.float()), {}, "class indices"),
        (("cross_entropy", [[1.0]], Y), {}, "tensor"),
        (("cross_entropy", Z, [1]), {}, "tensor"),
        (("cross_entropy", Z.long(), Y), {}, "floating"),
        (("cross_entropy", Z, Y), {"rows": 0}, "rows"),
        (("cross_entropy", Z, Y), {"rows": True}, "rows"),
        (("cross_entropy", Z, Y), {"rows": [6]}, "0…5"),
        (("cross_entropy", Z, Y), {"classes": ["a"]}, "2 names"),
        (("cross_entropy", Z, Y), {"weight": torch.ones(2)}, "weight"),
    ],
)
def test_bad_input_is_refused(arguments, options, words):
    with pytest.raises(ls.InputError, match=words):
        ls.explain(*arguments, **options)


def test_an_unknown_symbol_lists_the_steps():
    with pytest.raises(KeyError, match="the steps are z, m"):
        ls.explain("cross_entropy", Z, Y)["x"]


# ------------------------------------------------------------------------------------------------- as_loss


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (torch.nn.CrossEntropyLoss(torch.tensor([1.0, 2.0]), ignore_index=0, label_smoothing=0.1), ls.CrossEntropyLoss),
        (torch.nn.NLLLoss(torch.tensor([1.0, 2.0]), ignore_index=0, reduction="sum"), ls.NLLLoss),
    ],
)
def test_a_torch_module_becomes_the_loss_with_the_same_options(theirs, ours):
    converted = ls.as_loss(theirs)
    assert type(converted) is ours
    s = Z.log_softmax(1)
    torch.testing.assert_close(converted(s, Y), theirs(s, Y))


def test_elementwise_torch_modules_keep_their_options():
    w, p, m = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.5]), (Z > 1).float()
    for theirs in (
        torch.nn.BCEWithLogitsLoss(w, pos_weight=p, reduction="sum"),
        torch.nn.BCELoss(w, reduction="none"),
        torch.nn.MSELoss(reduction="sum"),
    ):
        torch.testing.assert_close(ls.as_loss(theirs)(Z.sigmoid(), m), theirs(Z.sigmoid(), m))


def test_a_linear_loss_shares_its_parameters():
    theirs = torch.nn.LinearCrossEntropyLoss(2, 3, out_features=(2,), bias=True, ignore_index=1)
    converted = ls.as_loss(theirs)
    assert converted.linear.weight is theirs.linear.weight
    y = indices(6, 2, classes=3)
    torch.testing.assert_close(converted(Z, y), theirs(Z, y))


@pytest.mark.parametrize("name", ["cross_entropy", "CrossEntropyLoss"])
def test_names_of_losses(name):
    assert type(ls.as_loss(name)) is ls.CrossEntropyLoss


def test_a_loss_of_ours_is_returned_as_it_is():
    loss = ls.MSLELoss()
    assert ls.as_loss(loss) is loss


class Scaled(torch.nn.CrossEntropyLoss):
    def forward(self, input, target):
        return 2 * super().forward(input, target)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("linear_cross_entropy", "pass the module itself"),
        ("hinge", "choose one of these names"),
        (torch.nn.CrossEntropyLoss, "pass an instance"),
        (Scaled(), "Scaled"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_known_loss_is_refused(loss, words):
    with pytest.raises(ls.InputError, match=words) as error:
        ls.as_loss(loss)
    assert "bce_with_logits" in str(error.value)


def test_no_warning_on_the_way():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ls.explain("cross_entropy", Z, Y)
