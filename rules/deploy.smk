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
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        settings=settings_of("deploy"),
        code=digest("deploy.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/deploy.py --input data={input.data:q} --input weights={input.weights:q} --input training={input.training:q}"
        " --output onnx={output.onnx:q} --output record={output.record:q} --settings {params.settings:q}"
        " --method {wildcards.method} --scheme {wildcards.scheme}" + JOB
