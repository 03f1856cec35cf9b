# ftpstorm: `make` alone lists the targets. A bare machine needs python3 (3.11 or later, with venv and pip) and make.

PYTHON ?= python3
VENV   ?= .venv
PYTEST_ARGS ?=
# Modules of tests that run at a time; 0 for one after the other in one process.
TEST_PROCESSES ?= 2

BIN     := $(VENV)/bin
INPUTS  := pyproject.toml constraints.txt
# The runtime install is a subset of the developers' one: where that is current, `demo` installs nothing.
RUNTIME := $(VENV)/.installed-runtime
DEV     := $(VENV)/.installed-dev
PIP     := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 $(BIN)/python -m pip install --quiet -c constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(DEV)  ## make .venv with everything that tests and checks need

.PHONY: demo
demo: $(RUNTIME)  ## reproduce "425 Try later" in 20 s and plot it against its limit
	$(BIN)/ftpstorm run scenarios/try-later-425.yaml

.PHONY: test
test: $(DEV)  ## run the test suite; PYTEST_ARGS="-k pool" narrows it
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

EXAMPLES ?= 1000

.PHONY: fuzz
fuzz: $(DEV)  ## try EXAMPLES=1000 new examples on each property test; the suite tries the same ones each time
	FTPSTORM_FUZZ=$(EXAMPLES) $(BIN)/python -m pytest -m hypothesis --numprocesses $(TEST_PROCESSES) --dist load $(PYTEST_ARGS)

.PHONY: test-lab
test-lab: $(DEV)  ## run the lab's tests: namespaces, real kernels, real servers
	$(BIN)/python -m pytest tests/lab $(PYTEST_ARGS)

.PHONY: lab-report
lab-report: $(DEV)  ## run them and print what was predicted of each situation and what was measured
	$(BIN)/python -m pytest tests/lab --quiet --lab-report $(PYTEST_ARGS)

.PHONY: verify-theory
verify-theory: $(DEV)  ## hold the theory against this kernel; ARGS="--kind counts" or "--only backlog" narrows it
	PYTHONPATH=tests $(BIN)/python -m validation.verify $(ARGS)

.PHONY: stories
stories: $(DEV)  ## run the whole gallery with its expectations; PARTS="backup 425" narrows it
	$(BIN)/python scripts/stories $(PARTS)

.PHONY: lint
lint: $(DEV)  ## check style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: types
types: $(DEV)  ## check types
	$(BIN)/mypy

.PHONY: imports
imports: $(DEV)  ## check who imports whom
	$(BIN)/lint-imports

DOCS := $(VENV)/.installed-docs

# The pages are laid out as in the repository, so that links between them hold there and here alike.
.PHONY: docs
docs: $(DOCS)  ## build the documentation into build/site, every link checked
	$(BIN)/python scripts/reference --check
	rm -rf build/pages build/site
	mkdir -p build/pages/results
	cp -r README.md ARCHITECTURE.md CHANGELOG.md LICENSE docs scenarios build/pages
	cp -r results/README.md results/reference build/pages/results
	$(BIN)/zensical build --strict
	$(BIN)/python scripts/check-site build/site

.PHONY: servers
servers:  ## fetch real FTP servers (Debian packages) for the lab, unpacked and not installed
	scripts/fetch-servers

.PHONY: clean
clean:  ## remove .venv and every cache; results/ and fetched servers stay
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "ftpstorm needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." >&2; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' has no venv or pip; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): $(BIN)/python $(INPUTS)
	$(PIP) -e .
	@touch $@

$(DEV): $(BIN)/python $(INPUTS)
	$(PIP) -e '.[dev]'
	@touch $(RUNTIME) $@

$(DOCS): $(BIN)/python $(INPUTS)
	$(PIP) -e '.[docs]'
	@touch $(RUNTIME) $@

# The peers that `bench` compares with live in an environment of their own: nothing of theirs reaches the project's.
PEERS := .cache/bench/venv

.PHONY: bench
bench: $(DEV) $(PEERS)/.installed  ## measure the engine against C and other clients; ARGS="--quick" for a smoke run
	$(BIN)/python -m bench.run --peers $(ARGS)

$(PEERS)/.installed: bench/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 $(PEERS)/bin/python -m pip install --quiet -r bench/requirements.txt
	@touch $@
