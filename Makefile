# make setup | demo | test | lint | docs | clean.   make demo ARGS="--seed 1 --steps 400"
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: setup demo test lint docs clean

setup: $(VENV)/.base

demo: $(VENV)/.base
	$(BIN)/thalweg demo $(ARGS)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto $(ARGS)

lint: $(VENV)/.lint
	$(BIN)/ruff check src tests benchmarks docs/*.py
	$(BIN)/ruff format --check src tests benchmarks docs/*.py
	$(BIN)/pyrefly check
	$(BIN)/lint-imports

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -q -n -W --keep-going docs docs/_build/html
	@echo docs/_build/html/index.html

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Thalweg needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) torch
	$(PIP) --editable .
	touch $@

$(VENV)/.test: $(VENV)/.base
	$(PIP) --editable ".[test]"
	touch $@

$(VENV)/.lint: $(VENV)/.test
	$(PIP) --editable ".[lint]"
	touch $@

$(VENV)/.docs: $(VENV)/.base
	$(PIP) --editable ".[docs]"
	touch $@
