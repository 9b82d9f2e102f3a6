#!/usr/bin/env bash
# Breaks the build in each way docs/testing.md lists, and requires the test named there to fail.
set -euo pipefail
cd "$(dirname "$0")/.."
export TIDEGATE_JOB_SEEDS="${TIDEGATE_JOB_SEEDS:-300}" TIDEGATE_JOURNAL_SEEDS="${TIDEGATE_JOURNAL_SEEDS:-300}"
export RUST_BACKTRACE=0

run() { # mutant or nothing, test
    TIDEGATE_MUTANT="$1" "${CARGO:-cargo}" test --quiet --locked --lib -- --exact "$2" 2>&1
}

# Rows of the table: | `mutant` | what is broken | `test` |
rows="$(sed -n 's/^| `\([a-z-]*\)` | .* | `\([a-z_:]*\)` |$/\1 \2/p' docs/testing.md)"
[ "$(wc -l <<<"$rows")" -ge 6 ] || { echo "docs/testing.md does not list the mutants" >&2; exit 1; }

for test in $(cut -d' ' -f2 <<<"$rows" | sort -u); do
    output="$(run "" "$test")" || { echo "$output"; echo "$test fails without a mutant" >&2; exit 1; }
    grep -q '^test result: ok. 1 passed' <<<"$output" || { echo "there is no test $test" >&2; exit 1; }
done

survivors=0
while read -r mutant test; do
    if output="$(run "$mutant" "$test")"; then
        echo "SURVIVED $mutant: $test passes"
        survivors=$((survivors + 1))
    elif grep -q '^test result: FAILED' <<<"$output" && ! grep -q 'there is no mutant' <<<"$output"; then
        echo "caught   $mutant by $test"
    else
        echo "$output"
        echo "$mutant: the test did not run" >&2
        exit 1
    fi
done <<<"$rows"
[ "$survivors" = 0 ]
