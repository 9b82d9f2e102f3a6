# The commands of the README. `make demo` and `make test` work on a fresh Debian or Ubuntu machine with a Rust toolchain.
.PHONY: demo test lint bench stress powercut mutants dist package package-test reproducible-test arm-test reboot-test release-test wear \
	tools c-tools power-tools clock-tools remote-tools broker-tools

CARGO ?= cargo
BUILD = boards/with-rocksdb.sh $(CARGO)
TARGET = $(or $(CARGO_TARGET_DIR),target)

# With the quick build: the one for use, `cargo build --release`, takes several times as long.
demo: tools broker-tools
	$(BUILD) build --locked --bin tidegate
	examples/restore_demo.sh $(TARGET)/debug/tidegate
	examples/mqtt_demo.sh $(TARGET)/debug/tidegate

# What could not be tested on this machine is said and counted at the end.
test: tools power-tools clock-tools remote-tools broker-tools
	@mkdir -p $(TARGET) && : > $(TARGET)/skipped
	TIDEGATE_SKIPPED="$(abspath $(TARGET))/skipped" $(BUILD) test --locked --lib --tests --examples
	$(BUILD) test --locked --doc
	@sort -u $(TARGET)/skipped; echo "$$(wc -l < $(TARGET)/skipped) scenarios were skipped"

lint: tools
	$(CARGO) fmt --check
	$(BUILD) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(BUILD) doc --locked --no-deps --document-private-items
	@if command -v systemd-analyze >/dev/null; then \
		said=$$(systemd-analyze security --offline=true --threshold=15 boards/service/tidegate@.service) || { echo "$$said"; exit 1; }; \
		echo "$$said" | tail -n 1; \
	else echo "SKIPPED: the unit's exposure: no systemd-analyze"; fi

bench: tools broker-tools remote-tools
	$(BUILD) bench --locked --bench running_average
	$(BUILD) bench --locked --bench mqtt
	$(BUILD) bench --locked --bench state
	$(BUILD) bench --locked --bench remote
	$(BUILD) bench --locked --bench query

# The key bombs at full size, 10,000,000 keys (sled: 1,000,000), each in a memory cgroup of 192 MiB. Needs root.
stress: tools
	TIDEGATE_STRESS=1 $(BUILD) test --release --locked --test it a_key_bomb -- --nocapture --test-threads 1

# Builds that are broken on purpose, each of which a test must catch: docs/testing.md.
mutants: tools
	CARGO="$(CARGO)" boards/with-rocksdb.sh tests/mutants.sh

# The program for a board: `make dist BOARD=raspberry-pi-4`, `make dist BOARD=raspberry-pi-4 FEATURES=minimal`.
FEATURES ?= full
dist: $(if $(filter minimal,$(FEATURES)),c-tools,tools)
	boards/dist.sh "$(BOARD)" "$(FEATURES)"

# The Debian package for a board. This machine's program prints the manual page and the completions.
package: tools dist
	$(BUILD) build --locked --bin tidegate
	boards/package.sh "dist/$(BOARD)/$(FEATURES)/tidegate" \
		"$$(sed -n 's/^debian-architecture = "\(.*\)"$$/\1/p' boards/$(BOARD).toml)" "dist/$(BOARD)/$(FEATURES)" $(TARGET)/debug/tidegate

# The same program from another folder, by another user's caches: its hash must be the same. Compiles everything twice.
reproducible-test: dist
	tests/reproducible.sh "$(BOARD)" "$(FEATURES)"

ARM = TIDEGATE_AARCH64="$(abspath dist/generic-aarch64/full/tidegate)" TIDEGATE_ARMV7="$(abspath dist/generic-armv7/full/tidegate)"

# What was asked for by name is not skipped in silence.
SKIPPED = $(abspath $(TARGET))/skipped-here
NOTHING_SKIPPED = ! grep . "$(SKIPPED)"

# The programs for ARM, run by qemu beside this machine's.
arm-test: tools remote-tools
	boards/dist.sh generic-aarch64
	boards/dist.sh generic-armv7
	@mkdir -p $(TARGET) && : > "$(SKIPPED)"
	$(ARM) TIDEGATE_SKIPPED="$(SKIPPED)" TIDEGATE_QEMU_USER="$$(boards/machine/get.sh --user)" \
		$(BUILD) test --locked --test it arm_programs -- --nocapture --test-threads 1
	@$(NOTHING_SKIPPED)

# An emulated 64-bit ARM board: its power is cut, then its disk is replaced.
reboot-test: tools remote-tools
	boards/dist.sh generic-aarch64
	@mkdir -p $(TARGET) && : > "$(SKIPPED)"
	boards/machine/get.sh dist/generic-aarch64/full/tidegate $(abspath $(TARGET))/initrd
	TIDEGATE_SKIPPED="$(SKIPPED)" TIDEGATE_MACHINE="$$(boards/machine/get.sh)" TIDEGATE_INITRD="$(abspath $(TARGET))/initrd" \
		$(BUILD) test --locked --test it a_board_whose -- --nocapture --test-threads 1
	@$(NOTHING_SKIPPED)

# What takes too long for each change: every variant within its size, on ARM, through a power cut, as packages, twice the same.
release-test:
	$(MAKE) dist BOARD=raspberry-pi-4
	$(MAKE) dist BOARD=raspberry-pi-4 FEATURES=minimal
	$(MAKE) dist BOARD=beaglebone-black
	$(MAKE) dist BOARD=beaglebone-black FEATURES=minimal
	$(MAKE) arm-test reboot-test
	$(MAKE) package BOARD=generic-aarch64
	$(MAKE) package BOARD=generic-armv7
	$(MAKE) package BOARD=generic-amd64
	$(MAKE) package-test PROGRAM=dist/generic-$(subst arm64,aarch64,$(subst armhf,armv7,$(shell dpkg --print-architecture)))/full/tidegate
	$(MAKE) reproducible-test BOARD=beaglebone-black

# What the reference job writes to its disk. Needs root and loop devices.
wear: tools
	$(BUILD) build --locked --bin tidegate
	boards/wear.sh $(TARGET)/debug/tidegate

# The Debian package in a clean root of its own, through install, upgrade, removal and purge; the unit verified. Needs root.
PROGRAM = $(TARGET)/debug/tidegate
package-test: tools
	$(BUILD) build --locked --bin tidegate
	tests/package.sh $(PROGRAM)

# The linker and C compiler that Rust itself and blake3 need.
c-tools:
	@command -v $(CARGO) >/dev/null || { echo "no Rust toolchain: install one from https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "installing gcc"; $$([ "$$(id -u)" = 0 ] || echo sudo) \
		sh -c 'apt-get update -qq && apt-get install -y -qq gcc libc6-dev'; }

# The C++ compiler and libclang that RocksDB needs besides.
tools: c-tools
	@{ command -v cc && command -v c++ && ls /usr/lib/llvm*/lib/libclang.so*; } >/dev/null 2>&1 || { \
		echo "installing gcc, g++ and libclang"; $$([ "$$(id -u)" = 0 ] || echo sudo) \
		sh -c 'apt-get update -qq && apt-get install -y -qq gcc g++ libc6-dev libclang-dev'; }

# Real power cuts on ext4 and XFS: `make powercut N=3000`. Needs root and loop devices.
N ?= 300
powercut: tools power-tools
	TIDEGATE_POWER_CUTS=$(N) $(BUILD) test --locked --test it a_power_cut -- --nocapture --test-threads 1

# What the power cuts are made with, where they are possible at all. Without it those tests say that they are skipped.
power-tools:
	@[ "$$(id -u)" != 0 ] || { command -v mkfs.ext4 && command -v xfs_io; } >/dev/null || { \
		echo "installing e2fsprogs and xfsprogs"; apt-get update -qq && apt-get install -y -qq e2fsprogs xfsprogs mount; } \
		|| echo "without them the power cuts are skipped"

# What the test of a jumping wall clock is made with. Without it that test says that it is skipped.
clock-tools:
	@[ "$$(id -u)" != 0 ] || ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || { \
		echo "installing faketime"; apt-get update -qq && apt-get install -y -qq faketime; } \
		|| echo "without it the clock's jumps are skipped"

# The servers that the tests of remotes run against. Without one of them its tests say that they are skipped, and why.
remote-tools:
	@tests/servers/install.sh

# The broker that the MQTT scenarios and the demonstration talk to, its clients, and OpenSSL for certificates. Without them
# those tests say that they are skipped.
broker-tools:
	@[ "$$(id -u)" != 0 ] || { ls /usr/sbin/mosquitto && command -v mosquitto_pub && command -v openssl; } >/dev/null 2>&1 || { \
		echo "installing mosquitto"; apt-get update -qq && apt-get install -y -qq mosquitto mosquitto-clients openssl; } \
		|| echo "without it MQTT is skipped"
