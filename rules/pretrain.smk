def weights_of(wildcards):
    """The file that the dense network starts from, where it has no new weights."""
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
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=18 * 60,
    params:
        settings=settings_of("pretrain"),
        weights=lambda wildcards, input: (given("input", weights=input.weights)),
        code=digest("pretrain.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/pretrain.py --input data={input.data:q} {params.weights} --output checkpoint={output.checkpoint:q}"
        " --output history={output.history:q} --output record={output.record:q} --settings {params.settings:q}"
        + JOB
