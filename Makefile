# The commands of users and of CI. Each does its own set-up.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
CORES ?= all
# The run of repro, push and pull, and a DVC remote instead of the default one.
RUN ?= demo
REMOTE ?=
FORCE ?=
# Arguments of a benchmark, e.g. make bench-trace ARGS="--models resnet32 --checkpoint … --data …"
ARGS ?=
# Scripts and tests use the tools of the environment.
export PATH := $(CURDIR)/$(BIN):$(PATH)

CONFIG := $(if $(filter paper,$(RUN)),config/config.yaml,config/$(RUN).yaml)

# With PYTHON given, a session uses that interpreter: a machine with a GPU has its own torch, and no .venv.
NAMED := $(filter command environment,$(firstword $(origin PYTHON)))

.PHONY: demo paper report snakemake-report repro push pull next keep docs bench-train bench-trace bench-plan bench-prune bench-reconstruct bench-latency bench-deployed bench-sums bench-widths gpu-session test test-services check format install lock clean

demo: $(READY) ## the whole chain on handwritten digits, two to five minutes on two cores
	snakemake --cores $(CORES) --configfile config/demo.yaml --quiet rules
	@python workflow_scripts/show.py results/demo

paper: $(READY) ## the paper's full grid; wants GPUs
	snakemake --cores $(CORES) --configfile config/config.yaml
	@python workflow_scripts/show.py results/paper

report: $(READY) ## the page of results of a run (RUN=demo) from what is there now: results/demo/report/index.html
	@python workflow_scripts/report_now.py $(CONFIG)

snakemake-report: $(READY) ## Snakemake's own report of a run (RUN=demo) that is done: tables, pictures, run times, provenance
	snakemake --report results/$(RUN)/snakemake_report.html --configfile $(CONFIG)

repro: $(READY) ## a run (RUN=demo) under DVC, which records its outputs by content
	python -m ehap.workflow repro $(RUN)

push: $(READY) ## share a run (RUN=demo) that is finished here: its outputs go to a DVC remote (REMOTE=name), dvc.lock to git
	python -m ehap.workflow push $(RUN) $(if $(REMOTE),--remote $(REMOTE)) $(if $(FORCE),--force)

pull: $(READY) ## fetch a run (RUN=demo) that somebody pushed (REMOTE=name): Snakemake then has nothing to do; FORCE=1 moves aside what is newer here
	python -m ehap.workflow pull $(RUN) $(if $(REMOTE),--remote $(REMOTE)) $(if $(FORCE),--force)

next: $(READY) ## which of the paper's rows come next, and how long each should take
	@python workflow_scripts/next.py

keep: $(READY) ## copy the records of a run (RUN=demo) to measurements/<device>/<run>, for git
	python workflow_scripts/keep.py results/$(RUN)

bench-train: $(READY) ## training speed beside a DataLoader, into measurements/<device>/
	python -m benchmarks train $(ARGS)

bench-trace: $(READY) ## cost and fidelity of channel traces beside other libraries, into measurements/<device>/
	python -m pip install --quiet --disable-pip-version-check -r envs/peers.txt
	python -m benchmarks trace $(ARGS)

bench-plan: $(READY) ## time of plans and their distance to budgets, each model, into measurements/<device>/
	python -m benchmarks plan $(ARGS)

bench-prune: $(READY) ## pruning beside other libraries, into measurements/<device>/; wants ARGS="--checkpoint … --data …"
	python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .peers -r envs/pruning_peers.txt
	python -m benchmarks prune $(ARGS)

bench-reconstruct: $(READY) ## seconds and peak memory of a repair's least squares, each model, into measurements/<device>/
	python -m benchmarks reconstruct $(ARGS)

bench-latency: $(READY) ## FP32 and INT8, dense and pruned, on several engines, into measurements/<device>/
	python -m benchmarks latency $(ARGS)

bench-deployed: $(READY) ## deployed ONNX files side by side; wants ARGS="results/…/deploy/…/model.onnx …"
	python -m benchmarks deployed $(ARGS)

bench-sums: $(READY) ## INT8 with and without the option for exact sums, in ONNX Runtime
	python -m benchmarks sums $(ARGS)

bench-widths: $(READY) ## latency of evenly thinned networks in INT8 beside the dense one, into measurements/<device>/
	python -m benchmarks widths $(ARGS)

gpu-session: $(if $(NAMED),,$(READY)) ## what one GPU does in 14 minutes, e.g. PYTHON=python3 ARGS="--out … --wheels … --data …"; see docs/gpu_session.md
	$(if $(NAMED),"$(PYTHON)",python) workflow_scripts/gpu_session.py $(ARGS)

test: $(READY) ## the tests, but for those of test-services
	pytest -n logical --maxprocesses 4 --dist worksteal --durations=20 -m "not services"

test-services: $(READY) ## the tests that start Slurm, sshd, an S3 server or a browser; skipped where these are not installed
	pytest -n 4 --dist worksteal --durations=20 -m services

check: $(READY) ## formatters, linters, types, import contract
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	snakefmt --check Snakefile rules

docs: $(READY) ## config/SETTINGS.md and config/schema.json from the settings' types, defaults and docstrings
	python workflow_scripts/settings_docs.py

format: $(READY) ## mend the findings of check that a tool can mend
	ruff format .
	ruff check --fix .
	snakefmt Snakefile rules

install: $(READY)

# One environment from the pins of runs and tests; made again when they or the package's metadata change.
$(READY): envs/dev.txt pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.version_info >= (3, 11) or sys.exit("error: Python 3.11 or newer is needed, got " + sys.version.split()[0] + "; say make PYTHON=python3.12")'
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Results depend on lock.txt: its change reruns every result. A test tool changes dev.txt only.
lock: ## pin the newest versions that pyproject.toml allows, with hashes (needs uv)
	uv pip compile pyproject.toml --group dev --group docs --extra workflow --extra openvino --extra cli --universal --python-version 3.11 --no-emit-index-url --generate-hashes --no-annotate --custom-compile-command "make lock" --upgrade -o envs/dev.txt
	uv pip compile pyproject.toml --extra workflow --extra openvino -c envs/dev.txt --universal --python-version 3.11 --no-emit-index-url --generate-hashes --no-annotate --custom-compile-command "make lock" -o envs/lock.txt

clean: ## results and logs of the demo; the environment stays
	rm -rf results/demo logs/demo state/demo
