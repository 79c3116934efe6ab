"""Each rule told once: as a warning on the line that called the loss, or to a function of the caller's."""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable, Iterable

import torch.distributed as dist

from losscope.errors import LosscopeWarning
from losscope.linting import Finding, Severity

OnFinding = Callable[[Finding], object]
_NUMBERS = itertools.count()


class FindingWarning(LosscopeWarning):
    """A finding of :func:`losscope.watch`; ``finding`` is the whole of it."""

    def __init__(self, finding: Finding, call: int) -> None:
        super().__init__(finding, call)
        self.finding = finding
        self.call = call

    def __str__(self) -> str:
        rank = f" on rank {dist.get_rank()}" if _many_ranks() else ""
        return f"{self.finding}\n  seen at call {self.call:,} of this loss{rank}; losscope tells each rule once"


_SERIOUS = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2}


class Teller:
    """What was told already, and how to tell: each rule once, and again where it is more serious.

    Every rank looks at its own batch. The ranks share a counter for each rule, so the first that finds something
    tells it and the others stay silent: no rank waits for another.
    """

    def __init__(self, on_finding: OnFinding | None) -> None:
        self.on_finding = on_finding
        self.told: dict[str, int] = {}
        self._number = next(_NUMBERS)  # the same on every rank, which make their watches in one order

    def tell(self, findings: Iterable[Finding], call: int) -> None:
        """Tell the rules that are new; what is only worth knowing goes to ``on_finding`` alone."""
        for finding in findings:
            serious = _SERIOUS[finding.severity]
            if serious <= self.told.get(finding.rule, -1):
                continue
            self.told[finding.rule] = serious
            if not _first_of_all_ranks(f"losscope/watch/{self._number}/{finding.rule}/{serious}"):
                continue
            if self.on_finding is not None:
                self.on_finding(finding)
            elif finding.severity is not Severity.INFO:
                warnings.warn(FindingWarning(finding, call), stacklevel=_callers_level())

    def failed(self, error: Exception, call: int) -> None:
        """The check itself raised; said once."""
        if "" not in self.told:
            self.told[""] = 0
            text = f"losscope could not check call {call:,} of this loss, and training goes on: {error!r}"
            warnings.warn(LosscopeWarning(text), stacklevel=_callers_level())


def _many_ranks() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _first_of_all_ranks(key: str) -> bool:
    """One round trip to the store that the ranks met in, and only when something was found."""
    if not _many_ranks():
        return True
    store = dist.distributed_c10d._get_default_store()
    return int(store.add(key, 1)) == 1


def _callers_level() -> int:
    """How many frames above ``tell`` the first one is that is neither torch's nor ours: the line to change."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("losscope", "torch"):
        frame, level = frame.f_back, level + 1
    return level
