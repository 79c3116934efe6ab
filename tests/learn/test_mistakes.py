"""What goes wrong: the planted mistakes against the linter, and what they do to the loss."""

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("marimo")

from losscope.learn.chapters import CHAPTERS
from losscope.learn.controls import controls
from losscope.learn.mistakes import MISTAKES
from losscope.linting import RULES


def view(rule, wrong):
    (only,) = CHAPTERS["wrong"].views({**controls().value, "rule": rule, "wrong": wrong})
    return only


def test_there_is_a_mistake_for_every_rule():
    assert MISTAKES.keys() == RULES.keys()


@pytest.mark.parametrize("rule", MISTAKES)
def test_a_planted_mistake_is_found_and_the_right_way_is_clean(rule):
    right, wrong = MISTAKES[rule]()
    assert right.lint().rules == ()
    assert rule in wrong.lint().rules
    assert right.measure().error is None
    assert f"<dd>{rule}</dd>" in view(rule, True).body.text


def test_two_softmaxes_leave_a_smaller_gradient():
    right, wrong = (view("softmax-before-cross-entropy", planted).numbers for planted in (False, True))
    assert wrong["mean ‖∂L/∂z_i‖"] < right["mean ‖∂L/∂z_i‖"] / 2


def test_the_switch_changes_what_every_mistake_shows():
    for rule in MISTAKES:
        right, wrong = (view(rule, planted) for planted in (False, True))
        assert wrong.numbers.keys() != right.numbers.keys() or any(
            float(wrong.numbers[name]) != float(right.numbers[name]) for name in right.numbers
        ), rule


def test_the_mean_of_unequal_means_is_not_the_mean():
    right, wrong = MISTAKES["unequal-valid-counts"]()
    z, y = right.z, right.y
    torch.testing.assert_close(right.measure().loss, F.cross_entropy(z, y))
    means = [F.cross_entropy(z[:16], y[:16]), F.cross_entropy(z[16:], y[16:])]
    torch.testing.assert_close(wrong.measure().loss, sum(means) / 2)
