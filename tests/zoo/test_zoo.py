"""The linter on the zoo: every mistake that can be told is found, no healthy run is called an error or a warning."""

import pytest
from tests.zoo import broken, healthy

from losscope.linting import RULES, Severity


@pytest.mark.parametrize("rule", broken.MISTAKES)
def test_found(rule):
    cases = [case for case in broken.MISTAKES[rule]() if not case.hard]
    missed = [str(case) for case in cases if rule not in case.lint().rules]
    assert cases
    assert not missed


@pytest.mark.parametrize("family", healthy.FAMILIES, ids=lambda make: make.__name__)
def test_no_false_alarm(family):
    alarms = [
        f"{finding.rule}: {case}: {finding.sentence}"
        for case in family()
        for finding in case.lint()
        if finding.severity is not Severity.INFO
    ]
    assert not alarms


def test_every_rule_has_its_mistake():
    assert set(RULES) - set(broken.MISTAKES) <= {"loss-raises"}
