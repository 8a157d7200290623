def teacher_of(wildcards):
    """The dense network, where the method learns from it."""
    settings = RUN.finetune(wildcards.dataset, wildcards.model, wildcards.method)
    return (
        f"{RESULTS}/pretrain/{CELL.format(**wildcards)}/model.safetensors"
        if settings.distill
        else []
    )


rule finetune:
    """The pruned network trained on (the paper's Table VIII)."""
    input:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
        pruned=start_of,
        teacher=teacher_of,
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
        runtime=18 * 60,
    params:
        settings=settings_of("finetune"),
        teacher=lambda wildcards, input: (given("input", teacher=input.teacher)),
        code=digest("finetune.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/finetune.py --input data={input.data:q} --input pruned={input.pruned:q} {params.teacher} --output checkpoint={output.checkpoint:q}"
        " --output history={output.history:q} --output record={output.record:q} --settings {params.settings:q} --method {wildcards.method}"
        + JOB
