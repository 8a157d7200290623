rule qat:
    """The fine-tuned network trained under quantization, as integers (the paper's Table IX)."""
    input:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
        checkpoint=f"{RESULTS}/finetune/{CELL}/{{method}}/model.safetensors",
    output:
        weights=f"{RESULTS}/quantize/{CELL}/{{method}}/{{scheme}}/weights.safetensors",
        history=f"{RESULTS}/quantize/{CELL}/{{method}}/{{scheme}}/history.csv",
        record=f"{RESULTS}/quantize/{CELL}/{{method}}/{{scheme}}/record.json",
    log:
        f"{LOGS}/quantize/{CELL}/{{method}}/{{scheme}}.log",
    benchmark:
        f"{BENCHMARKS}/quantize/{CELL}/{{method}}/{{scheme}}.tsv"
    threads: RUN.machine.threads
    resources:
        gpu=GPU,
        gpu_percent=gpu_percent("qat"),
        mem_mb=grow(6000),
        runtime=18 * 60,
    params:
        script="qat.py",
        files=files(),
        settings=settings_of("qat"),
        code=digest("qat.py"),
    message:
        "{rule}: quantize {wildcards.model} ({wildcards.method}) by {wildcards.scheme} on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        WITH_SETTINGS
