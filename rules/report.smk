# The page prints commands that make more of this run. They are in its command line but not in its params: another
# spelling of the same configuration, or another machine, reruns nothing.
OPTIONS = command_options(
    workflow.config_settings.configfiles, workflow.config_settings.config
)


rule report:
    """The page of results, as one file that needs nothing else."""
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
    threads: 1
    resources:
        gpu=0,
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        results=RESULTS,
        settings=settings_of("tables"),
        files=lambda wildcards, input: given(
            "input", benchmarks=input.benchmarks, assets=input.assets
        ),
        code=digest("report.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/report.py --option results={params.results:q} --output page={output.page:q} --input paper={input.paper:q}"
        " --input paper_settings={input.paper_settings:q} --option measurements=measurements --settings {params.settings:q}"
        " {params.files} --output sources={output.sources:q} --option options={OPTIONS:q}"
        + NOTED
