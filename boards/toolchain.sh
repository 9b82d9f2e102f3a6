#!/usr/bin/env bash
# Gets what cross-building needs, once a machine, below ~/.cache/tidegate/cross, and prints where it is.
#
#   boards/toolchain.sh --zig      the C and C++ compiler and linker: zig's clang, from PyPI
#   boards/toolchain.sh TARGET     the Rust compiler that has a standard library for TARGET, a target triple
#
# Rust's standard library comes from rustup where it can be had there. Else Debian's own rustc is unpacked, not installed,
# and the library is compiled from Debian's source package: every crate of a build must be of one compiler.
set -euo pipefail
cd "$(dirname "$0")/.."

cross=${TIDEGATE_CACHE:-$HOME/.cache/tidegate}/cross
RUSTUP_SECONDS=300
debian=(rustc-web libstd-rust-web-dev rust-web-src)

say() { echo "$*" >&2; }
fail() { say "boards/toolchain.sh: $*"; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

mkdir -p "$cross"
exec 9> "$cross/lock"
flock 9

zig() {
    local stamp=$cross/zig.done input
    input=$(sha256sum boards/cross.txt | cut -c1-16)
    # An upgrade of the system's Python leaves an environment that does not run.
    if [ "$(cat "$stamp" 2>/dev/null)" != "$input" ] || ! "$cross/zig/bin/python" -c 'import ziglang' 2>/dev/null; then
        say "getting zig's C and C++ compiler and cargo-zigbuild from PyPI"
        python3 -c 'import ensurepip, venv' 2>/dev/null || {
            as_root apt-get update -qq >&2 && as_root apt-get install -y -qq --no-install-recommends python3-venv >&2; }
        rm -rf "$cross/zig"
        python3 -m venv "$cross/zig"
        "$cross/zig/bin/pip" --quiet --disable-pip-version-check install --no-deps --require-hashes \
            --only-binary :all: -r boards/cross.txt >&2
        echo "$input" > "$stamp"
    fi
    "$cross/zig/bin/python" -c 'import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), "zig"))'
}

# rustup's, when it has or gets the library.
by_rustup() { # TARGET
    local library
    library=$(rustc --print target-libdir --target "$1" 2>/dev/null) || return 1
    if ! compgen -G "$library/libstd-*.rlib" > /dev/null; then
        command -v rustup > /dev/null || return 1
        say "getting Rust's standard library for $1 from rustup"
        timeout "$RUSTUP_SECONDS" rustup target add "$1" >&2 || return 1
        compgen -G "$library/libstd-*.rlib" > /dev/null || return 1
    fi
    say "Rust's standard library for $1: of rustup's $(rustc --version)"
    command -v rustc
}

# With the compiler's own libraries, whose names have versions.
download_debian() {
    local driver llvm
    driver=$(apt-cache depends libstd-rust-web-dev | sed -n 's/.* Depends: \(libstd-rust-web-[0-9.]*\)$/\1/p')
    llvm=$(apt-cache depends "$driver" | sed -n 's/.* Depends: \(libllvm[0-9]*\)$/\1/p')
    [ -n "$driver" ] && [ -n "$llvm" ] && apt-get download -qq "${debian[@]}" "$driver" "$llvm"
}

# Debian's compiler, and the library compiled from Debian's source.
by_debian() { # TARGET
    local web=$cross/web rustc=$cross/rustc work library
    if [ ! -x "$rustc" ]; then
        say "rustup has no standard library for $1: getting Debian's ${debian[*]}"
        work=$(mktemp -d "$cross/new.XXXXXX")
        (cd "$work" && { download_debian || { as_root apt-get update -qq && download_debian; }; }) >&2 \
            || fail "no standard library of Rust for $1: rustup has none here (https://rustup.rs), and ${debian[*]}, which Debian has, cannot be had"
        rm -rf "$web"
        mkdir "$work/root"
        local deb
        for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
        mv "$work/root" "$web"
        rm -rf "$work"
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%q${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec %q "$@"\n' \
            "$web/usr/lib/$(uname -m)-linux-gnu" "$web/usr/bin/rustc" > "$rustc"
        chmod +x "$rustc"
    fi
    library=$web/usr/lib/rustlib/$1/lib
    # The number is of the way it is compiled.
    if [ ! -e "$library/paths-2" ]; then
        say "compiling Rust's standard library for $1 from Debian's source"
        work=$(mktemp -d "$cross/new.XXXXXX")
        mkdir "$work/src"
        echo '#![no_std]' > "$work/src/lib.rs"
        printf '[package]\nname = "library"\nversion = "0.0.0"\nedition = "2021"\n' > "$work/Cargo.toml"
        local flags="-Cembed-bitcode=yes --remap-path-prefix=$cross=/rust --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
        (cd "$work" && RUSTC=$rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS=$flags CARGO_TARGET_DIR=$work/target \
            cargo build --quiet --release --target "$1" -Zbuild-std=std,panic_unwind,panic_abort,proc_macro,test >&2)
        rm -f "$work/target/$1/release/deps"/liblibrary*
        # All or nothing: what is there is taken for whole.
        rm -rf "$library.new"
        mkdir -p "$library.new"
        cp "$work/target/$1/release/deps"/*.rlib "$library.new"/
        touch "$library.new/paths-2"
        rm -rf "$library"
        mv "$library.new" "$library"
        rm -rf "$work"
    fi
    say "Rust's standard library for $1: of Debian's $("$rustc" --version)"
    echo "$rustc"
}

case ${1:-} in
    --zig) zig ;;
    *-*) by_rustup "$1" || by_debian "$1" ;;
    *) fail "which target? Such as aarch64-unknown-linux-gnu, or --zig" ;;
esac
