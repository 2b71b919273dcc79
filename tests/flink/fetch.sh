#!/usr/bin/env bash
# Copies the jars of a Beam job server into a cache outside the repository, by Maven, once; prints the folder.
# NASFLOW_CACHE names another cache.
#   fetch.sh [FOLDER]   whose pom.xml names them; its own (Flink, 152 MB) is the default, tests/spark has 299 MB
set -euo pipefail
here=$(cd "${1:-$(dirname "$0")}" && pwd)
folder=${NASFLOW_CACHE:-${XDG_CACHE_HOME:-${HOME}/.cache}/nasflow}/$(basename "${here}")-$(sha256sum "${here}/pom.xml" | cut -c1-12)
needs() {
  command -v "$1" >/dev/null || { echo "${0}: $1 is not on PATH; Debian has default-jre-headless and maven" >&2; exit 1; }
}
needs java # what runs the jars
if [ ! -d "${folder}" ]; then
  needs mvn
  mkdir -p "$(dirname "${folder}")"
  partial=$(mktemp -d "${folder}.XXXXXX")
  trap 'rm -rf "${partial}"' EXIT
  mvn --batch-mode --no-transfer-progress --quiet --file "${here}/pom.xml" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="${partial}" >&2
  mv --no-target-directory "${partial}" "${folder}"
fi
echo "${folder}"
