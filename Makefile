# Everything runs in .venv, made from this checkout's own files. PYTHON may be any of 3.10 to 3.13.
PYTHON ?= python3
DEMO ?= demo-data
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test lint check packaging bench clean

demo: .venv/installed
	$(BIN)/h36m demo $(DEMO)

# The whole suite, the linter and the type checker; CI runs exactly this.
test: .venv/test-installed lint
	$(BIN)/python -m pytest -n auto
	$(BIN)/python tests/check_wheel.py

lint: .venv/test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: test

bench: .venv/installed
	$(BIN)/python benchmarks/speed/extract_frames.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

.venv/test-installed: .venv/installed
	$(PIP) --editable '.[test]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
