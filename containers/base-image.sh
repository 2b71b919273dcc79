#!/usr/bin/env bash
# Builds the base image for machines that reach a Debian mirror but no image registry. Everybody else leaves BASE_IMAGE
# at its default (python:3.11-slim-bookworm). Needs root and a running daemon (containers/start-docker.sh);
# installs debootstrap where it is missing.
#
#   containers/base-image.sh [IMAGE]      IMAGE defaults to nasflow-base:bookworm; an image that exists is left alone.
#
# Debian 12's own Python 3.11 at /usr/bin/python3; python3-venv is there for the builder stage, which needs no pip.
set -euo pipefail

readonly image="${1:-nasflow-base:bookworm}"
readonly cache="${NASFLOW_CACHE:-/var/cache/nasflow}"
readonly suite=bookworm
readonly packages=ca-certificates,python3,python3-venv
readonly tarball="${cache}/${suite}-$(printf '%s' "${packages}" | sha256sum | cut -c1-12).tar"

say() { printf 'base-image: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

docker=docker
[ -x /usr/bin/docker ] && docker=/usr/bin/docker

"${docker}" info >/dev/null 2>&1 || die "no Docker daemon answers: run containers/start-docker.sh first"
if "${docker}" image inspect "${image}" >/dev/null 2>&1; then
  say "${image} exists"
  exit 0
fi

# The mirror that this machine already uses. Only a line that starts with URIs: counts; a commented snapshot may be above it.
mirror() {
  local sources=/etc/apt/sources.list.d/debian.sources found=""
  [ -r "${sources}" ] && found="$(awk '/^URIs:/ {print $2; exit}' "${sources}")"
  printf '%s' "${NASFLOW_DEBIAN_MIRROR:-${found:-http://deb.debian.org/debian}}"
}

if [ ! -s "${tarball}" ]; then
  [ "$(id -u)" = 0 ] || die "debootstrap needs root; or pull python:3.11-slim-bookworm and leave BASE_IMAGE alone"
  if ! command -v debootstrap >/dev/null; then
    command -v apt-get >/dev/null || die "debootstrap is missing, and there is no apt-get: install it yourself"
    say "installing debootstrap"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >&2
  fi
  mkdir -p "${cache}"
  root="$(mktemp -d "${cache}/root.XXXXXX")"
  trap 'rm -rf "${root}" "${tarball}.part"' EXIT
  say "debootstrap ${suite} from $(mirror)"
  debootstrap --variant=minbase --include="${packages}" "${suite}" "${root}" "$(mirror)" >"${cache}/debootstrap.log" 2>&1 \
    || { tail -n 30 "${cache}/debootstrap.log" >&2; die "debootstrap failed; the lines above end ${cache}/debootstrap.log"; }
  ln -sf python3 "${root}/usr/bin/python"
  rm -rf "${root}"/var/lib/apt/lists/* "${root}"/var/cache/apt/* "${root}"/var/log/* "${root}"/usr/share/{doc,man,locale,info}/*
  tar -C "${root}" --numeric-owner -cf "${tarball}.part" .
  mv "${tarball}.part" "${tarball}"
fi

"${docker}" import --change 'CMD ["python3"]' --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  --change 'ENV LANG=C.UTF-8' "${tarball}" "${image}" >/dev/null
say "made ${image}, $("${docker}" image inspect --format '{{.Size}}' "${image}" | awk '{printf "%d MB", $1 / 1e6}')"
