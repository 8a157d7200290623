"""A short session on a machine with a GPU, torch and little else: no Snakemake, no DVC, and a clock that runs."""
