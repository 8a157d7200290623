"""What the published code computes, item by item, and that it is never taken for our ehap."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ehap.report import Material
from ehap.report.networks import networks
from ehap.report.overview import networks_section
from ehap.report.published import published_section
from ehap.report.published_traces import sample_weights
from tests.report.conftest import SETTINGS, Gather, evaluated, write
from tests.report.reading import findings_of, table_of, texts


def test_what_the_published_code_computes_has_eight_numbers(gather: Gather, benches: Path) -> None:
    found = findings_of(gather())
    assert [finding.figure.replace("\u00a0", " ") for finding in found] == [
        *("99.6 %", "336 of 512", "372,600", "2 of 2", "3.7×", "+0.42 points", "959 against 958", "3 of 6"),
    ]
    assert "From sample 4 on" in found[0].said
    assert "From sample 20 on" in found[0].said
    assert "3 samples share 40 %, 30 samples share 60 %" in found[0].ours
    assert found[1].table is not None
    assert texts(found[1].table.rows[0])[2:] == ["50,000", "512", "336", "512"]
    assert "2.00 times as long as the same estimate without it, and 5.0 times as long as ours" in found[2].ours
    assert "differ in 3 to 4 channels" in found[6].ours
    assert "HAP in 6 of 6 rows, of EHAP in 0" in found[7].ours
    assert sum(sample_weights(300)) == pytest.approx(1)
    assert sample_weights(300)[1] == pytest.approx(sample_weights(300)[0] / 256)


def test_sizes_are_told_in_both_readings(gather: Gather) -> None:
    table = findings_of(gather())[4].table
    assert table is not None
    assert [texts(row)[2:] for row in table.rows] == [
        ["3,735.2 KB", "weights and momentum", "1,894.9 KB", "1.97"],
        ["373.5 KB", "weights and momentum", "198.0 KB", "1.89"],
        ["186.8 KB", "integers as float32", "51.0 KB", "3.66"],
    ]


def test_channels_that_a_set_would_scramble_are_counted(gather: Gather) -> None:
    plan = gather().plans[0]
    # The first block adds (1, 8) to the stem's (0, 8), the four behind it (0, 8) to the union; then both sides agree.
    orders = [tuple({1, 8, 0}), *4 * [tuple({0, 8, 1})]]
    expected = sum(one != other for order in orders for one, other in zip(order, sorted(order), strict=True))
    assert expected > 0  # else this plan would test nothing
    assert (plan.unions, plan.union_channels, plan.out_of_order) == (5, 15, expected)
    table = findings_of(gather())[3].table
    assert table is not None
    assert [cell.text for cell in table.rows[0].cells[3:6]] == ["5", "15", str(expected)]


def test_the_limit_of_a_layer_is_run_by_both_rules(gather: Gather) -> None:
    limits = {limit.width: (list(limit.ours), list(limit.published)) for limit in gather().limits}
    assert limits == {
        16: ([15], [0]),  # the published rule leaves none and so takes the first, here the worst
        32: ([30, 31], [31]),
        64: ([60, 61, 62, 63], [61, 62, 63]),
    }


def test_untrained_networks_do_not_count_as_trainings(gather: Gather, results: Path) -> None:
    before = findings_of(gather())[5].ours
    assert "a mean over 6 trainings of several epochs" in before
    accuracy = {"accuracy": (88.0, "percent"), "best_accuracy": (88.0, "percent")}
    write(results, "finetune", accuracy, seed=0, method="hap")
    assert "a mean over 5 trainings of several epochs" in findings_of(gather())[5].ours


def test_what_computes_as_the_published_code_does_is_never_taken_for_ehap(gather: Gather, results: Path) -> None:
    def lead(material: Material) -> str:
        return published_section(material, networks(material)).lead

    assert "ehap of a run has none of these slips: it is FP16 Hutchinson as the paper describes it" in lead(gather())
    assert "No method of this run computes as the published code does" in lead(gather())
    settings = {"batch_size": 512, "as_published": True}
    write(results, "trace", {"samples": (300, "samples")}, seed=0, curvature="slips", settings=settings)
    for method, more in (("ehap", {}), ("traces-of-theirs", {"curvature": "slips"}), ("rule-of-theirs", {})):
        rule = {"rule": "as_published" if method.startswith("rule") else "exact"}
        where = {"seed": 0, "method": method}
        path = write(results, "prune", {"parameters": (50_000, "parameters")}, settings=rule, **where)
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
        write(results, "evaluate", evaluated(88.0, 46_690, 198_000), **where)
    tables = replace(
        SETTINGS,
        methods=("ehap", "traces-of-theirs", "rule-of-theirs"),
        curvatures=("hutchinson-fp32", "slips"),
    )
    material = gather(tables)
    assert material.as_published == ["traces-of-theirs", "rule-of-theirs"]
    assert "In this run traces-of-theirs and rule-of-theirs compute as the published" in lead(material)
    rows = table_of(networks_section(material, networks(material)), "networks").rows
    assert [texts(row)[2] for row in rows] == [
        *("dense", "ehap", "traces-of-theirs (as published)", "rule-of-theirs (as published)"),
    ]
