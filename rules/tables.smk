TABLES = (
    "pruned_accuracy",
    "trace_cost",
    "quantized_accuracy",
    "sizes",
    "comparison",
    "paired",
    "overview",
)
# Tables of stages that not every run has. They have a folder of their own: DVC needs every declared output to exist.
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


# Every table of the paper from the records of the run. The script finds the records: a grid has too many for a command.
use rule curves as tables with:
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
    params:
        script="tables.py",
        files=files(
            leave_out=("records",),
            results=lambda wildcards, output: Path(output.summary).parents[1],
        ),
        settings=settings_of("tables"),
        code=digest("tables.py"),
    message:
        "{rule}: make the tables of the run"
