# make demo | make test | make lint | make bench | make docs | make test-label: each sets itself up on a machine with python3, git and make.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
LOCK := requirements/py$(shell $(PYTHON) -c "import sys; print('%d%d' % sys.version_info[:2])").txt

.PHONY: help demo test test-label test-minimum lint format bench docs lock clean

help: ## list the tasks
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/'

$(INSTALLED): pyproject.toml $(LOCK)
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=$(LOCK) $(PY) -m pip install --quiet --disable-pip-version-check -e ".[all]"
	@touch $@

requirements/py%.txt:
	@echo "error: expected Python 3.10 to 3.14, found $$($(PYTHON) --version): see requirements/README.md"; exit 2

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

MINIMUM := .venv-minimum
$(MINIMUM)/.installed: pyproject.toml requirements/minimum.txt
	$(PYTHON) -m venv $(MINIMUM)
	PIP_CONSTRAINT=requirements/minimum.txt $(MINIMUM)/bin/python -m pip install --quiet \
		--disable-pip-version-check -e ".[all]"
	@touch $@

test-minimum: $(MINIMUM)/.installed ## all tests with the oldest versions that pyproject.toml allows
	$(MINIMUM)/bin/python tests/run.py

lint: $(INSTALLED) ## ruff, the walls between the packages, types; check only
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/mypy

format: $(INSTALLED) ## ruff, changing files
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(INSTALLED) ## every benchmark beside its peers
	for script in benchmarks/bench_*.py; do $(PY) $$script || exit 1; done

docs: $(INSTALLED) ## the documentation with its reference in site/, links checked
	DISABLE_MKDOCS_2_WARNING=true $(VENV)/bin/mkdocs build --strict --quiet

UV := $(VENV)/bin/uv
lock: $(INSTALLED) ## resolve requirements/ anew; UPGRADE=--upgrade takes the newest version of everything
	$(PY) -m pip install --quiet --disable-pip-version-check uv
	for minor in 10 11 12 13 14; do \
		$(UV) pip compile --quiet --universal --no-annotate $(UPGRADE) --python-version 3.$$minor --extra all \
			--custom-compile-command "make lock" --output-file requirements/py3$$minor.txt pyproject.toml \
			|| exit 1; \
	done
	$(UV) pip compile --quiet --universal --no-annotate --python-version 3.10 --extra all \
		--resolution lowest-direct --custom-compile-command "make lock" \
		--output-file requirements/minimum.txt pyproject.toml

clean: ## remove what make made
	rm -rf $(VENV) $(LABEL) $(MINIMUM) build demo dist site *.egg-info
