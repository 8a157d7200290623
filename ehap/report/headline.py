"""The first screen: one network dense, pruned and in integers, and reasons to trust the numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from ehap.report.material import Material
from ehap.report.networks import Network, against, best_first, dense_of
from ehap.report.sentence import sentence, times_smaller
from ehap.report.text import number
from ehap.report.tiles import Stop, Tile, latency
from ehap.results.format import cell_name, duration
from ehap.settings.names import DENSE

MOST_APART = 0.1  # points between an engine's accuracy and the simulated one, or one image


@dataclass(frozen=True)
class Headline:
    """Statements about one method of one network. name: The method; with its device, if there are several."""

    dataset: str
    model: str
    method: str
    device: str
    name: str
    sentence: str
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Fact:
    """A reason to trust the page, or not to. good: None where it is neither."""

    text: str
    good: bool | None = None


def headlines(material: Material, found: Sequence[Network]) -> list[Headline]:
    """Return the tiles of every pruned network, grouped by dataset and model; the best of each group first.

    Where nothing is pruned yet, return the tiles of the dense networks.
    """
    cells = list(dict.fromkeys((network.dataset, network.model) for network in found))
    pruned = [network for network in found if network.method != DENSE]
    if not pruned:
        return [_headline(material, network, network) for network in found]
    ordered = [
        network for cell in cells for network in best_first([one for one in pruned if (one.dataset, one.model) == cell])
    ]
    return [_headline(material, network, dense_of(found, network)) for network in ordered]


def _headline(material: Material, network: Network, dense: Network) -> Headline:
    method = "" if network.method == DENSE else network.method
    device = network.device if material.several_devices else ""
    return Headline(
        network.dataset,
        network.model,
        network.method,
        network.device,
        ", ".join(filter(None, [cell_name(network.dataset, network.model), method, device])),
        sentence(network, dense),
        [
            _accuracy(network, dense),
            _size("Parameters", "", dense.parameters, network.parameters, dense, network),
            _size("FLOPs an image", "flop", dense.flops, network.flops, dense, network),
            _file(network, dense),
            latency(material, network),
        ],
    )


def _accuracy(network: Network, dense: Network) -> Tile:
    stops: list[Stop] = []
    for label, value, spread, seeds, sources in (
        ("dense", dense.accuracy, dense.spread, dense.by_seed, dense.sources),
        ("pruned", network.accuracy, network.spread, network.by_seed, network.sources),
        ("INT8", network.int8_accuracy, network.int8_spread, network.int8_by_seed, network.int8_sources),
    ):
        change = against(seeds, dense.by_seed)
        said = ["" if isnan(spread) else f"± {number(spread, 'percent')}"]
        said += ["" if isnan(change) or not stops else number(change, "percentage points", sign=True)]
        stops.append(Stop(label, number(value, "percent"), ", ".join(filter(None, said)), sources))
    seeds_said = f"{network.n} seed{'' if network.n == 1 else 's'}"
    note = f"{seeds_said}, all test images; {_how(network, dense)}"
    if network.by_seed.keys() != dense.by_seed.keys():
        note += "; differences of the same seeds"
    return Tile("Accuracy", _of(network, stops), note)


def _how(network: Network, dense: Network) -> str:
    """Say after which training each network was tested."""
    without = "repaired without training" if network.repaired else "not fine-tuned"
    said = {"dense": "last epoch" if dense.trained else "weights as given"}
    if network.method != DENSE:
        said["pruned"] = "last epoch" if network.trained else without
    if network.scheme:
        said[f"INT8 ({network.scheme})"] = "last epoch" if network.int8_trained else "calibrated only"
    if len(set(said.values())) == 1:
        return next(iter(said.values())) + (f"; INT8 is {network.scheme}" if network.scheme else "")
    return "; ".join(f"{label}: {how}" for label, how in said.items())


def _size(title: str, unit: str, whole: float, left: float, dense: Network, network: Network) -> Tile:
    share = "" if isnan(left / whole) else f"{100 * left / whole:.1f} %"
    first = Stop("dense", number(whole, unit), "", dense.size_sources)
    return Tile(title, _of(network, [first, Stop("pruned", number(left, unit), share, network.size_sources)]))


def _file(network: Network, dense: Network) -> Tile:
    def stop(label: str, size: float, sources: tuple[int, ...]) -> Stop:
        return Stop(
            label, number(size, "bytes"), times_smaller(dense.file_size / size, "×"), () if isnan(size) else sources
        )

    first = Stop("dense", number(dense.file_size, "bytes"), "", dense.sources)
    rest = [
        stop("pruned", network.file_size, network.sources),
        stop("INT8", network.int8_file_size, network.int8_sources),
    ]
    note = f"float32 weights; INT8 ({network.scheme}): one byte a weight" if network.scheme else "float32 weights"
    return Tile("File as written", _of(network, [first, *rest]), note)


def _of(network: Network, stops: Sequence[Stop]) -> Sequence[Stop]:
    """Return the first stop only where nothing is pruned yet, and none without a number at the end."""
    if network.method == DENSE:
        return stops[:1]
    return stops[:-1] if stops[-1].label == "INT8" and not network.scheme else stops


def facts(material: Material, within: int, compared: int) -> list[Fact]:
    """Return reasons for and against trust in the numbers.

    Args:
        material: Material of the run.
        within: Number of the paper's values that ours agree with, given both spreads.
        compared: Number of values compared: same network and epochs as the paper, and several seeds.
    """
    missing, there = sum(map(len, material.missing.values())), len(material.records)
    seeds = material.seeds_there
    seconds = sum(float(record.get("duration_s", 0)) for _, record in material.records)
    complete = f"all {there} records are here" if not missing else f"{there} of {there + missing} records are here"
    found = [
        Fact(complete, not missing),
        Fact(f"seed{'s' if ',' in seeds else ''} {seeds}" if seeds else "no seed", None),
        Fact(f"{duration(seconds)} of computing", None),
    ]
    other = material.value("deploy", "mismatches")
    if len(other):
        images = material.value("prepare", "test_images")
        of = f" of {int(images.max()):,}" if len(images) else ""
        count = f"at most {int(other.max())}{of} answers differ" if other.max() else f"no answer{of} differs"
        said = f"integers run in ONNX Runtime: {count} from the simulation"
        engine, simulated = (material.value("deploy", f"{name}_accuracy").array for name in ("deployed", "simulated"))
        apart = abs(engine - simulated)
        image = 100 / float(images.min()) if len(images) else 0.0
        found.append(Fact(said, bool(apart.max() <= max(MOST_APART, 1.001 * image))))
    if compared:
        said = f"{within} of {compared} comparable accuracies are the paper's within the spreads"
        found.append(Fact(said, True if within == compared else None))
    else:
        found.append(Fact("no accuracy is comparable with the paper's"))
    return found
