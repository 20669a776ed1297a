# `make` lists the recipes. CI runs these and no others (.ci/run).
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
CLANG ?= $(firstword $(foreach c,clang++ clang++-14 clang++-15 clang++-16 clang++-17 clang++-18 clang++-19,$(shell command -v $(c))))
DEMO ?= shallow-water
FUZZ_SECONDS ?= 60
PYTEST_ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CMAKE := $(BIN)/cmake -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja
ENGINE := $(shell find codecs cmake CMakeLists.txt -type f -not -path '*/fuzz/*' -not -path 'codecs/tests/*')
FUZZ_TARGETS := $(basename $(notdir $(wildcard codecs/fuzz/*.cpp)))
MODULES := $(shell find sciflow -name '*.py' | sort | cksum | cut -d ' ' -f 1)
CXX_FILES = $(shell find codecs -name '*.cpp' -o -name '*.hpp' -o -name '*.h')

.PHONY: help build demo models test lint format bench bench-learned bench-checkpoints bench-loader bench-datasets bench-surrogates docs wheel engine-test sanitize fuzz golden-new clean bench-evaluation bench-flows

help: ## List the recipes
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' Makefile

# The environment and the compiled engine, made on first use and again when what they are made from changes.
$(BIN)/python:
	$(PYTHON) -m venv .venv

# An editable install knows the modules that were there when it was made: a new one asks for a new install.
.venv/.modules.$(MODULES): | $(BIN)/python
	@rm -f .venv/.modules.* && touch $@

.venv/.ready: pyproject.toml constraints.txt $(ENGINE) .venv/.modules.$(MODULES) | $(BIN)/python
	$(PIP) install -q -c constraints.txt scikit-build-core nanobind cmake ninja
	$(PIP) install -q -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

.venv/.docs: .venv/.ready
	$(PIP) install -q -c constraints.txt --no-build-isolation -e '.[docs]'
	@touch $@

build: .venv/.ready ## Make .venv and compile the engine into it

demo: demo/$(DEMO).nc ## Simulate a flow, compress it, verify it, draw a report, open the store in a fresh process
	rm -rf demo/$(DEMO).zarr
	$(BIN)/sciflow compress $< demo/$(DEMO).zarr --rel 1e-3
	$(BIN)/sciflow verify $< demo/$(DEMO).zarr
	$(BIN)/sciflow report $< demo/$(DEMO).zarr demo/$(DEMO).html --overwrite
	cd demo && ../$(BIN)/python -c 'import xarray; print(xarray.open_zarr("$(DEMO).zarr").load())'

demo/%.nc: datasets/%/recipe.toml $(wildcard sciflow/datasets/*.py) | .venv/.ready
	mkdir -p demo && rm -f $@
	$(BIN)/python -m sciflow.datasets make $* $@

models: .venv/.ready ## Simulate, fit and train the catalogue's models again (some 10 minutes)
	$(BIN)/python -m sciflow.models make

test: .venv/.ready ## Run the tests (PYTEST_ARGS="-k name" for some)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: .venv/.ready ## Check style and types; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)
	$(BIN)/mypy

format: .venv/.ready ## Rewrite the sources in the house format
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format -q .
	$(BIN)/clang-format -i $(CXX_FILES)

bench: .venv/.ready ## Compare with the peers; writes CSV and plot into bench/
	$(BIN)/python -m bench

bench-flows: .venv/.ready ## Measure Prefect, Dask and compression over workers; writes a CSV and a table
	$(BIN)/python -m bench.flows

bench-learned: .venv/.ready ## Compare GWLZ and AESZ with SZ3 and SZ; writes CSVs, pages and figures
	$(BIN)/python -m bench.learned
	$(BIN)/python -m bench.learned.aesz

bench-checkpoints: .venv/.ready ## Pack weights and the state of Adam; writes CSV and page
	$(BIN)/python -m bench.checkpoints

bench-loader: .venv/.ready ## Compare SolarLoader with DataLoader on cold files; writes CSV, page and figure
	$(BIN)/python -m bench.loader

bench-surrogates: .venv/.ready ## Train surrogates on small data sets, against plain baselines; writes CSV and page
	$(BIN)/python -m bench.surrogates

bench-datasets: .venv/.ready ## Time the sets of samples; writes CSV, docs/datasets.md and the cards
	$(BIN)/python -m bench.datasets

bench-evaluation: .venv/.ready ## Train surrogates on compressed data; writes CSVs, page and figure
	$(BIN)/python -m bench.evaluation

docs: .venv/.docs ## Build the documentation into docs/_build
	$(BIN)/python -m sphinx -E -W --keep-going -q docs docs/_build

wheel: .venv/.ready ## Build a wheel into dist/
	$(PIP) wheel -q --no-build-isolation --no-deps -w dist .

engine-test: .venv/.ready ## Run the engine's own tests, as released
	$(CMAKE) -B build/engine-test -DSCIFLOW_ENGINE_TESTS=ON
	$(BIN)/cmake --build build/engine-test
	$(BIN)/ctest --test-dir build/engine-test --output-on-failure

sanitize: .venv/.ready ## Run the engine's own tests under ASan and UBSan
	$(CMAKE) -B build/sanitize -DSCIFLOW_ENGINE_TESTS=ON -DSCIFLOW_SANITIZE=ON
	$(BIN)/cmake --build build/sanitize
	$(BIN)/ctest --test-dir build/sanitize --output-on-failure

fuzz: .venv/.ready ## Fuzz the engine for FUZZ_SECONDS (60) in all; needs clang
	@test -n "$(CLANG)" || { echo "make fuzz: found no clang++, expected one with libFuzzer; install clang or set CLANG=" >&2; exit 2; }
	$(CMAKE) -B build/fuzz -DSCIFLOW_FUZZ=ON -DCMAKE_CXX_COMPILER=$(CLANG)
	$(BIN)/cmake --build build/fuzz
	@each=$$(( $(FUZZ_SECONDS) / $(words $(FUZZ_TARGETS)) + 1 )); for name in $(FUZZ_TARGETS); do \
	  mkdir -p build/fuzz/corpus/$$name; echo "fuzz $$name for $$each s"; \
	  build/fuzz/$$name -max_total_time=$$each -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	    -artifact_prefix=build/fuzz/ build/fuzz/corpus/$$name tests/golden; \
	done

golden-new: .venv/.ready ## Write the goldens that are missing; refuses to touch one that exists
	$(BIN)/python -m tests.golden.make

clean: ## Remove what was built; keeps .venv
	rm -rf build dist demo docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis .venv/.ready .venv/.docs
