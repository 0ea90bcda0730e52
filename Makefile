# Each target makes what it needs: `make demo` and `make test` are all that a fresh machine with Python, pip and make has to run.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PEERS  := .venv-peers
DOCS   := .venv-docs
SEED   ?= 0
DEMO   ?= runs/demo
# Images of containers often set it: each of the tests' and the demo's processes would then compile again whatever it imports (8 s with torchrec).
unexport PYTHONDONTWRITEBYTECODE

# Two processes with a thread each take three fifths of the time of one with two; the tests of a file stay together, for they share what is slow to make.
# tests/conftest.py says which files begin: the long ones, which at the end would keep one process alone.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# What installs: pip or uv (pip install uv). torch without CUDA comes from PyTorch's own index; where only PyPI is reached, TORCH= takes its CUDA build.
INSTALLER ?= pip
UV        ?= uv
TORCH     ?= --torch-backend cpu
TORCHREC_lowest  := 1.6.1
TORCHREC_highest := 1.9.2
RESOLUTION_lowest  := lowest-direct
RESOLUTION_highest := highest
# A few fast tests of every package, for other versions than the pinned ones: each meets another dependency.
QUICK := $(addprefix tests/,moon_rec/test_values.py moon_rec/test_embedding_table.py moon_rec/tracking/test_stores.py \
	moon_rec/shop/readers/interactions/test_layouts.py representation/model/test_tokenizer.py representation/model/test_backbone.py \
	representation/model/test_lora.py representation/losses/test_infonce.py representation/search/test_approximate.py \
	ranking/test_metrics.py ranking/test_model.py ranking/test_loader.py exchange_rate/estimation/test_rate.py exchange_rate/report/test_report.py)

# Of twenty thousand modules a quarter is ever imported: each is compiled when it first is, and not all of them here (a minute).
PIP := -m pip install --quiet --no-compile

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint check docs peers wheel lowest highest clean

help:
	@echo "make setup     make the environment in $(VENV) (about 2 minutes)"
	@echo "make demo      the whole chain on a simulated shop: encoders, rankers, exchange rate, report (5 minutes)"
	@echo "make test      the tests"
	@echo "make test-all  the tests with the slow ones"
	@echo "make check     lint, types, import rules and tests: what CI runs"
	@echo "make docs      the docs site, in site/, with every link checked (half a minute; its own environment in $(DOCS))"
	@echo "make peers     the libraries that the benchmarks measure beside this one, in $(PEERS) (1 minute, 2 GB)"
	@echo "make wheel     the wheel, installed in an empty environment (INSTALLER=pip or uv), its commands run outside the checkout"
	@echo "make lowest    a few tests of every package with the lowest versions that pyproject.toml allows, in .venv-lowest (requires uv)"
	@echo "make highest   the same with the highest versions"
	@echo "make clean     remove the environment and everything the demo wrote"

setup: $(READY)

$(READY): requirements/cpu.txt requirements/torchrec.txt pyproject.toml
	@$(PYTHON) requirements/preflight.py
	@echo "[1/4] a fresh environment in $(VENV)"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@echo "[2/4] torch, transformers, polars, faiss, mlflow and their pinned companions"
	@$(BIN)/python $(PIP) --requirement requirements/cpu.txt
	@echo "[3/4] torchrec, without the CUDA packages that its wheel demands"
	@$(BIN)/python $(PIP) --no-deps --requirement requirements/torchrec.txt
	@echo "[4/4] moon_rec itself"
	@$(BIN)/python $(PIP) --no-deps --no-build-isolation --editable .
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

docs: $(DOCS)/.ready
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet --strict
	@echo "the site is in site/: open site/index.html"

$(DOCS)/.ready: requirements/docs.txt
	@rm -rf $(DOCS) && $(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/python $(PIP) --requirement requirements/docs.txt
	@touch $@

peers: $(PEERS)/.ready

$(PEERS)/.ready: requirements/peers.txt
	@rm -rf $(PEERS) && $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python $(PIP) --requirement requirements/peers.txt
	@touch $@

wheel:
	@$(PYTHON) requirements/preflight.py
	@requirements/try_wheel.sh $(PYTHON) $(INSTALLER)

lowest highest: %: .venv-%/.ready
	@echo "some tests of every package, with the $@ versions that pyproject.toml allows"
	@OMP_NUM_THREADS=1 .venv-$@/bin/python -m pytest -W default -m "not slow and not gpu" -q $(QUICK)

.venv-%/.ready: requirements/%.txt pyproject.toml
	@$(UV) venv --quiet --clear --python $(PYTHON) .venv-$*
	@$(UV) pip install --python .venv-$*/bin/python $(TORCH) --resolution $(RESOLUTION_$*) --requirement pyproject.toml --requirement $<
	@$(UV) pip install --python .venv-$*/bin/python --no-deps torchrec==$(TORCHREC_$*)
	@touch $@

clean:
	rm -rf $(VENV) $(PEERS) $(DOCS) .venv-lowest .venv-highest site runs
