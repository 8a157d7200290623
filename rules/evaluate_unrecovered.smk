rule evaluate_unrecovered:
    """Accuracy right after pruning, and after BatchNorm has been recalibrated."""
    input:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
        pruned=f"{RESULTS}/prune/{CELL}/{{method}}/model.safetensors",
    output:
        record=f"{RESULTS}/evaluate_unrecovered/{CELL}/{{method}}/record.json",
    log:
        f"{LOGS}/evaluate_unrecovered/{CELL}/{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_unrecovered/{CELL}/{{method}}.tsv"
    threads: RUN.machine.threads
    resources:
        gpu=GPU,
        gpu_percent=gpu_percent("evaluate"),
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 40 * attempt,
    params:
        code=digest("evaluate_unrecovered.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/evaluate_unrecovered.py --input data={input.data:q} --input pruned={input.pruned:q} --output record={output.record:q}"
        " --method {wildcards.method}" + JOB
