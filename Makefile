# Everything that is done with a checkout. `make` alone lists it.
# A virtual environment in .venv and programs in .tools are set up on the way;
# nothing is installed outside the checkout, and no target needs root.

# The python3 of the PATH, or the newest other one, if it is new enough.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)
NEW_ENOUGH = import sys; sys.exit(sys.version_info < (3, 11))
VENV = .venv
RUN = $(VENV)/bin/python -m
# For every Python and machine at once; the pins of before stay as long as they fit.
LOCK = $(RUN) uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock"
# More for the program that a target runs: make test ARGS="-k verdict -x"
ARGS =
# Where programs find the helpers of the tests, as pytest does by pyproject.toml.
HELPERS = PYTHONPATH=$(CURDIR)/tests/support:$(CURDIR)/tests/simulations

export PATH := $(CURDIR)/.tools/bin:$(PATH)

.PHONY: help
help:  ## This list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: demo
demo: $(VENV)/.runtime  ## A simulated cloud and its metrics, until Ctrl-C
	@exec $(RUN) exporter demo $(ARGS)

# Files in the order of their names: by number of tests, as is usual, those with few
# but long ones would come last, and all cores but one would wait for them.
.PHONY: test
test: $(VENV)/.dev tools  ## The tests (ARGS="…" goes to pytest)
	$(RUN) pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev  ## Days with faults, in minutes (ARGS="--minutes 5 --seed 7")
	@exec env $(HELPERS) $(RUN) soak.run $(ARGS)

.PHONY: fidelity
fidelity: $(VENV)/.dev tools  ## Weeks of problems: are the alerts right? (ARGS="--seed 7 --days 60")
	@exec env $(HELPERS) $(RUN) alert_fidelity.run $(ARGS)

.PHONY: lint
lint: $(VENV)/.dev  ## The linter, the format and the types
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy

.PHONY: check
check: lint test  ## Everything that a change must pass

.PHONY: format
format: $(VENV)/.dev  ## Fix the format, and what the linter can fix
	$(RUN) ruff check --fix-only
	$(RUN) ruff format

.PHONY: docs
docs: $(VENV)/.dev  ## Write the generated pages in docs/ again
	$(HELPERS) $(VENV)/bin/python docs/generate.py

.PHONY: dashboards
dashboards: $(VENV)/.dev  ## Write the dashboards in grafana/dashboards/ again
	$(RUN) grafana

.PHONY: images
images: $(VENV)/.dev tools  ## Take the pictures in docs/ again
	$(HELPERS) $(VENV)/bin/python docs/screenshots.py

# Alerts and dashboards say where to read on: all at the place that pyproject.toml names.
RUNBOOKS = $(shell sed -n 's/^Runbooks = "\(.*\)"/\1/p' pyproject.toml)
.PHONY: runbooks
runbooks:  ## Let alerts lead to your pages: make runbooks URL=https://wiki.example.com/onapp
	@[ -n "$(URL)" ] || { echo >&2 "Tell where they are (now $(RUNBOOKS)):" \
		"make runbooks URL=https://wiki.example.com/onapp"; exit 1; }
	@sed -i.before 's|$(RUNBOOKS)|$(URL)|g' pyproject.toml deploy/prometheus/*.rules.yml \
		grafana/dashboards/*.json
	@rm -f pyproject.toml.before deploy/prometheus/*.before grafana/dashboards/*.before

.PHONY: golden
golden: $(VENV)/.dev tools  ## Write the golden files of the tests again
	$(RUN) pytest tests -k golden --update-golden $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.fuzz  ## Look for an answer that breaks a decoder (ARGS="--seconds 600")
	$(HELPERS) $(VENV)/bin/python tests/fuzz/decoder_search.py $(ARGS)

.PHONY: mutations
mutations: $(VENV)/.dev tools  ## Do the tests catch a changed line? (ARGS="--lines 20 --revision main")
	@$(HELPERS) $(VENV)/bin/python tests/mutations/mutation_sample.py $(ARGS)

.PHONY: compare
compare: $(VENV)/.dev  ## Is all that people read the same as at another revision? (ARGS=main)
	@tests/tools.sh libfaketime
	@$(VENV)/bin/python tests/support/compare_revisions.py $(ARGS)

.PHONY: lock
lock: $(VENV)/.dev  ## Lock the versions and hashes that the image is made of (ARGS=--upgrade: the newest)
	$(LOCK) --output-file requirements.lock pyproject.toml $(ARGS)
	echo hatchling | $(LOCK) --output-file requirements-build.lock - $(ARGS)

.PHONY: audit
audit: $(VENV)/.dev  ## Has a locked package a known vulnerability? It asks PyPI (ARGS="--vulnerability-service osv")
	$(RUN) pip_audit --strict --progress-spinner off --disable-pip --require-hashes \
		--requirement requirements.lock --requirement requirements-build.lock $(ARGS)

.PHONY: bench
bench: $(VENV)/.dev  ## Measure, and write docs/performance.md (ARGS="1000 10000": sizes)
	$(HELPERS) $(VENV)/bin/python tests/benchmarks/run.py $(ARGS)

.PHONY: dist
dist: $(VENV)/.dev  ## The package as it is published, in dist/
	$(RUN) pip install --quiet --disable-pip-version-check --require-hashes \
		--only-binary :all: --requirement requirements-build.lock
	$(RUN) hatchling build -d dist

.PHONY: deb
deb: $(VENV)/.dev  ## The Debian packages, in dist/
	@command -v nfpm >/dev/null || tests/tools.sh
	deploy/deb/build.sh amd64
	deploy/deb/build.sh arm64

.PHONY: tools
tools:  ## The programs that the tests call, where they are missing
	@tests/tools.sh
	@tests/containers.sh

.PHONY: clean
clean:  ## Remove all that these targets make
	rm -rf $(VENV) .tools .fuzz .mutations build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.runtime: pyproject.toml | $(VENV)/bin/pip
	@echo "Installing the exporter into $(VENV)"
	@$(RUN) pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/pip
	@echo "Installing the exporter and what its tests need into $(VENV)"
	@$(RUN) pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(VENV)/.runtime $@

$(VENV)/.fuzz: $(VENV)/.dev
	@echo "Installing what looks for broken answers into $(VENV)"
	@$(RUN) pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@touch $@

# Debian keeps pip from its venv until python3-venv is installed, which takes
# root. The same pip comes in a package that can be unpacked anywhere.
WHEEL = .tools/python3-pip-whl/usr/share/python-wheels/pip-*.whl
$(VENV)/bin/pip:
	@$(or $(PYTHON),python3) -c '$(NEW_ENOUGH)' || { echo >&2 "Python 3.11 or newer is needed:" \
		"install one, or tell which it is: make PYTHON=/path/to/python3"; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 || { \
		$(PYTHON) -m venv --clear --without-pip $(VENV) && \
		tests/tools.sh python3-pip-whl && \
		PYTHONPATH=$$(echo $(WHEEL)) $(RUN) pip install --quiet --no-index $(WHEEL); } || { \
		echo >&2 "$(PYTHON) cannot make a virtual environment: install its venv and pip" \
			"(Debian, Ubuntu: apt-get install python3-venv), then try again"; exit 1; }
