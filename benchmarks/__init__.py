"""Benchmarks: our training, traces, pruning and engines beside the usual ways and other libraries."""
