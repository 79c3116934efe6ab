"""The report: one page, and the same numbers as JSON."""

from losscope.reporting.content import Report, build, report
from losscope.reporting.data import InMemory

__all__ = ["InMemory", "Report", "build", "report"]
