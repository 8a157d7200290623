rule prepare:
    """A dataset, checksums verified, as one file of tensors."""
    output:
        data=f"{RESULTS}/prepare/{{dataset}}/data.safetensors",
        record=f"{RESULTS}/prepare/{{dataset}}/record.json",
    log:
        f"{LOGS}/prepare/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/prepare/{{dataset}}.tsv"
    threads: 1
    resources:
        gpu=0,
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 40 * attempt,
    params:
        settings=settings_of("prepare"),
        code=digest("prepare.py"),
    shell:
        "{PYTHON} {SCRIPTS:q}/prepare.py --output data={output.data:q} --output record={output.record:q}"
        " --settings {params.settings:q} --dataset {wildcards.dataset}"
        " --machine {MACHINE:q}" + NOTED
