def reconstructed(wildcards):
    """Whether the method repairs the pruned network before fine-tuning."""
    return RUN.reconstruct(wildcards.dataset, wildcards.model, wildcards.method).images


def start_of(wildcards):
    """The network that fine-tuning starts from."""
    stage = "reconstruct" if reconstructed(wildcards) else "prune"
    return f"{RESULTS}/{stage}/{CELL.format(**wildcards)}/{wildcards.method}/model.safetensors"


rule reconstruct:
    """The pruned network brought near to the dense one on some images, without labels."""
    input:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
        teacher=f"{RESULTS}/pretrain/{CELL}/model.safetensors",
        pruned=f"{RESULTS}/prune/{CELL}/{{method}}/model.safetensors",
    output:
        checkpoint=f"{RESULTS}/reconstruct/{CELL}/{{method}}/model.safetensors",
        history=f"{RESULTS}/reconstruct/{CELL}/{{method}}/history.csv",
        record=f"{RESULTS}/reconstruct/{CELL}/{{method}}/record.json",
    log:
        f"{LOGS}/reconstruct/{CELL}/{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/reconstruct/{CELL}/{{method}}.tsv"
    threads: RUN.machine.threads
    resources:
        gpu=GPU,
        gpu_percent=gpu_percent("reconstruct"),
        mem_mb=grow(8000),
        runtime=grow(180),
    params:
        script="reconstruct.py",
        files=files(),
        settings=settings_of("reconstruct"),
        code=digest("reconstruct.py"),
    message:
        "{rule}: repair {wildcards.model} pruned by {wildcards.method} on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        WITH_SETTINGS
