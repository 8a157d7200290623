def traces_of(wildcards):
    """The traces that the method ranks by; none for criteria that need none."""
    curvature = RUN.curvature(wildcards.method)
    if curvature is None:
        return []
    return f"{RESULTS}/trace/{CELL.format(**wildcards)}/{curvature}/traces.safetensors"


def traces_arguments(wildcards, input):
    """Name the traces on the command line where the method has them."""
    return (
        f"--traces {input.traces} --curvature {RUN.curvature(wildcards.method)}"
        if input.traces
        else ""
    )


rule prune:
    """Channels ranked, a plan within the budget, and the smaller network."""
    input:
        checkpoint=f"{RESULTS}/pretrain/{CELL}/model.safetensors",
        traces=traces_of,
    output:
        plan=f"{RESULTS}/prune/{CELL}/{{method}}/plan.json",
        pruned=f"{RESULTS}/prune/{CELL}/{{method}}/model.safetensors",
        record=f"{RESULTS}/prune/{CELL}/{{method}}/record.json",
    log:
        f"{LOGS}/prune/{CELL}/{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/prune/{CELL}/{{method}}.tsv"
    threads: 1
    resources:
        gpu=0,
        gpu_percent=0,
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=60,
    params:
        settings=settings_of("prune"),
        traces=traces_arguments,
        code=digest("prune.py"),
    shell:
        "{PYTHON} {SCRIPTS}/prune.py --checkpoint {input.checkpoint} {params.traces} --plan {output.plan}"
        " --pruned {output.pruned} --record {output.record} --settings {params.settings:q}"
        " --method {wildcards.method}" + JOB
