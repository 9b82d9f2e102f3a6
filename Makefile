# The commands of the README. `make demo` and `make test` work on a fresh Debian or Ubuntu machine with a Rust toolchain.
.PHONY: demo test lint bench powercut mutants tools power-tools

CARGO ?= cargo
TARGET = $(or $(CARGO_TARGET_DIR),target)

demo: tools
	$(CARGO) build --release --locked --bin tidegate
	examples/restore_demo.sh $(TARGET)/release/tidegate

test: tools power-tools
	$(CARGO) test --locked --lib --bins --tests --examples
	$(CARGO) test --locked --doc

lint: tools
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

bench: tools
	$(CARGO) bench --locked --bench running_average

# Builds that are broken on purpose, each of which a test must catch: docs/testing.md.
mutants: tools
	CARGO="$(CARGO)" tests/mutants.sh

# The linker and C compiler that Rust itself and blake3 need.
tools:
	@command -v $(CARGO) >/dev/null || { echo "no Rust toolchain: install one from https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "installing gcc"; \
		$$([ "$$(id -u)" = 0 ] || echo sudo) sh -c 'apt-get update -qq && apt-get install -y -qq gcc libc6-dev'; }

# Real power cuts on ext4 and XFS: `make powercut N=3000`. Needs root and loop devices.
N ?= 300
powercut: tools power-tools
	TIDEGATE_POWER_CUTS=$(N) $(CARGO) test --locked --test it a_power_cut -- --nocapture --test-threads 1

# What the power cuts are made with, where they are possible at all. Without it those tests say that they are skipped.
power-tools:
	@[ "$$(id -u)" != 0 ] || { command -v mkfs.ext4 && command -v xfs_io; } >/dev/null || { \
		echo "installing e2fsprogs and xfsprogs"; apt-get update -qq && apt-get install -y -qq e2fsprogs xfsprogs mount; } \
		|| echo "without them the power cuts are skipped"
