#!/usr/bin/env bash
# Installs the package of a program in a clean Debian root, and sees it through its life: it runs the job it comes with, an
# upgrade keeps the state, so does a removal, and a purge deletes it. Verifies the unit, sees it at work under systemd in a
# container (tests/service.sh), and lints the package.
#
#   tests/package.sh BINARY        a program for this machine, such as target/release/tidegate
#
# Needs root. What is missing (debootstrap, lintian, systemd's analyser) is installed with apt-get. The root is made once and
# kept under ~/.cache/tidegate; TIDEGATE_DEBIAN_SUITE names another release than this machine's, TIDEGATE_DEBIAN_MIRROR another
# mirror than this machine's.
set -euo pipefail

fail() { echo "FAILED: $*" >&2; exit 1; }
said() { echo "ok: $*"; }

[ $# = 1 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
binary=$(realpath "$1")
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || fail "the package is installed in a root of its own, which needs root"

missing=()
for tool in debootstrap lintian readelf:binutils ip:iproute2 systemd-analyze:systemd systemd-nspawn:systemd-container; do
    command -v "${tool%:*}" > /dev/null || missing+=("${tool#*:}")
done
[ ${#missing[@]} = 0 ] || {
    echo "installing ${missing[*]}"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
}

work=$(mktemp -d)
root=$work/root
job=''
finish() {
    [ -z "$job" ] || kill -KILL "$job" 2> /dev/null || true
    for mount in "$root/proc" "$root/dev"; do ! mountpoint -q "$mount" || umount "$mount"; done
    rm -rf --one-file-system "$work"
}
trap finish EXIT

# The package, and one of a later version with the same program.
strip -o "$work/tidegate" "$binary"
architecture=$(dpkg --print-architecture)
package=$(boards/package.sh "$work/tidegate" "$architecture" "$work/first")
again=$(boards/package.sh "$work/tidegate" "$architecture" "$work/second")
cmp "$package" "$again" || fail "the same program gives another package"
said "reproducible: $(sha256sum < "$package" | cut -c1-16)… $(stat -c %s "$package") bytes"
lintian --allow-root --fail-on error "$package" || fail "lintian finds errors"
said "lintian finds no errors"
dpkg-deb -R "$package" "$work/later"
sed -i 's/^Version: .*/&+later/' "$work/later/DEBIAN/control"
dpkg-deb --root-owner-group -Zgzip -z1 -b "$work/later" "$work/later.deb" > /dev/null

# The unit, as it is installed.
unit=$work/unit/tidegate@.service
install -D -m 644 "$work/later/usr/lib/systemd/system/tidegate@.service" "$unit"
sed -i "s|/usr/bin/tidegate|$work/tidegate|" "$unit"
chmod 755 "$work"
said_of_unit=$(systemd-analyze verify --man=no "$unit" 2>&1) || fail "systemd refuses the unit: $said_of_unit"
[ -z "$said_of_unit" ] || fail "systemd says of the unit: $said_of_unit"
systemd-analyze security --offline=true --threshold=15 "$unit" > "$work/security" || fail "$(tail -1 "$work/security")"
said "the unit: $(tail -1 "$work/security")"

# A clean root.
# shellcheck source=/dev/null
suite=${TIDEGATE_DEBIAN_SUITE:-$(. /etc/os-release; echo "$VERSION_CODENAME")}
cache=${TIDEGATE_CACHE:-$HOME/.cache/tidegate}
base=$cache/debian-$suite-$architecture-systemd.tar
if [ ! -e "$base" ]; then
    echo "making a minimal Debian $suite, once"
    configured=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null |
        sed -n 's/^\(URIs: *\|deb \(\[[^]]*\] \)\?\)\(http[^ ]*\).*/\3/p' | grep -E '/(debian|ubuntu)/?$' | head -1 || true)
    mirror=${TIDEGATE_DEBIAN_MIRROR:-$configured}
    # What the program is linked to beyond the minimum, and systemd for tests/service.sh.
    minimal() { rm -rf "$work/base"; debootstrap --variant=minbase --include=libstdc++6,libgcc-s1,systemd,dbus "$suite" "$work/base" "$@" > "$work/log" 2>&1; }
    # What is configured first may be somebody else's than Debian's.
    minimal ${mirror:+"$mirror"} || minimal || { tail -5 "$work/log" >&2; fail "no minimal Debian can be had"; }
    mkdir -p "$cache"
    tar -C "$work/base" -cf "$base.new" . && mv "$base.new" "$base"
fi
mkdir "$root" "$work/container"
tar -C "$root" -xf "$base"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev"
mknod -m 666 "$root/dev/null" c 1 3
# libc++, which programs for boards have, takes its random numbers from it.
mknod -m 666 "$root/dev/urandom" c 1 9
cp "$package" "$work/later.deb" "$root/"
in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C "$@"; }
package_tool() { in_root dpkg "$@" > "$work/log" 2>&1 || { cat "$work/log" >&2; fail "dpkg $*"; }; }
first=/$(basename "$package")

package_tool -i "$first"
for file in usr/bin/tidegate usr/lib/systemd/system/tidegate@.service etc/tidegate/running-average.toml \
    usr/share/man/man1/tidegate.1.gz usr/share/bash-completion/completions/tidegate \
    usr/share/zsh/vendor-completions/_tidegate usr/share/fish/vendor_completions.d/tidegate.fish \
    usr/share/doc/tidegate/copyright; do
    [ -s "$root/$file" ] || fail "there is no /$file"
done
said "installed in $suite: $(in_root tidegate --version)"

wait_for() { # pattern, file
    for _ in $(seq 300); do
        ! grep -q "$1" "$2" 2> /dev/null || return 0
        sleep 0.1
    done
    cat "$work/job.log" >&2
    fail "$1 does not come"
}

# Runs the job that comes with the package as its unit does, sends it a line, and compares what it gives. Loopback is one
# of its own: port 9000 may be somebody's.
runs() { # line, result, what that shows
    # What the run before said is not waited for.
    rm -f "$work/results" "$work/job.log"
    # shellcheck disable=SC2016
    unshare --net sh -c 'ip link set lo up; exec "$@"' sh \
        chroot "$root" env -i PATH=/usr/bin XDG_DATA_HOME=/var/lib tidegate run /etc/tidegate/running-average.toml \
        > "$work/results" 2> "$work/job.log" &
    job=$!
    wait_for listening "$work/job.log"
    # shellcheck disable=SC2016
    nsenter --target "$job" --net bash -c 'printf "$1" > /dev/tcp/127.0.0.1/9000' bash "$1"
    wait_for . "$work/results"
    kill -TERM "$job"
    wait "$job" || { cat "$work/job.log" >&2; fail "the job does not end in order"; }
    job=''
    [ "$(cat "$work/results")" = "$2" ] || fail "$3: $(cat "$work/results") instead of $2"
    said "$3: $2"
}

state=$root/var/lib/tidegate
runs '1 3\n1 5\n' '(1,4)' "the job that comes with it runs"
package_tool -i /later.deb
# shellcheck disable=SC2016
[ "$(in_root dpkg-query -W -f '${Version}' tidegate)" != "$(dpkg-deb -f "$package" Version)" ] || fail "nothing was upgraded"
runs '1 7\n' '(1,5)' "an upgrade keeps the state"
package_tool --remove tidegate
[ ! -e "$root/usr/bin/tidegate" ] || fail "a removal leaves the program"
[ -d "$state/running-average" ] || fail "a removal deletes the data"
package_tool -i "$first"
runs '1 9\n' '(1,6)' "a removal keeps the data"
# As systemd keeps it for a dynamic user.
mkdir -p "$root/var/lib/private"
mv "$state" "$root/var/lib/private/tidegate"
ln -s private/tidegate "$state"
package_tool --purge tidegate
left=$(find "$root/var/lib" "$root/etc" "$root/usr" -name '*tidegate*' | sed "s|^$root||")
[ -z "$left" ] || fail "a purge leaves $left"
said "a purge leaves nothing"

tar -C "$work/container" -xf "$base"
tests/service.sh "$work/container" "$package" "$work/later.deb"
