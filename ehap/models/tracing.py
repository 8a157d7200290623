"""The forward pass of a network as an fx graph that does what the network does."""

import operator

from torch import fx, nn


class _Proxy(fx.Proxy):
    def __iadd__(self, other: object) -> fx.Proxy:
        added: fx.Proxy = self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})
        return added


class Tracer(fx.Tracer):
    """Sees ``x += y``, which overwrites x, as what it is: torch's own takes it for x + y."""

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Return what stands for a node's result in the forward pass."""
        return _Proxy(node, self)


def traced(model: nn.Module, tracer: fx.Tracer | None = None) -> fx.GraphModule:
    """Return the model's forward pass over the model's own modules, in eval or train mode as they are.

    Args:
        model: Without branches on values; torch.fx raises what it does otherwise.
        tracer: Which modules are one operation; where left out, those of torch.nn.
    """
    return fx.GraphModule(model, (tracer or Tracer()).trace(model), type(model).__name__)
