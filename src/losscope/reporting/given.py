"""What was given, and what the loss takes it to mean."""

from __future__ import annotations

from losscope.figures.numbers import counted
from losscope.losses import LinearCrossEntropyLoss, Loss
from losscope.reporting.data import BLOCKS, num_spread, on_logits
from losscope.summary import CategoricalSummary, SummaryResult
from losscope.summary.data import Data, row
from losscope.targets import TargetKind, recognise

_MEANING = {
    "logit": "logits: raw outputs of the last linear layer, any real number",
    "log-probability": "log-probabilities: each ≤ 0, their exponentials sum to one",
    "probability": "probabilities: each in [0, 1]",
    "value": "values in the unit of the target",
    "log-value": "logarithms of values",
}
_TARGET = {
    TargetKind.INDEX: "indices: y_i is the number of the true class",
    TargetKind.MULTI_HOT: "multi-hot: m_ih is 1 where label h is true, each on its own",
    TargetKind.VALUE: "values",
}
_DECISION = {
    "softmax": "d_i = argmax_h z_ih",
    "exp": "d_i = argmax_h s_ih",
    "sigmoid": "d_ih = [z_ih > 0], which is ŷ_ih > 1/2",
    "identity": "d_ih = [ŷ_ih > 1/2]",
}


def given(loss: Loss, data: Data, summary: SummaryResult) -> list[tuple[str, str]]:
    """Name and text of each thing to know before reading on."""
    x, y = row(data, 0)
    _, z = on_logits(loss, x)
    found = [tuple(line.split(": ", 1)) for line in data.describe().splitlines()]
    looks = recognise(y, z) if z.shape == y.shape or not y.is_floating_point() else loss.target_kind
    rows = [
        *((name, text) for name, text in found),
        ("loss", repr(loss)),
        ("outputs are taken as", _outputs(loss)),
        ("targets are taken as", _target(loss, looks)),
        ("counted", _counted(summary)),
    ]
    if num_spread(data) < len(data):
        rows.append(("read by the linter", f"{num_spread(data):,} of {len(data):,} rows, in {BLOCKS} blocks"))
    if loss.target_kind is not TargetKind.VALUE:
        rows.append(("decision", _DECISION[loss.link.name]))
    return rows


def _outputs(loss: Loss) -> str:
    own_layer = isinstance(loss, LinearCrossEntropyLoss)
    return f"{'input of the last linear layer, whose z = W x + b are ' * own_layer}{_MEANING[loss.link.space]}"


def _target(loss: Loss, looks: TargetKind) -> str:
    soft = loss.target_kind is TargetKind.INDEX and looks in (TargetKind.SOFT, TargetKind.ONE_HOT, TargetKind.MULTI_HOT)
    if soft:
        return f"soft target: a distribution over the classes (the first row looks like a {looks.value})"
    return _TARGET[loss.target_kind]


def _counted(summary: SummaryResult) -> str:
    samples = counted(summary.num_samples, "sample" if isinstance(summary, CategoricalSummary) else "element")
    ignored = f", {summary.num_ignored:,} ignored" if summary.num_ignored else ", none ignored"
    return f"{summary.num_counted:,} of {samples}{ignored}"
