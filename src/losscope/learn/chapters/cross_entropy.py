"""Cross-entropy, with its temperature, its focal exponent and its smoothing; and its mean, with weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from losscope.errors import InputError
from losscope.explain import explain
from losscope.figures import focal, gradients, smoothing, softmax_map, steps_of_sample
from losscope.figures.style import figure
from losscope.figures.style import table as numbers_of
from losscope.learn import page
from losscope.links import log_softmax, softmax
from losscope.losses import CrossEntropyLoss, cross_entropy, nll_loss
from losscope.targets import one_hot, smooth

TITLE = "Cross-entropy"
Z = ("z₀", "z₁", "z₂")
WEIGHTS = ("w₀", "w₁", "w₂")
OTHERS = (((2.0, 0.5, -1.0), 0), ((-1.0, 1.0, 0.5), 1), ((0.0, 1.0, -0.5), 2))  # the last is wrong
SAMPLES = tuple(f"sample {i}" for i in range(1 + len(OTHERS)))
IGNORED = -100


def views(v: dict[str, Any]) -> tuple[page.View, page.View]:
    """One sample, and the mean of several."""
    try:
        CrossEntropyLoss(focal_gamma=v["γ"], label_smoothing=v["ε"])
    except InputError as error:
        return _one_sample(v, 0.0, 0.0, [page.refused(error)]), _mean(v, 0.0, 0.0)
    return _one_sample(v, v["γ"], v["ε"], []), _mean(v, v["γ"], v["ε"])


def _one_sample(v: dict[str, Any], gamma: float, epsilon: float, refused: list[Any]) -> page.View:
    """The loss and its gradient; what the library says where options exclude one another."""
    loss = CrossEntropyLoss(focal_gamma=gamma, label_smoothing=epsilon)
    z = torch.tensor([[v[name] for name in Z]], dtype=torch.float64) / v["T"]
    y = torch.tensor([v["y"]])
    numbers = _numbers(loss, z, y)
    gradient = numbers["∂ℓ/∂(z/T), by autograd"]
    assert isinstance(gradient, Tensor)
    body = page.stack(
        page.formula(loss.formula),
        page.words(
            "Cross-entropy is the negative log-likelihood of a log-softmax, in one: raw outputs in, nats out. A model "
            r"that says $1/H$ for every class has $\ell = \ln H$: that is chance. The gradient is the simplest there "
            r"is: $\partial \ell / \partial z_h = \hat{y}_h - q_h$, with the one-hot $t$ for $q$ where nothing is "
            "smoothed. Only the focal loss has another."
        ),
        page.stack(*refused),  # there even where it is empty, so that the figures keep their places
        page.readout(numbers),
        page.picture(_gradient_figure(gradient)),
        page.picture(steps_of_sample(z[0], v["y"], gamma=gamma, epsilon=epsilon)),
        page.steps(explain(loss, z, y)),
        page.words(
            r"**Focal**, $(1 - \hat{y})^\gamma$: what is right already counts less. **Label smoothing**, "
            r"$(1 - \varepsilon) t_h + \varepsilon / H$: being too sure costs again. Together they have no agreed "
            r"meaning, and the loss says so: try both. So of the next two figures one knows $\gamma$ only, the other "
            r"$\varepsilon$ only. In all of them your true output moves and your other outputs stay."
        ),
        page.beside(page.picture(_focal(z[0], v["y"], v["γ"])), page.picture(_smoothing(z[0], v["y"], v["ε"]))),
        page.picture(_slopes(z[0], v["y"], v["γ"], v["ε"], gradient)),
        page.words("And over two outputs at once the loss is a map, while the third stays."),
        page.picture(_map(z[0], v["y"], gamma, epsilon)),
        page.code(f"loss = ls.CrossEntropyLoss({loss.extra_repr()})\nloss(z / T, y)"),
    )
    return page.View((*Z, "y", "T", "γ", "ε"), numbers, body)


def _numbers(loss: CrossEntropyLoss, z: Tensor, y: Tensor) -> dict[str, page.Number]:
    leaf = z.clone().requires_grad_()
    value = loss(leaf, y)
    estimate = softmax(z, 1)
    q = smooth(one_hot(y, z.shape[1], dtype=z.dtype), loss.label_smoothing)
    return {
        "ℓ (nats)": value.detach(),
        "nll of log-softmax, no options": nll_loss(log_softmax(z, 1), y),
        "chance, ln H": math.log(z.shape[1]),
        "ŷ": estimate[0],
        "ŷ − q": (estimate - q)[0],
        "∂ℓ/∂(z/T), by autograd": torch.autograd.grad(value, leaf)[0][0],
    }


def _gradient_figure(gradient: Tensor) -> Any:
    rows = [[name, float(f"{float(g):.4g}")] for name, g in zip(Z, gradient, strict=True)]
    result = figure(
        "How hard each output is pushed",
        "The step goes against the gradient: the true class up, the others down, each by its share. The three sum "
        "to zero.",
        numbers_of(["output", "∂ℓ/∂z"], rows),
        x="output h",
        y="∂ℓ/∂(z/T)",
        height=300,
    )
    return page.bars(result, Z, {"∂ℓ/∂z": gradient})


def _apart(z: Tensor, y: int) -> tuple[Tensor, list[float], float]:
    """The true output, the others, and how far an axis goes for all of them: ŷ turns where the truth passes them."""
    return z[y], [*z[:y].tolist(), *z[y + 1 :].tolist()], page.reach(z, 8)


def _focal(z: Tensor, y: int, gamma: float) -> Any:
    true, others, reach = _apart(z, y)
    here = cross_entropy(z, torch.tensor(y), focal_gamma=gamma)
    return page.mark(focal(sorted({0.0, 1.0, 2.0, gamma}), others, reach), true, here, f"you, at γ = {gamma:g}")


def _smoothing(z: Tensor, y: int, epsilon: float) -> Any:
    true, others, reach = _apart(z, y)
    here = cross_entropy(z, torch.tensor(y), label_smoothing=epsilon)
    return page.mark(smoothing(sorted({0.0, 0.1, epsilon}), others, reach), true, here, f"you, at ε = {epsilon:g}")


def _slopes(z: Tensor, y: int, gamma: float, epsilon: float, gradient: Tensor) -> Any:
    true, others, reach = _apart(z, y)
    return page.mark(gradients(gamma, epsilon, others, reach), true, gradient[y], "your loss at your true output")


def _map(z: Tensor, y: int, gamma: float, epsilon: float) -> Any:
    result = softmax_map(y, page.reach(z[:2], 5), z[2:].tolist(), gamma=gamma, epsilon=epsilon)
    return page.mark(result, z[0], z[1], "z₀/T, z₁/T")


def _mean(v: dict[str, Any], gamma: float, epsilon: float) -> page.View:
    """The mean over four samples: which of them count, and how much."""
    z = torch.tensor([[v[name] for name in Z], *(z for z, _ in OTHERS)], dtype=torch.float64) / v["T"]
    y = torch.tensor([v["y"], *(y for _, y in OTHERS)])
    w = torch.tensor([v[name] for name in WEIGHTS], dtype=torch.float64)
    ignored = torch.tensor([sample in v["ignored"] for sample in SAMPLES])
    given = y.masked_fill(ignored, IGNORED)
    options: dict[str, Any] = {"focal_gamma": gamma, "label_smoothing": epsilon}
    each = cross_entropy(z, given, w, ignore_index=IGNORED, reduction="none", **options)
    divisor = (w[y] * ~ignored).sum()
    numbers: dict[str, page.Number] = {
        "v": (~ignored).long(),
        "w_y": w[y],
        "v ℓ (nats)": each,
        "L_sum (nats)": cross_entropy(z, given, w, ignore_index=IGNORED, reduction="sum", **options),
        "Σ v w_y": divisor,
        "L_mean (nats)": cross_entropy(z, given, w, ignore_index=IGNORED, **options),
        "L_mean where all count alike": cross_entropy(z, y, **options),
    }
    alike = cross_entropy(z, y, reduction="none", **options) / len(y)
    rows = [
        [f"{name}{', yours' if i == 0 else ''}", z[i], int(y[i]), int(not ignored[i]), w[y[i]], each[i]]
        for i, name in enumerate(SAMPLES)
    ]
    body = page.stack(
        page.words("## The mean: what counts, and how much"),
        page.formula(r"L_\mathrm{mean} = \frac{\sum_i v_i \ell_i}{\sum_i v_i w_{y_i}}"),
        page.words(
            "Four samples; the first is yours from above. A sample whose target is ignored has $v_i = 0$. A class of "
            r"weight $w_h = 2$ counts as if each of its samples were there twice: $\ell_i = -w_{y_i} s_{i,y_i}$, and "
            "the weight is **in the divisor too**. Give all samples that count the same class, and it cancels. That is "
            "also why weights stand nowhere above: the mean of one sample divides by that sample's own. A smoothed "
            r"target has a part of every class, each with its own weight, $\ell_i = -\sum_h w_h q_{ih} s_{ih}$; there "
            "nothing cancels. Where nothing counts the mean is 0/0, nan."
        ),
        page.readout(numbers),
        page.table("The batch", ["sample", "z/T", "y", "v", "w_y", "v ℓ"], rows),
        page.picture(_shares(each / divisor, alike)),
        page.code(
            f"w = torch.tensor({[round(weight, 1) for weight in w.tolist()]})\n"
            f"loss = ls.CrossEntropyLoss({', '.join(['weight=w', *_said(options)])})\n"
            f"loss(z / T, torch.tensor({given.tolist()}))  # {IGNORED} is ignored"
        ),
    )
    return page.View((*WEIGHTS, "ignored"), numbers, body)


def _said(options: dict[str, Any]) -> list[str]:
    return [f"{name}={value:g}" for name, value in options.items() if value]


def _shares(shares: Tensor, alike: Tensor) -> Any:
    both = {"with v and w": shares, "where all count alike": alike}
    rows = [[name, *(page.said(values[i]) for values in both.values())] for i, name in enumerate(SAMPLES)]
    result = figure(
        "What each sample gives to the mean",
        f"The bars of a colour add up to L_mean: {page.said(shares.sum())} nats with v and w, "
        f"{page.said(alike.sum())} without.",
        numbers_of(["sample", *both], rows),
        x="sample",
        y="part of L_mean (nats)",
    )
    return page.bars(result, SAMPLES, both)
