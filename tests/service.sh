#!/usr/bin/env bash
# Boots systemd in a container with the Debian package, and sees its unit at work: ready when the job runs, started again after a
# kill and after the watchdog, not after wrong settings, restarted by an upgrade, stopped by a removal.
#
#   tests/service.sh ROOT PACKAGE LATER_PACKAGE        ROOT: a Debian with systemd, which is changed
#
# Needs root. `tests/package.sh` runs it.
set -euo pipefail

[ $# = 3 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
root=$(realpath "$1")
skip() { echo "SKIPPED: the unit under systemd: $*" >&2; exit 0; }
command -v systemd-nspawn > /dev/null || skip "there is no systemd-nspawn (Debian: systemd-container)"
cp "$2" "$root/first.deb"
cp "$3" "$root/later.deb"
rm -f "$root/etc/machine-id"
touch "$root/etc/machine-id"

# No name is registered, no unit of this machine is asked for: it need not run systemd itself.
systemd-nspawn --quiet --directory "$root" --register=no --keep-unit --private-network --boot --console=pipe \
    < /dev/null > "$root/boot.log" 2>&1 &
container=$!
trap 'kill -TERM "$container" 2> /dev/null || true; wait "$container" || true' EXIT

# Runs a command where systemd is process 1.
inside() {
    nsenter --target "$(pgrep -P "$container")" --mount --pid --net --ipc --uts --cgroup --root --wd \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$@"
}
is_up=''
for _ in $(seq 150); do
    case $(inside systemctl is-system-running 2> /dev/null || true) in running | degraded) is_up=1; break ;; esac
    kill -0 "$container" 2> /dev/null || break
    sleep 0.2
done
[ -n "$is_up" ] || skip "no container boots here: $(tail -1 "$root/boot.log")"

inside bash -s << 'END'
set -euo pipefail
fail() { echo "FAILED: $*" >&2; systemctl --no-pager --lines 20 status 'tidegate@*' >&2 || true; exit 1; }
said() { echo "ok: $*"; }
show() { systemctl show --value --property "$2" "tidegate@$1"; }
waits_for() { # command…
    for _ in $(seq 300); do
        ! "$@" || return 0
        sleep 0.1
    done
    fail "waited in vain: $*"
}
is() { [ "$(show "$1" "$2")" = "$3" ]; }
was_killed() { ! is running-average NRestarts "$1" && is running-average SubState running; }
says() { grep -q -- "$1" <<< "$(journalctl --no-pager --output cat --unit tidegate@running-average)"; }
gives() { printf '%b' "$1" > /dev/tcp/127.0.0.1/9000; waits_for says "^$2\$"; }

dpkg -i /first.deb > /dev/null
systemctl start tidegate@running-average
is running-average SubState running || fail "it is started and does not run"
case $(show running-average StatusText) in running,*) ;; *) fail "its status is $(show running-average StatusText)" ;; esac
[ "$(show running-average User)" = tidegate ] && [ "$(stat -c %a /var/lib/private/tidegate)" = 700 ] || fail "whose state is it?"
gives '1 3\n1 5\n' '(1,4)'
said "systemctl start returns when the job runs: $(show running-average StatusText)"

mkdir /etc/systemd/system/tidegate@.service.d
printf '[Service]\nRestartSec=200ms\nWatchdogSec=2s\n' > /etc/systemd/system/tidegate@.service.d/quick.conf
systemctl daemon-reload
systemctl restart tidegate@running-average
process=$(show running-average MainPID)
systemctl kill --signal KILL tidegate@running-average
waits_for was_killed 0
gives '1 7\n' '(1,5)'
said "started again after a kill, it carries on"

kill -STOP "$(show running-average MainPID)"
waits_for was_killed 1
waits_for says "result 'watchdog'"
gives '1 9\n' '(1,6)'
sleep 3
[ "$(show running-average NRestarts)" = 2 ] || fail "the watchdog is not fed"
said "a process that stands still is ended by the watchdog, and started again; one that lives is not"

sed 's/^type = "print"/&\nbogus = 1/' /etc/tidegate/running-average.toml > /etc/tidegate/wrong.toml
! systemctl start tidegate@wrong 2> /dev/null || fail "a wrong job starts"
sleep 1
is wrong ActiveState failed && is wrong ExecMainStatus 78 && is wrong NRestarts 0 || fail "wrong settings are tried again"
said "wrong settings are not tried again"

process=$(show running-average MainPID)
dpkg -i /later.deb > /dev/null
waits_for is running-average SubState running
[ "$(show running-average MainPID)" != "$process" ] || fail "an upgrade does not restart the job"
gives '1 11\n' '(1,7)'
said "an upgrade restarts the job, and it carries on"
systemctl --quiet enable tidegate@running-average 2> /dev/null
dpkg --remove tidegate > /dev/null
waits_for is running-average ActiveState inactive
[ -d /var/lib/private/tidegate/running-average ] || fail "a removal deletes the state"
dpkg --purge tidegate > /dev/null 2>&1
left=$(find /var/lib /etc/systemd -name '*tidegate*' ! -name 'tidegate@.service.d')
[ -z "$left" ] || fail "a purge leaves $left"
said "a removal stops the job and keeps its state, a purge deletes that"
END
