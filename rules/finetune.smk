def teacher_of(wildcards):
    """The dense network, if the method learns from it."""
    settings = RUN.finetune(wildcards.dataset, wildcards.model, wildcards.method)
    return (
        f"{RESULTS}/pretrain/{CELL.format(**wildcards)}/model.safetensors"
        if settings.distill
        else []
    )


rule finetune:
    """The pruned network after fine-tuning (the paper's Table VIII)."""
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
        mem_mb=grow(6000),
        runtime=18 * 60,
    params:
        script="finetune.py",
        files=files(),
        settings=settings_of("finetune"),
        code=digest("finetune.py"),
    message:
        "{rule}: train {wildcards.model} pruned by {wildcards.method} on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        WITH_SETTINGS
