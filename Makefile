# Needs Python 3.11 or later (with venv), make and git. Everything is installed into .venv with the versions of constraints.txt.
PYTHON ?= python3
JOBS ?= 2
WORKLOADS ?=
DEMO_OUT ?= demo-out

VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
DEV := $(VENV)/.dev
TORCH := torch==2.13.0

export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# One thread per worker in linear algebra: more of them than cores costs a factor of up to 20.
PINNED := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=Agg

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench docs validate lock clean

help:  ## List the targets
	@sed -n 's/^\([a-z]*\):.*  ## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(CORE)  ## A simulated PET/CT study from DICOM to report, truth beside measured
	$(BIN)/timelens demo -o $(DEMO_OUT)

test: $(DEV)  ## Lint, then all tests with doctests and the snippets of README and docs
	@$(MAKE) --no-print-directory lint; lint=$$?; \
	$(PINNED) $(BIN)/pytest -n $(JOBS) --dist loadfile; tests=$$?; \
	[ $$lint -eq 0 ] || echo "lint failed, see above"; \
	[ $$lint -eq 0 ] && [ $$tests -eq 0 ]

lint: $(DEV)  ## Style, types and layers
	@code=0; \
	for tool in "ruff check --output-format=concise" "ruff format --check" "lint-imports --no-logo" mypy; do \
		echo "$$tool"; $(BIN)/$$tool || code=1; \
	done; exit $$code

format: $(DEV)  ## Mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(DEV)  ## Benchmarks against peers (WORKLOADS="a b" for some of them)
	$(BIN)/python benchmarks/harness.py $(WORKLOADS)

docs: $(DEV)  ## The documentation site, in docs/_build/html
	$(PINNED) $(BIN)/sphinx-build -E -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

validate: $(DEV)  ## Bias, spread and coverage over many seeds (long)
	$(PINNED) $(BIN)/pytest -n $(JOBS) -m slow

lock: $(DEV)  ## Choose versions anew for constraints.txt
	{ $(BIN)/uv pip compile --quiet --no-header --no-annotate --extra dev pyproject.toml && echo "$(TORCH)"; } > $(VENV)/lock.txt
	! grep -n "://" $(VENV)/lock.txt
	LC_ALL=C sort -u $(VENV)/lock.txt > constraints.txt

clean:  ## Remove everything that was made here
	rm -rf $(VENV) build dist demo-out docs/_build docs/gallery docs/api/generated benchmarks/.envs benchmarks/.data
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis src/*.egg-info
	find src tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python -m venv does not work: install your system's python3-venv package"; exit 1; }
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt uv || echo "uv could not be installed: pip does the work, which takes minutes"

# $(1): what to install. uv takes seconds where pip takes minutes; both obey constraints.txt.
install = { [ -x $(BIN)/uv ] && $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '$(1)'; } \
	|| $(BIN)/python -m pip install --quiet -c constraints.txt -e '$(1)'

$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	@[ -e $(DEV) ] || echo "installing timelens into $(VENV)"
	@$(call install,.)
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing timelens with its tools into $(VENV)"
	@$(call install,.[dev])
	@touch $@ $(CORE)
