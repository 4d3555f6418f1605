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

.PHONY: setup demo test lint bench docs clean

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
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target $(addprefix conformance-,$(BACKENDS))

conformance-%: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --pyargs unimodel_conformance --backend $*

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks

docs: setup
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV)
