def timing_threads(wildcards):
    """All cores of a run on one machine, so that no other job of it disturbs the clock; of a cluster, those of a call.

    The cores of the machine that submits a job say nothing about the one that it runs on.
    """
    if workflow.local_exec:
        return workflow.resource_settings.cores or 1
    settings = RUN.latency(wildcards.dataset, wildcards.model)
    return max(settings.threads, RUN.machine.threads)


rule deploy_dense:
    """The dense network as ONNX files, beside which every pruned one of its cell is timed."""
    input:
        checkpoint=f"{RESULTS}/pretrain/{CELL}/model.safetensors",
    output:
        fp32=f"{RESULTS}/deploy/{CELL}/{DENSE}/fp32.onnx",
        int8=f"{RESULTS}/deploy/{CELL}/{DENSE}/int8.onnx",
        sources=f"{RESULTS}/deploy/{CELL}/{DENSE}/sources.json",
    log:
        f"{LOGS}/deploy/{CELL}/{DENSE}.log",
    benchmark:
        f"{BENCHMARKS}/deploy/{CELL}/{DENSE}.tsv"
    threads: RUN.machine.threads
    resources:
        gpu=0,
        gpu_percent=0,
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        code=digest("deploy_dense.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/deploy_dense.py --input checkpoint={input.checkpoint:q}"
        " --output fp32={output.fp32:q} --output int8={output.int8:q} --output sources={output.sources:q}"
        + JOB


rule latency:
    """Dense and pruned, FP32 and INT8, timed in turns in ONNX Runtime."""
    input:
        dense_fp32=f"{RESULTS}/deploy/{CELL}/{DENSE}/fp32.onnx",
        dense_int8=f"{RESULTS}/deploy/{CELL}/{DENSE}/int8.onnx",
        checkpoint=f"{RESULTS}/finetune/{CELL}/{{method}}/model.safetensors",
        onnx=f"{RESULTS}/deploy/{CELL}/{{method}}/{{scheme}}/model.onnx",
        deployed=f"{RESULTS}/deploy/{CELL}/{{method}}/{{scheme}}/record.json",
    output:
        record=f"{RESULTS}/latency/{CELL}/{{method}}/{{scheme}}/record.json",
    log:
        f"{LOGS}/latency/{CELL}/{{method}}/{{scheme}}.log",
    benchmark:
        f"{BENCHMARKS}/latency/{CELL}/{{method}}/{{scheme}}.tsv"
    threads: timing_threads
    resources:
        gpu=0,
        gpu_percent=0,
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        settings=settings_of("latency"),
        code=digest("latency.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/latency.py --input dense_fp32={input.dense_fp32:q} --input dense_int8={input.dense_int8:q}"
        " --input checkpoint={input.checkpoint:q} --input onnx={input.onnx:q} --input deployed={input.deployed:q} --output record={output.record:q}"
        " --settings {params.settings:q} --method {wildcards.method} --scheme {wildcards.scheme}"
        + JOB
