"""The chain prepare → pretrain → trace → prune → (reconstruct) → finetune → qat → evaluate → tables → report, for every cell."""

from snakemake.utils import min_version

min_version("9.27")

if not workflow.config_settings.configfiles:

    configfile: "config/config.yaml"


report: "rules/report/workflow.rst"


include: "rules/common.smk"
include: "rules/prepare.smk"
include: "rules/pretrain.smk"
include: "rules/trace.smk"
include: "rules/prune.smk"
include: "rules/reconstruct.smk"
include: "rules/finetune.smk"
include: "rules/qat.smk"
include: "rules/evaluate.smk"
include: "rules/evaluate_unrecovered.smk"
include: "rules/deploy.smk"
include: "rules/latency.smk"
include: "rules/curves.smk"
include: "rules/tables.smk"
include: "rules/report.smk"


onstart:
    SPENT.planned = needed(workflow)
    begin(workflow, RUN, SPENT.planned)


# Files that a job has read may have changed while others ran.
onsuccess:
    SPENT.say(WARM.cpu_seconds())
    at_the_end(workflow, Path(STATES))


onerror:
    SPENT.say(WARM.cpu_seconds())


# Where jobs go to a cluster, these run beside Snakemake itself: seconds each, from records only.
localrules:
    all,
    curves,
    shapes,
    tables,
    report,


rule all:
    default_target: True
    input:
        final_targets(),
