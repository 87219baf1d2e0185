# Everything is made from Python 3.11+ alone. `make help` lists what there is.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALL := $(PYTHON) -m pip --disable-pip-version-check --quiet install --constraint constraints.txt --editable
PINS := pyproject.toml constraints.txt
WORKERS ?= 2
N ?= 1000

# Containers set it to stay small. Here it makes each store and emulator that a test starts compile all modules anew, a
# third of a second; what is written is ignored by git, and `make clean` takes it away.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/.run ## the store with its own Firestore and demo data, on PORT (8000)
	@exec $(PYTHON) main.py

.PHONY: test
test: lint ## lint, types, import contracts and every test
	$(PYTHON) -m pytest -n $(WORKERS)

.PHONY: lint
lint: $(VENV)/.test ## ruff, mypy and the import contracts
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(VENV)/bin/lint-imports --no-logo
	$(PYTHON) -m mypy

.PHONY: format
format: $(VENV)/.test ## rewrite the code as ruff would have it
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

.PHONY: schema
schema: $(VENV)/.run ## write schema.graphql from graph/schema.py
	$(PYTHON) -c "from pathlib import Path; from graph.schema import sdl; Path('schema.graphql').write_text(sdl(), encoding='utf-8')"

.PHONY: indexes
indexes: $(VENV)/.run ## write firestore/firestore.indexes.json from firestore/indexes.py
	$(PYTHON) -m firestore.indexes

.PHONY: test-firebase
test-firebase: $(VENV)/.test ## the sign-in tests against the official Auth emulator (Node 20, minutes)
	npx --yes firebase-tools emulators:exec --project demo-jiga --only auth \
		'JIGA_AUTH_EMULATOR=1 $(PYTHON) -m pytest tests/integrations/test_identity.py -k emulator'

.PHONY: simulate
simulate: $(VENV)/.test ## seeded histories with faults: N=1000 of them, on both cores
	$(PYTHON) -m tests.simulator --n $(N) --processes $(WORKERS)

.PHONY: planted-bugs
planted-bugs: $(VENV)/.test ## plant every bug, and find each (an hour)
	$(PYTHON) -m tests.simulator --bugs

.PHONY: corruptions
corruptions: $(VENV)/.test ## damage N=1000 ledgers at random, and find each damage
	$(PYTHON) -m tests.simulator --corruptions $(N)

.PHONY: kill
kill: $(VENV)/.test ## kill every flow at every verb, restarts too, on our own emulator, or at KILL_HOST=host:port
	GRPC_ENABLE_FORK_SUPPORT=0 $(PYTHON) -m tests.kill.worker --twice $(if $(KILL_HOST),--host $(KILL_HOST))

.PHONY: bench
bench: $(VENV)/.test ## how fast money moves beside the backend's ceiling, a burst of webhooks, what a page costs (minutes)
	$(PYTHON) -m bench.money
	$(PYTHON) -m bench.webhook_burst
	$(PYTHON) -m bench.pages

.PHONY: fuzz
fuzz: $(VENV)/.test ## schemathesis against a running store, as a guest, a user and an admin: N=1000 examples of each operation
	@$(PYTHON) -m pip --disable-pip-version-check --quiet install --constraint constraints.txt 'schemathesis>=4.32'
	$(PYTHON) -m tests.fuzz --n $(N) --workers $(WORKERS)

.PHONY: clean
clean: ## remove what can be made again; the data in .jiga/ stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are newer than the pins as long as nothing needs to be installed: then pip is not asked at all.
$(VENV)/.run: $(PINS) | $(PYTHON)
	@echo "Installing into $(VENV): about a minute, once."
	@$(INSTALL) .
	@touch $@

$(VENV)/.test: $(PINS) | $(PYTHON)
	@echo "Installing into $(VENV), with what the tests need: about a minute, once."
	@$(INSTALL) '.[dev]'
	@touch $@ $(VENV)/.run

# A name on PATH may be a shim without a Python behind it, and a Python may come without venv: each one is asked.
$(PYTHON):
	@for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
		if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			exec $$python -m venv --clear $(VENV); \
		fi; \
	done; \
	echo "There is no Python 3.11 or newer with venv on PATH: install one (Debian, Ubuntu: python3 and python3-venv), then try again." >&2; \
	exit 1
