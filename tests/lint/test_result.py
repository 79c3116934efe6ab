"""The result of lint: order, JSON, terminal, notebook; selection; other losses; what it must not do."""

import io
import json

import pytest
import torch
from rich.console import Console
from tests.lint.samples import classes, one_hot

import losscope as ls
from losscope import lint
from losscope.linting import RULES, Context, Finding, LintResult, Severity, rule, run_rules

NAMES = {
    "softmax-before-cross-entropy",
    "log-softmax-before-cross-entropy",
    "sigmoid-before-bce-with-logits",
    "not-log-probabilities",
    "probabilities-out-of-range",
    "softmax-over-wrong-dim",
    "single-output-softmax",
    "class-dim-last",
    "target-out-of-range",
    "target-dtype",
    "target-shape",
    "multi-hot-target-for-cross-entropy",
    "target-not-a-distribution",
    "target-outside-unit-interval",
    "broadcast-target",
    "decision-not-output",
    "weight-length",
    "nothing-counts",
    "padding-counted",
    "weighted-mean",
    "unequal-valid-counts",
    "non-finite-output",
    "masked-target",
    "fully-masked-row",
    "low-precision-overflow",
    "saturated-output",
    "initial-loss",
    "constant-output",
    "majority-collapse",
    "class-imbalance",
    "overconfident",
    "label-noise",
    "shifted-labels",
    "loss-raises",
}


def broken():
    z, y = classes(200)
    return lint(z.softmax(1), y.float(), loss="cross_entropy")


def test_the_rules_by_their_names():
    assert set(RULES) == NAMES


def test_the_worst_stands_first():
    order = [Severity.ERROR, Severity.WARNING, Severity.INFO]
    z, y = classes(500, 3)
    y[:450] = 0
    severities = [order.index(f.severity) for f in lint(z.log_softmax(1).roll(1, 0), y[:, None], loss="cross_entropy")]
    assert severities == sorted(severities)
    assert len(set(severities)) > 1


def test_ok_is_no_error_and_no_warning():
    assert LintResult().ok
    assert LintResult((Finding("a", Severity.INFO, "", "", ""),)).ok
    assert not LintResult((Finding("a", Severity.WARNING, "", "", ""),)).ok
    assert not broken().ok


def test_json_holds_everything():
    data = json.loads(broken().to_json())
    assert data["ok"] is False
    for finding in data["findings"]:
        assert set(finding) == {"rule", "severity", "title", "sentence", "evidence", "remedy", "docs"}
    assert {f["rule"] for f in data["findings"]} == {"softmax-before-cross-entropy", "target-dtype"}


def test_json_of_figures_that_are_not_finite():
    finding = Finding("a", Severity.INFO, "", "", "", {"x": float("nan"), "y": float("inf")})
    assert json.loads(LintResult((finding,)).to_json())["findings"][0]["evidence"] == {"x": "nan", "y": "inf"}


def test_text_terminal_and_notebook_say_the_same():
    result = broken()
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(result)
    for text in (str(result), console.export_text(), result._repr_html_()):
        for finding in result:
            assert finding.rule in text
            assert finding.severity.value in text
    assert "found nothing" in str(LintResult())
    assert "found nothing" in LintResult()._repr_html_()


def test_brackets_of_a_sentence_are_no_markup():
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(broken())
    assert "trapped in [1.461, 2.461]" in console.export_text()


def test_notebook_escapes():
    finding = Finding("a", Severity.ERROR, "<b>", "1 < 2", "x & y")
    assert "<b>&" not in LintResult((finding,))._repr_html_()
    assert "1 &lt; 2" in LintResult((finding,))._repr_html_()


def test_select_and_ignore():
    z, y = classes(100)
    assert lint(z.softmax(1), y.float(), loss="cross_entropy", select=["target-dtype"]).rules == ("target-dtype",)
    rules = lint(z.softmax(1), y.float(), loss="cross_entropy", ignore=["target-dtype"]).rules
    assert rules == ("softmax-before-cross-entropy",)
    with pytest.raises(ls.InputError, match="names of rules"):
        lint(z, y, loss="cross_entropy", select=["softmax"])


@pytest.mark.parametrize(
    "loss", ["cross_entropy", "CrossEntropyLoss", ls.CrossEntropyLoss(), torch.nn.CrossEntropyLoss()]
)
def test_the_loss_may_be_named_in_every_way(loss):
    z, y = classes(100)
    assert lint(z.softmax(1), y, loss=loss).rules == ("softmax-before-cross-entropy",)


def test_the_linear_loss_takes_the_input_of_its_layer():
    x, y = torch.randn(5000, 8), torch.randint(4, (5000,))
    for loss in (torch.nn.LinearCrossEntropyLoss(8, 4), ls.LinearCrossEntropyLoss(8, 4)):
        assert lint(x, y, loss=loss).ok
        assert lint(x, y + 1, loss=loss).rules[0] == "target-out-of-range"


def test_what_is_no_tensor_and_no_loss():
    z, y = classes(10)
    with pytest.raises(ls.InputError, match="z as a tensor"):
        lint(z.tolist(), y, loss="cross_entropy")
    with pytest.raises(ls.InputError, match="a loss"):
        lint(z, y, loss="hinge")


def test_nothing_is_changed_and_no_graph_is_made():
    z, y = classes(100)
    before, z = z.clone(), z.requires_grad_()
    lint(z, y, loss="cross_entropy", step=0)
    assert torch.equal(z, before)
    assert z.grad is None


def test_twice_the_same():
    z, y = classes(60_000, 100)
    first, second = (lint(z, y, loss="cross_entropy").to_json() for _ in range(2))
    assert first == second


def test_a_large_input_is_read_in_part_and_says_so():
    z, y = classes(60_000, 100)
    result = lint(z.softmax(1), y, loss="cross_entropy")
    assert "of 60,000 samples" in result.findings[0].sentence


def test_a_rule_of_ones_own():
    @rule("too-many-threes", Severity.WARNING, {"cross_entropy"})
    def too_many_threes(rule, c):
        share = float((c.y == 3).double().mean())
        if share > 0.5:
            yield rule.found("more than half are threes", f"{share:.0%}", "look at them", share=share)

    try:
        z, _ = classes(100)
        found = lint(z, torch.full((100,), 3), loss="cross_entropy", select=["too-many-threes"])
        assert found.findings[0].evidence == {"share": 1.0}
    finally:
        del RULES["too-many-threes"]


def test_run_rules_on_a_context():
    z, y = classes(100)
    context = Context(z.softmax(1), y, ls.CrossEntropyLoss())
    assert [f.rule for f in run_rules(context)] == ["softmax-before-cross-entropy"]


@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss", "bce", "bce_with_logits", "mse", "msle"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 3), (4, 0), (2, 3, 0), (8, 3, 3), (8, 3, 4, 4)])
def test_no_shape_makes_it_fall(loss, shape):
    z = torch.zeros(shape)
    for y in (torch.tensor(0), torch.zeros(shape), torch.zeros(shape[:1]), one_hot(torch.zeros(8).long(), 3)):
        lint(z, y, loss=loss, step=0, held_out=True, select=list(RULES))
        lint(z, y.long(), loss=loss, step=5)


def test_as_many_rules_as_were_asked():
    z, y = classes(200)
    result = lint(z, y, loss="cross_entropy", select=["target-dtype", "saturated-output"])
    assert result.checked == ("target-dtype",)  # the other is not for this loss
    assert str(result) == "ok: 1 rules found nothing"


def test_no_text_of_a_finding_is_markup():
    finding = Finding("a", Severity.ERROR, "t [bold]x[/]", "s [bold]x[/]", "r [bold]x[/]")
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(LintResult((finding,)))
    text = console.export_text()
    assert all(f"{part} [bold]x[/]" in text for part in "tsr")
    finding = Finding("a", Severity.ERROR, "<i>", "<i>", "<i>")
    assert "<i>" not in LintResult((finding,))._repr_html_()
