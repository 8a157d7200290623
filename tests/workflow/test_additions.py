"""A new model, dataset or stage touches at most three files besides its own, and works."""

import copy
import json
from pathlib import Path

from tests.additions import MOST, edited, insert
from tests.workflow.conftest import SMALL, planned, read_record, run_in, snakemake_in, write_config
from tests.workflow.test_run import CELL
from tests.workflow.warm_python import warm_python

DATASET = '''"""Images of noise."""

from pathlib import Path

import torch


def read(_folder: Path, _download: bool):
    images, labels = torch.arange(32 * 3 * 256).to(torch.uint8).reshape(32, 3, 16, 16), torch.arange(32) % 2
    return (images, labels), (images.clone(), labels.clone())
'''
SETTINGS = '''"""Settings of the count stage."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Count:
    """How much is counted.

    top: So much.
    """

    top: int = 3
'''
STAGE = '''"""The count stage."""

import json


def run(*files, **_others):
    record = files[-1] if len(files) > 1 else files[0].output("record")
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"stage": "count", "values": {}, "settings": None, "device": "none", "duration_s": 1}))
'''
RULE = """use rule evaluate_pruned as count with:
    output:
        record=f"{RESULTS}/count/{CELL}/{{method}}/record.json",
    log:
        f"{LOGS}/count/{CELL}/{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/count/{CELL}/{{method}}.tsv"
    message:
        "{rule}: count {wildcards.method}"
    params:
        script="count.py",
        code=digest("count.py"),
"""


def test_a_model(project: Path) -> None:
    insert(project, "ehap/models/registry.py", '    "resnet20": ', '    "resnet8": partial(ResNet, 1),\n')
    insert(project, "ehap/settings/names.py", '    "resnet20": ', '    "resnet8": Model(title="ResNet-8"),\n')
    assert len(edited(project)) <= MOST
    config = copy.deepcopy(SMALL)
    config["grid"]["models"] = ["resnet8"]
    write_config(project, config)
    assert planned(project)["finetune"] == 2
    target = "results/small/pretrain/digits/resnet8/seed0/record.json"
    done = snakemake_in(project, target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((project / target).read_text())["model"] == "resnet8"


def test_a_dataset(project: Path) -> None:
    (project / "ehap/data/noise.py").write_text(DATASET)
    insert(project, "ehap/data/datasets.py", "from ehap.errors", "from ehap.data.noise import read as read_noise\n")
    entry = '    "noise": DatasetInfo(2, (0.5,) * 3, (1,) * 3, flip=True, input_shape=(3, 16, 16), read=read_noise),\n'
    insert(project, "ehap/data/datasets.py", '    "cifar10": DatasetInfo', entry)
    insert(project, "ehap/settings/names.py", '"digits": "digits"', '"noise": "noise", ')
    assert len(edited(project)) <= MOST
    config = copy.deepcopy(SMALL)
    config["grid"]["datasets"] = ["noise"]
    write_config(project, config | {"prepare": {"noise": {}}})
    assert planned(project)["finetune"] == 2
    done = snakemake_in(project, "results/small/prepare/noise/record.json")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stage_and_it_reruns_nothing_but_tables_and_page(project: Path) -> None:
    (project / "ehap/settings/count.py").write_text(SETTINGS)
    (project / "ehap/stages/count.py").write_text(STAGE)
    (project / "rules/count.smk").write_text(RULE)
    script = (project / "workflow_scripts/evaluate.py").read_text()
    (project / "workflow_scripts/count.py").write_text(script.replace("evaluate", "count"))
    entry = '    Stage(name="count", levels=("method",)),\n'
    catalog = "ehap/settings/stages.py"
    insert(project, catalog, '    Stage(name="deploy"', entry)
    insert(project, catalog, '    "deploy": Deploy', '    "count": Count,\n')
    insert(project, catalog, "from ehap.settings.deploy", "from ehap.settings.count import Count\n")
    insert(project, "Snakefile", 'include: "rules/deploy.smk"', 'include: "rules/count.smk"\n')
    line = "        - results/${key}/deploy: {persist: true}"
    insert(project, "dvc.yaml", line, line.replace("deploy", "count") + "\n")
    assert len(edited(project)) <= MOST
    assert planned(project) == {"count": 2, "tables": 1, "report": 1, "all": 1}
    done = snakemake_in(project, f"results/small/count/{CELL}/hap/record.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_record(project, f"count/{CELL}/hap")["sources"]["inputs"]
    write_config(project, SMALL | {"count": {"digits": {"top": 5}}})
    settings = (
        "from ehap.workflow.configuration import read_run; from pathlib import Path; run = read_run(Path('run.yaml'))"
    )
    cell = "{'dataset': 'digits', 'model': 'resnet20', 'method': 'hap'}"
    said = run_in(project, warm_python(), "-c", f"{settings}; print(run.settings('count', {cell}))")
    assert said == "Count(top=5)\n"
    write_config(project, SMALL | {"count": {"digits": {"tops": 5}}})
    assert "count.digits.tops: unknown setting 'tops'" in snakemake_in(project, "--dry-run").stderr
