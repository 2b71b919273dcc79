"""One real node: containerd, the kubelet, kube-proxy; pods get addresses of a bridge, and no names. Needs root.

containerd is one of the cluster's own, beside Docker's; images of ours are taken over from Docker (`take_image`).
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.local.addons import EXECUTOR
from tests.cluster.local.control_plane import PODS, ControlPlane
from tests.cluster.local.processes import run

NAME = "local"
_GATEWAY = "10.244.0.1"
_BRIDGE = "nasflow0"
_SOCKET = "/run/nasflow-cluster/containerd.sock"
_PAUSE = "nasflow.dev/pause:1"
_CNI_PLUGINS = Path("/usr/lib/cni")


def up(plane: ControlPlane) -> None:
    needed = [each for each in ("containerd", "runc", "iptables", "docker") if shutil.which(each) is None]
    if os.geteuid() != 0 or needed or not (_CNI_PLUGINS / "bridge").exists():
        raise SystemExit(
            "a node needs root and Debian's containerd, runc, iptables, conntrack, containernetworking-plugins and "
            f"docker.io (missing: {', '.join(needed) or 'root or the CNI plugins'}); without one: --stages api addons"
        )
    folder = plane.folder / "node"
    folder.mkdir(exist_ok=True)
    _network(folder)
    _containerd(plane, folder)
    _kubelet(plane, folder)
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": PODS,
        "hostnameOverride": NAME,
        "bindAddress": plane.address,
        "clientConnection": {"kubeconfig": str(plane.credentials.kubeconfig("proxy"))},
        "conntrack": {"maxPerCore": 0},
    }
    _start_configured(plane, "proxy", "kube-proxy", folder, proxy)
    plane.processes.wait("kubelet", lambda: _ready(plane), seconds=180)
    if (plane.folder / "bin/argoexec").exists():
        make_image(EXECUTOR, plane.folder / "bin/argoexec")


def down(plane: ControlPlane) -> None:
    """Ends all pods, then what ran them; unmounts what they left below the cluster's folder."""
    for name in ("kubelet", "proxy"):
        plane.processes.stop(name)
    ctr = ("ctr", "--address", _SOCKET, "--namespace", "k8s.io")
    if plane.processes.alive("containerd"):
        for task in run(*ctr, "tasks", "ls", "--quiet", check=False).stdout.decode().split():
            run(*ctr, "tasks", "kill", "--all", "--signal", "SIGKILL", task, check=False)
            run(*ctr, "tasks", "delete", "--force", task, check=False)
    plane.processes.stop("containerd")
    state = Path(_SOCKET).parent / "state"
    below = (str(plane.folder / "node"), str(state))
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((each for each in mounts if each.startswith(below)), key=len, reverse=True):
        run("umount", "--lazy", mount, check=False)
    shutil.rmtree(state.parent, ignore_errors=True)


def take_image(image: str) -> None:
    """From Docker into the node's containerd, unpacked: else the first container made of it is what waits, and the
    kubelet lets it wait two minutes. An image of the same name is replaced."""
    command = ["ctr", "--address", _SOCKET, "--namespace", "k8s.io", "images", "import", "-"]
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
        taken = subprocess.run(command, stdin=saved.stdout, check=False, stdout=subprocess.DEVNULL)
    if saved.returncode or taken.returncode:
        raise SystemExit(f"{image}: could not be taken over from Docker, see above")


def _network(folder: Path) -> None:
    """A bridge whose address is the pods' gateway and name server; what leaves it is translated."""
    if run("ip", "link", "show", _BRIDGE, check=False).returncode:
        run("ip", "link", "add", _BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{_GATEWAY}/24", "dev", _BRIDGE)
        run("ip", "link", "set", _BRIDGE, "up")
    for key in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
        path = Path("/proc/sys") / key
        if path.exists():
            path.write_text("1")
    for direction in ("-s", "-d"):  # Docker's FORWARD chain drops by default
        rule = ("FORWARD", direction, PODS, "-j", "ACCEPT")
        if run("iptables", "-C", *rule, check=False).returncode:
            run("iptables", "-I", *rule)
    configuration = {
        "cniVersion": "0.4.0",
        "name": "nasflow",
        "plugins": [
            {
                "type": "bridge",
                "bridge": _BRIDGE,
                "isGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": "10.244.0.0/24", "gateway": _GATEWAY}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(folder / "addresses"),
                },
            },
        ],
    }
    (folder / "cni").mkdir(exist_ok=True)
    (folder / "cni/10-nasflow.conflist").write_text(json.dumps(configuration))


def _containerd(plane: ControlPlane, folder: Path) -> None:
    Path(_SOCKET).parent.mkdir(parents=True, exist_ok=True)
    settings = folder / "containerd.toml"
    settings.write_text(f"""version = 2
root = "{folder}/containerd"
state = "{Path(_SOCKET).parent}/state"
[grpc]
  address = "{_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{_PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{_CNI_PLUGINS}"
    conf_dir = "{folder}/cni"
""")
    plane.processes.start("containerd", shutil.which("containerd") or "containerd", "--config", settings)
    ctr = ("ctr", "--address", _SOCKET, "--namespace", "k8s.io")
    plane.processes.wait("containerd", lambda: not run(*ctr, "images", "ls", check=False).returncode)
    if _PAUSE not in run(*ctr, "images", "ls", "--quiet").stdout.decode():
        _make_pause()


def _make_pause() -> None:
    """The container that holds a pod's network: Debian's static busybox, asleep."""
    make_image(_PAUSE, Path("/bin/busybox"), 'CMD ["/bin/busybox","sleep","infinity"]')


def make_image(image: str, program: Path, *changes: str) -> None:
    """An image of one static program in /bin, in Docker and on the node."""
    if not program.exists():
        raise SystemExit(f"{image}: {program} is missing (busybox: Debian's busybox-static)")
    if run("docker", "image", "inspect", image, check=False).returncode:
        moved = "--transform=s,^,bin/,"
        packed = run("tar", "-C", program.parent, "-c", moved, program.name).stdout
        each = [flag for change in ("ENV PATH=/bin", *changes) for flag in ("--change", change)]
        run("docker", "import", *each, "-", image, given=packed)
    take_image(image)


def _kubelet(plane: ControlPlane, folder: Path) -> None:
    configuration = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(plane.credentials.file("ca.crt"))},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [_GATEWAY],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "makeIPTablesUtilChains": True,
        # a machine without CAP_SYS_RESOURCE (most virtual ones have it) may not lower its own OOM score
        "featureGates": {"KubeletInUserNamespace": True},
    }
    _start_configured(
        plane, "kubelet", "kubelet", folder, configuration,
        f"--kubeconfig={plane.credentials.kubeconfig('kubelet')}", f"--hostname-override={NAME}",
        f"--node-ip={plane.address}", f"--root-dir={folder}/kubelet", f"--cert-dir={folder}/kubelet-pki",
    )  # fmt: skip


def _start_configured(
    plane: ControlPlane, name: str, program: str, folder: Path, configuration: dict[str, Any], *more: str
) -> None:
    file, text = folder / f"{name}.yaml", yaml.safe_dump(configuration)
    if not file.exists() or file.read_text() != text:  # kube-proxy ends when its file is written, by `up` once more
        file.write_text(text)
    plane.processes.start(name, plane.folder / "bin" / program, f"--config={file}", *more)


def _ready(plane: ControlPlane) -> bool:
    path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    return plane.kubectl("get", "node", NAME, "-o", path, check=False) == "True"
