"""What the linter finds in the rows of a report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from losscope.linting import Finding, lint
from losscope.losses import Loss
from losscope.reporting.data import spread
from losscope.reporting.samples import finite
from losscope.summary.data import Data


def look(loss: Loss, data: Data) -> Iterable[Finding]:
    """The findings, the worst first: of all rows, or of blocks that are spread over them."""
    return lint(*spread(data), loss=loss)


def plain(finding: Finding) -> dict[str, Any]:
    """Ready for JSON."""
    evidence = {name: finite(v) if isinstance(v, float) else v for name, v in finding.evidence.items()}
    return {**finding.to_dict(), "evidence": evidence}
