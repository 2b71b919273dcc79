"""Who is who in a cluster of this machine's own: an authority, certificates, tokens, kubeconfigs."""

import secrets
from pathlib import Path

import yaml
from tests.cluster.local.processes import run

USERS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kubelet": ("system:node:{node}", "system:nodes"),
    "proxy": ("system:kube-proxy", ""),
    "kserve": ("kserve", "system:masters"),  # controllers that are no subject here
    "argo": ("argo", "system:masters"),
    "dns": ("dns", "system:masters"),
}
"""Component → user name and group. What nasflow's own accounts may do is for the real RBAC to say."""


def openssl(*arguments: str | Path) -> None:
    run("openssl", *arguments)


class Credentials:
    """Files of one folder, made once."""

    def __init__(self, folder: Path, *, server: str, node: str) -> None:
        """`server`: the API server's URL; `node`: the node's name."""
        self.folder, self._server, self._node = folder, server, node

    def file(self, name: str) -> Path:
        return self.folder / name

    def make(self, addresses: list[str]) -> None:
        """`addresses`: where the API server is asked for."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.file("tokens.csv").exists():
            return
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "365", "-subj", "/CN=nasflow-local-cluster",
                "-keyout", self.file("ca.key"), "-out", self.file("ca.crt"))  # fmt: skip
        names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        self._certificate("apiserver", "/CN=kube-apiserver", names, addresses)
        self._certificate("webhook", "/CN=kserve-webhook", ["localhost"], ["127.0.0.1"])
        self._certificate("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", [], [])
        openssl("genrsa", "-out", self.file("accounts.key"), "2048")
        openssl("rsa", "-in", self.file("accounts.key"), "-pubout", "-out", self.file("accounts.pub"))
        lines = []
        for component, (user, group) in USERS.items():
            token, name = secrets.token_hex(24), user.format(node=self._node)
            lines.append(f'{token},{name},{name},"{group}"' if group else f"{token},{name},{name}")
            self._kubeconfig(component, token)
        self.file("tokens.csv").write_text("\n".join(lines) + "\n")  # last: it says that all is there
        self.file("tokens.csv").chmod(0o600)

    def kubeconfig(self, component: str) -> Path:
        return self.file(f"{component}.kubeconfig")

    def _certificate(self, name: str, subject: str, names: list[str], addresses: list[str]) -> None:
        key, request, made = (self.file(f"{name}.{kind}") for kind in ("key", "csr", "crt"))
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", key, "-out", request)
        who = ",".join([*(f"DNS:{each}" for each in names), *(f"IP:{each}" for each in addresses)])
        extensions = self.file(f"{name}.ext")
        extensions.write_text("extendedKeyUsage=serverAuth,clientAuth\n" + (f"subjectAltName={who}\n" if who else ""))
        openssl("x509", "-req", "-in", request, "-CA", self.file("ca.crt"), "-CAkey", self.file("ca.key"),
                "-CAcreateserial", "-days", "365", "-out", made, "-extfile", extensions)  # fmt: skip

    def _kubeconfig(self, component: str, token: str) -> None:
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "local",
                    "cluster": {"server": self._server, "certificate-authority": str(self.file("ca.crt"))},
                }
            ],
            "users": [{"name": component, "user": {"token": token}}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": component}}],
            "current-context": "local",
        }
        self.kubeconfig(component).write_text(yaml.safe_dump(content))
        self.kubeconfig(component).chmod(0o600)
