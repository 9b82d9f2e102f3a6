#!/usr/bin/env bash
# Makes a Debian package of a program that is built already, and prints its path.
#
#   boards/package.sh BINARY DEBIAN_ARCH OUT_DIR [NATIVE_BINARY]
#
# DEBIAN_ARCH is amd64, arm64 or armhf. NATIVE_BINARY, by default BINARY, is the same program for this machine: it prints the
# manual page and the completions. The same commit and the same program give the same package, byte for byte: every time
# in it is that of the last commit (or SOURCE_DATE_EPOCH).
#
# Needs dpkg-deb and readelf (Debian: dpkg, binutils).
set -euo pipefail

fail() { echo "boards/package.sh: $*" >&2; exit 1; }

[ $# -ge 3 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
binary=$(realpath "$1") architecture=$2 out=$(realpath -m "$3") native=$(realpath "${4:-$1}")
cd "$(dirname "$0")/.."
umask 022
export LC_ALL=C TZ=UTC
# Without git, or in a checkout of somebody else's, the package says less.
last_commit() { git -c core.abbrev=12 -c safe.directory="$PWD" log -1 --format="$1" 2> /dev/null; }
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(last_commit %ct || echo 0)}
export SOURCE_DATE_EPOCH

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
commit=$(last_commit %h || echo unknown)
[ "$("$native" --version)" = "tidegate $version" ] || fail "$native is not tidegate $version of this machine"
case $architecture in
    amd64) machine=X86-64 ;;
    arm64) machine=AArch64 ;;
    armhf) machine=ARM ;;
    *) fail "there is no package for $architecture: give amd64, arm64 or armhf" ;;
esac
grep -q "Machine:.*\<$machine$" <<< "$(readelf -h "$binary")" || fail "$binary is not a program for $architecture"

# Packages of the libraries that the program is linked to, with the C library's least version.
depends() {
    local library others=()
    for library in $(readelf -d "$binary" | sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p'); do
        case $library in
            libc.so.6 | libm.so.6 | libdl.so.2 | librt.so.1 | libpthread.so.0 | ld-linux*) ;;
            libgcc_s.so.1) others+=("libgcc-s1 | libgcc1") ;;
            libstdc++.so.6) others+=("libstdc++6 (>= $(gcc_of "$(newest GLIBCXX)"))") ;;
            *) fail "no package is known for $library, which $binary is linked to" ;;
        esac
    done
    printf 'libc6 (>= %s)' "$(newest GLIBC)"
    [ ${#others[@]} = 0 ] || printf ', %s' "${others[@]}"
}

# The newest version of a library's symbols that the program needs.
newest() { readelf -V "$binary" | sed -n "s/.*\<$1_\([0-9][0-9.]*\).*/\1/p" | sort -uV | tail -1; }

# The first GCC whose libstdc++ has these symbols.
gcc_of() {
    case $1 in
        3.4.29) echo 11 ;;
        3.4.30) echo 12 ;;
        3.4.31 | 3.4.32) echo 13 ;;
        3.4.3[3-9]) echo 14 ;;
        *) echo 9 ;;
    esac
}

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"
documents=$tree/usr/share/doc/tidegate
file() { install -D -m "$1" "$2" "$tree/$3"; }

file 755 "$binary" usr/bin/tidegate
file 644 boards/service/tidegate@.service usr/lib/systemd/system/tidegate@.service
file 644 boards/service/running-average.toml etc/tidegate/running-average.toml
"$native" check "$tree/etc/tidegate/running-average.toml" > /dev/null

mkdir -p "$tree"/usr/share/{man/man1,bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
"$native" man | gzip -9n > "$tree/usr/share/man/man1/tidegate.1.gz"
"$native" completions bash > "$tree/usr/share/bash-completion/completions/tidegate"
"$native" completions zsh > "$tree/usr/share/zsh/vendor-completions/_tidegate"
"$native" completions fish > "$tree/usr/share/fish/vendor_completions.d/tidegate.fish"

file 644 README.md usr/share/doc/tidegate/README.md
for page in docs/*.md; do file 644 "$page" "usr/share/doc/tidegate/$page"; done
# Not demo.toml, which holds settings of the demonstration and is no job.
(cd config && find . -type f ! -name demo.toml) | while read -r example; do
    file 644 "config/$example" "usr/share/doc/tidegate/examples/$example"
done
maintainer=$(last_commit '%an <%ae>' || echo 'unknown <nobody@localhost>')
cat > "$documents/copyright" <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: tidegate
Comment: The libraries linked into the full program, each with its licence, are listed in linked-libraries; the minimal
 one has some of them.

Files: *
Copyright: $(date -d "@$SOURCE_DATE_EPOCH" +%Y) the authors of Tidegate
License: Apache-2.0
 On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.
END
cargo tree --locked --offline --edges normal --prefix none --format '{p}: {l}' |
    sed 's/ (\*)$//; s/ (proc-macro)//' | grep -v '^tidegate ' | sort -u > "$documents/linked-libraries"
gzip -9n > "$documents/changelog.gz" <<END
tidegate ($version) stable; urgency=medium

  * Built from commit $commit.

 -- $maintainer  $(date -R -d "@$SOURCE_DATE_EPOCH")
END
size=$(du -sk --apparent-size "$tree" | cut -f1)
mkdir "$tree/DEBIAN"
cp boards/debian/{postinst,prerm,postrm} "$tree/DEBIAN"
chmod 755 "$tree"/DEBIAN/*
echo /etc/tidegate/running-average.toml > "$tree/DEBIAN/conffiles"
libraries=$(depends)
cat > "$tree/DEBIAN/control" <<END
Package: tidegate
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $size
Depends: $libraries
Recommends: ca-certificates
Suggests: openssh-client, libnss-systemd
Section: net
Priority: optional
Description: stream processing for edge devices
 Turns sensor readings from MQTT, TCP, UDP and Unix sockets into keyed, stateful
 results by queries in SQL, and keeps its state through crashes and power cuts.
 Snapshots are shipped to a remote file system whenever there is a link, so that
 a device that is replaced carries on where the old one stopped.
END
(cd "$tree" && find etc usr -type f -print0 | sort -z | xargs -0 md5sum) > "$tree/DEBIAN/md5sums"
find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$out"
package=$out/tidegate_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz --build "$tree" "$package" > /dev/null
echo "$package"
