def reconstructed(wildcards):
    """Whether the method repairs the pruned network before it is trained on."""
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
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 180 * attempt,
    params:
        settings=settings_of("reconstruct"),
        code=digest("reconstruct.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/reconstruct.py --input data={input.data:q} --input teacher={input.teacher:q} --input pruned={input.pruned:q}"
        " --output checkpoint={output.checkpoint:q} --output history={output.history:q} --output record={output.record:q}"
        " --settings {params.settings:q} --method {wildcards.method}" + JOB
