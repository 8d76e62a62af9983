# Two commands need no preparation: `make demo` and `make test`. Both build .venv from the locks first,
# with uv where it is installed, else with Python's own venv and pip.
.DEFAULT_GOAL := help
# An environment that could not be finished is not taken for one the next time.
.DELETE_ON_ERROR:
SHELL := /bin/sh
# The tests start hundreds of processes, and without the compiled modules each of them would compile everything anew.
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

# $(1) is a lock, and whole: what it does not name is not looked for, or pip would find newer releases of what it pins by
# way of an extra, and refuse them. The project itself goes in editable: the checkout is what runs.
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
	@echo "Installing what the tests need …"
	@$(call install_lock,locks/dev.txt)
	@touch $@ $(RUN_READY)

# By pip alone: it is made seldom.
$(BENCH_READY): locks/bench.txt pyproject.toml
	@echo "Setting up $(BENCH_VENV), with what reelq is measured beside …"
	@$(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r locks/bench.txt
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BENCH_VENV)/bin/python -m pip --disable-pip-version-check check
	@touch $@

.PHONY: help setup demo check test lint types contracts unit pytest prove fuzz docs mutations limits bench bench-full samples lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(RUN_READY) ## make .venv with reelq in it

# Its database stays in the checkout: nothing of the user's own is touched.
demo: $(RUN_READY) ## run the example manifest against the stand-in service, spending nothing
	@REELQ_DATA_DIR=.demo $(BIN)/reelq run jobs.example.csv --sandbox
	@cat samples/after-the-demo.txt

check: lint types contracts unit ## what to run after each edit (half a minute)

test: check pytest ## everything that has to be green

lint: $(DEV_READY) ## ruff: style, imports, traps
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_READY) ## mypy, strict
	$(BIN)/mypy

contracts: $(DEV_READY) ## import-linter: which way imports may point
	$(BIN)/lint-imports --no-cache

unit: $(DEV_READY) ## the tests that need no process, no socket and no wait
	$(BIN)/pytest -q tests/unit

# Most of these wait for processes, leases and intervals: two cores run six files at a time.
pytest: $(DEV_READY) ## all other tests
	$(BIN)/pytest -n 6 --dist loadfile --no-loadscope-reorder --ignore tests/unit

prove: $(DEV_READY) ## the promises at full size: the service, workers, Redis and databases broken on purpose (an hour)
	REELQ_PROVE=1 $(BIN)/pytest -m "" tests/unit tests/queue tests/benchmarks/test_store_speed.py tests/acceptance/test_walk.py

fuzz: $(DEV_READY) ## the REST service, asked at length by its own schema and against it (minutes)
	REELQ_FUZZ=1 $(BIN)/pytest tests/api/test_schema.py --timeout 900

mutations: $(DEV_READY) ## break the engine in a copy, one line at a time: the tests have to notice each (many minutes)
	$(BIN)/python -m tests.mutations

docs: $(DEV_READY) ## write the generated pages anew
	$(BIN)/python docs/generate.py

# A limit in seconds is one of a machine that does nothing else: no part of `make test`.
limits: $(DEV_READY) ## the figures that are held to a limit, each printed (minutes, on a quiet machine)
	$(BIN)/pytest -s -m benchmark

bench: $(BENCH_READY) ## reelq beside what else could be picked, at 10 and 100 rows, and when it is killed (half an hour)
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

samples: $(RUN_READY) ## make the sample clips again
	$(BIN)/python samples/make.py

# What the tests need is resolved first: it is the larger set, and a version that all can have is found for each.
lock: pinned := -q --universal --python-version 3.11 --generate-hashes --no-header --upgrade
lock: ## resolve the dependencies anew (needs uv)
	@test -n "$(UV)" || { echo "make lock needs uv: pip install uv"; exit 2; }
	$(UV) pip compile $(pinned) --extra sandbox --group dev pyproject.toml -o locks/dev.txt
	$(UV) pip compile $(pinned) --extra sandbox --group build pyproject.toml -o locks/run.txt -c locks/dev.txt
	$(UV) pip compile $(pinned) pyproject.toml -o locks/service.txt -c locks/dev.txt
	$(UV) pip compile $(pinned) --extra sandbox --group bench pyproject.toml -o locks/bench.txt

clean: ## remove what was made here, results excepted
	rm -rf $(VENV) $(BENCH_VENV) .demo dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
