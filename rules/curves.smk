def order_of(*names):
    """The order in which pictures show the networks of a cell: another one is another picture."""
    return canonical({name: getattr(GRID, name) for name in names})


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
        sources=f"{RESULTS}/curves/{CELL}/learning_curves.sources.json",
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
        settings=order_of("methods", "schemes"),
        files=lambda wildcards, input: given("input", **dict(input.items())),
        code=digest("curves.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/curves.py {params.files} --output picture={output.picture:q} --output sources={output.sources:q}"
        " --settings {params.settings:q}" + HERE


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
        sources=f"{RESULTS}/curves/{CELL}/kept_shares.sources.json",
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
        settings=order_of("methods"),
        files=lambda wildcards, input: given("input", **dict(input.items())),
        code=digest("shapes.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/shapes.py {params.files} --output picture={output.picture:q}"
        " --output sources={output.sources:q} --settings {params.settings:q}" + HERE
