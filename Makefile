# What CI runs, one target each. `make check` is all of it but the conformance and load runs.
.PHONY: api loom users sessions stats-page build run test check fmt clippy doc reference fuzz-smoke conformance h2spec interop autobahn load bench bench-side-by-side docker-smoke docker-up migrate-up migrate-down migrate-status deny soak mutants fresh-build

CARGO ?= cargo

build:
	$(CARGO) build --release

run:
	$(CARGO) run --release -- demo

test:
	$(CARGO) test

check: fmt clippy test doc fuzz-smoke

fmt:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) fmt --manifest-path loom/Cargo.toml --check

clippy:
	$(CARGO) clippy --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --locked

# Writes the generated reference page and the JSON Schema again. A test fails when they are out of date.
reference:
	$(CARGO) run --quiet -- config reference > docs/configuration.md
	$(CARGO) run --quiet -- config schema > config/schema.json

# The fuzz target's checks on seeded mutations; needs no nightly compiler.
fuzz-smoke:
	$(CARGO) run --release --locked --manifest-path fuzz/Cargo.toml --target-dir target --bin smoke

# Real grpcurl, ghz, grpcio and h2load against the release build. SECONDS_OF_LOAD=60 for a long run.
conformance: build
	tests/conformance/run

# Schemathesis against the admin API and its document. EXAMPLES=500 for a long run.
api: build
	tests/conformance/api

# h2spec, strict, against the load balancer and the redirect service. H2SPEC_RUNS=1 for a short run.
h2spec: build
	tests/conformance/h2spec

# grpc-go's interoperability client and server through the load balancer.
interop: build
	tests/conformance/interop

# Autobahn's WebSocket cases through the load balancer. Not in CI: needs Python 2.7 (PYTHON2=PATH).
autobahn: build
	tests/conformance/autobahn

# Real wrk and h2load against the load balancer while it reloads, restarts and loses backends. SECONDS_OF_LOAD=60 for a long run.
load: build
	tests/load/run

# PostgreSQL with replicas, examples/users_app and k6 through Weir, while replicas and the primary fail. SECONDS_OF_LOAD=300 for a long run.
users:
	$(CARGO) build --release --bin weir --example users_app
	tests/load/users

# pgbench through the TCP load balancer while a server dies, and 100,000 sessions. By hand. SESSIONS=20000 for a short one.
sessions: build
	tests/load/sessions

# Pictures of the stats page for the documents, and what a page costs that follows 1,000 backends. By hand.
stats-page: build
	tests/load/stats_page

# Everything at once for ten minutes, then memory and descriptors must be back. By hand. SOAK_SECONDS=60 for a short one.
soak: build
	tests/load/soak

# Mutation tests of the pure core and the configuration (needs cargo-mutants; an hour or more). By hand. MUTANTS="--in-diff FILE"
# for those of a change.
mutants:
	$(CARGO) mutants --no-shuffle $(foreach part,$(MUTATED),--file '$(part)') $(MUTANTS) -- --lib

MUTATED = src/balance/** src/config/** src/ejection.rs src/header_rules.rs src/health.rs src/redirect/** src/retry.rs src/route/** src/message/** src/http1/**

# Licences, sources and duplicate versions (needs cargo-deny).
deny:
	$(CARGO) deny check bans licenses sources

# What a newcomer waits for: the first build of the demo, from nothing. The budget is 150 s on two cores.
fresh-build:
	@rm -rf target/fresh
	@begin=$$(date +%s); CARGO_TARGET_DIR=target/fresh $(CARGO) build --quiet --release --locked && \
	  echo "fresh release build: $$(($$(date +%s) - begin)) s (budget 150 s on two cores)"
	@rm -rf target/fresh

bench:
	$(CARGO) bench --bench redirect_rule --bench rate_limit

# ROWS="http1 idle" for some of the tables, WEIR=/path for another binary, ROUNDS and SECONDS for how long.
bench-side-by-side:
	$(CARGO) bench --bench side_by_side -- $(ROWS)

# Builds the image, starts the compose file's containers and asks them on their published ports.
docker-smoke:
	deploy/docker-smoke

# The schema of the clients' database. DATABASE_URL=postgres://… for another one.
migrate-up migrate-down migrate-status: export DATABASE_URL ?= sqlite://weir.db
migrate-up migrate-down migrate-status: migrate-%:
	$(CARGO) run --quiet --release -- migrate $*

docker-up:
	docker compose up --build

# Every order of steps that the memory model allows, of threads that take from one token bucket.
loom:
	RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 $(CARGO) test --release --locked --manifest-path loom/Cargo.toml --target-dir target/loom
