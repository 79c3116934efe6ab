"""The report: one page, and the same numbers as JSON."""

from losscope.reporting.content import Report, build, measure, report
from losscope.reporting.data import Data, InMemory

__all__ = ["Data", "InMemory", "Report", "build", "measure", "report"]
