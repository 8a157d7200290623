PARTS = f"{RESULTS}/trace/{CELL}/{{curvature}}/parts"


def trace_settings(wildcards):
    return RUN.trace(wildcards.dataset, wildcards.model, wildcards.curvature)


def trace_script(wildcards):
    """Traces that stop when the plan is stable depend on the planner's code, the others do not."""
    return "trace_until.py" if trace_settings(wildcards).until else "trace.py"


def trace_parts(wildcards):
    """The parts of the traces that several jobs compute; none where one job does it all."""
    shards = trace_settings(wildcards).shards
    folder = PARTS.format(**wildcards)
    return (
        [f"{folder}/{shard}-of-{shards}.safetensors" for shard in range(shards)]
        if shards > 1
        else []
    )


def trace_notes(wildcards):
    """What the parts were made from; an input, since Snakemake deletes a temporary file that nothing needs at once."""
    return [beside(part) for part in trace_parts(wildcards)]


rule trace_part:
    """A part of the traces, where the curvature is shared out."""
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
    threads: RUN.machine.threads
    resources:
        gpu=GPU,
        gpu_percent=gpu_percent("trace"),
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=18 * 60,
    params:
        settings=settings_of("trace"),
        code=digest("trace_part.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/trace_part.py --input data={input.data:q} --input checkpoint={input.checkpoint:q} --output part={output.part:q} --output sources={output.sources:q}"
        " --settings {params.settings:q} --curvature {wildcards.curvature}" + JOB


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
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=18 * 60,
    params:
        script=trace_script,
        settings=settings_of("trace"),
        parts=lambda wildcards, input: (
            given("input", parts=input.parts, notes=input.notes)
        ),
        code=lambda wildcards: digest(trace_script(wildcards)),
    shell:
        "{PYTHON} {SCRIPTS:q}/{params.script} --input data={input.data:q} --input checkpoint={input.checkpoint:q}"
        " --output traces={output.traces:q} --output record={output.record:q} {params.parts} --settings {params.settings:q}"
        " --curvature {wildcards.curvature}" + JOB
