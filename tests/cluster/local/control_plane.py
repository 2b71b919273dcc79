"""etcd, the API server, the controllers of Kubernetes itself, the scheduler: the real ones, as background processes."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.cluster.local.credentials import Credentials
from tests.cluster.local.processes import Processes, answers

SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"
PODS = "10.244.0.0/16"
PORT = 6443
_ETCD, _ETCD_PEERS = 23790, 23800


class ControlPlane:
    """Of one folder, whose ``bin`` has the programs."""

    def __init__(self, folder: Path, address: str) -> None:
        """`address`: this machine's, where pods reach the API server."""
        self.folder, self.address = folder, address
        self.processes = Processes(folder)
        self.credentials = Credentials(folder / "credentials", server=f"https://127.0.0.1:{PORT}", node="local")

    def up(self) -> None:
        self.credentials.make(["127.0.0.1", FIRST_SERVICE, self.address])
        self._etcd()
        self._api_server()
        bin_, file = self.folder / "bin", self.credentials.file
        self.processes.start(
            "controllers", bin_ / "kube-controller-manager",
            f"--kubeconfig={self.credentials.kubeconfig('controller-manager')}", "--leader-elect=false",
            "--bind-address=127.0.0.1", f"--root-ca-file={file('ca.crt')}", "--use-service-account-credentials=true",
            f"--service-account-private-key-file={file('accounts.key')}", f"--cluster-cidr={PODS}",
            # here a second is a second: nobody waits for a node's five minutes
            "--node-monitor-grace-period=40s",
        )  # fmt: skip
        self.processes.start(
            "scheduler", bin_ / "kube-scheduler", f"--kubeconfig={self.credentials.kubeconfig('scheduler')}",
            "--leader-elect=false", "--bind-address=127.0.0.1",
        )  # fmt: skip
        self.processes.wait("controllers", lambda: bool(self.kubectl("get", "serviceaccount", "default", check=False)))

    def _etcd(self) -> None:
        client, peers = f"http://127.0.0.1:{_ETCD}", f"http://127.0.0.1:{_ETCD_PEERS}"
        self.processes.start(
            "etcd", self.folder / "bin/etcd", "--data-dir", self.folder / "etcd", "--unsafe-no-fsync",
            "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peers,
            "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}", "--log-level", "error",
        )  # fmt: skip
        self.processes.wait("etcd", lambda: answers(f"{client}/health"))

    def _api_server(self) -> None:
        file = self.credentials.file
        self.processes.start(
            "apiserver", self.folder / "bin/kube-apiserver", f"--etcd-servers=http://127.0.0.1:{_ETCD}",
            f"--secure-port={PORT}", "--bind-address=0.0.0.0", f"--advertise-address={self.address}",
            f"--tls-cert-file={file('apiserver.crt')}", f"--tls-private-key-file={file('apiserver.key')}",
            f"--client-ca-file={file('ca.crt')}", f"--token-auth-file={file('tokens.csv')}", "--anonymous-auth=false",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
            f"--service-cluster-ip-range={SERVICES}", "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={file('accounts.pub')}",
            f"--service-account-signing-key-file={file('accounts.key')}",
            f"--kubelet-client-certificate={file('kubelet-client.crt')}",
            f"--kubelet-client-key={file('kubelet-client.key')}", "--kubelet-preferred-address-types=InternalIP",
        )  # fmt: skip
        self.processes.wait("apiserver", lambda: self.kubectl("get", "--raw", "/readyz", check=False) == "ok")

    def kubectl(self, *arguments: str | Path, check: bool = True, given: str | None = None) -> str:
        """As the administrator; empty where it fails and may."""
        command = ["kubectl", "--kubeconfig", str(self.credentials.kubeconfig("admin")), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, input=given, check=False)
        if done.returncode and check:
            raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout if not done.returncode else ""

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-",
                     given=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))  # fmt: skip
