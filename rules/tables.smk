TABLES = (
    "pruned_accuracy",
    "trace_cost",
    "quantized_accuracy",
    "sizes",
    "comparison",
    "paired",
    "overview",
)
# Of stages that not every run has; in a folder of their own, since DVC wants each output that it is told of to exist.
FURTHER = (
    *(("training_free",) if RUN.reconstructed() else ()),
    *(("deployment",) if RUN.deployed() else ()),
    *(("latency",) if RUN.timed() else ()),
    *(("precisions",) if len(GRID.schemes) > 1 else ()),
)
FURTHER_PICTURES = (
    *(("training_free",) if RUN.reconstructed() else ()),
    *(("training_free_images",) if len(RUN.repair_images()) > 1 else ()),
    *(("precisions",) if len(GRID.schemes) > 1 else ()),
)


def shown(file, category):
    """A file below the run's results that `make snakemake-report` shows, with the caption of its name."""
    name = Path(file).stem
    return report(
        f"{RESULTS}/{file}",
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
        csv=[shown(f"tables/{name}.csv", "Tables") for name in (*TABLES, "settings")],
        markdown=[f"{RESULTS}/tables/{name}.md" for name in TABLES],
        picture=shown("tables/accuracy_by_size.svg", "Pictures"),
        further=[shown(f"further/{name}.csv", "Tables") for name in FURTHER],
        further_markdown=[f"{RESULTS}/further/{name}.md" for name in FURTHER],
        further_pictures=[
            shown(f"further/{name}.svg", "Pictures") for name in FURTHER_PICTURES
        ],
        summary=f"{RESULTS}/tables/summary.json",
        sources=f"{RESULTS}/tables/sources.json",
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
        files=lambda wildcards, output: given("output", **dict(output.items())),
        code=digest("tables.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/tables.py --option results={params.results:q} --input paper={input.paper:q}"
        " --input paper_settings={input.paper_settings:q} --settings {params.settings:q}"
        " {params.files}" + NOTED
