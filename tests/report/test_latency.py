"""Latency on the page: of the run itself, and of benchmarks of its device."""

from dataclasses import replace
from pathlib import Path

import pytest

from ehap.report.blocks import Missing, Picture
from ehap.report.headline import headlines
from ehap.report.latency import latency_section
from ehap.report.networks import networks
from ehap.report.traces import traces_section
from tests.report.conftest import SETTINGS, Gather, write
from tests.report.reading import row_of, table_of, texts


def test_benchmarks_are_those_of_the_device_of_the_records(gather: Gather, benches: Path) -> None:
    material = gather()
    assert {path.split("measurements/")[1] for path in material.benches} == {
        *("a-cpu/bench_latency.csv", "a-cpu/bench_trace_trained.csv"),
    }
    section = traces_section(material)
    row = row_of(table_of(section, "fidelity"), "ours fp32, 30 samples")
    assert texts(row)[4:8] == ["30", "60.0 s", "600.0 s", "600 MB"]  # the judged samples cost a tenth of 300
    assert texts(table_of(section, "traces").rows[0])[3:7] == ["300", "512", "12.5 ± 0.0 s", "2,000 MB"]
    picture, _ = latency_section(material).blocks
    assert isinstance(picture, Picture)
    assert "ONNX Runtime: plain sums, aligned, INT8, 16.0 ms" in picture.alt


def test_what_the_run_has_timed_is_one_picture_of_all_its_networks(gather: Gather, results: Path) -> None:
    for seed in (0, 1):
        times = {"dense_FP32": 40.0, "dense_INT8": 20.0, "pruned_FP32": 10.0, "pruned_INT8": 24.0 + 2 * seed}
        for method, busy in (("hap", 1.0), ("other", 1.5)):  # the machine had more to do while the other was timed
            where = {"method": method, "scheme": "qat8", "instructions": "avx2", "settings": {"threads": 1}}
            values = {f"latency_64.{name}": (each * busy, "ms") for name, each in times.items()}
            values["exact_sums_option"] = (1.0, "1: set, 0: not needed")
            write(results, "latency", values, seed=seed, **where)
    networks = ("cifar10/resnet32/hap/qat8", "cifar10/resnet32/other/qat8")
    material = gather(replace(SETTINGS, methods=("hap", "other"), timed=networks))
    section = latency_section(material)
    (picture,) = (block for block in section.blocks if isinstance(block, Picture))
    assert picture.title == "ResNet-32 on CIFAR-10, 64 images at a time, 1 thread, on avx2"
    assert picture.alt.endswith("means over seeds. The shortest is hap, qat8, FP32, 25 %.")
    (bars,) = picture.spec["datasets"].values()
    shares = {bar["label"]: bar["time"] for bar in bars}
    assert shares == pytest.approx(
        {
            **{"dense, FP32": 100, "dense, INT8": 50},
            **{f"{method}, qat8, FP32": 25 for method in ("hap", "other")},
            **{f"{method}, qat8, INT8": 62.5 for method in ("hap", "other")},
        }
    )
    table = table_of(section, "timed")
    assert [column.lstrip("#") for column in table.columns[5:10]] == [
        "exact sums",
        "dense FP32",
        "dense INT8",
        "pruned FP32",
        "pruned INT8",
    ]
    row = row_of(table, "hap, qat8")
    assert texts(row)[5:14] == [
        "session.x64quantprecision",
        *("40.00 ± 0.00 ms", "20.00 ± 0.00 ms", "10.00 ± 0.00 ms", "25.00 ± 1.41 ms"),
        *("1.60", "0.80", "dense INT8, pruned FP32", "2"),
    ]
    assert row.cells[12].tone == "below"
    assert {material.records[number][1]["stage"] for number in row.cells[6].sources} == {"latency"}


def test_times_of_other_numbers_of_threads_are_a_picture_of_their_own(gather: Gather, results: Path) -> None:
    for seed, threads in ((0, 1), (1, 2)):
        values = {
            f"latency_64.{network}_{precision}": (1.0, "ms")
            for network in ("dense", "pruned")
            for precision in ("FP32", "INT8")
        }
        write(results, "latency", values, seed=seed, method="hap", scheme="qat8", settings={"threads": threads})
    section = latency_section(gather(replace(SETTINGS, timed=("cifar10/resnet32/hap/qat8",))))
    pictures = [block for block in section.blocks if isinstance(block, Picture)]
    assert len({picture.name for picture in pictures}) == len(pictures) == 2


def test_a_benchmark_of_a_processor_without_integer_instructions_says_none(gather: Gather, benches: Path) -> None:
    file = benches / "a-cpu/bench_latency.csv"
    head, *rows = file.read_text().splitlines()
    file.write_text("\n".join([f"{head},instructions", *(f"{row}," for row in rows)]) + "\n")
    section = latency_section(gather())
    (picture,) = (block for block in section.blocks if isinstance(block, Picture))
    assert picture.title.endswith("new weights, instruction sets not recorded")
    assert "nan" not in {cell.text for row in table_of(section, "latencies").rows for cell in row.cells}


def test_a_benchmark_says_how_its_sums_are_exact(gather: Gather, benches: Path) -> None:
    file = benches / "a-cpu/bench_latency.csv"
    head, *rows = file.read_text().splitlines()
    said = ["plain session" if ",INT8," in row else "" for row in rows]
    lines = [f"{row},avx2,{how}" for row, how in zip(rows, said, strict=True)]
    file.write_text("\n".join([f"{head},instructions,exact_sums", *lines]) + "\n")
    table = table_of(latency_section(gather()), "latencies")
    shown = {row.cells[list(table.columns).index("exact sums")].text for row in table.rows}
    assert shown == {"plain session", ""}


def test_without_benchmarks_the_page_says_how_to_get_them(gather: Gather) -> None:
    (missing,) = latency_section(gather()).blocks
    assert isinstance(missing, Missing)
    assert missing.command == 'make bench-latency ARGS="--models resnet32 --name bench_latency_resnet32"'
    assert headlines(gather(), networks(gather()))[0].tiles[-1].command == missing.command
