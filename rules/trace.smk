rule trace:
    """The Hessian trace of every channel, shared by all methods that name the curvature."""
    input:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
        checkpoint=f"{RESULTS}/pretrain/{CELL}/model.safetensors",
    output:
        traces=f"{RESULTS}/trace/{CELL}/{{curvature}}/traces.safetensors",
        record=f"{RESULTS}/trace/{CELL}/{{curvature}}/record.json",
    log:
        f"{LOGS}/trace/{CELL}/{{curvature}}.log",
    benchmark:
        f"{BENCHMARKS}/trace/{CELL}/{{curvature}}.tsv"
    threads: RUN.machine.threads
    resources:
        gpu=GPU,
        gpu_percent=gpu_percent("trace"),
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=24 * 60,
    params:
        settings=settings_of("trace"),
        code=digest("trace.py"),
    shell:
        "{PYTHON} {SCRIPTS}/trace.py --data {input.data} --checkpoint {input.checkpoint} --traces {output.traces}"
        " --record {output.record} --settings {params.settings:q} --curvature {wildcards.curvature}"
        + JOB
