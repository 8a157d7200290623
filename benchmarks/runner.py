"""The command line of all benchmarks, and their common course: measure a part, write, go on."""

import ast
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pandas

from benchmarks.arguments import Parser
from benchmarks.benchmark import Benchmark, Row
from benchmarks.files import Journal, write_benchmark
from ehap.errors import EhapError
from ehap.runtime.device import slug
from ehap.runtime.files import write_atomically

PROGRAM = "python -m benchmarks"
NAMES = ("train", "trace", "plan", "prune", "reconstruct", "latency", "deployed", "sums", "widths")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark that the command line names."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_help())
        return
    name, *rest = given
    if name not in NAMES:
        Parser(prog=PROGRAM).error(f"there is no benchmark {name!r}; expected one of {', '.join(NAMES)}")
    module = import_module(f"benchmarks.{name}")
    kind: type[Benchmark] = module.BENCHMARK
    parser = Parser(prog=f"{PROGRAM} {name}", description=module.__doc__)
    kind.declare(parser)
    parser.add_argument(
        "--folder", type=Path, default=Path("measurements"), help="of all devices; default: measurements"
    )
    parser.add_argument("--name", default=f"bench_{kind.name}", help=f"of the files; default: bench_{kind.name}")
    parser.add_argument("--resume", action="store_true", help="go on where this command was cut off")
    args = parser.parse_args(rest)
    others = [other for other in NAMES if other != name and args.name.startswith(f"bench_{other}")]
    if others:
        parser.error(f"--name {args.name} is a file name of the benchmark {others[0]}; choose another one")
    command = shlex.join([*PROGRAM.split(), name, *(word for word in rest if word != "--resume")])
    try:
        benchmark = kind(args)
        folder = args.folder / slug(benchmark.device_name)
        journal = Journal(folder / f"{args.name}.unfinished.json", command, args.resume)
    except EhapError as error:
        parser.error(str(error))
    try:
        print(run(benchmark, folder, args.name, command, journal))
    except EhapError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(f"stopped; `{command} --resume` goes on after the {len(journal.rows)} parts that are done.")


def run(benchmark: Benchmark, folder: Path, name: str, command: str, journal: Journal) -> str:
    """Measure every part that the journal lacks, write all files after each, and return the page."""
    parts = benchmark.parts()
    rows: dict[str, list[Row]] = {part.table: [] for part in parts}
    page = ""
    for number, part in enumerate(parts, 1):
        if part.label not in journal.rows:
            print(f"{number} of {len(parts)}: {part.label}", file=sys.stderr)
            journal.add(part.label, part.measure())
        rows[part.table] += journal.rows[part.label]
        benchmark.rows += journal.rows[part.label]
        tables = {ending: pandas.DataFrame(each) for ending, each in rows.items()}
        unfinished = [later.label for later in parts[number:]]
        named = {name + ending: table for ending, table in tables.items()}
        page = write_benchmark(folder, named, benchmark.title(), command, benchmark.about(tables), unfinished)
        for ending, picture in benchmark.figures(tables).items():
            write_atomically(folder / f"{name}{ending}.svg", picture)
    journal.close()
    return page


def _help() -> str:
    """Return the list of benchmarks, each with the first line of its module, which is not imported."""
    texts = {name: (Path(__file__).parent / f"{name}.py").read_text() for name in NAMES}
    lines = {name: (ast.get_docstring(ast.parse(text)) or "").splitlines()[0] for name, text in texts.items()}
    listed = "\n".join(f"  {name:12} {line}" for name, line in lines.items())
    return f"usage: {PROGRAM} NAME …\n\n{listed}\n\n{PROGRAM} NAME --help explains the arguments of one."
