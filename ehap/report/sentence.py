"""One sentence about a network: how much smaller than the dense one it is, and how much less accurate."""

from math import isnan

from ehap.report.networks import Network, against
from ehap.results.format import cell_name
from ehap.settings.names import DENSE

SHOWN = 0.05  # points or times: less is no difference at one decimal


def sentence(network: Network, dense: Network) -> str:
    """Return the sentence, about the INT8 form where there is one; of a dense network only its accuracy."""
    name = cell_name(network.dataset, network.model)
    if network.method == DENSE:
        return f"{name}: {network.accuracy:.1f} % accurate, nothing is pruned yet"
    form = f", INT8 ({network.scheme})" if network.scheme else ""
    size = network.int8_file_size if network.scheme else network.file_size
    accuracy = network.int8_by_seed if network.scheme else network.by_seed
    said = [f"file {times_smaller(dense.file_size / size)}", _accurate(against(accuracy, dense.by_seed))]
    if isnan(dense.file_size / size):
        said[0] = _fewer(dense.parameters / network.parameters)
    return f"{name}, {network.method}{form}: " + (", ".join(filter(None, said)) or "nothing to compare with yet")


def times_smaller(times: float, word: str = " times") -> str:
    """Return how many times as small a file is, e.g. ``12.8 times smaller``; nothing for NaN."""
    if isnan(times):
        return ""
    if abs(times - 1) < SHOWN:
        return "as large"
    return f"{times:.1f}{word} smaller" if times > 1 else f"{1 / times:.1f}{word} larger"


def _fewer(times: float) -> str:
    if isnan(times):
        return ""
    return "as many parameters" if abs(times - 1) < SHOWN else f"{times:.1f} times fewer parameters"


def _accurate(change: float) -> str:
    if isnan(change):
        return ""
    if abs(change) < SHOWN:
        return "as accurate"
    # Half away from zero: 1.25 becomes 1.3, as a reader of the tile expects.
    return f"{abs(change) + 1e-9:.1f} points {'more' if change > 0 else 'less'} accurate"
