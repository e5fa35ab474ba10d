PYTHON ?= python3
PY := .venv/bin/python
# The stamp changes with what is installed; everything else imports the checkout itself (editable install).
STAMP := .venv/.installed

.PHONY: demo test test-all lint bench clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	touch $(STAMP)

demo: $(STAMP)
	$(PY) -m rootform demo

test: $(STAMP)
	$(PY) -m pytest

test-all: $(STAMP)
	$(PY) -m pytest -m 'slow or not slow' --hypothesis-profile=new

lint: $(STAMP)
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/pyright

bench: $(STAMP)
	$(PY) -m benchmarks.quality
	$(PY) -m benchmarks.grammar --engines rootform

clean:
	rm -rf .venv build *.egg-info
