# The commands of this repository. `make setup` is what the others build on; it does nothing when the environment is up to date.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# all but the template: it is there to be copied, and nobody wants to train on it
PROJECTS := pyproject.toml $(filter-out backends/template/%,$(wildcard backends/*/pyproject.toml)) $(wildcard conformance/pyproject.toml)
# the frameworks first, so that the pins decide which builds are taken
FRAMEWORKS := torch tensorflow-cpu mxnet numpy

BACKENDS := tensorflow mxnet torch numpy
# what became of each test of the suite, from which docs/support.md is made
RESULTS := build/conformance
SUPPORT := $(BIN)/python -m unimodel_conformance.merge $(foreach backend,$(BACKENDS),$(RESULTS)/$(backend).json) --docs docs/support.md

.PHONY: setup demo test mutants lint bench docs pages clean

setup: $(STAMP)

$(STAMP): $(PROJECTS) constraints.txt requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(FRAMEWORKS) --requirement requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-build-isolation --constraint constraints.txt $(foreach project,$(PROJECTS),--editable ./$(dir $(project)))
	touch $@

demo: setup
	$(BIN)/python examples/demo.py

# two processes at a time, each with one thread: frameworks that spin on the same cores slow each other many times over
test: setup lint
	$(BIN)/python -m pytest -q --doctest-modules unimodel
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal tests $(wildcard backends/*/tests)
	$(MAKE) --no-print-directory $(addprefix conformance-,$(BACKENDS))
	$(SUPPORT) --check

conformance-%: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal --pyargs unimodel_conformance --backend $* --matrix $(RESULTS)/$*.json

# faults planted one at a time; the suite must reject 98 % of them
mutants: setup
	$(BIN)/python -m tests.mutants --jobs 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks

docs: setup
	$(MAKE) --no-print-directory $(addprefix conformance-,$(BACKENDS))
	$(MAKE) --no-print-directory pages

# the pages made of the code, and of the suite's last results
pages: setup
	$(SUPPORT)
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV)
