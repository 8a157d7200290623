"""The quantities of records, and the names under which tables and the page show them."""

QUANTITIES = {
    "accuracy": "accuracy, last epoch",
    "best_accuracy": "accuracy, best epoch (the paper's protocol)",
    "parameters_kept": "parameters kept",
    "flops_kept": "FLOPs kept",
    "file_size": "file as deployed",
    "published_size": "file as the paper counts",
    "flops": "FLOPs",
    "trace_time": "time for the traces",
    "time_per_sample": "time for one sample",
    "quantization_change": "change since fine-tuning",
}
"""Those that have another name than their own."""


def quantity_name(quantity: str) -> str:
    """Return the name under which a quantity is shown."""
    return QUANTITIES.get(quantity, quantity.replace("_", " "))
