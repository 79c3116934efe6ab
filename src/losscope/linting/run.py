"""From a context to its findings, and ``lint``, which makes the context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from losscope.errors import InputError, describe
from losscope.kernels.reference import as_index
from losscope.linting import rules as _rules  # noqa: F401  each family registers its rules
from losscope.linting.context import Context, History
from losscope.linting.finding import ERROR, INFO, WARNING, Finding, LintResult
from losscope.linting.reading import part
from losscope.linting.rule import chosen
from losscope.losses import CrossEntropyLoss, LinearCrossEntropyLoss, Loss, as_loss

_ORDER = {ERROR: 0, WARNING: 1, INFO: 2}
_LAYER_ROWS = 4096


def run_rules(
    context: Context, *, select: Iterable[str] | None = None, ignore: Iterable[str] | None = None
) -> list[Finding]:
    """The findings on this context, the worst first.

    Args:
        context: what to look at.
        select: names of rules; only these are asked. Without it all are, but those that are off by default.
        ignore: names of rules that are not asked.

    Raises:
        InputError: there is no rule of a name.
    """
    with torch.no_grad():
        found = sorted(_findings(context, select, ignore), key=lambda finding: _ORDER[finding.severity])
    explained = any(finding.severity is ERROR and finding.rule != "loss-raises" for finding in found)
    return [finding for finding in found if not (explained and finding.rule == "loss-raises")]


def _findings(context: Context, select: Iterable[str] | None, ignore: Iterable[str] | None) -> Iterator[Finding]:
    rules = [rule for rule in chosen(select, ignore) if context.likelihood in rule.losses]
    other_kind = False
    for rule in sorted(rules, key=lambda rule: rule.presumes):
        if not (rule.presumes and other_kind):
            for finding in rule.check(rule, context):
                other_kind |= rule.kind and finding.severity is ERROR
                yield finding


def lint(
    z: Tensor,
    y: Tensor,
    *,
    loss: Loss | nn.Module | str,
    select: Iterable[str] | None = None,
    ignore: Iterable[str] | None = None,
    held_out: bool = False,
    step: int | None = None,
    history: History | None = None,
) -> LintResult:
    """What is wrong with outputs and targets that are meant for this loss.

    Nothing is changed or computed differently: the kind of the outputs is what the loss declares, and what the values
    look like is evidence. A mistake that makes the loss raise is a finding. Large inputs are read in part, and the
    evidence says so.

    Args:
        z: raw outputs, what the loss is given first.
        y: targets, what it is given second.
        loss: a losscope loss, a torch one, or a name ("cross_entropy", "bce_with_logits", …).
        select: names of rules; only these are asked. Those that are off by default have to be named here.
        ignore: names of rules that are not asked.
        held_out: the samples were not trained on.
        step: optimizer steps made before; 0 lets ``initial-loss`` speak.
        history: of the accumulation steps before.

    Returns:
        The findings; ``ok`` where none is an error or a warning.

    Raises:
        InputError: z or y is no tensor, the loss is not known, or there is no rule of a name.

    Example:
        >>> z = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
        >>> y = torch.arange(64) % 10
        >>> lint(z, y, loss="cross_entropy").ok
        True
        >>> print(lint(z.softmax(1), y, loss="cross_entropy"))
        error softmax-before-cross-entropy: cross_entropy is given probabilities: softmax is applied twice
          ...
          remedy: pass the raw outputs: loss(z, y), without softmax in the model
          more: docs/rules/softmax-before-cross-entropy.md
    """
    ours = as_loss(loss, where="lint")
    for name, x in (("z", z), ("y", y)):
        if not isinstance(x, Tensor):
            raise InputError("lint", f"{name} as a tensor", describe(x), f"make it one: torch.as_tensor({name})")
    z, y = z.detach(), y.detach()
    if isinstance(ours, LinearCrossEntropyLoss):
        z, y, ours = _on_logits(ours, z, y)
    if y.dtype not in (torch.int64, torch.int32):
        y = as_index(y)  # torch compares few numbers with those of other widths
    context = Context(z, y, ours, loss, held_out, step, history)
    rules = [rule.name for rule in chosen(select, ignore) if context.likelihood in rule.losses]
    return LintResult(tuple(run_rules(context, select=select, ignore=ignore)), tuple(rules))


@torch.no_grad()
def _on_logits(loss: LinearCrossEntropyLoss, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Loss]:
    """The logits of some of the rows, their targets, and the loss of logits with the same options."""
    if x.ndim == 2 and y.ndim and len(x) == len(y):
        some = part(len(x), _LAYER_ROWS, x.device)
        x, y = x[some], y[some]
    return loss.logits(x), y, CrossEntropyLoss(loss.weight, **loss.options._asdict())
