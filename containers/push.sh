#!/usr/bin/env bash
# Pushes images that containers/build.sh made to the registry that PREFIX names, and prints the digests that it gave them,
# as `nasflow compile`, `upload`, `submit`, `schedule` and `deploy --file` take them:
#
#   pins="$(PREFIX=europe-docker.pkg.dev/project/nasflow containers/push.sh beam trainer ops server server-tf)"
#   nasflow submit experiment.yaml --set "$pins" --set resources.image_prefix=europe-docker.pkg.dev/project/nasflow …
#
# A pinned task runs what was pushed now, whatever the tag points at by then. DOCKER names the client.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || { echo "usage: $0 TARGET..., e.g. $0 beam trainer ops server server-tf" >&2; exit 2; }

[ "${PREFIX:-nasflow}" != nasflow ] || {
  echo "$0: PREFIX names no registry, so that Docker would push to its public Hub: make push PREFIX=REGISTRY/FOLDER" >&2
  exit 2
}

. containers/image-names.sh

pins=()
for target in "$@"; do
  name="$(image "${target}")"
  "${docker}" push "${name}:${version}" >&2
  digest="$("${docker}" image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "${name}:${version}" |
    sed -n "s|^${name}@||p" | head -n 1)"
  [ -n "${digest}" ] || { echo "$0: ${name}:${version}: pushed, but the registry gave it no digest" >&2; exit 1; }
  [ "${target}" = beam-sdk ] || pins+=("${target}: ${digest}") # no task's image
done
(
  IFS=,
  echo "resources.image_digests={${pins[*]}}" | sed 's/,/, /g'
)
