def prune_settings(wildcards):
    """What the method's prune script takes: how traces are computed, too, where it computes them anew."""
    names = wildcards.dataset, wildcards.model, wildcards.method
    settings = RUN.rounds(*names) if in_rounds(wildcards) else RUN.prune(*names)
    return canonical(asdict(settings))


def in_rounds(wildcards):
    return RUN.prune(wildcards.dataset, wildcards.model, wildcards.method).rounds > 1


def prune_script(wildcards):
    """Only pruning in rounds depends on the code of curvature."""
    return "prune_rounds.py" if in_rounds(wildcards) else "prune.py"


def prune_inputs(wildcards):
    """The files that a method is pruned from, by the option that names them on the command line."""
    cell = CELL.format(**wildcards)
    found = {"checkpoint": f"{RESULTS}/pretrain/{cell}/model.safetensors"}
    curvature = RUN.curvature(wildcards.method)
    if curvature is not None:
        found["traces"] = f"{RESULTS}/trace/{cell}/{curvature}/traces.safetensors"
    if in_rounds(wildcards):
        found["data"] = f"{RESULTS}/prepare/{wildcards.dataset}/data.safetensors"
    return found


def prune_arguments(wildcards, input):
    """The input files on the command line, and the curvature where there are traces."""
    curvature = RUN.curvature(wildcards.method)
    return given("input", **dict(input.items())) + (
        f" --curvature {curvature}" if curvature else ""
    )


def prune_memory(wildcards, attempt):
    """In MB; each round takes what a trace does."""
    return attempt * (8000 if in_rounds(wildcards) else 4000)


def prune_runtime(wildcards, attempt):
    """In minutes; as for a trace in rounds."""
    return 18 * 60 if in_rounds(wildcards) else 40 * attempt


rule prune:
    """Channels ranked, a plan within the budget, and the smaller network."""
    input:
        unpack(prune_inputs),
    output:
        plan=f"{RESULTS}/prune/{CELL}/{{method}}/plan.json",
        pruned=f"{RESULTS}/prune/{CELL}/{{method}}/model.safetensors",
        record=f"{RESULTS}/prune/{CELL}/{{method}}/record.json",
    log:
        f"{LOGS}/prune/{CELL}/{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/prune/{CELL}/{{method}}.tsv"
    threads: lambda wildcards: RUN.machine.threads if in_rounds(wildcards) else 1
    resources:
        gpu=lambda wildcards: GPU if in_rounds(wildcards) else 0,
        gpu_percent=lambda wildcards: (
            gpu_percent("trace")(wildcards) if in_rounds(wildcards) else 0
        ),
        mem_mb=prune_memory,
        runtime=prune_runtime,
    params:
        script=prune_script,
        settings=prune_settings,
        files=prune_arguments,
        code=lambda wildcards: digest(prune_script(wildcards)),
    shell:
        "{PYTHON} {SCRIPTS:q}/{params.script} {params.files} --output plan={output.plan:q} --output pruned={output.pruned:q}"
        " --output record={output.record:q} --settings {params.settings:q} --method {wildcards.method}"
        + JOB
