# Every target works on a fresh machine with Python 3.11 or newer and make: the first one
# makes .venv and installs what the lock files name, hash by hash.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test bench lint infra-check package soak lock clean

VENV := .venv
BIN := $(VENV)/bin
CODE := vault_service reporting_jobs
CHECKED := $(CODE) bench infra tests
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
PROJECT := pyproject.toml README.md LICENSE
# The first Python that runs and is new enough; override with `make PYTHON=...`.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$python; break; }; done)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/runtime.stamp ## Show what Strongroom does, on this machine, in a minute
	$(BIN)/strongroom demo

test: $(VENV)/dev.stamp ## Run the whole test suite
	$(BIN)/python -m pytest -n 2 --ignore=tests/infrastructure

bench: $(VENV)/dev.stamp ## Measure against the database's own floor
	$(BIN)/python -m bench

lint: $(VENV)/dev.stamp ## Check style, types, floors, security and dependencies
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy $(CHECKED)
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --confidence-level medium --recursive $(CODE)
	$(BIN)/deptry $(CODE)

infra-check: $(VENV)/dev.stamp package ## Check the image's recipe, the Lambdas' template and Terraform
	$(BIN)/python -m pytest -q tests/architecture/test_dockerfile.py
	npm ci --no-audit --no-fund --prefix infra/serverless
	$(BIN)/python -m pytest -q -p no:cacheprovider infra/serverless
	$(BIN)/python -m pytest -q -n 2 tests/infrastructure

package: $(VENV)/dev.stamp ## Build what Lambda runs, for arm64, into build/lambda
	$(BIN)/python infra/serverless/artefact.py build/lambda

soak: $(VENV)/dev.stamp ## Run the suite with the long counts of kills, faults and examples
	STRONGROOM_SOAK=1 $(BIN)/python -m pytest -n 2 --ignore=tests/infrastructure

lock: $(VENV)/dev.stamp ## Resolve the dependencies anew, within what pyproject.toml allows
	$(COMPILE) --group build --output-file requirements.lock
	$(COMPILE) --group dev --constraints requirements.lock --output-file requirements-dev.lock
	$(RESOLVE) --extra reports --constraints requirements.lock \
		--output-file infra/serverless/requirements.lock

COMPILE = $(RESOLVE) --all-extras
RESOLVE = $(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal \
	--python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock"

clean: ## Remove the virtual environment and every cache (not .strongroom)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { \
		echo "Python 3.11 or newer is needed and was not found; name one: make PYTHON=..." >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments; install its venv package" \
			"(on Debian and Ubuntu: apt install python3-venv)" >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/runtime.stamp: requirements.lock $(PROJECT) | $(BIN)/python
	$(PIP) install --quiet --no-deps --require-hashes --requirement requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(PROJECT) | $(BIN)/python
	$(PIP) install --quiet --no-deps --require-hashes --requirement requirements-dev.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
