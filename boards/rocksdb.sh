#!/usr/bin/env bash
# Builds the RocksDB that Cargo.lock names as one static library, and prints the folder it is in.
#
#   boards/rocksdb.sh [TARGET[.GLIBC]]    TARGET: a Rust target triple; default: this machine's, with its own compiler.
#                                         With the oldest C library it is to run on, such as 2.28, by the compiler that
#                                         boards/toolchain.sh gets, with libc++ in place of libstdc++.
#
# The crate's own build compiles 343 files one by one, some 21 minutes of CPU; here the same sources are compiled as
# eight, in a third of it. The library is kept under ~/.cache/tidegate, named by version, target and flags, so that
# it is built once on a machine. Cargo links it when ROCKSDB_LIB_DIR is the printed folder and ROCKSDB_STATIC is 1.
set -euo pipefail
cd "$(dirname "$0")/.."

PARTS=8
host=$(rustc -vV | sed -n 's/^host: //p')
wanted=${1:-$host}
machine=()
target=${wanted%%.*}
if [ "$wanted" = "$host" ]; then
    cxx=("${CXX:-c++}") ar=("${AR:-ar}")
    compiler=$("${cxx[@]}" -dumpfullversion)
else
    zig=$(boards/toolchain.sh --zig)
    case $target in
        x86_64-unknown-linux-gnu) machine=(-target "x86_64-linux-gnu.${wanted#*.}") ;;
        aarch64-unknown-linux-gnu) machine=(-target "aarch64-linux-gnu.${wanted#*.}" -mcpu=generic+crc+aes) ;;
        armv7-unknown-linux-gnueabihf)
            machine=(-target "arm-linux-gnueabihf.${wanted#*.}" -mcpu=generic+v7a+vfp3d16) ;;
        *) echo "boards/rocksdb.sh: no compiler is known for $target" >&2; exit 2 ;;
    esac
    cxx=("$zig" c++ "${machine[@]}") ar=("$zig" ar)
    compiler=$("$zig" version)
fi

version_of() { awk -v name="$1" '$1 == "name" && $3 == "\"" name "\"" { getline; gsub(/"/, "", $3); print $3 }' Cargo.lock; }
cargo fetch --locked --quiet
registry() { echo "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$1-$(version_of "$1")"; }
source=$(registry librocksdb-sys) lz4=$(registry lz4-sys) zstd=$(registry zstd-sys)
[ -d "$source" ] || { echo "boards/rocksdb.sh: no sources at $source" >&2; exit 1; }

flags=(-std=c++20 -O2 -fPIC -ffunction-sections -fdata-sections -include cstdint
    -DNDEBUG=1 -DHAVE_ALIGNED_NEW -DLZ4=1 -DZSTD=1 -DOS_LINUX -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX
    -DROCKSDB_SCHED_GETCPU_PRESENT -DROCKSDB_AUXV_GETAUXVAL_PRESENT -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT)
case $target in
    x86_64-*) flags+=(-msse2 -DHAVE_UINT128_EXTENSION) ;;
    aarch64-*) flags+=(-DHAVE_UINT128_EXTENSION) ;;
    armv7-*) flags+=(-D_FILE_OFFSET_BITS=64 -D_LARGEFILE64_SOURCE=1) ;;
esac

# Paths are cut out of the library, so that it is the same wherever it was compiled; the number is of the way that is done.
name=$(printf '%s\n' "paths-1" "$wanted" "$(version_of librocksdb-sys)" "$compiler" "${machine[@]}" "${flags[@]}" | sha256sum | cut -c1-16)
folder=${TIDEGATE_CACHE:-$HOME/.cache/tidegate}/rocksdb-$wanted-$name
mkdir -p "$(dirname "$folder")"
exec 8> "$(dirname "$folder")/rocksdb.lock"
flock 8
if [ ! -e "$folder/librocksdb.a" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    grep -v '^util/build_version.cc$' "$source/rocksdb_lib_sources.txt" | sed '/^$/d; s|.*|#include "rocksdb/&"|' > "$work/all"
    split -n "l/$PARTS" --numeric-suffixes --additional-suffix=.cc "$work/all" "$work/part"
    cp "$source/build_version.cc" "$work/part_version.cc"
    include=(-I"$source" -I"$source/rocksdb/include" -I"$source/rocksdb"
        -I"$source/rocksdb/third-party/gtest-1.8.1/fused-src" -I"$lz4/liblz4/lib" -I"$zstd/zstd/lib"
        "-ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=/cargo" "-ffile-prefix-map=$work=/rocksdb")
    echo "compiling RocksDB $(version_of librocksdb-sys) for $wanted, once (some minutes)" >&2
    # A compiler takes up to 2.4 GB.
    jobs=$(awk -v cores="$(nproc)" '/MemAvailable/ { fit = int($2 / 2500000); print fit < 1 ? 1 : fit < cores ? fit : cores }' /proc/meminfo)
    find "$work" -name 'part*.cc' -print0 | xargs -0 -P "$jobs" -I{} "${cxx[@]}" -w "${flags[@]}" "${include[@]}" -c {} -o {}.o >&2
    mkdir -p "$folder"
    "${ar[@]}" crs "$folder/librocksdb.a.new" "$work"/*.o
    mv "$folder/librocksdb.a.new" "$folder/librocksdb.a"
fi
echo "$folder"
