"""Run the linter on the whole zoo and write docs/zoo.md: rule × found, false alarms.

python -m tests.zoo.table
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.zoo import broken, healthy
from tests.zoo.case import Case

from losscope.linting import RULES, Severity

PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"
TEXT = """# The zoo

Real models, trained in seconds on scikit-learn's iris, wine, breast cancer, digits, on a multi-label task and two
segmentation tasks made from its digits, and on the text of its data sets' descriptions (next letter, next letter of
padded words, next of 1000 words). Their outputs at four stages (untrained, half, well and over-trained) are given to
the linter as they are, and broken in one way at a time.

- **Healthy**: {healthy:,} unbroken runs: N from 8 to all samples, H from 2 to 1000, float64, float32, float16 and
  bfloat16; index, one-hot, mixed, smoothed and a teacher's targets; masks, class weights, label smoothing, ignored
  samples, sequences, accumulation. {alarms} of them {were} called an error or a warning.
- **Broken**: {broken:,} runs. **Found** counts those that outputs and targets can tell; **hard** those that they may
  not (the reasons are below the table).
- **Beside** counts the broken runs of a mistake in which the linter also named a second error or warning.

| rule | found | hard | false alarms | beside |
|---|---|---|---|---|
{rows}

Hard, and why:

{hard}

`python -m tests.zoo.table` writes this page; `tests/zoo/test_zoo.py` holds the linter to it.
"""


@dataclass
class Tally:
    """What the linter said of the zoo."""

    healthy: int = 0
    alarms: list[tuple[Case, str]] = field(default_factory=list)
    missed: list[Case] = field(default_factory=list)
    total: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    hard: Counter[str] = field(default_factory=Counter)
    hard_found: Counter[str] = field(default_factory=Counter)
    beside: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, set[str]] = field(default_factory=dict)

    def add_healthy(self, case: Case) -> None:
        """An error or a warning here is a false alarm."""
        self.healthy += 1
        self.alarms += [(case, f.rule) for f in case.lint() if f.severity is not Severity.INFO]

    def add_broken(self, case: Case) -> None:
        """Without its rule it is missed."""
        result = case.lint()
        found = case.rule in result.rules
        self.beside[case.rule] += any(f.rule != case.rule and f.severity is not Severity.INFO for f in result)
        if case.hard:
            self.hard[case.rule] += 1
            self.hard_found[case.rule] += found
            self.reasons.setdefault(case.rule, set()).add(case.hard)
            return
        self.total[case.rule] += 1
        self.found[case.rule] += found
        if not found:
            self.missed.append(case)


def tally() -> Tally:
    """The whole zoo."""
    result = Tally()
    for case in healthy.cases():
        result.add_healthy(case)
    for case in broken.cases():
        result.add_broken(case)
    return result


def _hard(t: Tally, rule: str) -> str:
    return f"{t.hard_found[rule]} of {t.hard[rule]}" if t.hard[rule] else ""


def page(t: Tally) -> str:
    """docs/zoo.md."""
    alarms = Counter(rule for _, rule in t.alarms)
    rows = [
        f"| [{rule}](rules/{rule}.md) | {t.found[rule]:,} of {t.total[rule]:,} |"
        f" {_hard(t, rule)} | {alarms[rule]} | {t.beside[rule] or ''} |"
        for rule in RULES
        if t.total[rule] or alarms[rule]
    ]
    hard = [f"- {rule}: {'; '.join(sorted(reasons))}." for rule, reasons in sorted(t.reasons.items())]
    alarmed = len({id(case) for case, _ in t.alarms})
    return TEXT.format(
        healthy=t.healthy,
        alarms=alarmed or "None",
        were="was" if alarmed < 2 else "were",
        broken=t.total.total() + t.hard.total(),
        rows="\n".join(rows),
        hard="\n".join(hard),
    )


if __name__ == "__main__":
    result = tally()
    PAGE.write_text(page(result))
    for case in result.missed:
        print("missed:", case.rule, case)
    for case, rule in result.alarms:
        print("false alarm:", rule, case)
    print(f"{PAGE}: {result.healthy} healthy runs, {result.total.total() + result.hard.total()} broken ones")
