rule latency:
    """Dense and pruned, FP32 and INT8, timed in turns in ONNX Runtime."""
    input:
        dense=f"{RESULTS}/pretrain/{CELL}/model.safetensors",
        checkpoint=f"{RESULTS}/finetune/{CELL}/{{method}}/model.safetensors",
        onnx=f"{RESULTS}/deploy/{CELL}/{{method}}/{{scheme}}/model.onnx",
        deployed=f"{RESULTS}/deploy/{CELL}/{{method}}/{{scheme}}/record.json",
    output:
        record=f"{RESULTS}/latency/{CELL}/{{method}}/{{scheme}}/record.json",
    log:
        f"{LOGS}/latency/{CELL}/{{method}}/{{scheme}}.log",
    benchmark:
        f"{BENCHMARKS}/latency/{CELL}/{{method}}/{{scheme}}.tsv"
    # All cores that a run on this machine may use: no other job of it disturbs the clock.
    threads: workflow.resource_settings.cores or 1
    resources:
        gpu=0,
        gpu_percent=0,
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        settings=settings_of("latency"),
        code=digest("latency.py"),
    shell:
        "{PYTHON} {SCRIPTS}/latency.py --dense {input.dense} --checkpoint {input.checkpoint} --onnx {input.onnx}"
        " --deployed {input.deployed} --record {output.record}"
        " --settings {params.settings:q} --method {wildcards.method} --scheme {wildcards.scheme}"
        + JOB
