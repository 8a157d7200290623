# Accuracy right after pruning, and after recalibration of BatchNorm.
use rule evaluate_dense as evaluate_unrecovered with:
    input:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
        pruned=f"{RESULTS}/prune/{CELL}/{{method}}/model.safetensors",
    output:
        record=f"{RESULTS}/evaluate_unrecovered/{CELL}/{{method}}/record.json",
    log:
        f"{LOGS}/evaluate_unrecovered/{CELL}/{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_unrecovered/{CELL}/{{method}}.tsv"
    params:
        script="evaluate_unrecovered.py",
        files=files(),
        code=digest("evaluate_unrecovered.py"),
    message:
        "{rule}: measure {wildcards.model} right after {wildcards.method} on {wildcards.dataset}, seed {wildcards.seed}"
