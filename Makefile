# The commands of this project, for people and for CI. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help install run serve test test-fast test-browser test-brokers test-clients test-clients-node screenshots fuzz planted bench abuse drill lint format requirements clean

# The first Python on the path that is new enough. PYTHON=... chooses another.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
BENCH_VENV := .venv-bench
CLIENTS_VENV := .venv-clients
BIN := $(VENV)/bin
# Quiet twice: only errors are printed.
PIP_INSTALL = $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
NEEDS_PYTHON = @test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed. Set PYTHON to its path." >&2; exit 1; }
MANAGE := $(BIN)/python manage.py
PYTEST := $(BIN)/pytest
# The tests run in this many processes, each with its own database.
PROCESSES ?= 2
IN_PROCESSES := --numprocesses $(PROCESSES) --dist worksteal
ON_SQLITE := DATABASE_URL=sqlite:///test.sqlite3

# Production settings for `check --deploy`.
PRODUCTION := DEBUG=off SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))') \
	ALLOWED_HOSTS=inventory.example.com SECURE_HSTS_SECONDS=31536000

##@ Use it
help:  ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# The runtime has a stamp of its own: `make run` and `make serve` need no more.
$(VENV)/runtime: requirements/runtime.txt
	$(NEEDS_PYTHON)
	@echo "Installing the Python packages into $(VENV). This takes about 20 seconds, once."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) -r requirements/runtime.txt
	@touch $@

$(VENV)/installed: $(VENV)/runtime requirements.txt requirements/dev.txt
	@echo "Installing the development packages into $(VENV). This takes about 40 seconds, once."
	@$(PIP_INSTALL) -r requirements.txt
	@touch $@

# Written once, so that every command of manage.py works. It never turns DEBUG on.
.env:
	$(NEEDS_PYTHON)
	@umask 077 && $(PYTHON) -c 'import secrets; \
		print("# Written by make. See .env.example for more settings."); \
		print("SECRET_KEY=" + secrets.token_urlsafe(50))' >$@.new && mv $@.new $@
	@echo "Wrote .env with a random SECRET_KEY. manage.py and make serve use it."

run: export DEBUG := on
run: $(VENV)/runtime .env  ## Try the service with demo data on 127.0.0.1:8000 (PORT=8001 for another port)
	@$(BIN)/python -m inventory_project.demo_server

serve: $(VENV)/runtime  ## Run the production server (settings: .env.example)
	$(MANAGE) migrate --verbosity 0
	$(MANAGE) collectstatic --no-input --verbosity 0
	$(BIN)/python -m inventory_project.server

##@ Develop it
install: $(VENV)/installed  ## Install the packages for development and tests into .venv

test: install  ## Run all tests on PostgreSQL and SQLite, with coverage (PROCESSES=4)
	rm -f .coverage
	$(PYTEST) $(IN_PROCESSES) --cov --cov-report= --cov-fail-under=0
	$(ON_SQLITE) $(PYTEST) $(IN_PROCESSES) --cov --cov-append

test-fast: install  ## Run the fast tests on SQLite
	$(ON_SQLITE) $(PYTEST) $(IN_PROCESSES) -m "not slow"

test-browser: install  ## Test the back office in Chromium (CHROMIUM=path)
	$(PYTEST) $(IN_PROCESSES) products/tests/browser

test-brokers: install  ## Publish to RabbitMQ and Redis (needs rabbitmq-server and redis-server)
	$(PYTEST) products/tests/publishing/brokers

test-clients: install $(CLIENTS_VENV)/installed  ## Place orders with a generated Python client
	$(ON_SQLITE) $(PYTEST) products/tests/clients/test_python.py

test-clients-node: install  ## Lint the API schema and place orders in TypeScript (needs Node.js 20)
	cd clients/typescript && npm ci --ignore-scripts --no-audit --no-fund
	$(ON_SQLITE) $(PYTEST) products/tests/clients/test_typescript.py

RANDOM_TESTS := products/tests/test_machine.py products/tests/api/test_schema_fuzz.py

fuzz: install  ## Run the random tests for half an hour
	$(PYTEST) --fuzz $(RANDOM_TESTS)
	$(ON_SQLITE) $(PYTEST) --fuzz $(RANDOM_TESTS)

planted: install  ## Check that the tests find each of six planted bugs
	$(BIN)/python -m products.tests.planted

screenshots: install  ## Take the screenshots in docs/screenshots
	$(PYTEST) products/tests/browser/screenshots.py

bench: install $(BENCH_VENV)/installed  ## Measure the speed of the service (BENCH=--quick for a first look)
	$(BIN)/python -m benchmarks.throughput $(BENCH)

abuse: install  ## Check that orders succeed while others abuse the service (ABUSE="--seconds 60")
	$(BIN)/python -m benchmarks.abuse $(ABUSE)

drill: $(VENV)/runtime  ## Break a database cluster under load, and count lost changes (FAULT="switchover read-only")
	@deploy/drill/install
	@$(BIN)/python -m deploy.drill $(FAULT)

$(BENCH_VENV)/installed: requirements/bench.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --quiet --disable-pip-version-check -r requirements/bench.txt
	@touch $@

$(CLIENTS_VENV)/installed: requirements/clients.txt
	$(PYTHON) -m venv $(CLIENTS_VENV)
	$(CLIENTS_VENV)/bin/python -m pip install --quiet --quiet --disable-pip-version-check -r requirements/clients.txt
	@touch $@

lint: export DEBUG := on
lint: install  ## Check style, types, imports, migrations, settings and the API schema
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

requirements: install  ## Pin the newest packages in requirements/*.txt
	$(BIN)/python -m pip install --quiet uv
	cd requirements && for list in runtime brokers tracing dev bench clients drill; do \
		../$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url \
			--custom-compile-command "make requirements" $$list.in -o $$list.txt; done

clean:  ## Remove .venv and caches. The database and .env stay
	rm -rf $(VENV) .venv-3.13 $(BENCH_VENV) $(CLIENTS_VENV) .venv-drill .drill .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage staticfiles
