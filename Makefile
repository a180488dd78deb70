# From nothing to a result: every target sets up .venv by itself; a second call skips what is done.
#
#   make demo        reconstruct the built-in scene (about a minute on two cores)
#   make test        lint, types, examples, tests (with DVR_TEST_LARGE=1 the largest ones at full size)
#   make bench       timings, with the machine and the versions they were taken on
#
# On Linux the default torch is a CUDA build of several GB. For another one pass what pip is to install first, e.g.
# make demo TORCH="torch --index-url URL" with the URL of the CPU builds (PyTorch's installation page has it).

PYTHON ?= python3
TORCH ?= "torch>=2.13"
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.NOTPARALLEL:
.PHONY: demo test lint typecheck examples bench clean

demo: $(INSTALLED)
	$(BIN)/dvr demo

# The tests start some hundred processes; where the environment forbids compiled files, each would compile all it imports.
test examples: export PYTHONDONTWRITEBYTECODE :=

# The tests come last, so that their summary is the last line; one process and one thread per core.
test: lint typecheck examples
	$(BIN)/python -m pytest -n logical --dist loadfile

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(INSTALLED_DEV)
	$(BIN)/mypy

examples: $(INSTALLED_DEV)
	set -e; for example in $(sort $(wildcard examples/[0-9]*.py)); do echo "$$example"; $(BIN)/python $$example; done

bench: $(INSTALLED_DEV)
	set -e; for benchmark in $(sort $(wildcard benchmarks/[a-z]*.py)); do $(BIN)/python $$benchmark; done

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

$(INSTALLED): pyproject.toml scripts/system_packages.sh
	sh scripts/system_packages.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(TORCH)
	$(BIN)/python -m pip install -e .
	touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(BIN)/python -m pip install -e ".[dev]"
	touch $@
