rule evaluate_dense:
    """Accuracy and size of the network before pruning."""
    input:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
        weights=f"{RESULTS}/pretrain/{CELL}/model.safetensors",
        training=f"{RESULTS}/pretrain/{CELL}/record.json",
    output:
        record=f"{RESULTS}/evaluate/{CELL}/{DENSE}/record.json",
    log:
        f"{LOGS}/evaluate/{CELL}/{DENSE}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{CELL}/{DENSE}.tsv"
    threads: RUN.machine.threads
    resources:
        gpu=GPU,
        gpu_percent=gpu_percent("evaluate"),
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 40 * attempt,
    params:
        code=digest("evaluate.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/evaluate.py --input data={input.data:q} --input weights={input.weights:q}"
        " --input training={input.training:q} --output record={output.record:q}"
        " --method {DENSE}" + JOB


rule evaluate_pruned:
    """Accuracy and size of the pruned, fine-tuned network."""
    input:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
        weights=f"{RESULTS}/finetune/{CELL}/{{method}}/model.safetensors",
        training=f"{RESULTS}/finetune/{CELL}/{{method}}/record.json",
    output:
        record=f"{RESULTS}/evaluate/{CELL}/{{method}}/record.json",
    log:
        f"{LOGS}/evaluate/{CELL}/{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{CELL}/{{method}}.tsv"
    threads: RUN.machine.threads
    resources:
        gpu=GPU,
        gpu_percent=gpu_percent("evaluate"),
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 40 * attempt,
    params:
        code=digest("evaluate.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/evaluate.py --input data={input.data:q} --input weights={input.weights:q}"
        " --input training={input.training:q} --output record={output.record:q}"
        " --method {wildcards.method}" + JOB


rule evaluate_quantized:
    """Accuracy and size of the quantized network, from its packed integers."""
    input:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
        weights=f"{RESULTS}/quantize/{CELL}/{{method}}/{{scheme}}/weights.safetensors",
        training=f"{RESULTS}/quantize/{CELL}/{{method}}/{{scheme}}/record.json",
    output:
        record=f"{RESULTS}/evaluate/{CELL}/{{method}}/{{scheme}}/record.json",
    log:
        f"{LOGS}/evaluate/{CELL}/{{method}}/{{scheme}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{CELL}/{{method}}/{{scheme}}.tsv"
    threads: RUN.machine.threads
    resources:
        gpu=GPU,
        gpu_percent=gpu_percent("evaluate"),
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 40 * attempt,
    params:
        code=digest("evaluate.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/evaluate.py --input data={input.data:q} --input weights={input.weights:q}"
        " --input training={input.training:q} --output record={output.record:q}"
        " --method {wildcards.method} --scheme {wildcards.scheme}" + JOB
