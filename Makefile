# Every target works on a fresh machine with Python 3.11 or newer and make: the first one
# makes .venv and installs what the lock files name, hash by hash.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test bench lint infra-check sbom package soak lock clean

VENV := .venv
BIN := $(VENV)/bin
CHECKS := .venv-checks
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

infra-check: $(VENV)/dev.stamp $(CHECKS)/checks.stamp package ## Check Terraform, image, SBOM, licences, secrets
	npm ci --no-audit --no-fund --prefix infra/serverless
	$(BIN)/python -m infra.checks

sbom: $(VENV)/dev.stamp ## Make the SBOM and the licence list from the lock and the packages
	$(BIN)/python -m infra.checks --write

package: $(VENV)/dev.stamp ## Build what Lambda runs, for arm64, into build/lambda
	$(BIN)/python infra/serverless/artefact.py build/lambda

soak: $(VENV)/dev.stamp ## Run the suite with the long counts of kills, faults and examples
	STRONGROOM_SOAK=1 $(BIN)/python -m pytest -n 2 --ignore=tests/infrastructure

lock: $(VENV)/dev.stamp ## Resolve the dependencies anew, within what pyproject.toml allows
	$(COMPILE) --group build --output-file requirements.lock
	$(COMPILE) --group dev --constraints requirements.lock --output-file requirements-dev.lock
	$(RESOLVE) --extra reports --constraints requirements.lock \
		--output-file infra/serverless/requirements.lock
	$(LOCK) infra/checks/requirements.in --output-file infra/checks/requirements.lock

COMPILE = $(RESOLVE) --all-extras
RESOLVE = $(LOCK) pyproject.toml
LOCK = $(BIN)/uv pip compile --quiet --upgrade --universal \
	--python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock"

clean: ## Remove the virtual environment and every cache (not .strongroom)
	rm -rf $(VENV) $(CHECKS) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis \
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

# checkov, detect-secrets and hadolint pin libraries that the service needs newer.
$(CHECKS)/checks.stamp: infra/checks/requirements.lock | $(BIN)/python
	$(BIN)/python -m venv --clear $(CHECKS)
	$(CHECKS)/bin/python -m pip --disable-pip-version-check --no-input install --quiet --no-deps \
		--require-hashes --requirement infra/checks/requirements.lock
	@touch $@
