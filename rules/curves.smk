def order_of(*names):
    """The order of the networks in the pictures of a cell; another order makes another picture."""
    return canonical({name: getattr(GRID, name) for name in names})


def of_cell(name):
    """A picture of a cell that `make snakemake-report` shows, with the caption of its name."""
    return report(
        f"{RESULTS}/curves/{CELL}/{name}.svg",
        caption=f"report/{name}.rst",
        category="Pictures",
        subcategory="{dataset}",
        labels={"shows": name, "model": "{model}", "seed": "{seed}"},
    )


rule curves:
    """One picture a cell: accuracy over the epochs, of the dense network and of every method's network."""
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
        picture=of_cell("learning_curves"),
        sources=f"{RESULTS}/curves/{CELL}/learning_curves.sources.json",
    log:
        f"{LOGS}/curves/{CELL}.log",
    benchmark:
        f"{BENCHMARKS}/curves/{CELL}.tsv"
    threads: 1
    resources:
        gpu=0,
        gpu_percent=0,
        mem_mb=grow(2000),
        runtime=grow(10),
    params:
        script="curves.py",
        files=files(),
        settings=order_of("methods", "schemes"),
        code=digest("curves.py"),
    message:
        "{rule}: draw the trainings of {wildcards.model} on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        WITH_SETTINGS


# One picture a cell: which share of every layer each method keeps.
use rule curves as shapes with:
    input:
        dense=f"{RESULTS}/pretrain/{CELL}/model.safetensors",
        plans=expand(
            f"{RESULTS}/prune/{CELL}/{{method}}/plan.json",
            method=GRID.methods,
            allow_missing=True,
        ),
    output:
        picture=of_cell("kept_shares"),
        sources=f"{RESULTS}/curves/{CELL}/kept_shares.sources.json",
    log:
        f"{LOGS}/shapes/{CELL}.log",
    benchmark:
        f"{BENCHMARKS}/shapes/{CELL}.tsv"
    params:
        script="shapes.py",
        settings=order_of("methods"),
        code=digest("shapes.py"),
    message:
        "{rule}: draw the shares that methods keep of {wildcards.model} on {wildcards.dataset}, seed {wildcards.seed}"
