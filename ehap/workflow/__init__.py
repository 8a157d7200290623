"""What rules and scripts need. `cells` and `digest` run while Snakemake parses and import no torch."""
