"""A Kubernetes cluster of this machine's own, of the real parts: `python -m tests.cluster.local up|take|down|status`.

`make local-cluster` builds them from their Go modules (`build.sh`) and starts them, in stages:

| stage    | what                                                                          | needs           |
| -------- | ----------------------------------------------------------------------------- | --------------- |
| `api`    | etcd, kube-apiserver, kube-controller-manager, kube-scheduler; KServe's types | kubectl, openssl, Go |
| `addons` | KServe's controller and webhooks, Argo's types and workflow controller        | |
| `node`   | containerd, kubelet, kube-proxy: pods that run                                | root, see node.py |

Everything is in one folder (`--folder`, default build/cluster): programs, data, logs, credentials. `take IMAGE…` brings
images from Docker onto the node, unpacked, so that no pod waits for that (minutes for each GB). `down` stops all of it
and removes the data; `down --keep` keeps it. Where there is a node, `up` ends with all that the tests want to know.
"""

import argparse
import shutil
import socket
from pathlib import Path

from tests.cluster.local import addons, node
from tests.cluster.local.control_plane import ControlPlane

from nasflow.core.version import VERSION

STAGES = ("api", "addons", "node")


def own_address() -> str:
    """This machine's address towards its default route; loopback where it has none (no packet is sent)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("do", choices=("up", "take", "down", "status"))
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="those that `take` brings onto the node")
    parser.add_argument("--folder", type=Path, default=Path("build/cluster"))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, help="what `up` starts")
    parser.add_argument("--keep", action="store_true", help="`down` keeps the cluster's data")
    given = parser.parse_args()
    plane = ControlPlane(given.folder.resolve(), own_address())
    if given.do == "up":
        up(plane, given.stages)
    if given.do == "take":
        for image in given.images:
            node.take_image(image)
    if given.do == "down":
        node.down(plane)
        for name in reversed(plane.processes.names()):
            plane.processes.stop(name)
        if not given.keep:
            for name in ("etcd", "credentials", "kserve", "node", "run", "logs"):
                shutil.rmtree(plane.folder / name, ignore_errors=True)
    for name in plane.processes.names():
        print(f"{name:12} {'runs' if plane.processes.alive(name) else 'has ended: ' + str(plane.processes.log(name))}")


def up(plane: ControlPlane, stages: tuple[str, ...]) -> None:
    plane.up()
    addons.kserves_types(plane)
    if "addons" in stages:
        addons.up(plane)
    if "node" in stages:
        node.up(plane)
    print(f"export KUBECONFIG={plane.credentials.kubeconfig('admin')}")
    if "node" in stages:
        shelf = plane.folder / "shelf"
        shelf.mkdir(exist_ok=True)
        print(f"export NASFLOW_TEST_HOST_PATH={shelf}")
        for name, image in (("IMAGE", "server"), ("TRAINER", "trainer")):
            print(f"export NASFLOW_TEST_{name}=nasflow/{image}:{VERSION}")
        images = " ".join(f"nasflow/{name}:{VERSION}" for name in ("server", "server-tf", "trainer", "beam", "ops"))
        print(f"# and once `make images` has made them: python -m tests.cluster.local take {images}")


if __name__ == "__main__":
    main()
