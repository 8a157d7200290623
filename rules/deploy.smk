rule deploy:
    """The quantized network as an ONNX file, executed with integer kernels on the test set."""
    input:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
        weights=f"{RESULTS}/quantize/{CELL}/{{method}}/{{scheme}}/weights.safetensors",
        training=f"{RESULTS}/quantize/{CELL}/{{method}}/{{scheme}}/record.json",
    output:
        onnx=f"{RESULTS}/deploy/{CELL}/{{method}}/{{scheme}}/model.onnx",
        record=f"{RESULTS}/deploy/{CELL}/{{method}}/{{scheme}}/record.json",
    log:
        f"{LOGS}/deploy/{CELL}/{{method}}/{{scheme}}.log",
    benchmark:
        f"{BENCHMARKS}/deploy/{CELL}/{{method}}/{{scheme}}.tsv"
    threads: RUN.machine.threads
    resources:
        gpu=0,
        gpu_percent=0,
        mem_mb=grow(4000),
        runtime=grow(60),
    params:
        script="deploy.py",
        files=files(),
        settings=settings_of("deploy"),
        code=digest("deploy.py"),
    message:
        "{rule}: export {wildcards.model} ({wildcards.method}, {wildcards.scheme}) on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        WITH_SETTINGS


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
        mem_mb=grow(4000),
        runtime=grow(30),
    params:
        script="deploy_dense.py",
        files=files(),
        code=digest("deploy_dense.py"),
    message:
        "{rule}: export the dense {wildcards.model} on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        JOB
