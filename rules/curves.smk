# Snakemake does not see in which order a job has its inputs, but pictures are drawn in that order.
rule curves:
    """One picture a cell: how the accuracy of the dense network and of every method's network grew."""
    input:
        dense=f"{RESULTS}/pretrain/{CELL}/history.csv",
        finetuned=expand(
            f"{RESULTS}/finetune/{CELL}/{{method}}/history.csv",
            method=GRID.methods,
            allow_missing=True,
        ),
        quantized=expand(
            f"{RESULTS}/quantize/{CELL}/{{method}}/{{scheme}}/history.csv",
            method=GRID.methods,
            scheme=GRID.schemes,
            allow_missing=True,
        ),
    output:
        picture=report(
            f"{RESULTS}/curves/{CELL}/learning_curves.svg",
            caption="report/learning_curves.rst",
            category="Pictures",
            subcategory="{dataset}",
            labels={
                "shows": "learning_curves",
                "model": "{model}",
                "seed": "{seed}",
            },
        ),
    log:
        f"{LOGS}/curves/{CELL}.log",
    benchmark:
        f"{BENCHMARKS}/curves/{CELL}.tsv"
    threads: 1
    resources:
        gpu=0,
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        order=canonical({"methods": GRID.methods, "schemes": GRID.schemes}),
        code=digest("curves.py"),
    shell:
        "{PYTHON:q} {SCRIPTS:q}/curves.py --picture {output.picture:q} --log {log:q}"
        " --title '{wildcards.model} on {wildcards.dataset}, seed {wildcards.seed}' {input:q}"


rule shapes:
    """One picture a cell: which share of every layer each method keeps."""
    input:
        dense=f"{RESULTS}/pretrain/{CELL}/model.safetensors",
        plans=expand(
            f"{RESULTS}/prune/{CELL}/{{method}}/plan.json",
            method=GRID.methods,
            allow_missing=True,
        ),
    output:
        picture=report(
            f"{RESULTS}/curves/{CELL}/kept_shares.svg",
            caption="report/kept_shares.rst",
            category="Pictures",
            subcategory="{dataset}",
            labels={
                "shows": "kept_shares",
                "model": "{model}",
                "seed": "{seed}",
            },
        ),
    log:
        f"{LOGS}/shapes/{CELL}.log",
    benchmark:
        f"{BENCHMARKS}/shapes/{CELL}.tsv"
    threads: 1
    resources:
        gpu=0,
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        order=canonical({"methods": GRID.methods}),
        code=digest("shapes.py"),
    shell:
        "{PYTHON:q} {SCRIPTS:q}/shapes.py --dense {input.dense:q} --picture {output.picture:q} --log {log:q}"
        " --title '{wildcards.model} on {wildcards.dataset}, seed {wildcards.seed}' {input.plans:q}"
