# The page prints commands that make more of this run. Their options are no params: another spelling of the same
# configuration, or another machine, reruns nothing.
OPTIONS = command_options(
    workflow.config_settings.configfiles, workflow.config_settings.config
)


# The page of results, as one file that needs nothing else. The script finds the records, histories and plans.
use rule curves as report with:
    input:
        files=page_files(Path(RESULTS), RUN.tables()),
        paper=local("config/paper_results.csv"),
        paper_settings=local("config/paper_settings.csv"),
        benchmarks=[
            local(str(path))
            for kind in ("trace", "latency")
            for path in sorted(Path("measurements").glob(f"*/bench_{kind}*.csv"))
        ],
        assets=[
            local(f"ehap/report/assets/{name}")
            for name in ("page.css", "page.html", "page.js")
        ],
    output:
        page=f"{RESULTS}/report/index.html",
        sources=f"{RESULTS}/report/sources.json",
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    params:
        script="report.py",
        files=files(
            leave_out=("files",),
            results=lambda wildcards, output: Path(output.page).parents[1],
            measurements="measurements",
            options=OPTIONS,
        ),
        settings=settings_of("tables"),
        code=digest("report.py"),
    message:
        "{rule}: make the page of results"
