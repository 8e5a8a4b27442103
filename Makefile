# One file for people and CI. `make help` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help install run serve test test-fast test-browser test-clients test-clients-node screenshots fuzz planted bench lint format requirements clean

# The first Python here that is new enough. PYTHON=... chooses another.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
BENCH_VENV := .venv-bench
CLIENTS_VENV := .venv-clients
BIN := $(VENV)/bin
MANAGE := $(BIN)/python manage.py
PYTEST := $(BIN)/pytest
# The processes that share the tests. Each has a database of its own.
PROCESSES ?= 2
IN_PROCESSES := --numprocesses $(PROCESSES) --dist worksteal
ON_SQLITE := DATABASE_URL=sqlite:///test.sqlite3

export HOST ?= 127.0.0.1
export PORT ?= 8000

# What `check --deploy` and the schema need to be judged as in production.
PRODUCTION := DEBUG=off SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))') \
	ALLOWED_HOSTS=inventory.example.com SECURE_HSTS_SECONDS=31536000

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

install: $(VENV)/installed  ## Make the virtual environment and install what running and testing needs

$(VENV)/installed: requirements.txt requirements/runtime.txt requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

run: export DEBUG := on
run: install  ## Run for development on 127.0.0.1:8000 (PORT), with demo data, a key and a login
	@$(MANAGE) migrate --verbosity 0
	@$(MANAGE) load_demo_data
	@$(MANAGE) demo_access
	@$(MANAGE) runserver 127.0.0.1:$(PORT)

serve: install  ## Run the production server (HOST, PORT, WEB_CONCURRENCY, DATABASE_URL, SECRET_KEY)
	$(MANAGE) migrate --verbosity 0
	$(MANAGE) collectstatic --no-input --verbosity 0
	$(BIN)/python -m inventory_project.server

test: install  ## Run the whole suite on PostgreSQL and on SQLite, with coverage of both (PROCESSES)
	rm -f .coverage
	$(PYTEST) $(IN_PROCESSES) --cov --cov-report= --cov-fail-under=0
	$(ON_SQLITE) $(PYTEST) $(IN_PROCESSES) --cov --cov-append

test-fast: install  ## Run the tests that are not marked slow, on SQLite alone (PROCESSES)
	$(ON_SQLITE) $(PYTEST) $(IN_PROCESSES) -m "not slow"

test-browser: install  ## Test the back office in the Chromium of this machine (CHROMIUM), on PostgreSQL
	$(PYTEST) products/tests/browser

test-clients: install $(CLIENTS_VENV)/installed  ## Generate a Python client from the OpenAPI document and place orders with it
	$(ON_SQLITE) $(PYTEST) products/tests/clients/test_python.py

test-clients-node: install  ## Lint the OpenAPI document and do the same in TypeScript (needs Node.js 20 or later)
	cd clients/typescript && npm ci --ignore-scripts --no-audit --no-fund
	$(ON_SQLITE) $(PYTEST) products/tests/clients/test_typescript.py

RANDOM_TESTS := products/tests/test_machine.py products/tests/api/test_schema_fuzz.py

fuzz: install  ## Let machines look for faults, at random and for half an hour, on both databases
	$(PYTEST) --fuzz $(RANDOM_TESTS)
	$(ON_SQLITE) $(PYTEST) --fuzz $(RANDOM_TESTS)

planted: install  ## Plant six bugs, one after the other, and see that the tests find each
	$(BIN)/python -m products.tests.planted

screenshots: install  ## Take the pictures in docs/screenshots anew
	$(PYTEST) products/tests/browser/screenshots.py

bench: install $(BENCH_VENV)/installed  ## Measure how fast the service is (BENCH="--quick" for a first look)
	$(BIN)/python -m benchmarks.throughput $(BENCH)

$(BENCH_VENV)/installed: requirements/bench.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/bench.txt
	@touch $@

$(CLIENTS_VENV)/installed: requirements/clients.txt
	$(PYTHON) -m venv $(CLIENTS_VENV)
	$(CLIENTS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/clients.txt
	@touch $@

lint: export DEBUG := on
lint: install  ## Check style, types, import rules, migrations, deployment settings and the schema
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(MANAGE) makemigrations --check --dry-run
	$(PRODUCTION) $(MANAGE) check --deploy --fail-level WARNING
	$(MANAGE) spectacular --validate --fail-on-warn --file /dev/null

format: install  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

requirements: install  ## Compile the pinned lists anew from requirements/*.in
	$(BIN)/python -m pip install --quiet uv
	cd requirements && for list in runtime dev bench clients; do \
		../$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url \
			--custom-compile-command "make requirements" $$list.in -o $$list.txt; done

clean:  ## Remove the virtual environment and caches; data stays
	rm -rf $(VENV) $(BENCH_VENV) $(CLIENTS_VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage staticfiles
