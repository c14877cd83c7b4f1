# Two commands for everybody: `make demo` and `make test`. Both work from nothing on a machine with Python 3.11 or later.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check --quiet
# The locks name everything with its hash, so nothing is left to resolve: pip would look for the newest release of a
# requirement with an extra (coverage[toml]) and stop at its missing hash.
INSTALL := $(PIP) install --no-deps --require-hashes
# More than there are cores: much of the time tests wait for processes that they have started or killed.
WORKERS ?= 3

.PHONY: demo test check unit soak gpu bench peers lock clean

demo: $(VENV)/core.stamp
	$(RUN) -m gateway demo

test: check unit

# Style, types and the layering rule.
check: $(VENV)/dev.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# Everything that pytest runs; the wheel in a bare environment is among it.
unit: $(VENV)/dev.stamp $(VENV)/system.stamp $(VENV)/peers.stamp
	$(RUN) -m pytest -q -n $(WORKERS) --dist worksteal -m "not soak and not gpu" --cov --cov-report=term:skip-covered

# What takes long: run before a larger change lands.
soak: $(VENV)/dev.stamp $(VENV)/system.stamp $(VENV)/peers.stamp $(VENV)/fuzzer.stamp $(VENV)/opendsm.stamp
	$(RUN) -m pytest -q -m soak tests

# On a host with an NVIDIA GPU. Reads only; GRIDGATE_GPU_WRITE=1 lets it lower a limit for a moment and put it back.
gpu: $(VENV)/dev.stamp
	$(RUN) -m pytest -q -s -m gpu tests/gpu

bench: $(VENV)/dev.stamp
	for script in tests/benchmarks/*.py; do echo "$$script"; PYTHONPATH=. $(RUN) $$script; done

# Other people's software that tests converse with, each in an environment of its own.
peers: $(VENV)/peers.stamp $(VENV)/fuzzer.stamp $(VENV)/opendsm.stamp

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gridgate needs Python 3.11 or later: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/core.stamp: requirements.lock | $(VENV)/bin/python
	$(INSTALL) -r requirements.lock
	touch $@

$(VENV)/dev.stamp: requirements-dev.lock | $(VENV)/bin/python
	$(INSTALL) -r requirements-dev.lock
	touch $@ $(VENV)/core.stamp

$(VENV)/system.stamp: tests/system_packages.sh | $(VENV)/bin/python
	tests/system_packages.sh
	touch $@

CLIENTS := openadr3-client python-oa3-client toadr3 greenbutton-objects

$(VENV)/peers.stamp: tests/peers.sh $(CLIENTS:%=tests/peers/%.txt) | $(VENV)/bin/python
	tests/peers.sh $(VENV)/peers $(CLIENTS)
	touch $@

$(VENV)/fuzzer.stamp: tests/peers.sh tests/peers/schemathesis.txt | $(VENV)/bin/python
	tests/peers.sh $(VENV)/peers schemathesis
	touch $@

# Large, and slow at its first use: for soak only. Its pins are made from two lines, opendsm and multimethod<2, without
# which it cannot be imported.
$(VENV)/opendsm.stamp: tests/peers.sh tests/peers/opendsm.txt | $(VENV)/bin/python
	tests/peers.sh $(VENV)/peers opendsm
	touch $@

# Needs uv; run after a change of dependencies in pyproject.toml.
# Pins of peers are made in the same way from a line each: uv pip compile --python-version 3.12 -o tests/peers/NAME.txt.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
		--extra postgres --extra reports --extra evidence pyproject.toml -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
		--extra postgres --extra reports --extra evidence --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
