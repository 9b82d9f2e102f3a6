#!/usr/bin/env bash
# Measures what the reference job writes to its disk: bytes a reading and a day, by rate, journal sync and checkpoint interval.
#
#   boards/wear.sh PROGRAM [SECONDS [SYNC-INTERVAL...]]      such as 100ms-10s; needs root, for ext4 on loop devices
#
# All runs go at once, each with a file system of its own. Counted is what reaches the block device, with the file system's own
# journal and metadata, from the tenth second on. What a card's controller makes of it (whole erase blocks) comes on top.
set -euo pipefail
program=$(readlink -f "$1")
seconds=${2:-120}
modes=("${@:3}")
# What boards with a card have first.
[ ${#modes[@]} -gt 0 ] || modes=(100ms-10s {always,1s,10s,off}-{2s,60s})
WARM_UP=10
DISK=256M

work=$(mktemp -d)
declare -a devices jobs names
clean_up() {
    kill "${jobs[@]}" 2> /dev/null || true
    wait
    for name in "${names[@]}"; do umount "$work/$name" 2> /dev/null || true; done
    for device in "${devices[@]}"; do losetup -d "$device" 2> /dev/null || true; done
    rm -rf "$work"
}
trap clean_up EXIT

# Sectors of 512 bytes that the device was told to write.
written() { sync -f "$work/$1"; awk '{ printf "%.0f\n", $7 * 512 }' "/sys/block/$(basename "$2")/stat"; }

for rate in 1 10 1000; do
    for mode in "${modes[@]}"; do
        IFS=- read -r sync interval <<< "$mode"
        name=$rate-$mode
        truncate -s "$DISK" "$work/$name.img"
        mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$work/$name.img"
        device=$(losetup -f --show "$work/$name.img")
        mkdir "$work/$name"
        mount -o noatime "$device" "$work/$name"
        "$program" demo --rate "$rate" --sensors 10 --journal-sync "$sync" --interval "$interval" \
            --data-dir "$work/$name/data" --output "$work/results-$name" 2> "$work/log-$name" &
        jobs+=($!) devices+=("$device") names+=("$name")
    done
done

sleep "$WARM_UP"
declare -a before
for place in "${!names[@]}"; do before[place]=$(written "${names[place]}" "${devices[place]}"); done
sleep "$seconds"
echo "| readings/s | journal sync | checkpoint each | bytes a reading | MiB a day |"
echo "|---|---|---|---|---|"
for place in "${!names[@]}"; do
    IFS=- read -r rate sync interval <<< "${names[place]}"
    bytes=$(($(written "${names[place]}" "${devices[place]}") - before[place]))
    awk -v bytes="$bytes" -v rate="$rate" -v seconds="$seconds" -v sync="$sync" -v interval="$interval" 'BEGIN {
        printf "| %d | `%s` | %s | %.0f | %.0f |\n", rate, sync, interval, bytes / (rate * seconds), bytes / seconds * 86400 / 1048576 }'
done
