#!/usr/bin/env bash
# Builds a board's program once more, from a clone of the last commit in another folder, with other folders for cargo's downloads
# and what is compiled once a machine, and compares it with the one that `make dist` has built of the same commit.
#
#   tests/reproducible.sh BOARD full|minimal
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "FAILED: $*" >&2; exit 1; }
board=${1:-} variant=${2:-full}
first=$PWD/dist/$board/$variant/tidegate
[ -x "$first" ] || fail "there is no $first: make dist BOARD=$board FEATURES=$variant"
git diff --quiet HEAD || fail "the checkout has changes: what is built twice is the last commit"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone --quiet . "$work/another-checkout"
mkdir -p "$work/another-cache" "$work/another-cargo"
# Compilers are downloaded once.
cross=${TIDEGATE_CACHE:-$HOME/.cache/tidegate}/cross
[ ! -d "$cross" ] || ln -s "$cross" "$work/another-cache/cross"
cp "${CARGO_HOME:-$HOME/.cargo}"/config* "$work/another-cargo/" 2> /dev/null || true
env -u CARGO_TARGET_DIR -u ROCKSDB_LIB_DIR CARGO_HOME="$work/another-cargo" TIDEGATE_CACHE="$work/another-cache" \
    "$work/another-checkout/boards/dist.sh" "$board" "$variant"
cmp "$first" "$work/another-checkout/dist/$board/$variant/tidegate" || fail "the second program is another one"
echo "ok: $board $variant, twice the same: sha256 $(sha256sum < "$first" | cut -d' ' -f1)"
