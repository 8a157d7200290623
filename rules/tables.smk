TABLES = (
    "pruned_accuracy",
    "trace_cost",
    "quantized_accuracy",
    "sizes",
    "comparison",
    "overview",
)


rule tables:
    """Every table of the paper from the records of the run."""
    input:
        records=record_paths(Path(RESULTS), RUN.tables()),
        paper=local("config/paper_results.csv"),
        paper_settings=local("config/paper_settings.csv"),
    output:
        csv=[f"{RESULTS}/tables/{name}.csv" for name in (*TABLES, "settings")],
        markdown=[f"{RESULTS}/tables/{name}.md" for name in TABLES],
        picture=f"{RESULTS}/tables/accuracy_by_size.svg",
        summary=f"{RESULTS}/tables/summary.json",
    log:
        f"{LOGS}/tables.log",
    benchmark:
        f"{BENCHMARKS}/tables.tsv"
    threads: 1
    resources:
        gpu=0,
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        results=lambda wildcards, output: Path(output.summary).parents[1],
        settings=settings_of("tables"),
        code=digest("tables.py"),
    shell:
        "{PYTHON} {SCRIPTS}/tables.py --results {params.results} --folder {params.results}/tables --paper {input.paper}"
        " --paper-settings {input.paper_settings} --settings {params.settings:q} --log {log}"
