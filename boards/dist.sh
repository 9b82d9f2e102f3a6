#!/usr/bin/env bash
# Builds the program for a board, from any Debian or Ubuntu machine, and says what it is.
#
#   boards/dist.sh BOARD [full|minimal]      BOARD: a file in boards/ without .toml
#
# full      every state backend and every remote
# minimal   without RocksDB, and with `file://` and S3 only
#
# The result is dist/BOARD/VARIANT/tidegate and does not depend on where, when or by whom it is built: paths are cut out of it,
# and everything that is compiled is pinned (Cargo.lock, cross.txt, the Rust compiler apart). It runs on any system with the C
# library GLIBC or a newer one; C++'s library is linked in.
set -euo pipefail
cd "$(dirname "$0")/.."

GLIBC=2.28
FULL_BYTES_MAX=$((24 << 20))
MINIMAL_BYTES_MAX=$((9 << 20))

fail() { echo "boards/dist.sh: $*" >&2; exit 1; }
board=${1:-}
variant=${2:-full}
boards=$(cd boards && echo *.toml | sed 's/\.toml//g')
[ -e "boards/${board:-none}.toml" ] || fail "there is no board '$board': make dist BOARD=…, one of $boards"
key() { sed -n "s/^$1 *= *\"\([^\"]*\)\".*/\1/p" "boards/$board.toml"; }
target=$(key target)
flags=$(key rustc-flags)
# What the target has anyway; the linker would take it for a processor from before ARMv7.
flags=${flags#-C target-cpu=generic}
# Its instructions take more room, and its machines have more.
case $target in x86_64-*) FULL_BYTES_MAX=$((28 << 20)) MINIMAL_BYTES_MAX=$((11 << 20)) ;; esac
[ -n "$target" ] || fail "$board has no target: choose a board, or generic-amd64, generic-aarch64 or generic-armv7"
case $variant in
    full) profile=release features=rocksdb,sled,remotes,completions bytes_max=$FULL_BYTES_MAX ;;
    minimal) profile=minimal features=sled,remote-s3 bytes_max=$MINIMAL_BYTES_MAX ;;
    *) fail "there is no variant $variant; there are full and minimal" ;;
esac

cargo_home=${CARGO_HOME:-$HOME/.cargo}
cache=${TIDEGATE_CACHE:-$HOME/.cache/tidegate}
# Compilers take lists of flags divided by spaces.
case "$PWD$cargo_home$cache${CARGO_TARGET_DIR:-}" in
    *[[:space:]]*) fail "there is a space in the path of the checkout, of CARGO_HOME, TIDEGATE_CACHE or CARGO_TARGET_DIR: move it" ;;
esac
zig=$(boards/toolchain.sh --zig)
RUSTC=$(boards/toolchain.sh "$target")
export RUSTC
export CARGO_ZIGBUILD_ZIG_PATH=$zig PATH="$cache/cross/zig/bin:$PATH"
# Only what depends on the sources may be in the program.
SOURCE_DATE_EPOCH=$(git -c safe.directory="$PWD" log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
export CARGO_INCREMENTAL=0
CFLAGS="-ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$PWD=/tidegate"
export CFLAGS CXXFLAGS="$CFLAGS"
export RUSTFLAGS="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$cache/cross=/rust --remap-path-prefix=$PWD=/tidegate${flags:+ $flags}"
if [ "$variant" = full ]; then
    ROCKSDB_LIB_DIR=$(boards/rocksdb.sh "$target.$GLIBC")
    export ROCKSDB_LIB_DIR ROCKSDB_STATIC=1
fi
# Boards with the same flags share what was compiled.
folder=$(realpath -m "${CARGO_TARGET_DIR:-target}")/dist/$target$(tr -cs '[:alnum:]' - <<< "${flags:+-$flags}" | sed 's/-*$//')
CARGO_TARGET_DIR=$folder cargo zigbuild --profile "$profile" --locked --target "$target.$GLIBC" \
    --no-default-features --features "$features" --bin tidegate

out=dist/$board/$variant
mkdir -p "$out"
install -m 755 "$folder/$target/$profile/tidegate" "$out/tidegate"
size=$(stat -c %s "$out/tidegate")
needs=$(readelf -V "$out/tidegate" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
libraries=$(readelf -d "$out/tidegate" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | tr '\n' ' ')
file -b "$out/tidegate" 2>/dev/null || readelf -h "$out/tidegate" | grep -E 'Class|Machine'
echo "$out/tidegate: $size bytes of at most $bytes_max, needs $needs and $libraries"
echo "sha256 $(sha256sum "$out/tidegate" | cut -d' ' -f1)"
for path in "$PWD" "$folder" "$cargo_home" "$cache" "${RUSTUP_HOME:-$HOME/.rustup}"; do
    case $path in /cargo | /rust | /tidegate) continue ;; esac
    # At the beginning of a path only.
    found=$(LC_ALL=C grep -caP "(?<![\\w./-])\\Q$path\\E/" "$out/tidegate" || [ $? = 1 ])
    [ "$found" = 0 ] || fail "the path $path is in the program: it would be another one elsewhere"
done
[ "$size" -le "$bytes_max" ] || fail "the program is $((size - bytes_max)) bytes larger than the limit"
case $libraries in *stdc++*) fail "the C++ library is not linked in" ;; esac
[ "$(printf '%s\n' "GLIBC_$GLIBC" "$needs" | sort -V | tail -n 1)" = "GLIBC_$GLIBC" ] || fail "it needs $needs, which is newer than $GLIBC"
