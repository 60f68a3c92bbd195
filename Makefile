# One target for each task. `make` without a target lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

REQUIREMENTS := tests/control-plane/requirements.sh
CONTROL_PLANE := tests/control-plane/build.sh
HELM := tests/chart/build.sh
GITOPS_JUDGE := tests/gitops/judge/build.sh
LINT_TOOLS := tests/lint/tools.sh
# Programs are run directly: `cargo run --package` resolves other features, and would build most of them again.
TARGET := $${CARGO_TARGET_DIR:-target}
# Prints the current step, so that a long step is visible.
step = @printf '\n== %s\n' "$(1)"
comma := ,

.PHONY: help
help:
	@printf '%s\n' \
	  'Server Protection Operator' '' \
	  '  make quickstart     run the operator on this machine: a real Kubernetes API server, an emulated Azure; Ctrl-C stops it' \
	  '  make test           run all checks and tests, as CI does' \
	  '  make lint           run the checks only: formatting, dependencies, generated files, clippy, rustdoc' \
	  '  make build          build the programs in target/debug' \
	  '  make generate       write crds/ with its copies, the generated pages of docs/ and files of charts/' \
	  '  make test-clients   test the emulator with the Azure CLI and Microsoft'"'"'s Python SDKs' \
	  '  make test-prerequisites   check the output of `serverprotection prerequisites` with cfn-lint, terraform and shellcheck' \
	  '  make test-chart     test the Helm chart alone; UPDATE_SNAPSHOTS=1 writes what it renders' \
	  '  make test-metrics   check the metrics page and the alert rules with promtool' \
	  '  make test-cluster   test an installation with pods on a Kubernetes node of its own; needs root' \
	  '  make test-gitops    test the operator under the real Flux and Argo CD: a repository, a commit, Azure' \
	  '  make bench          measure memory, time and requests with 1000 objects and 100,000 machines' \
	  '  make image          build the container image of a release in target/image, without a container engine (15 minutes)' \
	  '  make image-emulator build the image of the emulator, for tests in a cluster' \
	  '  make image-test     check both images; needs buildah and root' \
	  '  make image-reproducible   build the image again in another folder and compare the digests' \
	  '  make lint-workflows check the release workflow with actionlint and zizmor' \
	  '  make control-plane  build kube-apiserver, etcd and kubectl (about 4 minutes, once)' \
	  '  make helm           build helm (about 2 minutes, once)' \
	  '  make gitops-judge   build the program that judges statuses as Flux and Argo CD do (about 5 minutes, once)' \
	  '  make clean          remove target/ (the control plane stays in ~/.cache/serverprotection)' '' \
	  'Needs Rust, Go, a C compiler and Python with pip; no root (except test-cluster), no Docker, no cluster. If one is missing, make prints the command that installs it.' \
	  'To run one test: cargo test -p serverprotection-tests --test control_plane -- NAME   (after make build control-plane gitops-judge)'

.PHONY: requirements
requirements:
	@$(REQUIREMENTS)

.PHONY: build
build:
	@$(REQUIREMENTS) rust
	cargo build --workspace --bins

.PHONY: control-plane
control-plane:
	@$(REQUIREMENTS) control-plane
	@$(CONTROL_PLANE) >/dev/null

.PHONY: helm
helm:
	@$(REQUIREMENTS) helm
	@$(HELM) >/dev/null

.PHONY: gitops-judge
gitops-judge:
	@$(REQUIREMENTS) judge
	@$(GITOPS_JUDGE) >/dev/null

# The fastest checks first.
.PHONY: lint
lint:
	@$(REQUIREMENTS) rust lint
	$(call step,formatting)
	cargo fmt --check
	$(call step,unused dependencies)
	tools=$$($(LINT_TOOLS)); "$$tools/cargo-shear" --locked --deny-warnings
	$(call step,licenses and sources of dependencies)
	tools=$$($(LINT_TOOLS)); "$$tools/cargo-deny" --locked check bans licenses sources
	$(call step,programs)
	cargo build --workspace --bins
	$(call step,generated files$(comma) citations and names)
	"$(TARGET)/debug/serverprotection-xtask" check
	$(call step,lints)
	cargo clippy --workspace --all-targets -- -D warnings
	$(call step,documentation)
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

.PHONY: test
test: requirements lint
	$(call step,control plane$(comma) helm and judge of statuses (cached after the first time))
	@$(CONTROL_PLANE) >/dev/null
	@$(HELM) >/dev/null
	@$(GITOPS_JUDGE) >/dev/null
	$(call step,health checks and actions for Argo CD)
	judge=$$($(GITOPS_JUDGE)); "$$judge/judge" customizations
	$(call step,tests)
	mkdir -p "$(TARGET)"; rm -f "$(TARGET)/statuses.jsonl"; statuses="$$(cd "$(TARGET)" && pwd)/statuses.jsonl"; \
	  SERVERPROTECTION_STATUSES="$$statuses" cargo test --workspace
	$(call step,the tables of situations as Flux and Argo CD read them)
	judge=$$($(GITOPS_JUDGE)); "$$judge/judge" summary <"$(TARGET)/statuses.jsonl"

.PHONY: test-clients
test-clients: build
	tests/clients/run.sh

.PHONY: test-prerequisites
test-prerequisites:
	@$(REQUIREMENTS) rust
	cargo build --package serverprotection-cli
	tests/clients/prerequisites.sh

# BINARY=FILE packs that program instead of building one.
.PHONY: image
image:
	@$(REQUIREMENTS) image
	deploy/image/build.sh serverprotection $${BINARY:-}

.PHONY: image-emulator
image-emulator:
	@$(REQUIREMENTS) image
	deploy/image/build.sh azure-emulator $${BINARY:-}

.PHONY: image-test
image-test:
	@$(REQUIREMENTS) image-test
	tests/image/run.sh

.PHONY: image-reproducible
image-reproducible: image
	tests/image/reproducible.sh

.PHONY: lint-workflows
lint-workflows:
	@$(REQUIREMENTS) workflows
	tests/lint/workflows/run.sh

# Part of `make test`, too.
.PHONY: test-chart
test-chart:
	@$(REQUIREMENTS) rust control-plane helm judge
	@$(CONTROL_PLANE) >/dev/null
	@$(HELM) >/dev/null
	@$(GITOPS_JUDGE) >/dev/null
	cargo build --workspace --bins
	cargo test --package serverprotection-tests --test chart

# The alert rules and their tests, then the metrics page: the test writes it with a sample of every metric. Lint errors
# of promtool fail the target.
.PHONY: test-metrics
test-metrics:
	@$(REQUIREMENTS) rust promtool
	promtool check rules --lint=all --lint-fatal deploy/monitoring/prometheus-rules.yaml
	promtool test rules tests/monitoring/*_test.yaml
	mkdir -p "$(TARGET)"
	page="$$(cd "$(TARGET)" && pwd)/metrics.prom"; rm -f "$$page"; \
	  SERVERPROTECTION_METRICS_PAGE="$$page" cargo test --workspace --lib --quiet -- the_text_page_is_written_for_promtool; \
	  promtool check metrics --extended <"$$page"

# CASES=TEXT runs the cases whose names contain this text.
.PHONY: test-cluster
test-cluster:
	@$(REQUIREMENTS) rust control-plane cluster
	tests/cluster/run.sh $(CASES)

# CASES=TEXT runs the cases whose names contain this text.
.PHONY: test-gitops
test-gitops:
	@$(REQUIREMENTS) rust control-plane helm judge gitops
	tests/gitops/run.sh $(CASES)

.PHONY: quickstart
quickstart:
	@$(REQUIREMENTS) rust
	@[ -n "$${KUBECONFIG_QUICKSTART:-}" ] || { $(REQUIREMENTS) control-plane; $(CONTROL_PLANE) >/dev/null; }
	@echo 'quickstart: building the programs (cargo; about 3 minutes the first time)'
	@cargo build --workspace --bins
	@exec "$(TARGET)/debug/quickstart"

.PHONY: bench
bench:
	@$(REQUIREMENTS) rust control-plane
	@$(CONTROL_PLANE) >/dev/null
	cargo build --release --workspace --bins
	"$(TARGET)/release/bench"

.PHONY: generate
generate:
	cargo xtask generate

.PHONY: clean
clean:
	cargo clean
