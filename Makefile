# Each target makes what it needs: `make demo` and `make test` are all that a fresh machine with Python, pip and make has to run.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PEERS  := .venv-peers
SEED   ?= 0
DEMO   ?= runs/demo
# Two processes with a thread each take three fifths of the time of one with two; the tests of a file stay together, for they share what is slow to make.
# tests/conftest.py says which files begin: the long ones, which at the end would keep one process alone.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint check peers clean

help:
	@echo "make setup     make the environment in $(VENV) (about 2 minutes)"
	@echo "make demo      the whole chain on a simulated shop: encoders, rankers, exchange rate, report (5 minutes)"
	@echo "make test      the tests"
	@echo "make test-all  the tests with the slow ones"
	@echo "make check     lint, types, import rules and tests: what CI runs"
	@echo "make peers     the libraries that the benchmarks measure beside this one, in $(PEERS) (1 minute, 2 GB)"
	@echo "make clean     remove the environment and everything the demo wrote"

setup: $(READY)

$(READY): requirements/cpu.txt requirements/torchrec.txt pyproject.toml
	@$(PYTHON) requirements/preflight.py
	@echo "[1/4] a fresh environment in $(VENV)"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@echo "[2/4] torch, transformers, polars, faiss, mlflow and their pinned companions"
	@$(BIN)/python -m pip install --quiet --requirement requirements/cpu.txt
	@echo "[3/4] torchrec, without the CUDA packages that its wheel demands"
	@$(BIN)/python -m pip install --quiet --no-deps --requirement requirements/torchrec.txt
	@echo "[4/4] moon_rec itself"
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m moon_rec doctor --quiet
	@touch $(READY)

demo: $(READY)
	@$(BIN)/python -m moon_rec demo --out $(DEMO) --seed $(SEED) --overwrite

test: $(READY)
	@echo "the tests, without the slow ones (make test-all runs those too)"
	@$(PYTEST) -m "not slow and not gpu"

test-all: $(READY)
	@$(PYTEST) -m "not gpu"

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

check: lint test

peers: $(PEERS)/.ready

$(PEERS)/.ready: requirements/peers.txt
	@rm -rf $(PEERS) && $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --requirement requirements/peers.txt
	@touch $@

clean:
	rm -rf $(VENV) $(PEERS) runs
