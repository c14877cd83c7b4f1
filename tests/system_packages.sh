#!/bin/sh
# Real counterparties that tests start on loopback, from Debian's packages: Slurm, munge and Prometheus; and xmlsec1,
# another implementation of XML signatures; Mosquitto, an MQTT server; and OpenSSL's command, a time-stamp authority.
#
# What is missing is installed where this is Debian or Ubuntu and we are root; elsewhere this says so, and the tests that
# need it skip with one line. No daemon is started or enabled: the tests start their own, and end them.
set -eu
PATH="$PATH:/usr/sbin:/sbin"

missing=""
for pair in munged:munge mosquitto:mosquitto slurmctld:slurmctld slurmd:slurmd slurmrestd:slurmrestd scontrol:slurm-client \
    prometheus:prometheus xmlsec1:xmlsec1 openssl:openssl; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
ls /usr/lib/*/slurm*/auth_jwt.so >/dev/null 2>&1 || missing="$missing slurm-wlm-jwt-plugin"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "Not on this machine:$missing. Tests that need them will skip; on Debian: apt-get install$missing" >&2
    exit 0
fi

# A package starts its daemon when it is installed, unless this file says no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of words
if apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null; then
    if [ -d /run/systemd/system ]; then
        for package in $missing; do
            systemctl disable --quiet "$package" 2>/dev/null || true
        done
    fi
else
    echo "Could not install:$missing. Tests that need them will skip." >&2
fi
