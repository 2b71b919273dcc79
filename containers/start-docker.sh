#!/usr/bin/env bash
# Makes a Docker daemon answer on this machine: does nothing where one already does; as root on Debian it installs
# docker.io and debootstrap where they are missing and starts dockerd in the background. Fails loudly where it cannot.
set -euo pipefail

readonly log="${NASFLOW_DOCKERD_LOG:-/var/log/nasflow-dockerd.log}"
readonly wait_seconds=60

say() { printf 'start-docker: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

if docker info >/dev/null 2>&1; then
  say "a daemon already answers"
  exit 0
fi

[ "$(id -u)" = 0 ] || die "no Docker daemon answers and this is not root: start Docker, or run this script as root"

install_missing() {
  local packages=()
  command -v dockerd >/dev/null || packages+=(docker.io)
  command -v debootstrap >/dev/null || packages+=(debootstrap)
  [ ${#packages[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || die "missing ${packages[*]}, and there is no apt-get: install Docker yourself"
  say "installing ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${packages[@]}" iptables ca-certificates
}
install_missing

# `setsid` and closed descriptors: the daemon outlives this script, and a CI runner does not wait for it.
say "starting dockerd, log in ${log}"
rm -f /var/run/docker.pid
setsid dockerd >"${log}" 2>&1 </dev/null &
readonly daemon=$!

for _ in $(seq "${wait_seconds}"); do
  if docker info >/dev/null 2>&1; then
    say "ready: $(docker info --format 'server {{.ServerVersion}}, storage {{.Driver}}, root {{.DockerRootDir}}')"
    exit 0
  fi
  kill -0 "${daemon}" 2>/dev/null || break
  sleep 1
done
tail -n 30 "${log}" >&2
die "dockerd does not answer after ${wait_seconds} s or has ended; the lines above are the end of ${log}"
