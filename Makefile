# make demo | make test | make lint | make bench | make docs | make test-label: each sets itself up on a machine with python3, git and make.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

.PHONY: help demo test test-label lint format bench docs clean

help: ## list the tasks
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/'

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" || \
		{ echo "error: expected Python 3.10 or later, found $$($(PYTHON) --version)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(PY) -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

demo: $(INSTALLED) ## synthetic data, training, unseen cases scored, two pictures in demo/
	$(PY) examples/demo.py $(if $(DICOM),--dicom $(DICOM))

test: $(INSTALLED) ## all tests; HEADCT_REAL_DATA=folder adds those on real scans
	$(PY) tests/run.py

LABEL := .venv-label
$(LABEL)/.installed: tests/label/requirements.txt tests/label/constraints.txt
	$(PYTHON) -m venv $(LABEL)
	PIP_CONSTRAINT=tests/label/constraints.txt $(LABEL)/bin/pip install --quiet \
		--disable-pip-version-check -r tests/label/requirements.txt
	@touch $@

test-label: $(LABEL)/.installed ## the bundles in a real MONAI Label server, which needs an environment of its own
	PYTHONPATH=. $(LABEL)/bin/python -m pytest tests/label

lint: $(INSTALLED) ## ruff, check only
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(INSTALLED) ## ruff, changing files
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(INSTALLED) ## every benchmark beside its peers
	PIP_CONSTRAINT=constraints.txt $(PY) -m pip install --quiet --disable-pip-version-check -e ".[bench]"
	for script in benchmarks/bench_*.py; do $(PY) $$script || exit 1; done

docs: $(INSTALLED) ## the documentation with its reference in site/, links checked
	DISABLE_MKDOCS_2_WARNING=true $(VENV)/bin/mkdocs build --strict --quiet

clean: ## remove what make made
	rm -rf $(VENV) $(LABEL) demo site *.egg-info
