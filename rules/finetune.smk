rule finetune:
    """The pruned network trained on (the paper's Table VIII)."""
    input:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
        pruned=f"{RESULTS}/prune/{CELL}/{{method}}/model.safetensors",
    output:
        checkpoint=f"{RESULTS}/finetune/{CELL}/{{method}}/model.safetensors",
        history=f"{RESULTS}/finetune/{CELL}/{{method}}/history.csv",
        record=f"{RESULTS}/finetune/{CELL}/{{method}}/record.json",
    log:
        f"{LOGS}/finetune/{CELL}/{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/finetune/{CELL}/{{method}}.tsv"
    threads: RUN.machine.threads
    resources:
        gpu=GPU,
        gpu_percent=gpu_percent("finetune"),
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=24 * 60,
    params:
        settings=settings_of("finetune"),
        code=digest("finetune.py"),
    shell:
        "{PYTHON} {SCRIPTS}/finetune.py --data {input.data} --pruned {input.pruned} --checkpoint {output.checkpoint}"
        " --history {output.history} --record {output.record} --settings {params.settings:q} --method {wildcards.method}"
        + JOB
