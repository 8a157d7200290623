"""A change of settings, code or files reruns the jobs that depend on it, and no other."""

import os
from pathlib import Path

from tests.workflow.conftest import planned, write_config
from tests.workflow.test_run import _config


def test_a_second_run_has_nothing_to_do(finished: Path) -> None:
    assert planned(finished) == {}


def test_new_file_times_alone_rerun_nothing(project: Path) -> None:
    for path in (project / "results").rglob("*"):
        os.utime(path)
    assert planned(project) == {}


def test_one_methods_setting_reruns_that_methods_cells_and_the_tables(project: Path) -> None:
    write_config(project, _config("methods|hap|finetune", {"learning_rate": 0.02}))
    assert planned(project) == {
        "finetune": 1,
        "evaluate_pruned": 1,
        "qat": 1,
        "evaluate_quantized": 1,
        "curves": 1,
        "tables": 1,
        "report": 1,
        "all": 1,
    }


def test_a_new_budget_reruns_from_prune_and_no_trace(project: Path) -> None:
    write_config(project, _config("methods|hap|prune", {"params": 0.5}))
    jobs = planned(project)
    assert jobs["prune"] == 1
    assert "trace" not in jobs
    assert "pretrain" not in jobs


def test_a_new_seed_adds_its_cells(project: Path) -> None:
    write_config(project, _config("grid|seeds", [0, 1]))
    jobs = planned(project)
    assert (jobs["pretrain"], jobs["trace"], jobs["finetune"], jobs["tables"]) == (1, 1, 2, 1)
    assert "prepare" not in jobs


def test_another_machine_reruns_nothing(project: Path) -> None:
    write_config(project, _config("machine", {"device": "auto", "threads": 2}))
    assert planned(project) == {}


def test_code_reruns_the_rules_that_use_it_and_comments_nothing(project: Path) -> None:
    path = project / "ehap/quantization/affine.py"
    path.write_text("# A comment.\n" + path.read_text())
    assert planned(project) == {}
    path.write_text(path.read_text().replace("torch.round(values / scale)", "torch.floor(values / scale)"))
    jobs = planned(project)
    assert jobs["qat"] == 2
    assert not {"pretrain", "trace", "prune", "finetune"} & set(jobs)


def test_a_criterions_code_reruns_from_prune_and_the_surgerys_no_training_before_it(project: Path) -> None:
    path = project / "ehap/pruning/scores.py"
    path.write_text(path.read_text().replace("(2 * rows.shape[1])", "(3 * rows.shape[1])"))
    assert set(planned(project)) == {
        "prune",
        "evaluate_unrecovered",
        "finetune",
        "evaluate_pruned",
        "qat",
        "evaluate_quantized",
        "curves",
        "shapes",
        "tables",
        "report",
        "all",
    }
    path = project / "ehap/pruning/surgery.py"
    path.write_text(path.read_text().replace("lint()", "lint() or None"))
    assert not {"prepare", "pretrain", "trace"} & set(planned(project))


def test_a_deleted_table_is_made_again(project: Path) -> None:
    (project / "results/small/tables/sizes.md").unlink()
    assert planned(project) == {"tables": 1, "all": 1}


def test_the_looks_of_the_page_remake_the_page_only(project: Path) -> None:
    style = project / "ehap/report/assets/page.css"
    style.write_text(style.read_text() + "h1 { color: red; }")
    assert planned(project) == {"report": 1, "all": 1}
