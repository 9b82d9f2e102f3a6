#!/usr/bin/env bash
# Gets an emulated 64-bit ARM machine, once, below ~/.cache/tidegate/machine, and packs what it boots.
#
#   boards/machine/get.sh                    prints the folder with qemu/ (the emulator), vmlinuz and root/
#   boards/machine/get.sh PROGRAM INITRD     packs root/, boards/machine/init and an aarch64 program as the file INITRD
#   boards/machine/get.sh --user             prints a folder with aarch64/ and armv7/, each a program's qemu and C library
#
# All of it is Debian's: qemu, and of the release SUITE, whatever this machine runs, the cloud kernel of arm64, a static busybox
# and the C library that boots with them. Packages are unpacked, not installed: the machine that builds keeps its own. A qemu
# that is installed is taken as it is.
set -euo pipefail
cd "$(dirname "$0")/../.."

machine=${TIDEGATE_CACHE:-$HOME/.cache/tidegate}/machine
SUITE=bookworm
MIRROR=http://deb.debian.org/debian
# In the order in which they are loaded.
modules=(virtio/virtio_ring virtio/virtio virtio/virtio_mmio ../net/core/failover net/net_failover net/virtio_net)

say() { echo "$*" >&2; }
fail() { say "boards/machine/get.sh: $*"; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
tools() { # COMMAND-OR-FILE PACKAGE ...
    while [ $# -gt 0 ]; do
        [ -e "$1" ] || command -v "$1" > /dev/null || { say "installing $2"; as_root apt-get install -y -qq --no-install-recommends "$2" > /dev/null \
            || { as_root apt-get update -qq >&2 && as_root apt-get install -y -qq --no-install-recommends "$2" > /dev/null; }; }
        shift 2
    done
}
# Downloads packages of this machine's architecture, and what they need that is not installed, and unpacks them.
unpack() { # FOLDER PACKAGE...
    local folder=$1 work
    shift
    work=$(mktemp -d "$machine/new.XXXXXX")
    mkdir -p "$work/debs/partial" "$work/root"
    local get=(apt-get install -y -qq --no-install-recommends --download-only -o Debug::NoLocking=1 -o "Dir::Cache::archives=$work/debs" "$@")
    "${get[@]}" >&2 || { as_root apt-get update -qq >&2 && "${get[@]}" >&2; }
    local deb
    for deb in "$work"/debs/*.deb; do
        # A second C library would not fit the system's loader.
        case $deb in *'/*.deb' | */libc6_*) ;; *) dpkg-deb -x "$deb" "$work/root" ;; esac
    done
    rm -rf "$folder"
    mv "$work/root" "$folder"
    rm -rf "$work"
}
# The same of arm64 and SUITE, without what they need.
download_arm64() { # FOLDER PACKAGE...
    local folder=$1 apt kernel
    shift
    mkdir -p "$folder"/{lists/partial,cache/archives/partial,debs}
    apt=(-qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o "Dir::State::lists=$folder/lists"
        -o "Dir::Cache=$folder/cache" -o Dir::State::status=/dev/null -o APT::Sandbox::User=root)
    # shellcheck source=/dev/null
    if [ "$(. /etc/os-release; echo "${VERSION_CODENAME:-}")" != "$SUITE" ]; then
        local keys=/usr/share/keyrings/debian-archive-keyring.gpg
        tools "$keys" debian-archive-keyring
        echo "deb [signed-by=$keys] $MIRROR $SUITE main" > "$folder/sources.list"
        apt+=(-o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null)
    fi
    apt-get "${apt[@]}" update >&2
    kernel=$(apt-cache "${apt[@]}" depends linux-image-cloud-arm64 | sed -n 's/.*Depends: \(linux-image-[^ ]*\)/\1/p' | head -n 1 || true)
    [ -n "$kernel" ] || fail "Debian $SUITE has no linux-image-cloud-arm64 at the mirrors of this machine"
    (cd "$folder/debs" && apt-get "${apt[@]}" download "$@" "$kernel" >&2)
}

emulator() {
    [ -x "$machine/qemu/usr/bin/qemu-system-aarch64" ] && return
    local installed
    if installed=$(command -v qemu-system-aarch64); then
        rm -rf "$machine/qemu"
        mkdir -p "$machine"/qemu/usr/{bin,share}
        ln -s "$(dirname "$(dirname "$installed")")/share/qemu" "$machine/qemu/usr/share/qemu"
        ln -s "$installed" "$machine/qemu/usr/bin/qemu-system-aarch64"
        return
    fi
    say "getting qemu-system-aarch64, of Debian"
    unpack "$machine/qemu" qemu-system-arm
    [ -x "$machine/qemu/usr/bin/qemu-system-aarch64" ] || fail "qemu-system-arm has no qemu-system-aarch64"
}

kernel() {
    [ -e "$machine/vmlinuz" ] && return
    say "getting the kernel, busybox and the C library of arm64, of Debian"
    local work module libc
    work=$(mktemp -d "$machine/new.XXXXXX")
    download_arm64 "$work/apt" busybox-static libc6
    mkdir "$work/all"
    for deb in "$work"/apt/debs/*.deb; do dpkg-deb -x "$deb" "$work/all"; done
    mkdir -p "$work/root"/{bin,dev,etc,lib,modules,proc,root,sys,tmp,var/lib/tidegate}
    cp "$work/all/bin/busybox" "$work/root/bin/"
    libc=$work/all/lib/aarch64-linux-gnu
    cp -L "$libc"/{ld-linux-aarch64.so.1,libc.so.6,libm.so.6,libdl.so.2,libpthread.so.0,librt.so.1,libutil.so.1,libresolv.so.2} "$work/root/lib/"
    for module in "${modules[@]}"; do cp "$work"/all/lib/modules/*/kernel/drivers/"$module.ko" "$work/root/modules/"; done
    printf '%s\n' "${modules[@]##*/}" > "$work/root/modules/order"
    rm -rf "$machine/root"
    mv "$work/root" "$machine/root"
    mv "$work"/all/boot/vmlinuz-* "$machine/vmlinuz"
    rm -rf "$work"
}

# The first of two folders that has the file.
first() { # FOLDER FOLDER FILE
    if [ -e "$1/$3" ]; then echo "$1/$3"; else ls -d "$2/$3"; fi
}

user() {
    local folder=$machine/user name
    if [ ! -e "$folder/done" ]; then
        say "getting qemu-user and the C libraries of arm64 and armhf, of Debian"
        unpack "$folder" qemu-user-static libc6-arm64-cross libc6-armhf-cross
        for name in aarch64:aarch64-linux-gnu:aarch64 armv7:arm-linux-gnueabihf:arm; do
            mkdir -p "$folder/${name%%:*}"
            # What is installed already was not unpacked.
            ln -s "$(first "$folder/usr" /usr "$(cut -d: -f2 <<< "$name")")" "$folder/${name%%:*}/root"
            ln -s "$(first "$folder/usr" /usr "bin/qemu-${name##*:}-static")" "$folder/${name%%:*}/qemu"
        done
        touch "$folder/done"
    fi
    echo "$folder"
}

mkdir -p "$machine"
exec 9> "$machine/lock"
flock 9
case ${1:-} in
    --user) user ;;
    '')
        tools mkfs.ext4 e2fsprogs
        emulator
        kernel
        echo "$machine"
        ;;
    *)
        tools cpio cpio
        kernel
        work=$(mktemp -d)
        trap 'rm -rf "$work"' EXIT
        cp -r "$machine/root/." "$work"
        install -m 755 boards/machine/init "$work/init"
        install -m 755 "$1" "$work/bin/tidegate"
        (cd "$work" && find . | LC_ALL=C sort | cpio --quiet -o -H newc | gzip -1) > "$2"
        ;;
esac
