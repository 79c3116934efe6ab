"""The linter: the silent mistakes of a loss named, each with its evidence and its remedy.

A rule is data and one function (``rule.py``); a family of rules is one file in ``rules/``. The package is not called
``lint`` because the function is.
"""

from losscope.linting.context import Context, History
from losscope.linting.finding import Finding, LintResult, Severity
from losscope.linting.rule import RULES, Rule, rule
from losscope.linting.run import lint, run_rules

__all__ = ["RULES", "Context", "Finding", "History", "LintResult", "Rule", "Severity", "lint", "rule", "run_rules"]
