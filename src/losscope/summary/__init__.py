"""What a pass over outputs and targets measures: mergeable, so it streams and distributes."""

from losscope.summary.metric import Summary, summarize
from losscope.summary.result import BinarySummary, CategoricalSummary, RegressionSummary, SummaryResult

__all__ = ["BinarySummary", "CategoricalSummary", "RegressionSummary", "Summary", "SummaryResult", "summarize"]
