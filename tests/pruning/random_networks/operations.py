"""Lines of forward passes that pruning may refuse."""

OPERATIONS: dict[str, list[str]] = {
    "activation that does not keep 0": [
        *("$ = torch.sigmoid($)", "$ = $.sigmoid()", "$ = F.softplus($)", "$ = F.hardtanh($, 0.5, 1.0)"),
        *("$ = $.clamp(0.2, 1.0)", "$ = @nn.Sigmoid()($)", "$ = @nn.Softplus()($)", "$ = @nn.Hardtanh(0.5, 1.0)($)"),
        *("$ = @nn.Hardsigmoid()($)", "$ = @nn.Threshold(0.1, 0.5)($)", "$ = torch.exp($.clamp(max=1))"),
        *("$ = $.cos()", "$ = F.softmax($, 1)", "$ = @nn.Softmax(1)($)", "$ = F.threshold($, -0.1, 0.3)"),
    ],
    "activation that keeps 0, less common": [
        *("$ = @nn.PReLU()($)", "$ = @nn.Mish()($)", "$ = @nn.CELU()($)", "$ = F.selu($)", "$ = @nn.Softsign()($)"),
        *("$ = F.hardtanh($)", "$ = $.clamp(-1, 1)", "$ = $.abs()", "$ = torch.sin($)", "$ = @nn.PReLU(%C)($)"),
        *("$ = F.leaky_relu_($ + 0, 0.1)", "$ = @nn.RReLU()($)", "$ = $.clamp_min(0)", "$ = torch.maximum($, $ * 0.1)"),
    ],
    "arithmetic with numbers": [
        *("$ = $ + 0.5", "$ = 2.0 * $", "$ = $ / 3", "$ = $ - 0.1", "$ = -$", "$ = $ ** 2", "$ = torch.add($, 1)"),
        *("$ = torch.add($, $, alpha=2)", "$ = $.add($, alpha=0.5)", "$ = $ - $ * 0.5", "$ = $ * $", "$ = 1 - $"),
        *("$ = $ + torch.ones(1)", "$ = sum([$, $])", "$ = $.div(2).mul(3)"),
    ],
    "dropout by function": [
        *("$ = F.dropout($, 0.4, self.training)", "$ = F.dropout2d($, 0.4, training=self.training)"),
        *("$ = F.dropout($, 0.4, False)", "$ = F.dropout($, training=False)", "$ = @nn.AlphaDropout(0.3)($)"),
    ],
    "branch on self.training": [
        *("if self.training:\n    $ = $ * 2", "if not self.training:\n    $ = F.relu($)"),
        "$ = F.relu($) if self.training else F.leaky_relu($, 0.3)",
    ],
    "branch on grad mode": [
        *("if torch.is_grad_enabled():\n    $ = F.relu($)", "if not torch.is_grad_enabled():\n    $ = torch.tanh($)"),
        *("with torch.no_grad():\n    $ = F.relu($)", "if $.requires_grad:\n    $ = F.relu($)", "$ = $.detach()"),
        "with torch.set_grad_enabled(self.training):\n    $ = F.relu($)",
    ],
    "branch on shape": [
        *(
            "if $.shape[2] > 3:\n    $ = F.relu($)",
            "if $.size(1) == %C:\n    $ = F.relu($)",
            "if len($):\n    $ = F.relu($)",
        ),
        *("if $.dim() == 4:\n    $ = F.relu($)", "assert $.shape[1] == %C", "$ = $ / $.shape[1]", "$ = $ * $.size(1)"),
        *(
            "$ = F.interpolate($, size=$.shape[2:])",
            "n, c, h, w = $.shape\n$ = $.view(n, c, h, w)",
            "$ = $[:, : $.shape[1]]",
        ),
        "$ = F.adaptive_avg_pool2d($, $.shape[-2:])",
    ],
    "branch on values": [
        *("if $.mean() > 0:\n    $ = F.relu($)", "if float($.abs().max()) > 0.5:\n    $ = F.relu($)"),
        *(
            "if not bool($.isnan().any()):\n    $ = F.relu($)",
            "for _ in range(int($.abs().max() > 0)):\n    $ = F.relu($)",
        ),
    ],
    "in place by operators on an alias": [
        *(
            "y = $\n$ *= 2.0\n$ = $ + y",
            "y = $\n$ -= 0.5\n$ = $ + y",
            "y = $\n$ /= 2.0\n$ = $ + y",
            "y = $\n$ += 1\n$ = $ + y",
        ),
        *("y = $\n$ *= 2.0", "$ *= 2.0", "$ *= -1", "$ **= 2", "y = $\n$ **= 2\n$ = $ + y"),
    ],
    "in place by methods on an alias": [
        *(
            "y = $\n$.mul_(1.5)\n$ = $ + y",
            "y = $\n$.clamp_(min=-0.2)\n$ = $ + y",
            "$.mul_(2.0)",
            "$.clamp_(-0.5, 0.5)",
        ),
        *("y = $\n$.relu_()\n$ = $ + y", "y = $\nF.relu($, inplace=True)\n$ = y", "y = $.sub_(0.3)\n$ = $ + y"),
        *(
            "y = $.view($.size(0), -1)\ny.mul_(2)",
            "y = $[:, 0]\ny.mul_(2)",
            "$[:, 0] = 0.5",
            "$.data.mul_(2)",
            "$.zero_().add_(1)",
        ),
        *("y = $\ntorch.relu_($)\n$ = y", "y = $.flatten(1)\ny.relu_()", "y = torch.sigmoid_($)", "$.copy_(F.relu($))"),
        *(
            "y = $\n@nn.ReLU(inplace=True)($)\n$ = y + y",
            "y = $\n$ = F.leaky_relu_($, 0.1)\n$ = y + $",
            "F.hardtanh_($)",
        ),
    ],
    "selection of channels": [
        *(
            "$ = $[:, :]",
            "$ = $[:, [0]] + $",
            "$ = torch.cat([$[:, 1:], $[:, :1]], 1)",
            "$ = $.flip(1)",
            "$ = $.roll(1, 1)",
        ),
        *(
            "$ = sum($.chunk(1, 1))",
            "$ = $.mean(1, keepdim=True) + $",
            "$ = $ - $.mean(1, keepdim=True)",
            "$ = $[..., :]",
        ),
        *("$ = $.transpose(1, 2).transpose(1, 2)", "$ = $.permute(0, 2, 3, 1).permute(0, 3, 1, 2)", "$ = $.cumsum(1)"),
        *(
            "$ = $.unsqueeze(2).squeeze(2)",
            "$ = $.amax(1, keepdim=True) * $",
            "$ = F.normalize($, dim=1)",
            "$ = $.sort(1)[0]",
        ),
    ],
    "less common layers": [
        *(
            "$ = @nn.GroupNorm(1, %C)($)",
            "$ = @nn.InstanceNorm2d(%C, affine=True)($)",
            "$ = @nn.LocalResponseNorm(2)($)",
        ),
        *("$ = @nn.ZeroPad2d(1)($)", "$ = F.pad($, (1, 1, 1, 1))", "$ = @nn.AdaptiveMaxPool2d((%H, %W))($)"),
        *("$ = @nn.Upsample(scale_factor=1)($)", "$ = @nn.ConstantPad2d(1, 0.5)($)", "$ = F.instance_norm($)"),
        *("$ = @nn.ChannelShuffle(1)($)", "$ = @nn.LPPool2d(2, 1)($)", "$ = F.pad($, (1, 0, 0, 0), value=1.0)"),
        *("$ = F.max_pool2d($, 1, return_indices=True)[0]", "$ = @nn.BatchNorm2d(%C, affine=False)($)"),
        *("$ = @nn.ReflectionPad2d(1)($)", "$ = @nn.UpsamplingNearest2d(scale_factor=1)($)"),
    ],
    "Python in the forward pass": [
        *("try:\n    $ = F.relu($)\nexcept ValueError:\n    $ = $ * 0", "$ = nn.ReLU()($)", "$ = parts.activated($)"),
        *("$ = parts.wrapped($)", "$ = (lambda t: F.relu(t))($)", "$ = getattr(F, 'relu')($)", "$ = nn.Identity()($)"),
        *(
            "self.calls = getattr(self, 'calls', 0) + 1\n$ = F.relu($)",
            "self.last = $\n$ = F.relu(self.last)",
            "$ = nn.Dropout(0.0)($)",
        ),
        *(
            "self.calls = getattr(self, 'calls', 0) + 1\n$ = $ * self.calls",
            "$ = nn.Hardtanh(0.5, 1.0)($)",
            "$ = $.to($.device)",
        ),
        *(
            "$ = $.clone()",
            "$ = $.to(torch.float64)",
            "$ = $.float().double()",
            "$ = $ if $ is not None else 0",
            "$ = $.type_as($)",
        ),
        *(
            "$ = torch.utils.checkpoint.checkpoint(F.relu, $, use_reentrant=False)",
            "$ = torch.stack([$, $]).sum(0)",
            "$ = $.T.T",
        ),
        *("$ = torch.vmap(F.relu)($)", "$ = torch.where($ > 0, $, 0.1 * $)", "$ = $ * ($ > 0)", "$ = next(iter([$]))"),
        *(
            "$ = $.requires_grad_(False) if not $.requires_grad else $",
            "y = $.numpy() if False else $\n$ = y",
            "$ = $.real",
        ),
        *(
            "import math\n$ = $ * math.sqrt(2)",
            "$ = self.double()._modules and F.relu($)",
            "with torch.autocast('cpu', enabled=False):\n    $ = F.relu($)",
        ),
        *(
            "$ = torch.nn.utils.stateless.functional_call(nn.ReLU(), {}, ($,))",
            "$ = torch.ops.aten.relu($)",
            "$ = torch._C._nn.gelu($)",
        ),
    ],
}
"""Feature to lines of forward passes. ``$`` is the stream, ``@nn.X(...)`` a module, %C, %H and %W its shape."""

CONDITIONS = [
    *("torch.is_tensor($)", "isinstance($, torch.Tensor)", "type($) is torch.Tensor", "not hasattr($, 'node')"),
    *("not isinstance($, torch.fx.Proxy)", "not torch.fx._symbolic_trace.is_fx_tracing()", "hasattr($, 'storage')"),
    *("not hasattr($, 'tracer')", "$.__class__.__name__ == 'Tensor'", "not torch.jit.is_scripting()"),
    *("not torch.compiler.is_compiling()", "not getattr($, 'anything', False)", "isinstance($, nn.Parameter) is False"),
]
"""Conditions that hold while the network runs, and of which some do not hold while it is traced."""
