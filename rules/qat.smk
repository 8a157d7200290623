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
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=18 * 60,
    params:
        settings=settings_of("qat"),
        code=digest("qat.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/qat.py --input data={input.data:q} --input checkpoint={input.checkpoint:q} --output weights={output.weights:q}"
        " --output history={output.history:q} --output record={output.record:q} --settings {params.settings:q}"
        " --method {wildcards.method} --scheme {wildcards.scheme}" + JOB
