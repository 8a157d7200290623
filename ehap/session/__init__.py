"""A short session on a machine with a GPU and torch, without Snakemake and DVC, in limited time."""
