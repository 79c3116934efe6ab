"""Suspicions about confidence and labels: found where they are true, and silent on calibrated models."""

import pytest
import torch
from tests.lint.samples import DTYPES, alarms, classes, found, generator, labels, untrained

import losscope as ls
from losscope import lint

every = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@every
@pytest.mark.parametrize("n", [200, 3000])
def test_overconfident(n, dtype):
    z, y = classes(n, strength=2)
    sharp = (4 * z).to(dtype)
    finding = next(f for f in lint(sharp, y, loss="cross_entropy") if f.rule == "overconfident")
    assert finding.severity == "warning"
    assert finding.evidence["temperature"] == pytest.approx(4, rel=0.2)
    assert not found(z.to(dtype), y, "cross_entropy", "overconfident")
    assert not found((z / 4).to(dtype), y, "cross_entropy", "overconfident")


def test_logits_that_the_softcap_squeezes_are_as_sure_as_it_leaves_them():
    """Calibrated below the softcap, and far too sure above it."""
    z = 30 * torch.randn(3000, 5, generator=generator(0))
    y = torch.multinomial((5 * torch.tanh(z / 5)).softmax(1), 1, generator=generator(1)).squeeze(1)
    assert found(z, y, "cross_entropy", "overconfident")
    assert not found(z, y, ls.CrossEntropyLoss(softcap=5.0), "overconfident")


def test_a_softcap_belongs_to_the_outputs():
    """Calibrated as the loss has them, and five times too sure; what the remedy says to compute is calibrated again."""
    z, y = classes(4000, strength=2)
    capped = ls.CrossEntropyLoss(softcap=100.0)

    def before(x):
        return 100 * torch.atanh(x / 100)

    assert not found(before(z), y, capped, "overconfident")
    finding = next(f for f in lint(before(5 * z), y, loss=capped, select=["overconfident"]))
    assert finding.evidence["temperature"] == pytest.approx(5, rel=0.2)
    p = eval(finding.remedy.partition("#")[0], {"ls": ls, "torch": torch, "z": before(5 * z)})
    torch.testing.assert_close(p, z.softmax(1), rtol=0, atol=0.05)


@every
def test_overconfident_labels(dtype):
    z, m = labels(1000, strength=2)
    assert found((5 * z).to(dtype), m.to(dtype), "bce_with_logits", "overconfident")
    assert not found(z.to(dtype), m.to(dtype), "bce_with_logits", "overconfident")


def test_too_few_samples_and_changed_meanings_say_nothing():
    z, y = classes(1000, strength=2)
    assert not found(4 * z[:90], y[:90], "cross_entropy", "overconfident")
    for loss in (ls.CrossEntropyLoss(torch.arange(1.0, 11)), ls.CrossEntropyLoss(focal_gamma=2)):
        assert not found(4 * z, y, loss, "overconfident")


def test_outputs_that_know_nothing_have_no_confidence_to_be_wrong():
    z, y = untrained(1000, 10, sigma=1.0)
    assert not found(z, y, "cross_entropy", "overconfident")


def test_a_slight_overconfidence_is_worth_knowing_only():
    z, y = classes(3000, strength=2)
    result = lint(1.5 * z, y, loss="cross_entropy")
    assert result.rules == ("overconfident",)
    assert result.ok


def noisy(n=1000, share=0.1, strength=8.0, seed=0):
    z, y = classes(n, strength=strength, seed=seed)
    wrong = torch.rand(n, generator=generator(seed + 1)) < share
    return z, y.where(~wrong, torch.randint(10, (n,), generator=generator(seed + 2)))


@every
def test_label_noise(dtype):
    z, y = noisy()
    result = lint(z.to(dtype), y, loss="cross_entropy", held_out=True, select=["label-noise"])
    assert result.rules == ("label-noise",)
    assert result.findings[0].evidence["rate"] == pytest.approx(0.1, abs=0.04)


def test_label_noise_is_of_the_outputs_below_the_softcap():
    """The same samples disagree, and they are those that the remedy's code marks."""
    z, y = noisy(strength=4.0)
    cap = float(z.abs().max().ceil())
    before = cap * torch.atanh(z / cap)
    losses = {ls.CrossEntropyLoss(): z, ls.CrossEntropyLoss(softcap=cap): before}
    plain, capped = (
        lint(x, y, loss=loss, held_out=True, select=["label-noise"]).findings[0] for loss, x in losses.items()
    )
    disagree = capped.evidence["confident_disagreements"]
    assert disagree == plain.evidence["confident_disagreements"] > 0
    code = capped.remedy.partition(": ")[2].partition(";")[0]
    assert int(eval(code, {"ls": ls, "torch": torch, "z": before, "y": y}).sum()) == disagree


def test_label_noise_is_asked_for_by_name_and_of_held_out_samples():
    z, y = noisy()
    assert not found(z, y, "cross_entropy", "label-noise", held_out=True)
    assert not found(z, y, "cross_entropy", "label-noise", select=["label-noise"])


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("sharper", [0.5, 1, 3])
def test_no_label_noise_without_noise(sharper, seed):
    z, y = classes(1000, seed=seed)
    assert alarms(sharper * z, y, "cross_entropy", held_out=True, select=["label-noise"]) == []


def test_a_pos_weight_changes_what_the_probabilities_mean():
    z, m = labels(1000, strength=2)
    assert not found(5 * z, m, ls.BCEWithLogitsLoss(pos_weight=torch.full((6,), 3.0)), "overconfident")
