# What you can do here. `make` alone tells.
PYTHON  ?= $(shell for p in python3.13 python3.12 python3.11 python3.14 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
VENV    := .venv
BIN     := $(VENV)/bin
DESTDIR ?=
# What the package is made of, and where it is put.
WHEELHOUSE ?= build/wheelhouse
RPMS    ?= dist
AXE     := tests/axe/node_modules/axe-core/axe.min.js
PACKAGING := tests/packaging/alone $(BIN)/python -m pytest --timeout 600 tests/packaging
# The rooms that decide must be covered whole, every branch.
DECISIONS := */decide/*,*/model/*,*/chef/answers.py,*/chef/node_document.py,*/chef/used.py,*/metrics/moves.py,*/server_list/listing.py,*/fleet/standby.py,*/fleet/nodes.py,*/fleet/report.py,*/fleet/parity.py,*/fleet/page.py,*/fleet/retirement.py,*/api/order_requests.py,*/durations.py,*/instants.py,*/weighed_json.py,*/printable.py

.DEFAULT_GOAL := help
.PHONY: help demo test check simulate test-packaging lint man bench lock parts wheelhouse rpm lambda repo release install clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/demo ## Watch a failover and a failback, in under a minute
	@$(BIN)/chef-failover-demo

test: parts $(VENV)/dev $(AXE) lint ## Install what the tests need, and run all of them
	@# Real servers, real clocks: what fails is tried once more, alone, and both are shown.
	@$(BIN)/coverage erase && rm -f build/failed-* && mkdir -p build
	@$(MAKE) --no-print-directory -j 4 -O $(addprefix part-,$(PARTS))
	@for part in $(PARTS); do test ! -e build/failed-$$part || $(MAKE) again-$$part || exit 1; done
	$(BIN)/python -m pytest tests/system/test_leaks.py # not under coverage, which keeps something of every thread
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include="$(DECISIONS)" --show-missing --fail-under=100

# Four at once, since most of them wait for clocks.
PARTS := rooms-1 rooms-2 system-1 system-2
ROOMS_1 := $(addprefix tests/,bench cli devserver doctor registration)
SYSTEM_1 := $(addprefix tests/system/,test_association.py test_chef_client.py)
part-rooms-1 again-rooms-1: TESTS := $(ROOMS_1)
part-rooms-2 again-rooms-2: TESTS := tests $(addprefix --ignore tests/,system project packaging image) $(addprefix --ignore ,$(ROOMS_1))
part-system-1 again-system-1: TESTS := $(SYSTEM_1) tests/project
part-system-2 again-system-2: TESTS := tests/system $(addprefix --ignore ,$(SYSTEM_1) tests/system/test_leaks.py)
part-%:
	@$(BIN)/coverage run --parallel-mode -m pytest -o cache_dir=build/pytest-$* $(TESTS) || touch build/failed-$*
again-%:
	@$(BIN)/coverage run --parallel-mode -m pytest -o cache_dir=build/pytest-$* --last-failed --last-failed-no-failures none $(TESTS)

check: $(VENV)/dev lint ## Lint, types, and the tests of what decides: under a minute, for every line that you change
	$(BIN)/python -m pytest -q tests/decide tests/model tests/config tests/project/test_imports.py

test-packaging: $(VENV)/dev wheelhouse ## Install what these tests need, build the package, and test it on real systems
	@packaging/install-test-parts packaging
	@for kind in amd64 arm64 later; do test -d build/roots/$$kind || packaging/make-test-root $$kind build/roots/$$kind || exit 1; done
	$(PACKAGING) --durations 10 || $(PACKAGING) --last-failed --last-failed-no-failures none # as in `test`

simulate: $(VENV)/dev ## What a fleet of 10,000 nodes does to its Chef servers, on a simulated clock: make simulate FLEET="--nodes 100000"
	$(BIN)/python -m bench.fleet $(FLEET)

lint: $(VENV)/dev ## Ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

man: $(VENV)/run ## Make the manual and the shell completions, in build/share
	$(BIN)/python packaging/manual.py build/share

bench: parts $(VENV)/dev ## Speed and memory, as ratios measured in one run
	$(BIN)/python -m bench

parts: ## Install Ruby, Ohai, goiardi, Chromium and the like from the system's packages
	@packaging/install-test-parts

wheelhouse: $(VENV)/bin/python ## Fetch the wheels that the package is made of; nothing after this needs a network
	@$(BIN)/python packaging/wheelhouse.py $(WHEELHOUSE)

rpm: ## Make the RPM in dist/ from the wheelhouse: one file for all architectures
	@packaging/build-rpm $(WHEELHOUSE) $(RPMS)

lambda: ## Make dist/chef-failover-retire.zip from the wheelhouse: the function that removes nodes of terminated instances
	$(PYTHON) -B packaging/lambda/build.py $(WHEELHOUSE) dist/chef-failover-retire.zip

repo: ## Make a signed dnf repository in dist/repo from the RPM: make repo GPG_KEY=... BASEURL=https://... [PUBLISH=s3://...]
	@packaging/make-repo $(RPMS) $(RPMS)/repo

release: ## Test, build, sign and tag a release of main: make release VERSION=1.2.3 GPG_KEY=...
	@packaging/release

install: ## Install on this node (as root) by hand, or below DESTDIR for a package; both from the wheelhouse
	@umask 022 && $(MAKE) --no-print-directory installed # or root would believe what others may change

.PHONY: installed
installed: TREE := $(DESTDIR)/usr/lib/chef-failover
installed: DOC := $(DESTDIR)/usr/share/doc/chef-failover
installed:
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or later is needed; name it: make install PYTHON=python3.11'; exit 1; }
	rm -rf $(TREE) $(DOC) $(DESTDIR)/usr/share/licenses/chef-failover
	$(PYTHON) -B packaging/vendor.py $(WHEELHOUSE) $(TREE) $(DESTDIR)/usr/share/licenses/chef-failover \
	  $(DESTDIR)/usr/share/chef-failover/sbom.cdx.json
	install -m 0644 packaging/main.py $(TREE)/__main__.py
	install -m 0644 LICENSE $(DESTDIR)/usr/share/licenses/chef-failover/LICENSE
	$(PYTHON) -m compileall -q --invalidation-mode unchecked-hash -s "$(DESTDIR)" $(TREE)
	install -d $(DOC)
	cp -R README.md SECURITY.md CHANGELOG.md docs packaging/examples packaging/iam packaging/cookbook $(DOC)
	chmod -R u=rwX,go=rX $(TREE) $(DOC) $(DESTDIR)/usr/share/licenses/chef-failover
	PYTHONPATH=$(TREE) $(PYTHON) -B packaging/manual.py $(DESTDIR)/usr/share
	install -D -m 0755 packaging/chef-failover $(DESTDIR)/usr/bin/chef-failover
	install -D -m 0644 -t $(DESTDIR)/usr/share/chef-failover/ruby/chef_failover ruby_shim/lib/chef_failover/*.rb
	install -D -m 0644 ruby_shim/lib/chef_failover.rb $(DESTDIR)/usr/share/chef-failover/ruby/chef_failover.rb
	for dir in chef cinc; do \
	  install -D -m 0644 ruby_shim/client.d/chef_failover.rb $(DESTDIR)/etc/$$dir/client.d/chef_failover.rb && \
	  install -D -m 0644 ruby_shim/ohai/chef_failover.rb $(DESTDIR)/etc/$$dir/ohai/plugins/chef_failover.rb || exit 1; \
	done
	install -D -m 0644 packaging/chef-failover.service $(DESTDIR)/usr/lib/systemd/system/chef-failover.service
	install -D -m 0644 packaging/90-chef-failover.preset $(DESTDIR)/usr/lib/systemd/system-preset/90-chef-failover.preset
	install -D -m 0644 packaging/chef-failover.sysusers $(DESTDIR)/usr/lib/sysusers.d/chef-failover.conf
	install -D -m 0644 packaging/chef-failover.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/chef-failover.conf
	test -e $(DESTDIR)/etc/chef-failover/config.yml || \
	  install -D -m 0644 packaging/config.yml $(DESTDIR)/etc/chef-failover/config.yml
	test -n "$(DESTDIR)" || { systemd-sysusers chef-failover.conf && systemd-tmpfiles --create chef-failover.conf; }
	test -n "$(DESTDIR)" || test ! -d /run/systemd/system || systemctl daemon-reload
	test -n "$(DESTDIR)" || cmp -s packaging/config.yml /etc/chef-failover/config.yml || \
	  test -e /etc/chef-failover/config.yml.accepted.json || /usr/bin/chef-failover accept || true

# requests guesses encodings by charset-normalizer; nothing of ours has it guess, and it is 3 MB of memory.
lock: ## Write requirements/*.txt from pyproject.toml (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --no-emit-package charset-normalizer -o requirements/run.txt pyproject.toml
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --no-emit-package charset-normalizer \
	  -o requirements/demo.txt pyproject.toml --extra demo
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --no-emit-package charset-normalizer \
	  -o requirements/dev.txt pyproject.toml --extra demo --extra test --extra lint

.PHONY: test-image
test-image: $(VENV)/dev wheelhouse ## Bake an image with Packer, boot two instances of it, fail over (as root; 6 minutes)
	@packaging/install-test-parts image
	@$(MAKE) build/image/base.qcow2 || echo 'There is no disk to start from, so most of these tests will skip.' >&2
	$$(test "$$(id -u)" != 0 || echo unshare --net) $(BIN)/python -m pytest --durations 10 tests/image

build/image/base.qcow2: tests/image/make-base
	tests/image/make-base build/image

clean: ## Remove what was made here
	rm -rf $(VENV) build dist .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis sidecar/*.egg-info

$(AXE): tests/axe/package-lock.json
	@npm ci --prefix tests/axe --ignore-scripts --silent --no-audit --no-fund || \
	  echo 'axe-core could not be fetched with npm; the tests of the page skip.' >&2
	@test ! -e $@ || touch $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or later is needed; name it: make PYTHON=/path/to/python3'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/demo: requirements/demo.txt $(VENV)/run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/demo.txt
	@touch $@

$(VENV)/dev: requirements/dev.txt $(VENV)/run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	@touch $@
