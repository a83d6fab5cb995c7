# memostream's commands; `make` alone lists them. All of them build .venv first when it is missing or out of date.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FOLDERS := $(wildcard schemas extraction storage streams agents api embedded cli tests benchmarks)

# Stamp files: a second `make` does nothing, a changed lock file installs again.
CREATED := $(VENV)/.stamp-created
RUNTIME := $(VENV)/.stamp-runtime
DEV := $(VENV)/.stamp-dev

# pip checks every file against the hashes in the lock file; our own package is added without resolving anything.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --no-compile
# pip would compile with one core. What is no Python 3, as some templates, is left out in silence.
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(CURDIR)/$(VENV)/lib
LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet

# Without the banner about what comes after Material.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(RUNTIME) ## Watch sample chats become memory: broker, database and worker on this machine, no keys
	@$(BIN)/memostream demo

.PHONY: up
up: $(RUNTIME) ## Run a broker, a database and a worker on this machine and keep their data
	@$(BIN)/memostream up

.PHONY: install
install: $(RUNTIME) ## Build .venv with what memostream runs on

.PHONY: dev
dev: $(DEV) ## Build .venv with the test tools too

.PHONY: check
check: $(DEV) ## Lint, formatting, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(FOLDERS)
	$(BIN)/lint-imports

.PHONY: test
# Each of the many processes that tests start would compile our modules, where the surroundings forbid to keep them.
test: export PYTHONDONTWRITEBYTECODE =
test: $(DEV) ## All tests; ARGS="tests/unit -k window" narrows them
	$(if $(ARGS),,-@$(BIN)/python -m tests.support.broker_cache)
	$(BIN)/python -m pytest $(or $(ARGS),--numprocesses 3 --dist loadfile --no-loadscope-reorder tests)

.PHONY: chaos
chaos: $(DEV) ## Attack the whole system: kills, freezes, broken brokers and models; ARGS="--records 20000 --faults 10"
	$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: bench
bench: $(DEV) ## Records a second of each stage beside an idle Faust agent; ARGS="--records 5000 --rounds 1"
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-growth
bench-growth: $(DEV) ## That a record costs the same however much is buffered; ARGS="--records 5000 --users 2000"
	$(BIN)/python -m benchmarks.growth $(ARGS)

.PHONY: bench-whole-path
bench-whole-path: $(DEV) ## Records a second from chat-messages to the change topics; ARGS="--window-tokens 1024"
	$(BIN)/python -m benchmarks.whole_path $(ARGS)

.PHONY: bench-concurrency
bench-concurrency: $(DEV) ## Windows a second with a slow model and 1 to 4 workers; ARGS="--workers 1 --rounds 3" is a try
	$(BIN)/python -m benchmarks.concurrency $(ARGS)

.PHONY: bench-replay
bench-replay: $(DEV) ## Records a second into a shadow with 1 to 3 workers, beside live; ARGS="--workers 1 2 --windows 2" is a try
	$(BIN)/python -m benchmarks.replay $(ARGS)

.PHONY: bench-latency
bench-latency: $(DEV) ## From the last message of a window to its change event; ARGS="--alone 10 --users 1 50" is a try
	$(BIN)/python -m benchmarks.latency $(ARGS)

.PHONY: bench-memory
bench-memory: $(DEV) ## Whether a worker's memory stays flat under steady load, ten minutes; ARGS="--minutes 2 --rate 200"
	$(BIN)/python -m benchmarks.memory $(ARGS)

.PHONY: bench-recovery
bench-recovery: $(DEV) ## What a killed worker costs, and a rolling restart, under load; ARGS="--stores memory" is a try
	$(BIN)/python -m benchmarks.recovery $(ARGS)

.PHONY: bench-quality
bench-quality: $(DEV) ## What the configured provider finds in conversations, scored; ARGS="--users 50" is a try
	$(BIN)/python -m benchmarks.quality $(ARGS)

.PHONY: bench-extraction
bench-extraction: $(DEV) ## What windows cost in model calls and prompt tokens; ARGS="--records FILE" names other records
	$(BIN)/python -m benchmarks.extraction $(ARGS)

.PHONY: bench-read
bench-read: $(DEV) ## Requests a second of profile, context and search over HTTP; ARGS="--users 500" is a try
	$(BIN)/python -m benchmarks.reading $(ARGS)

.PHONY: bench-search
bench-search: $(DEV) ## How often search finds what a user said, by meaning, by words and by both; ARGS="--memories 10"
	$(BIN)/python -m benchmarks.search $(ARGS)

.PHONY: bench-search-speed
bench-search-speed: $(DEV) ## How long a search takes by rows of the user, and what half precision brings
	$(BIN)/python -m benchmarks.search_speed $(ARGS)

.PHONY: bench-inserts
bench-inserts: $(DEV) ## Inserts over 256 connections, also while the broker restarts; ARGS="--connections 64"
	$(BIN)/python -m benchmarks.inserts $(ARGS)

.PHONY: format
format: $(DEV) ## Format the code and repair what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: reference
reference: $(RUNTIME) ## Write config.yaml.example and the pages of docs/reference anew from the code
	$(BIN)/python -m cli.reference

.PHONY: schemas
schemas: $(RUNTIME) ## Write docs/schemas anew: JSON Schemas and the AsyncAPI document
	$(BIN)/memostream schema --out docs/schemas --defaults

.PHONY: clients
clients: $(DEV) ## Generate the types in clients/ anew from docs/schemas
	$(BIN)/python -m tests.support.client_types

.PHONY: docs
docs: $(DEV) ## Build the documentation site in build/site; a warning is an error
	$(MKDOCS) build --strict --quiet

.PHONY: docs-serve
docs-serve: $(DEV) ## Serve the documentation at http://127.0.0.1:8000 while its pages change
	$(MKDOCS) serve

.PHONY: lock
lock: ## Write the three lock files anew from pyproject.toml (needs uv; ARGS=--upgrade takes newer versions)
	$(LOCK) --extra embedded --extra tracing --extra build --extra dev $(ARGS) --output-file requirements-dev.txt
	$(LOCK) --extra embedded --extra tracing --extra build --constraint requirements-dev.txt $(ARGS) --output-file requirements.txt
	$(LOCK) --extra tracing --extra build --constraint requirements-dev.txt $(ARGS) --output-file requirements-worker.txt

.PHONY: clean
clean: ## Remove the environment and all caches, but no data
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(CREATED):
	@command -v $(PYTHON) >/dev/null || { echo "No '$(PYTHON)' here. Install Python 3.11, 3.12 or 3.13, or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "memostream needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name another: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' cannot make virtual environments: its venv or ensurepip module is missing. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(RUNTIME): requirements.txt pyproject.toml | $(CREATED)
	@echo "Installing requirements.txt into $(VENV)"
	@$(PIP) --require-hashes --requirement requirements.txt
	@$(COMPILE) || true
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.txt pyproject.toml | $(CREATED)
	@echo "Installing requirements-dev.txt into $(VENV)"
	@$(PIP) --require-hashes --requirement requirements-dev.txt
	@$(COMPILE) || true
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(RUNTIME) $@
