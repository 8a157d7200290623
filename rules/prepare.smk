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
        gpu_percent=0,
        mem_mb=grow(4000),
        runtime=grow(40),
    params:
        script="prepare.py",
        files=files(),
        settings=settings_of("prepare"),
        code=digest("prepare.py"),
    message:
        "{rule}: read {wildcards.dataset} and verify its checksums"
    shell:
        WITH_SETTINGS
