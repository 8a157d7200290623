"""Records and the paper's values to tables."""

from ehap.results.build import comparison, overview, pruned_accuracy, quantized_accuracy, settings_table, sizes, trace_cost
from ehap.results.collect import collect
from ehap.results.curves import accuracy_by_size, kept_shares, learning_curves
from ehap.results.deployment import deployed, deployed_markdown
from ehap.results.latency import timed, timed_markdown
from ehap.results.paired import paired, paired_markdown
from ehap.results.paper import paper_values
from ehap.results.precisions import accuracy_by_bytes, precisions, precisions_markdown
from ehap.results.render import comparison_markdown, markdown, overview_markdown
from ehap.results.repair import repair_by_images, repair_by_size, repaired, repaired_markdown, usual_images, usual_steps

__all__ = [
    "accuracy_by_bytes",
    "accuracy_by_size",
    "collect",
    "comparison",
    "comparison_markdown",
    "deployed",
    "deployed_markdown",
    "kept_shares",
    "learning_curves",
    "markdown",
    "overview",
    "overview_markdown",
    "paired",
    "paired_markdown",
    "paper_values",
    "precisions",
    "precisions_markdown",
    "pruned_accuracy",
    "quantized_accuracy",
    "repair_by_images",
    "repair_by_size",
    "repaired",
    "repaired_markdown",
    "settings_table",
    "sizes",
    "timed",
    "timed_markdown",
    "trace_cost",
    "usual_images",
    "usual_steps",
]
