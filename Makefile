# `make demo` and `make test` set everything up in .venv and run; see `make help`.
PYTHON ?= python3
VENV ?= .venv
# The pinned torch of this checkout. Where the plain wheel brings CUDA and you want the CPU build, pass pip's options
# here, for example TORCH="torch==2.13.0 --index-url <your CPU index>".
TORCH ?= torch==2.13.0
RUN ?= runs/demo
# Processes that run the tests, each a file at a time.
WORKERS ?= 2
BIN = $(VENV)/bin
# Robots, objects and tasks that the tests load, made by others: without what those packages depend on, metaworld's MuJoCo 3.3.0
# above all; gymnasium-robotics is imported with pettingzoo only.
MODELS ?= gymnasium-robotics==1.4.2 pettingzoo==1.27.0 metaworld==3.1.1 robosuite==1.5.2 example-robot-data==6.0.0 rewarped==1.3.3

.PHONY: help demo test test-fast test-quadrants check format clean test-long docs
.DEFAULT_GOAL := help

help:
	@echo "make demo            install into $(VENV) and train the Detour task; results in $(RUN)/"
	@echo "make test            install into $(VENV), with robot models (350 MB), and run all checks and tests"
	@echo "make test-fast       the checks, and the tests that need neither robot models nor more than two minutes"
	@echo "make test-quadrants  the tests of diffsim with the kernel compiler quadrants in place of Taichi"
	@echo "make check           ruff, ruff format --check and mypy alone"
	@echo "make docs            build the documentation, without a warning, into docs/_build/html"
	@echo "make format          format the code"
	@echo "make clean           remove $(VENV) and the caches (runs/ stays)"
	@echo "variables:  PYTHON=$(PYTHON) (3.10 to 3.13)  TORCH=\"$(TORCH)\"  RUN=$(RUN)  VENV=$(VENV)"

$(VENV)/.installed: pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 10) <= v <= (3, 13))' || \
		{ echo "error: $(PYTHON) is `$(PYTHON) --version 2>&1`; Python 3.10 to 3.13 is needed: make PYTHON=python3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "error: $(PYTHON) cannot make a virtual environment (Debian/Ubuntu: apt-get install python3-venv)"; exit 2; }
	@# pip 23, which comes with Python 3.10, looks for half an hour for versions that fit
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

demo: $(VENV)/.installed
	@if [ -e $(RUN)/checkpoint.pt ] && [ ! -e $(RUN)/modes.mp4 ]; then \
		$(BIN)/diffsim-rpg optimize Detour --out $(RUN) --resume; \
	elif [ -e $(RUN)/checkpoint.pt ]; then \
		echo "$(RUN) holds a finished run; for a new one: make demo RUN=runs/another"; \
	else \
		$(BIN)/diffsim-rpg optimize Detour --algo rpg --seed 0 --out $(RUN); \
	fi

$(VENV)/.models: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(MODELS)
	@touch $@

$(VENV)/.quadrants: $(VENV)/.models
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[quadrants]'
	@touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

docs: $(VENV)/.docs
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

check: $(VENV)/.installed
	@echo "== ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "== mypy"
	@$(BIN)/mypy

test: $(VENV)/.models check
	@echo "== pytest"
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-long: $(VENV)/.models
	@$(BIN)/python -m pytest -m long

test-fast: $(VENV)/.installed check
	@echo "== pytest"
	@$(BIN)/python -m pytest -m "not slow and not long and not robot_models"

test-quadrants: $(VENV)/.quadrants
	@DIFFSIM_COMPILER=quadrants $(BIN)/python -m pytest tests/diffsim

format: $(VENV)/.installed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache
