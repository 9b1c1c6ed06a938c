# What you can do here. `make` alone tells.
PYTHON  ?= $(shell for p in python3.13 python3.12 python3.11 python3.14 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
VENV    := .venv
BIN     := $(VENV)/bin
DESTDIR ?=
PREFIX  ?= /usr
# The modules that decide must be covered whole, every branch.
DECISIONS := */answers.py,*/durations.py,*/health.py,*/model.py,*/node_document.py,*/order_requests.py,*/prospects.py,*/readiness.py,*/reasons.py,*/selection.py,*/steering.py,*/world.py

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench lock parts install install-files clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/run ## Watch a failover and a failback, in under a minute
	@$(BIN)/chef-failover demo

test: parts $(VENV)/dev lint ## Install what the tests need, and run all of them
	$(BIN)/coverage run -m pytest --ignore tests/test_leaks.py
	$(BIN)/python -m pytest tests/test_leaks.py # not under coverage, which keeps something of every thread
	$(BIN)/coverage report --include="$(DECISIONS)" --show-missing --fail-under=100

lint: $(VENV)/dev ## Ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: parts $(VENV)/dev ## Speed and memory, as ratios measured in one run
	$(BIN)/python -m bench

parts: ## Install Ruby, Ohai, goiardi and the like from the system's packages
	@packaging/install-test-parts

install: install-files ## Install on this node (as root), by hand: program, shim, unit, sample configuration
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or later is needed; name it: make install PYTHON=python3.11'; exit 1; }
	$(PYTHON) -m venv --clear $(PREFIX)/lib/chef-failover
	$(PREFIX)/lib/chef-failover/bin/python -m pip install -q --require-hashes -r requirements/run.txt
	$(PREFIX)/lib/chef-failover/bin/python -m pip install -q --no-deps .
	ln -sf $(PREFIX)/lib/chef-failover/bin/chef-failover $(PREFIX)/bin/chef-failover
	getent passwd chef-failover >/dev/null || useradd -r -U -d /var/lib/chef-failover -s /sbin/nologin chef-failover
	systemctl daemon-reload

install-files: ## Install the files alone, below DESTDIR if that is set
	install -D -m 0644 ruby_shim/lib/chef_failover.rb $(DESTDIR)$(PREFIX)/share/chef-failover/ruby/chef_failover.rb
	for dir in chef cinc; do \
	  install -D -m 0644 ruby_shim/client.d/chef_failover.rb $(DESTDIR)/etc/$$dir/client.d/chef_failover.rb && \
	  install -D -m 0644 ruby_shim/ohai/chef_failover.rb $(DESTDIR)/etc/$$dir/ohai/plugins/chef_failover.rb || exit 1; \
	done
	install -D -m 0644 packaging/chef-failover.service $(DESTDIR)$(PREFIX)/lib/systemd/system/chef-failover.service
	test -e $(DESTDIR)/etc/chef-failover/config.yml || \
	  install -D -m 0644 packaging/config.yml $(DESTDIR)/etc/chef-failover/config.yml

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
