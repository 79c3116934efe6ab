"""What a pass over outputs and targets measures: mergeable, so it streams and distributes."""

from losscope.summary.metric import Summary
from losscope.summary.result import BinarySummary, CategoricalSummary, RegressionSummary, SummaryResult
from losscope.summary.streaming import summarize

__all__ = ["BinarySummary", "CategoricalSummary", "RegressionSummary", "Summary", "SummaryResult", "summarize"]
