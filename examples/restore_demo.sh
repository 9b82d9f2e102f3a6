#!/usr/bin/env bash
# The first half of `make demo`: run the reference job, kill it with SIGKILL, start it again, show that the
# averages carry on. Usage: examples/restore_demo.sh PATH_TO_TIDEGATE
set -euo pipefail
tidegate=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run=("$tidegate" demo --checkpoint-dir "$work/checkpoints" --interval 1s --rate 50)

# The log without its times, indented, and of its last line the beginning.
show() { sed -E 's/^[0-9TZ:.-]+ +/      /; s/( ended .* outputs=[0-9]+).*/\1/' "$1"; }

echo "== First life: five simulated sensors over a loopback socket, a checkpoint each second"
"${run[@]}" >"$work/first.out" 2>"$work/first.log" &
pid=$!
for _ in $(seq 100); do
    [ "$(grep -c 'checkpoint completed' "$work/first.log" || true)" -ge 3 ] && break
    sleep 0.1
done
sleep 0.5
# The braces keep the shell's own "Killed" out of the output.
{ kill -KILL "$pid" && wait "$pid"; } 2>/dev/null || true
show "$work/first.log"
echo "== Killed with SIGKILL after $(wc -l <"$work/first.out") results (sensor,average); the last ones:"
tail -n 5 "$work/first.out" | sed 's/^/      /'

echo "== Second life: it restores the newest completed checkpoint, replays the journal and carries on"
timeout --signal=TERM 3 "${run[@]}" >"$work/second.out" 2>"$work/second.log" || [ $? -eq 124 ]
show "$work/second.log"
echo "== Its first results. A job that starts empty prints nothing for a sensor's first reading; this one prints its"
echo "== average over both lives:"
head -n 5 "$work/second.out" | sed 's/^/      /'

grep -q 'restored' "$work/second.log"
readings=$(sed -n 's/.* ended readings=\([0-9]*\).*/\1/p' "$work/second.log")
# What the first life had taken in but not printed yet is printed by the second: there may be more results than readings.
if [ "$readings" -gt "$(wc -l <"$work/second.out")" ]; then
    echo "the averages did not carry on: $readings readings" >&2
    exit 1
fi
echo "== Every one of the second life's $readings readings gave a result: the averages carried on."
