PARTS = f"{RESULTS}/trace/{CELL}/{{curvature}}/parts"


def trace_settings(wildcards):
    return RUN.trace(wildcards.dataset, wildcards.model, wildcards.curvature)


def trace_script(wildcards):
    """Traces that stop when the plan is stable depend on the planner's code; other traces do not."""
    return "trace_until.py" if trace_settings(wildcards).until else "trace.py"


def trace_parts(wildcards):
    """The parts of the traces that several jobs compute; none if one job computes all."""
    shards = trace_settings(wildcards).shards
    folder = PARTS.format(**wildcards)
    return (
        [f"{folder}/{shard}-of-{shards}.safetensors" for shard in range(shards)]
        if shards > 1
        else []
    )


def trace_notes(wildcards):
    """The sources of the parts; an input, since Snakemake at once deletes temporary files that no job needs."""
    return [beside(part) for part in trace_parts(wildcards)]


rule trace:
    """The Hessian trace of every channel, shared by all methods that name the curvature."""
    input:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
        checkpoint=f"{RESULTS}/pretrain/{CELL}/model.safetensors",
        parts=trace_parts,
        notes=trace_notes,
    output:
        traces=f"{RESULTS}/trace/{CELL}/{{curvature}}/traces.safetensors",
        record=f"{RESULTS}/trace/{CELL}/{{curvature}}/record.json",
    log:
        f"{LOGS}/trace/{CELL}/{{curvature}}.log",
    benchmark:
        f"{BENCHMARKS}/trace/{CELL}/{{curvature}}.tsv"
    threads: RUN.machine.threads
    resources:
        gpu=GPU,
        gpu_percent=gpu_percent("trace"),
        mem_mb=grow(8000),
        runtime=18 * 60,
    params:
        script=trace_script,
        files=files(),
        settings=settings_of("trace"),
        code=lambda wildcards: digest(trace_script(wildcards)),
    message:
        "{rule}: compute {wildcards.curvature} of {wildcards.model} on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        WITH_SETTINGS


# A part of the traces, where the curvature is shared out.
use rule trace as trace_part with:
    input:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
        checkpoint=f"{RESULTS}/pretrain/{CELL}/model.safetensors",
    output:
        part=temp(f"{PARTS}/{{shard}}-of-{{shards}}.safetensors"),
        sources=temp(f"{PARTS}/{{shard}}-of-{{shards}}.sources.json"),
    log:
        f"{LOGS}/trace/{CELL}/{{curvature}}/{{shard}}-of-{{shards}}.log",
    benchmark:
        f"{BENCHMARKS}/trace/{CELL}/{{curvature}}/{{shard}}-of-{{shards}}.tsv"
    params:
        script="trace_part.py",
        code=digest("trace_part.py"),
    message:
        "{rule}: compute part {wildcards.shard} of {wildcards.curvature} of {wildcards.model} on {wildcards.dataset}, seed {wildcards.seed}"
