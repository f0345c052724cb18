# make lab    a fresh clone to JupyterLab, on the page where the course begins
# make run    a fresh clone to executed lessons, a report and web pages in runs/latest
# make test   a fresh clone to a green test run
# make check  style and the quick tests, in about two minutes
#             the others by kind: make thorough, make processes, make lessons, make browser
# make site   a fresh clone to the site in build/site (Python 3.11 or newer)
# Each makes .venv when it is missing. PYTHON chooses the Python to make it with: make run PYTHON=python3.12
# TORCH=cpu takes PyTorch's build without the GPU libraries, a fifth of the size; TORCH=cu128 the one for CUDA 12.8.
# CONSTRAINTS= (empty) installs the newest versions that pyproject.toml allows, RUN="3 --profile full" runs less or more.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
RUN ?=
TORCH ?=
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet $(CONSTRAINTS:%=--constraint %) \
	$(TORCH:%=--extra-index-url https://download.pytorch.org/whl/%)

# Two workers, or one where no more is granted; the long tests first, and together what shares a server, a site or a
# notebook (tests/conftest.py).
WORKERS := $$($(BIN)/python -c "from course_utils.base.machine import cores; print(min(2, cores()))")
PYTEST := $(BIN)/python -m pytest -n $(WORKERS)

.PHONY: run test check quick thorough processes lessons browser coverage nbval benchmarks outcomes lab lint build site clean
.DEFAULT_GOAL := run

run: $(VENV)/.lab
	$(BIN)/course run --html $(RUN)

test: $(VENV)/.test lint
	$(PYTEST)

check: lint quick

quick: $(VENV)/.test
	$(PYTEST) -m "not (thorough or processes or lessons or browser)"

thorough processes lessons browser: $(VENV)/.test
	$(PYTEST) -m $@

# `make test` with the lines that the tests must reach; to note them slows down a Python before 3.12.
coverage: $(VENV)/.test lint
	COVERAGE_CORE=sysmon $(PYTEST) --cov --cov-report=term --cov-fail-under=90

# Every lesson whole under nbval; `make lessons` runs what nbval compares.
nbval: $(VENV)/.test
	COURSE_PROFILE=quick $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --nbval-lax --nbval-current-env \
		--nbval-cell-timeout=1800 --nbval-sanitize-with tests/nbval_sanitize.cfg notebooks

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# What is claimed about speed, measured anew; each script knows its bar.
benchmarks: $(VENV)/.test
	@missed=; for script in benchmarks/*.py; do \
		echo "== $$script"; $(BIN)/python $$script || missed="$$missed $$script"; \
	done; \
	test -z "$$missed" || { echo "Failed, or missed their bars:$$missed"; exit 1; }

# Whether what the lessons find holds on other processors, with other threads, seeds and data: hours.
outcomes: $(VENV)/.test
	$(BIN)/python tools/try_outcomes.py --jobs $(WORKERS)

lab: $(VENV)/.lab
	$(BIN)/course lab

build: $(VENV)/.test
	$(BIN)/course build

site: $(VENV)/.docs
	$(BIN)/python tools/make_site.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.lab: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the course and JupyterLab into $(VENV) (PyTorch is large: some minutes, once)"
	$(INSTALL) --editable '.[lab]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the course and its test tools into $(VENV) (PyTorch is large: some minutes, once)"
	$(INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/.lab $(VENV)/.docs

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the course and Sphinx into $(VENV) (PyTorch is large: some minutes, once)"
	$(INSTALL) --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) runs build
