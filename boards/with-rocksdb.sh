#!/usr/bin/env bash
# Runs a command that builds for this machine, with RocksDB compiled once a machine in a third of the time its crate takes.
#
#   boards/with-rocksdb.sh COMMAND...        such as: boards/with-rocksdb.sh cargo build
set -euo pipefail
ROCKSDB_LIB_DIR=${ROCKSDB_LIB_DIR:-$("$(dirname "$0")/rocksdb.sh")}
export ROCKSDB_LIB_DIR ROCKSDB_STATIC=1
exec "$@"
