"""An activation too many or too few."""

from __future__ import annotations

from losscope.learn.mistakes.case import Case, Mistake, classes, labels, mistake
from losscope.links import log_softmax, sigmoid, softmax
from losscope.losses import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss


@mistake("softmax-before-cross-entropy")
def _softmax_twice() -> Mistake:
    z, y = classes()
    loss = CrossEntropyLoss()
    return Mistake(
        Case("loss(z, y)", loss, z, y), Case("loss(ls.softmax(z, dim=1), y)", loss, z, y, lambda z: softmax(z, 1))
    )


@mistake("log-softmax-before-cross-entropy")
def _log_softmax_twice() -> Mistake:
    z, y = classes()
    loss = CrossEntropyLoss()
    wrong = Case("loss(ls.log_softmax(z, dim=1), y)", loss, z, y, lambda z: log_softmax(z, 1))
    return Mistake(Case("loss(z, y)", loss, z, y), wrong)


@mistake("not-log-probabilities")
def _nll_of_raw_outputs() -> Mistake:
    z, y = classes()
    right = Case("ls.nll_loss(ls.log_softmax(z, dim=1), y)", NLLLoss(), z, y, lambda z: log_softmax(z, 1))
    return Mistake(right, Case("ls.nll_loss(z, y)", NLLLoss(), z, y))


@mistake("probabilities-out-of-range")
def _bce_of_raw_outputs() -> Mistake:
    z, m = labels()
    right = Case("ls.binary_cross_entropy_with_logits(z, m)", BCEWithLogitsLoss(), z, m)
    return Mistake(right, Case("ls.binary_cross_entropy(z, m)", BCELoss(), z, m))


@mistake("softmax-over-wrong-dim")
def _softmax_over_samples() -> Mistake:
    z, y = classes()
    loss = CrossEntropyLoss()
    wrong = Case("loss(ls.softmax(z, dim=0), y)", loss, z, y, lambda z: softmax(z, 0))
    return Mistake(Case("loss(z, y)", loss, z, y), wrong)


@mistake("single-output-softmax")
def _softmax_of_one_output() -> Mistake:
    z, m = labels(h=1)
    right = Case("ls.binary_cross_entropy_with_logits(z, m)", BCEWithLogitsLoss(), z, m)
    wrong = Case("ls.binary_cross_entropy(ls.softmax(z, dim=1), m)", BCELoss(), z, m, lambda z: softmax(z, 1))
    return Mistake(right, wrong)


@mistake("sigmoid-before-bce-with-logits")
def _sigmoid_twice() -> Mistake:
    z, m = labels()
    loss = BCEWithLogitsLoss()
    return Mistake(Case("loss(z, m)", loss, z, m), Case("loss(ls.sigmoid(z), m)", loss, z, m, sigmoid))


@mistake("decision-not-output")
def _loss_of_a_decision() -> Mistake:
    z, m = labels()
    loss = BCEWithLogitsLoss()
    wrong = Case("loss((z > 0).float(), m)", loss, z, m, lambda z: (z > 0).float())
    return Mistake(Case("loss(z, m)", loss, z, m), wrong)
