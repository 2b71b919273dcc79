#!/usr/bin/env bash
# Builds image targets of containers/Dockerfile: PREFIX/TARGET:VERSION, VERSION being the package's.
#
#   containers/build.sh TARGET...         e.g. containers/build.sh beam trainer ops server
#
# BASE_IMAGE (python:3.11-slim-bookworm), PREFIX (nasflow), CA_FILE (a private CA's bundle; default SSL_CERT_FILE) and
# DOCKER (the client) are read from the environment.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || { echo "usage: $0 TARGET..., e.g. $0 beam trainer ops server" >&2; exit 2; }

. containers/image-names.sh
revision="$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
lock="$(sha256sum uv.lock | cut -d' ' -f1)"
ca="${CA_FILE:-${SSL_CERT_FILE:-}}"

arguments=(--network host --file containers/Dockerfile --build-arg "VERSION=${version}" --build-arg "REVISION=${revision}")
arguments+=(--build-arg "LOCK_SHA256=${lock}") # a version in the registry says which packages made it
arguments+=(--build-arg "BASE_IMAGE=${BASE_IMAGE:-python:3.11-slim-bookworm}")
[ -n "${ca}" ] && [ -s "${ca}" ] && arguments+=(--secret "id=ca,src=${ca}")

for target in "$@"; do
  made="$(image "${target}"):${version}"
  started=${SECONDS}
  DOCKER_BUILDKIT=1 "${docker}" build --progress plain "${arguments[@]}" --target "${target}" --tag "${made}" .
  bytes="$("${docker}" image inspect --format '{{.Size}}' "${made}")"
  echo "built ${made}: $((bytes / 1000000)) MB in $((SECONDS - started)) s"
done
