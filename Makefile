# make run    a fresh clone to executed lessons, a report and web pages in runs/latest
# make test   a fresh clone to a green test run
# make lab    a fresh clone to JupyterLab
# Each makes .venv when it is missing. PYTHON chooses the Python to make it with: make run PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt

.PHONY: run test lab lint build clean
.DEFAULT_GOAL := run

run: $(VENV)/.lab
	$(BIN)/course run --html

test: $(VENV)/.test lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term --cov-fail-under=90

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

lab: $(VENV)/.lab
	$(BIN)/course lab

build: $(VENV)/.test
	$(BIN)/course build

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.lab: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the course and JupyterLab into $(VENV) (PyTorch is large: some minutes, once)"
	$(INSTALL) --editable '.[lab]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing the course and its test tools into $(VENV) (PyTorch is large: some minutes, once)"
	$(INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/.lab

clean:
	rm -rf $(VENV) runs build
