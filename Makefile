# What you can do here. `make` alone tells.
PYTHON  ?= $(shell for p in python3.13 python3.12 python3.11 python3.14 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
VENV    := .venv
BIN     := $(VENV)/bin
DESTDIR ?=
PREFIX  ?= /usr
# The modules that decide must be covered whole, every branch.
DECISIONS := */answers.py,*/durations.py,*/health.py,*/model.py,*/reasons.py,*/selection.py,*/world.py

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench lock parts install clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/run ## Watch a failover and a failback, in under a minute
	@$(BIN)/chef-failover demo

test: parts $(VENV)/dev lint ## Install what the tests need, and run all of them
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report --include="$(DECISIONS)" --show-missing --fail-under=100

lint: $(VENV)/dev ## Ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: parts $(VENV)/dev ## Speed and memory, as ratios measured in one run
	$(BIN)/python -m bench

parts: ## Install Ruby, Ohai, goiardi and the like from the system's packages
	@packaging/install-test-parts

lock: ## Write requirements/*.txt from pyproject.toml (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" -o requirements/run.txt pyproject.toml
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" -o requirements/dev.txt pyproject.toml --extra test --extra lint

clean: ## Remove what was made here
	rm -rf $(VENV) build dist .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis sidecar/*.egg-info

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or later is needed; name it: make PYTHON=/path/to/python3'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/dev: requirements/dev.txt $(VENV)/run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@
