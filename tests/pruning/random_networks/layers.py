"""Convolutions, norms, activations and poolings that pruning takes."""

from tests.pruning.random_networks.builder import Builder

KERNELS = [  # keyword arguments, and what the side of a map shrinks by before the stride
    ("1", (0, 0)),
    ("3, padding=1", (0, 0)),
    ("5, padding=2", (0, 0)),
    ("3, padding=2, dilation=2", (0, 0)),
    ("(1, 3), padding=(0, 1)", (0, 0)),
]
SHRINKING = [("3", (2, 2)), ("2", (1, 1)), ("(2, 1)", (1, 0)), ("3, padding=2", (-2, -2)), ("4, padding=1", (1, 1))]
MODULES = ["ReLU", "ReLU6", "Hardtanh", "LeakyReLU", "ELU", "GELU", "SiLU", "Hardswish", "Tanh"]
INPLACE = ["ReLU", "ReLU6", "Hardtanh", "LeakyReLU", "ELU", "SiLU", "Hardswish"]
FUNCTIONS = [
    *("torch.relu($)", "$.relu()", "torch.tanh($)", "$.tanh()", "F.relu($)", "F.relu6($)", "F.leaky_relu($, 0.2)"),
    *("F.elu($)", "F.gelu($)", "F.silu($)", "F.hardswish($)", "F.relu(input=$)"),
]
INPLACE_FUNCTIONS = ["F.relu($, inplace=True)", "$.relu_()", "torch.relu_($)", "F.relu($, True)"]


def conv(b: Builder, channels: int, stride: int = 1, same: bool = True, bias: bool | None = None) -> str:
    """Add a convolution; ``same`` keeps the size of maps but for the stride. Return its name."""
    least = min(b.value.size)
    kernel, less = b.choose(KERNELS if same or least < 4 else KERNELS + SHRINKING)
    if "dilation" in kernel:
        b.note("dilation")
    if "(" in kernel:
        b.note("kernel with two sides")
    extra = f", stride={stride}" if stride > 1 else ""
    if stride > 1:
        b.note("stride above 1")
    elif same and kernel != "1" and b.chance(8):
        kernel = kernel.split(", padding")[0] + ", padding='same'"
        b.note("padding by a word")
    if "padding" in kernel and least > 3 and not b.simple and b.chance(12):
        extra += f", padding_mode={b.choose(['circular', 'reflect', 'replicate'])!r}"
        b.note("padding mode")
    bias = b.chance(50) if bias is None else bias
    b.note("convolution with bias" if bias else "convolution without bias")
    name = b.module(
        "conv", f"nn.Conv2d({b.value.channels}, {channels}, {kernel}{extra}{'' if bias else ', bias=False'})"
    )
    b.line(f"$ = self.{name}($)")
    size = tuple((side - by - 1) // stride + 1 for side, by in zip(b.value.size, less, strict=True))
    b.maps(channels, size, frozenset({b.path(name)}), b.path(name))
    return name


def grouped(b: Builder, groups: int, stride: int = 1) -> None:
    """Add a convolution in groups of several channels, all of which stay."""
    width = b.value.channels
    name = b.module("grouped", f"nn.Conv2d({width}, {width}, 3, padding=1, stride={stride}, groups={groups})")
    b.line(f"$ = self.{name}($)")
    size = tuple((side - 1) // stride + 1 for side in b.value.size)
    b.maps(width, size, frozenset({b.path(name)}), b.path(name))


def depthwise(b: Builder, stride: int = 1) -> None:
    """Add a convolution of each channel by itself."""
    width, bias = b.value.channels, b.chance(50)
    b.note("depthwise convolution with bias" if bias else "depthwise convolution without bias")
    options = f"stride={stride}, groups={width}, bias={bias}"
    name = b.module("depthwise", f"nn.Conv2d({width}, {width}, 3, padding=1, {options})")
    b.read_by(b.path(name))
    b.line(f"$ = self.{name}($)")
    size = tuple((side - 1) // stride + 1 for side in b.value.size)
    b.maps(width, size, b.value.writers, b.path(name))


def norm(b: Builder, expression: str = "") -> str:
    """Add a BatchNorm. Return its name."""
    if b.simple and not expression:
        if not b.alone:
            return ""
        expression = f"nn.BatchNorm2d({b.value.channels})"
    if not expression:
        options = ""
        if b.chance(8):
            options, b.features = ", track_running_stats=False", b.features | {"BatchNorm without running statistics"}
        elif b.chance(10):
            options, b.features = ", eps=0.1, momentum=None", b.features | {"BatchNorm with options"}
        expression = f"nn.BatchNorm2d({b.value.channels}{options})"
    name = b.module("norm", expression)
    path = b.path(name)
    if b.alone and "track" not in expression:
        b.norms[b.alone] = path
    b.read_by(path)
    b.line(f"$ = self.{name}($)")
    b.same()
    return name


def activation(b: Builder) -> None:
    """Add an activation that keeps 0, in place where nothing else holds the stream."""
    kind = b.choose(
        ["module", "function", "module in place", "function in place"] if b.fresh else ["module", "function"]
    )
    b.note(f"activation: {kind}")
    if kind.startswith("module"):
        place = "inplace=True" if "place" in kind else ""
        known = [
            line.split()[0] for line in b.scope.layers if "self.act" in line and ("inplace" in line) == bool(place)
        ]
        if known and b.chance(60):
            b.line(f"$ = {b.choose(known)}($)")
            b.note("an activation module that is called twice")
        else:
            title = "ReLU" if b.simple else b.choose(INPLACE if place else MODULES)
            name = b.module("act", f"nn.{title}({place})")
            b.line(f"$ = self.{name}($)")
    else:
        plain = ["F.relu($)", "torch.relu($)", "$.relu()"] if b.simple else FUNCTIONS
        b.line(f"$ = {b.choose(INPLACE_FUNCTIONS if 'place' in kind else plain)}")
    b.same()


def pool(b: Builder) -> None:
    """Add a pooling over windows."""
    least = min(b.value.size)
    if least < 3:
        return
    what = b.choose(["max", "average"])
    window, stride = b.choose([(2, 2), (3, 2), (3, 1), (2, 1)])
    padding = window // 2 if b.chance(40) else 0
    ceil = b.chance(40)
    options = f"{window}, {stride}, {padding}, ceil_mode={ceil}"
    if what == "average" and b.chance(60):
        options += b.choose([", count_include_pad=False", ", divisor_override=3"])
        b.note("average pooling with options")
    if padding:
        b.note("pooling with padding")
    if ceil:
        b.note("pooling with ceil_mode")
    form = b.choose(["module", "function"])
    b.note(f"{what} pooling, {form}")
    if form == "module":
        name = b.module("pool", f"nn.{'Max' if what == 'max' else 'Avg'}Pool2d({options})")
        b.line(f"$ = self.{name}($)")
    else:
        b.line(f"$ = F.{'max' if what == 'max' else 'avg'}_pool2d($, {options})")
    size = tuple(_pooled(side, window, stride, padding, ceil) for side in b.value.size)
    b.maps(b.value.channels, size, b.value.writers)


def _pooled(side: int, window: int, stride: int, padding: int, ceil: bool) -> int:
    """Return the side of a pooled map: the last window begins inside the map or its left padding."""
    count = (side + 2 * padding - window + (stride - 1 if ceil else 0)) // stride + 1
    return count - 1 if ceil and (count - 1) * stride >= side + padding else count
