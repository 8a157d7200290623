"""Planning, digests and sharing for rules and scripts. `cells` and `digest` run while Snakemake parses: no torch."""
