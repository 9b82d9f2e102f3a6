#!/usr/bin/env bash
# The second half of `make demo`: sensors publish through a real Mosquitto, the runtime is killed in the middle, started
# again, and every reading counts once. Usage: examples/mqtt_demo.sh PATH_TO_TIDEGATE
set -euo pipefail
tidegate=$1
sensors=5
readings=160        # of each sensor
results=$((sensors * readings - sensors))

PATH="$PATH:/usr/sbin"
if ! command -v mosquitto >/dev/null || ! command -v mosquitto_pub >/dev/null; then
    echo "== MQTT is left out: there is no Mosquitto here (as root, 'make broker-tools' installs it)."
    echo "== The run above, with simulated sensors over TCP, is the whole demonstration."
    exit 0
fi

work=$(mktemp -d)
broker= runtime=
finish() {
    # The braces keep the shell's own "Killed" out of the output.
    for pid in $broker $runtime; do { kill -KILL "$pid" && wait "$pid"; } 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

start_broker() {
    for _ in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 20000))
        printf 'listener %s 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nuser %s\n' "$port" "$(id -un)" >"$work/broker.conf"
        mosquitto -c "$work/broker.conf" >"$work/broker.log" 2>&1 &
        broker=$!
        for _ in $(seq 30); do
            kill -0 "$broker" 2>/dev/null || break
            # Whoever answers must be the one just started.
            if mosquitto_pub -h 127.0.0.1 -p "$port" -t up -n 2>/dev/null && kill -0 "$broker" 2>/dev/null; then return; fi
            sleep 0.1
        done
    done
    cat "$work/broker.log" >&2
    echo "Mosquitto does not start" >&2
    exit 1
}

start_runtime() { # log file
    "$tidegate" demo --mqtt "mqtt://127.0.0.1:$port" --topic 'sensors/#' --client-id gateway --interval 1s \
        --checkpoint-dir "$work/data" --output "$work/results" 2>"$1" &
    runtime=$!
    for _ in $(seq 100); do
        grep -q 'connected:' "$1" && return
        sleep 0.1
    done
    cat "$1" >&2
    exit 1
}

count() { if [ -e "$work/results" ]; then wc -l <"$work/results"; else echo 0; fi; }

wait_for() { # results
    for _ in $(seq 200); do
        [ "$(count)" -ge "$1" ] && return
        sleep 0.1
    done
    echo "only $(count) of $1 results came" >&2
    exit 1
}

# Sensor $1: a reading each 50 ms, by QoS 1. What it sent is kept, to compare with.
sensor() {
    for index in $(seq "$readings"); do
        echo "$1 $(($1 * 100 + index * 37 % 80))"
        sleep 0.05
    done | tee "$work/sent.$1" | mosquitto_pub -h 127.0.0.1 -p "$port" -q 1 -t "sensors/$1" -l
}

# The log without its times, indented.
show() { sed -E 's/\x1b\[[0-9;]*m//g; s/^[0-9TZ:.-]+ +/      /' "$1" | grep -E "$2" || true; }

start_broker
echo "== A Mosquitto on port $port, and $sensors sensors that publish $readings readings each by QoS 1. First life of the runtime:"
start_runtime "$work/first.log"
show "$work/first.log" 'connected:'
for sensor in $(seq "$sensors"); do sensor "$sensor" & publishers="${publishers:-} $!"; done
wait_for $((results / 3))
{ kill -KILL "$runtime" && wait "$runtime"; } 2>/dev/null || true
runtime=
killed_at=$(count)
echo "== Killed with SIGKILL after $killed_at of $results results. The sensors go on; the broker keeps for the runtime what it has not"
echo "== acknowledged, and it acknowledges only what is on stable storage. Two seconds later, the second life:"
sleep 2
start_runtime "$work/second.log"
for publisher in $publishers; do wait "$publisher"; done
wait_for "$results"
kill -TERM "$runtime"
wait "$runtime"
runtime=
show "$work/second.log" 'restored|replaying|connected:'

echo "== All results of both lives, compared with what the sensors sent:"
echo "      sensor   sent   last average here   average of what was sent"
failed=
for sensor in $(seq "$sensors"); do
    # Every average in its order, not only the last.
    awk '{ sum += $2; if (NR > 1) printf "(%d,%d)\n", $1, int(sum / NR) }' "$work/sent.$sensor" >"$work/expected"
    grep "^($sensor," "$work/results" >"$work/found" || true
    cmp -s "$work/expected" "$work/found" || failed=yes
    last() { tail -n 1 "$1" | sed 's/.*,\(.*\))/\1/'; }
    printf '      %6d %6d %19s %26s\n' "$sensor" "$(wc -l <"$work/sent.$sensor")" "$(last "$work/found")" "$(last "$work/expected")"
done
if [ "$failed" ] || [ "$(count)" != "$results" ]; then
    echo "the results are not those of the readings sent: $(count) of $results" >&2
    exit 1
fi
echo "== All $results results are there once and in order, $((results - killed_at)) of them from the second life: nothing was lost, nothing counted twice."
