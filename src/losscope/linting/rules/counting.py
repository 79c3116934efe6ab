"""What counts: ignored targets, padding, weights, and the divisor of an accumulated mean."""

from __future__ import annotations

from collections.abc import Iterator

from losscope.linting.context import Context
from losscope.linting.finding import WARNING, Finding
from losscope.linting.rule import ALL, Rule, rule

_UNEQUAL = 1.1


@rule("unequal-valid-counts", WARNING, ALL - {"value"})
def unequal_valid_counts(rule: Rule, c: Context) -> Iterator[Finding]:
    """Means of micro-batches with n_k targets are added: each target of batch k weighs 1/n_k."""
    if c.history is None or c.history.normalizer or c.reduction != "mean" or getattr(c.loss, "normalizer", None):
        return
    divisors = [n for n in c.history.divisors if n > 0]
    if len(divisors) < 2 or max(divisors) <= _UNEQUAL * min(divisors):
        return
    ratio = max(divisors) / min(divisors)
    yield rule.found(
        "accumulated means over unequal counts are not the mean of the whole batch",
        f"the micro-batches of one optimizer step count {min(divisors):g} to {max(divisors):g} targets, so a target of "
        f"the smallest weighs {ratio:.3g} times one of the largest",
        "loss = ls.CrossEntropyLoss(normalizer=count_of_valid_targets_over_all_micro_batches)",
        smallest=min(divisors),
        largest=max(divisors),
        ratio=ratio,
        micro_batches=len(divisors),
    )
