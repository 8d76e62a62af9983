# `make demo` and `make test` need no preparation: they first create .venv from the lock files, with uv if it is
# installed, else with venv and pip.
.DEFAULT_GOAL := help
# Delete the marker file of a failed installation, so that the next run starts it again.
.DELETE_ON_ERROR:
SHELL := /bin/sh
# The tests start hundreds of processes; without cached bytecode, each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.run-ready
DEV_READY := $(VENV)/.dev-ready
BENCH_VENV := .venv-bench
BENCH_READY := $(BENCH_VENV)/.ready

ifdef UV
  make_venv = $(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
  install = $(UV) pip install --quiet --python $(BIN)/python
  whole = $(UV) pip check --quiet --python $(BIN)/python
else
  make_venv = $(PYTHON) -m venv $(VENV)
  install = $(BIN)/python -m pip install --quiet --disable-pip-version-check
  whole = $(BIN)/python -m pip --disable-pip-version-check check >&2
endif

needs_python := reelq needs Python 3.11 or newer, and
name_another := Install one and name it: make PYTHON=python3.12 $(MAKECMDGOALS)

# $(1) is a complete lock file. With --no-deps, pip looks for nothing else; otherwise it would find newer releases of
# pinned packages through extras, and refuse them. The project is installed as editable, so the checkout is what runs.
install_lock = $(install) --no-deps --require-hashes -r $(1) && $(install) --no-deps --no-build-isolation -e . && $(whole)

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(needs_python) there is no $(PYTHON) here. $(name_another)" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit("$(needs_python) $(PYTHON) is %d.%d. $(name_another)" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "Setting up $(VENV) …"
	@$(make_venv)

$(RUN_READY): locks/run.txt pyproject.toml | $(BIN)/python
	@$(call install_lock,locks/run.txt)
	@touch $@

$(DEV_READY): locks/dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing the test dependencies …"
	@$(call install_lock,locks/dev.txt)
	@touch $@ $(RUN_READY)

# With pip only, as this is rarely needed.
$(BENCH_READY): locks/bench.txt pyproject.toml
	@echo "Setting up $(BENCH_VENV) with the alternatives to reelq …"
	@$(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r locks/bench.txt
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BENCH_VENV)/bin/python -m pip --disable-pip-version-check check
	@touch $@

.PHONY: help setup demo check test lint types contracts unit pytest prove fuzz docs mutations limits bench bench-full samples lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(RUN_READY) ## create .venv with reelq in it

# Its database is in the checkout, so the user's own data is not touched.
demo: $(RUN_READY) ## run the example manifest in the sandbox, which spends nothing
	@REELQ_DATA_DIR=.demo $(BIN)/reelq run jobs.example.csv --sandbox
	@cat samples/after-the-demo.txt

check: lint types contracts unit ## run the quick checks, for after each edit (15 s)

test: check pytest ## run everything that must pass

lint: $(DEV_READY) ## ruff: style, imports, traps
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_READY) ## mypy, strict
	$(BIN)/mypy

contracts: $(DEV_READY) ## import-linter: the allowed imports
	$(BIN)/lint-imports --no-cache

unit: $(DEV_READY) ## tests without processes, sockets or waits
	$(BIN)/pytest -q tests/unit

# Most of these tests wait for processes, leases and intervals, so two cores can run six files at a time.
pytest: $(DEV_READY) ## all other tests
	$(BIN)/pytest -n 6 --dist loadfile --no-loadscope-reorder --ignore tests/unit

prove: $(DEV_READY) ## full-size proofs: kill workers, break the service, Redis and databases (an hour)
	REELQ_PROVE=1 $(BIN)/pytest -m "" tests/unit tests/queue tests/benchmarks/test_store_speed.py tests/acceptance/test_walk.py

fuzz: $(DEV_READY) ## fuzz the REST service with its own schema (minutes)
	REELQ_FUZZ=1 $(BIN)/pytest tests/api/test_schema.py --timeout 900

mutations: $(DEV_READY) ## break a copy of the engine, one line at a time; a test must fail each time (many minutes)
	$(BIN)/python -m tests.mutations

docs: $(DEV_READY) ## generate settings.md and state-machine.md again
	$(BIN)/python docs/generate.py

# Limits in seconds only make sense on an idle machine, so they are not part of `make test`.
limits: $(DEV_READY) ## check and print the figures that have a limit (minutes, on an idle machine)
	$(BIN)/pytest -s -m benchmark

bench: $(BENCH_READY) ## compare reelq with alternatives at 10 and 100 rows, and after a kill (half an hour)
	$(BENCH_VENV)/bin/python -m tests.benchmarks.compare --rows 10,100 --at-once 0 --limit 120
	$(BENCH_VENV)/bin/python -m tests.benchmarks.compare --rows 10 --kill
	$(BENCH_VENV)/bin/python -m tests.benchmarks.probes --names help,manifest-1000,idle,sizes
	$(BENCH_VENV)/bin/python -m tests.benchmarks.page

bench-full: $(BENCH_READY) ## the same up to 5,000 rows, and every probe (hours)
	$(BENCH_VENV)/bin/python -m tests.benchmarks.compare --rows 1,10,100,1000,5000 --at-once 0 --limit 900
	$(BENCH_VENV)/bin/python -m tests.benchmarks.compare --rows 100,1000 --contenders reelq-1,reelq-2 --limit 900
	$(BENCH_VENV)/bin/python -m tests.benchmarks.compare --rows 1000 --latencies real --factor 1 --at-once 0 --limit 900
	$(BENCH_VENV)/bin/python -m tests.benchmarks.compare --rows 10,100,1000 --kill --limit 900
	$(BENCH_VENV)/bin/python -m tests.benchmarks.probes
	$(BENCH_VENV)/bin/python -m tests.benchmarks.page

samples: $(RUN_READY) ## generate the sample clips again
	$(BIN)/python samples/make.py

# The test dependencies are resolved first: they are the largest set, and the other locks use the same versions.
lock: pinned := -q --universal --python-version 3.11 --generate-hashes --no-header --upgrade
lock: ## resolve the dependencies again (needs uv)
	@test -n "$(UV)" || { echo "make lock needs uv: pip install uv"; exit 2; }
	$(UV) pip compile $(pinned) --extra sandbox --group dev pyproject.toml -o locks/dev.txt
	$(UV) pip compile $(pinned) --extra sandbox --group build pyproject.toml -o locks/run.txt -c locks/dev.txt
	$(UV) pip compile $(pinned) pyproject.toml -o locks/service.txt -c locks/dev.txt
	$(UV) pip compile $(pinned) --extra sandbox --group bench pyproject.toml -o locks/bench.txt

clean: ## remove everything generated here, except results
	rm -rf $(VENV) $(BENCH_VENV) .demo dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
