"""Scores of channels from the Hessian and from first derivatives."""

from ehap.curvature.partial import Partial
from ehap.curvature.traces import ChannelTraces, channel_scores, channel_traces, merged_traces, partial_traces

__all__ = ["ChannelTraces", "Partial", "channel_scores", "channel_traces", "merged_traces", "partial_traces"]
