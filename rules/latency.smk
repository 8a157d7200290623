def timing_threads(wildcards):
    """All cores of a run on one machine, so that no other job disturbs the clock; on a cluster, the cores of a call.

    The cores of the machine that submits a job say nothing about the one that it runs on.
    """
    if is_local(workflow):
        return cores(workflow)
    settings = RUN.settings("latency", dict(wildcards.items()))
    return max(settings.threads, RUN.machine.threads)


# Dense and pruned, FP32 and INT8, timed in turns in ONNX Runtime.
use rule deploy as latency with:
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
        mem_mb=grow(4000),
        runtime=grow(30),
    params:
        script="latency.py",
        settings=settings_of("latency"),
        code=digest("latency.py"),
    message:
        "{rule}: time {wildcards.model} ({wildcards.method}, {wildcards.scheme}) on {wildcards.dataset}, seed {wildcards.seed}"
