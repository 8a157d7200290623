def weights_of(wildcards):
    """The file with the dense network's first weights, if they are not new ones."""
    settings = RUN.pretrain(wildcards.dataset, wildcards.model)
    return settings.file(wildcards.dataset, wildcards.model, int(wildcards.seed)) or []


rule pretrain:
    """A dense network, from new weights (the paper's Table VII) or from given ones."""
    input:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
        weights=weights_of,
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
        mem_mb=grow(6000),
        runtime=18 * 60,
    params:
        script="pretrain.py",
        files=files(),
        settings=settings_of("pretrain"),
        code=digest("pretrain.py"),
    message:
        "{rule}: train the dense {wildcards.model} on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        WITH_SETTINGS
