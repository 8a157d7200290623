TABLES = (
    "pruned_accuracy",
    "trace_cost",
    "quantized_accuracy",
    "sizes",
    "comparison",
    "overview",
    *(("training_free",) if RUN.reconstructed() else ()),
    *(("deployment",) if RUN.deployed() else ()),
)
PICTURES = ("accuracy_by_size",) + (
    ("training_free", "training_free_images") if RUN.reconstructed() else ()
)


def shown(file, category):
    """A file among the tables that `make report` shows, with the caption of its name."""
    name = Path(file).stem
    return report(
        f"{RESULTS}/tables/{file}",
        caption=f"report/{name}.rst",
        category=category,
        labels={"shows": name},
    )


rule tables:
    """Every table of the paper from the records of the run."""
    input:
        records=record_paths(Path(RESULTS), RUN.tables()),
        paper=local("config/paper_results.csv"),
        paper_settings=local("config/paper_settings.csv"),
    output:
        csv=[shown(f"{name}.csv", "Tables") for name in (*TABLES, "settings")],
        markdown=[f"{RESULTS}/tables/{name}.md" for name in TABLES],
        pictures=[shown(f"{name}.svg", "Pictures") for name in PICTURES],
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
