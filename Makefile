# `make lab` is all a learner needs; without make, `python3 -m llmlab lab` does the same.
# On a machine without a GPU: make setup TORCH_INDEX=URL (README.md says which).
PYTHON ?= python3
VENV_PYTHON := .venv/$(if $(filter Windows_NT,$(OS)),Scripts/python.exe,bin/python)

# Notebooks and what is slow run one by one: they have budgets in seconds and megabytes.
SIDE_BY_SIDE := -n auto --dist loadfile

.PHONY: student setup lab dev check test slow test-all bundle run notebooks

setup:
	$(PYTHON) -m llmlab setup
lab:
	$(PYTHON) -m llmlab lab
dev:
	$(PYTHON) -m llmlab setup --dev
check: dev
	$(VENV_PYTHON) -m ruff check
	$(VENV_PYTHON) -m ruff format --check
	$(VENV_PYTHON) -m pytest tests --ignore=tests/browser --ignore=tests/slow $(SIDE_BY_SIDE)
test: check
	$(VENV_PYTHON) -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=300 notebooks
	$(VENV_PYTHON) -m pytest tests/browser $(SIDE_BY_SIDE)
# All parts, or some: make slow PART="exam faults"; in so many minutes: make slow MINUTES=30
slow: dev
	$(VENV_PYTHON) tests/slow/run.py $(PART) $(if $(MINUTES),--minutes $(MINUTES))
test-all: test slow
# For other machines: make bundle FOR="--python 3.12 --platform windows --out E:/"
bundle: setup
	$(VENV_PYTHON) -m llmlab bundle $(FOR)
# Into another folder: make student DIR=E:/class
DIR ?= runs/student
student: setup
	$(VENV_PYTHON) -m llmlab student $(DIR)
run: setup
	$(VENV_PYTHON) notebooks/build.py --html --out runs/html
notebooks: setup
	$(VENV_PYTHON) notebooks/build.py
