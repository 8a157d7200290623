rule pretrain:
    """A dense network from new weights (the paper's Table VII)."""
    input:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
    output:
        checkpoint=f"{RESULTS}/pretrain/{CELL}/model.safetensors",
        history=f"{RESULTS}/pretrain/{CELL}/history.csv",
        record=f"{RESULTS}/pretrain/{CELL}/record.json",
    log:
        f"{LOGS}/pretrain/{CELL}.log",
    benchmark:
        f"{BENCHMARKS}/pretrain/{CELL}.tsv"
    threads: RUN.machine.threads
    resources:
        gpu=GPU,
        gpu_percent=gpu_percent("pretrain"),
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=18 * 60,
    params:
        settings=settings_of("pretrain"),
        code=digest("pretrain.py"),
    shell:
        "{PYTHON} {SCRIPTS}/pretrain.py --data {input.data} --checkpoint {output.checkpoint}"
        " --history {output.history} --record {output.record} --settings {params.settings:q}"
        + JOB
