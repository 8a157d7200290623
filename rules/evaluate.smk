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
        mem_mb=grow(4000),
        runtime=grow(40),
    params:
        script="evaluate.py",
        files=files(method=DENSE),
        code=digest("evaluate.py"),
    message:
        "{rule}: measure the dense {wildcards.model} on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        JOB


# Accuracy and size of the pruned, fine-tuned network.
use rule evaluate_dense as evaluate_pruned with:
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
    params:
        files=files(),
    message:
        "{rule}: measure {wildcards.model} pruned by {wildcards.method} on {wildcards.dataset}, seed {wildcards.seed}"


# Accuracy and size of the quantized network, from its packed integers.
use rule evaluate_dense as evaluate_quantized with:
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
    params:
        files=files(),
    message:
        "{rule}: measure {wildcards.model} ({wildcards.method}, {wildcards.scheme}) on {wildcards.dataset}, seed {wildcards.seed}"
