# The commands of the README. `make demo` and `make test` work on a fresh Debian or Ubuntu machine with a Rust toolchain.
.PHONY: demo test lint bench tools

CARGO ?= cargo
TARGET = $(or $(CARGO_TARGET_DIR),target)

demo: tools
	$(CARGO) build --release --locked --bin tidegate
	examples/restore_demo.sh $(TARGET)/release/tidegate

test: tools
	$(CARGO) test --locked --lib --bins --tests --examples
	$(CARGO) test --locked --doc

lint: tools
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

bench: tools
	$(CARGO) bench --locked --bench running_average

# The linker and C compiler that Rust itself and blake3 need.
tools:
	@command -v $(CARGO) >/dev/null || { echo "no Rust toolchain: install one from https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "installing gcc"; \
		$$([ "$$(id -u)" = 0 ] || echo sudo) sh -c 'apt-get update -qq && apt-get install -y -qq gcc libc6-dev'; }
