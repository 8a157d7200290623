def prune_settings(wildcards):
    """The settings of the method's prune script; pruning in rounds adds those of the traces."""
    names = wildcards.dataset, wildcards.model, wildcards.method
    if own_criterion(wildcards):
        return canonical(asdict(RUN.own_criterion(*names)))
    settings = RUN.rounds(*names) if in_rounds(wildcards) else RUN.prune(*names)
    return canonical(asdict(settings))


def own_criterion(wildcards):
    """The criterion of a method that ranks by a function of the user's; otherwise an empty text."""
    names = wildcards.dataset, wildcards.model, wildcards.method
    criterion = RUN.prune(*names).criterion
    return criterion if is_own(criterion) else ""


def in_rounds(wildcards):
    return RUN.prune(wildcards.dataset, wildcards.model, wildcards.method).rounds > 1


def prune_script(wildcards):
    """The method's script; only rounds depend on the code of curvature, only a user's function on the user's."""
    if own_criterion(wildcards):
        return "prune_own.py"
    return "prune_rounds.py" if in_rounds(wildcards) else "prune.py"


def prune_inputs(wildcards):
    """The input files of pruning, by their names on the command line."""
    cell = CELL.format(**wildcards)
    found = {"checkpoint": f"{RESULTS}/pretrain/{cell}/model.safetensors"}
    curvature = RUN.curvature(wildcards.method)
    if curvature is not None:
        found["traces"] = f"{RESULTS}/trace/{cell}/{curvature}/traces.safetensors"
    names = wildcards.dataset, wildcards.model, wildcards.method
    asks = own_criterion(wildcards) and RUN.own_criterion(*names).batch_size
    if in_rounds(wildcards) or asks:
        found["data"] = f"{RESULTS}/prepare/{wildcards.dataset}/data.safetensors"
    return found


def prune_curvature(wildcards, output):
    """The name of the traces that the method ranks by; empty where it needs none."""
    return RUN.curvature(wildcards.method) or ""


def prune_memory(wildcards, attempt):
    """Memory in MB; each round takes as much as a trace."""
    return attempt * (8000 if in_rounds(wildcards) else 4000)


def prune_runtime(wildcards, attempt):
    """Time in minutes; in rounds as much as for a trace."""
    return 18 * 60 if in_rounds(wildcards) else 40 * attempt


rule prune:
    """The ranking of the channels, a plan within the budget, and the smaller network."""
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
        files=files(curvature=prune_curvature),
        settings=prune_settings,
        code=lambda wildcards: digest(prune_script(wildcards), own_criterion(wildcards)),
    message:
        "{rule}: prune {wildcards.model} by {wildcards.method} on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        WITH_SETTINGS
