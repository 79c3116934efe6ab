"""Numbers that are not finite, or about to be: NaN, infinities, masks, and the ends of a dtype's range."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from losscope.errors import position
from losscope.linting.context import Context
from losscope.linting.finding import ERROR, INFO, WARNING, Finding
from losscope.linting.reading import LOW
from losscope.linting.rule import CATEGORICAL, Rule, rule
from losscope.linting.statistics import pick, softplus_loss

_NEAR = 2.0**14


@rule("non-finite-output", ERROR)
def non_finite_output(rule: Rule, c: Context) -> Iterator[Finding]:
    """NaN or +inf anywhere, and −inf where it is no mask: the loss and every gradient become NaN."""
    if not c.z.is_floating_point() or c.z.numel() == 0:
        return
    low, high = c.extremes
    if high < torch.inf and (low > -torch.inf or c.categorical):
        return
    bad = c.z.isnan() | (c.z.isposinf() if c.categorical else _wrong_infinity(c))
    if not bool(bad.any()):
        return
    first = position(int(bad.flatten().int().argmax()), tuple(c.z.shape))
    ignored = c.categorical and _only_ignored(c, bad)
    yield rule.found(
        "outputs that are NaN or infinite",
        f"{int(c.z.isnan().sum()):,} NaN and {int((bad & c.z.isinf()).sum()):,} infinite outputs of {c.z.numel():,},"
        f" the first at {first}"
        + (". All stand in ignored samples: losscope's gradient is 0 there, torch's is NaN" if ignored else ""),
        "torch.autograd.set_detect_anomaly(True)  # then look at: the learning rate, log(0), x / 0, float16 overflow",
        WARNING if ignored else None,
        nan=int(c.z.isnan().sum()),
        infinite=int((bad & c.z.isinf()).sum()),
        outputs=c.z.numel(),
    )


def _wrong_infinity(c: Context) -> Tensor:
    """Infinite logits that are no certainty about their label; torch answers every one of them with NaN."""
    if c.likelihood != "binary_cross_entropy_with_logits" or c.y.shape != c.z.shape or c.torch_given:
        return c.z.isinf()
    return (c.z.isneginf() & (c.y != 0)) | (c.z.isposinf() & (c.y != 1))


def _only_ignored(c: Context, bad: Tensor) -> bool:
    if tuple(c.y.shape) != tuple(bad.any(1).shape if bad.ndim > 1 else ()):
        return False
    rows = bad.any(1) if bad.ndim > 1 else bad.any()
    return bool(c.is_ignored(c.y[rows]).all())


@rule("fully-masked-row", ERROR, CATEGORICAL)
def fully_masked_row(rule: Rule, c: Context) -> Iterator[Finding]:
    """Every class is −inf: the softmax is 0/0."""
    r = c.reading
    if r is None or c.extremes[0] > -torch.inf:
        return
    masked = r.z.isneginf().all(1)
    counted = masked & r.counted
    if not bool(masked.any()):
        return
    ignored = not bool(counted.any())
    yield rule.found(
        "samples whose every class is masked" + (", all of them ignored" if ignored else ": the loss is NaN"),
        f"{int(masked.sum()):,} of {len(r):,} samples have only −inf as outputs{r.part}, {int(counted.sum()):,} of them"
        " count" + ("; losscope's gradient is 0 there, torch's is NaN" if ignored else ": softmax is 0/0"),
        "keep one class open in every row, or set the target of such a sample to ignore_index",
        INFO if ignored else None,
        masked=int(masked.sum()),
        counted=int(counted.sum()),
    )


@rule("masked-target", ERROR, CATEGORICAL)
def masked_target(rule: Rule, c: Context) -> Iterator[Finding]:
    """The true class is −inf: its probability is 0 and the loss infinite."""
    r = c.reading
    if r is None or c.extremes[0] != -torch.inf:
        return
    open_ = r.counted & ~r.z.isneginf().all(1)
    if r.index is not None:
        hit = open_ & pick(r.z, r.index).isneginf()
    else:
        assert r.soft is not None
        hit = open_ & (r.z.isneginf() & (r.soft > 0)).any(1)
    smoothing = isinstance(c.given, nn.CrossEntropyLoss) and c.given.label_smoothing > 0
    if smoothing and not bool(hit.any()):
        hit = open_ & r.z.isneginf().any(1)
    else:
        smoothing = False
    if not bool(hit.any()):
        return
    yield rule.found(
        "the true class is masked: the loss is infinite",
        f"{int(hit.sum()):,} of {int(r.counted.sum()):,} samples{r.part}"
        + (
            " have masked classes, and torch's label smoothing gives each of them a share of the target"
            if smoothing
            else " have −inf at their true class, so ŷ_y = 0 and ℓ = −ln 0"
        ),
        "loss = ls.CrossEntropyLoss(label_smoothing=…)  # smooths over the open classes only"
        if smoothing
        else "unmask the true class: mask &= ~ls.one_hot(y, H, dtype=torch.bool)",
        masked=int(hit.sum()),
        counted=int(r.counted.sum()),
    )


@rule("low-precision-overflow", WARNING)
def low_precision_overflow(rule: Rule, c: Context) -> Iterator[Finding]:
    """float16 ends at 65,504: outputs near it become inf, and a sum of losses passes it."""
    if c.z.dtype != torch.float16 or c.z.numel() == 0:
        return
    z, low = c.z, c.extremes[0]
    # A very low value that is there more than once stands for −inf, on purpose.
    mask = (z == low) & (z <= LOW) & ((z == low).sum() > 1)
    large = (z.abs() >= _NEAR) & ~z.isneginf() & ~mask
    if bool(large.any()):
        highest = float(z[large].abs().max())
        already = int(z.isposinf().sum())
        yield rule.found(
            "float16 outputs near the end of their range",
            f"{int(large.sum()):,} of {z.numel():,} outputs are above {_NEAR:,.0f} in size, up to {highest:,.0f}"
            + (f" and {already:,} of them inf already" if already else "")
            + "; float16 ends at 65,504, and its steps are 16 nats wide there",
            "z = model(x).float()  # and compute the loss outside autocast, or use bfloat16",
            large=int(large.sum()),
            highest=highest,
        )
    elif c.reduction == "sum" and (total := _total(c)) > torch.finfo(torch.float16).max / 2:
        yield rule.found(
            "the sum of the losses does not fit float16",
            f"Σ ℓ_i is about {total:,.0f}, and float16 ends at 65,504",
            "loss(z.float(), y)  # sum in float32; or reduction='mean'",
            total=total,
        )


def _total(c: Context) -> float:
    """About Σ ℓ, from the part that was read."""
    r = c.reading
    if r is None or len(r) == 0 or c.likelihood not in ("cross_entropy", "binary_cross_entropy_with_logits"):
        return 0.0
    if r.index is not None:
        each = -pick(r.log_probability, r.index)[r.usable]
    elif c.categorical and r.soft is not None:
        each = -(r.soft * r.log_probability.clamp(min=-1e6)).sum(1)
    else:
        assert r.soft is not None
        each = softplus_loss(r.z, r.soft).sum(1)
    return float(each.double().mean()) * r.total if each.numel() else 0.0


@rule("saturated-output", WARNING, {"binary_cross_entropy"})
def saturated_output(rule: Rule, c: Context) -> Iterator[Finding]:
    """ŷ is exactly 0 or 1 on the wrong side: BCELoss holds ln 0 at −100, and the sigmoid before it has gradient 0."""
    r = c.reading
    if r is None or r.soft is None or len(r) < 8 or min(c.extremes) == 1:
        return
    wrong = ((r.z == 0) & (r.soft > 0)) | ((r.z == 1) & (r.soft < 1))
    hits, labels = int(wrong.sum()), wrong.numel()
    if hits == 0:
        return
    # A float32 sigmoid is 1 from z = 17 on, a bfloat16 one from z = 6 on: there a few are no sign.
    share = 0.05 if c.dtype in (torch.float16, torch.bfloat16) else 0.01
    rare = hits < 3 or hits < share * labels
    yield rule.found(
        "probabilities that are exactly 0 or 1, and wrong: no gradient is left to correct them",
        f"{hits:,} of {labels:,} probabilities are exactly 0 or 1 where the target says otherwise{r.part}: BCELoss"
        " holds their logarithm at −100, and the derivative ŷ(1 − ŷ) of the sigmoid is exactly 0",
        "loss = ls.BCEWithLogitsLoss()  # of the raw outputs: its gradient ŷ − m does not vanish",
        INFO if rare else None,
        saturated_and_wrong=hits,
        saturated=int(((r.z == 0) | (r.z == 1)).sum()),
        labels=labels,
    )
