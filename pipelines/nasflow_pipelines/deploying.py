"""What `nasflow deploy` hands to the deploy step."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from nasflow.core import spec_file
from nasflow.core.artifacts import RegisteredModel
from nasflow.core.errors import SpecError, UserError
from nasflow.deploy import crd
from nasflow.deploy.cluster import Cluster, KubernetesCluster
from nasflow.deploy.rollout import Deployment
from nasflow.deploy.spec import DeploySpec
from nasflow.deploy.step import Order


def spec_of(file: Path | None, overrides: Sequence[str], flags: Mapping[str, Any]) -> DeploySpec:
    """The `deploy` section of a file (defaults without one), with ``KEY=VALUE`` overrides, then flags that are given.

    Raises:
        SpecError: every key that is wrong.
    """
    base = DeploySpec.of(spec_file.load(file)).model_dump() if file else {}
    for override in overrides:
        key, equals, value = override.removeprefix("deploy.").partition("=")
        if not equals:
            raise SpecError([f"--set {override!r}: expected KEY=VALUE"])
        base[key] = yaml.safe_load(value)
    given = {key: value for key, value in flags.items() if value is not None}
    try:
        return DeploySpec.model_validate({**base, **given})
    except ValidationError as error:
        raise SpecError(
            [
                f"deploy.{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}, "
                f"got {each['input']!r:.80}"
                for each in error.errors()
            ]
        ) from error


def registered(store: Any, version: Any) -> RegisteredModel:
    """The document of a version, as the register step would leave it; it is not published."""
    return RegisteredModel(
        registry=store.uri,
        name=version.name,
        version=version.version,
        model_uri=version.bundle_uri,
        model_digest=version.bundle_digest,
        aliases=tuple(
            alias for alias, number in sorted(store.aliases(version.name).items()) if number == version.version
        ),
    )


def dry_run(order: Order, *, connect: Callable[[str | None], Cluster] = KubernetesCluster.connect) -> dict[str, Any]:
    """The first object that a deployment would apply now; the schema and the API server's dry run have accepted it.

    Raises:
        UserError: only target `kserve` has one.
    """
    if order.spec.target != "kserve":
        raise UserError(f"--dry-run: needs --target kserve, got {order.spec.target}")
    cluster = connect(order.spec.namespace)
    deployment = Deployment(order.spec, order.release, cluster, lambda _server: 0.0)
    _, service = deployment.plan(cluster.get(order.release.name), again=order.again)
    crd.validate(service)
    cluster.apply(service, dry_run=True)
    return service
