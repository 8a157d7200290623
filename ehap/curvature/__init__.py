"""What the Hessian says about channels."""

from ehap.curvature.traces import ChannelTraces, channel_traces

__all__ = ["ChannelTraces", "channel_traces"]
