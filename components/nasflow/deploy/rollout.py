"""A version's way into production on KServe.

    no service yet     → first: apply, wait until Ready, golden rows ─┬─ good → promoted
                                                                     └─ bad  → stopped, rolled back
    another serves     → canary at 0 %: wait until Ready, golden rows → its share → watch ─┬─ good → promoted, the
                                                                                          │         other leaves
                                                                                          └─ bad  → rolled back

How far it is stands in an annotation of the cluster's object and moves in the same apply as what it describes, so the
same command goes on after any interruption, from any machine. The earlier version serves until the new one has passed.
Of two deployments at once the later one takes over: the other one's next step finds another state and ends.

KServe 0.20.0's controller gives a Standard canary its own pods and Service, but no ingress of that version reads
``trafficPercent``: there the golden rows are what a canary is judged by, unless a mesh or gateway splits traffic.
Knative splits it.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from nasflow.core.errors import ChangedError, NasflowError, TryAgainError, UserError
from nasflow.deploy import conditions, isvc
from nasflow.deploy.cluster import Cluster
from nasflow.deploy.isvc import Release, Rollout, Serving
from nasflow.deploy.smoke import NoAnswerError, RemoteServer
from nasflow.deploy.spec import DeploySpec
from nasflow.deploy.watch import Watch

logger = logging.getLogger(__name__)

_POLL_SECONDS = 5.0
_CHANGED_SECONDS, _CHANGED_TRIES = 0.5, 20
"""The controller writes the object's status all the time, which is a change like any other."""
_ROUTE_SECONDS = 60.0
"""A route may follow its Ready condition by so long."""


class Clock(Protocol):
    """Unix time, and waiting."""

    def time(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A version that is in production."""

    server: RemoteServer
    difference: float
    reason: str
    service: dict[str, Any]
    """The object as it was last applied."""


class Deployment:
    """One version, one cluster, and the check that its answers must pass."""

    def __init__(
        self,
        spec: DeploySpec,
        release: Release,
        cluster: Cluster,
        check: Callable[[RemoteServer], float],
        *,
        clock: Clock = time,
    ) -> None:
        """Args:
        spec: how.
        release: what.
        cluster: where.
        check: sends golden rows; returns the largest difference, raises NasflowError at a wrong answer.
        clock: time.
        """
        self._spec = spec
        self._release = release
        self._cluster = cluster
        self._check = check
        self._clock = clock
        self._mine = isvc.predictor(spec, release)
        self._left: Rollout | None = None  # the state as we read or wrote it last

    def plan(self, live: Mapping[str, Any] | None, *, again: bool = False) -> tuple[Rollout, dict[str, Any]]:
        """The next state and the object that goes with it, from the object as it is; changes nothing.

        Raises:
            UserError: the object is not nasflow's, or this number serves with another bundle.
            NasflowError: this version was rolled back before.
        """
        state = self._next(live, again=again)
        return state, self._object(state)

    def run(self, *, again: bool = False) -> Outcome:
        """Goes all the way from wherever an earlier attempt stopped.

        Args:
            again: try a version that was rolled back once more.

        Raises:
            NasflowError: rolled back, or not Ready in time; says why.
            UserError: another version's deployment has taken over.
        """
        live = self._cluster.get(self._release.name)
        state = self._next(live, again=again)
        logger.info("deploy: %s version %d: %s", self._release.name, state.version, state.phase)
        self._left = isvc.rollout_of(live) if live else None
        self._apply(state, live)
        if state.phase == "first":
            return self._first(state)
        if state.phase == "canary":
            return self._canary(state)
        return self._promoted(state)

    def _next(self, live: Mapping[str, Any] | None, *, again: bool) -> Rollout:
        release, mine = self._release, self._serving()
        fresh = Rollout(phase="first", version=release.version, digest=release.bundle_digest)
        if live is None:
            return fresh
        old = isvc.rollout_of(live)
        if (old.version, old.digest) == (release.version, release.bundle_digest):
            if old.phase == "promoted":
                return old.model_copy(update={"stable": mine})  # perhaps with other resources
            if old.phase != "rolled_back":
                return old
            if not again:
                raise NasflowError(
                    f"deploy: {release.name} version {release.version} was rolled back before: {old.reason}; deploy "
                    "another version, or try this one again with `nasflow deploy --again`"
                )
        if old.stable is None:
            return fresh
        if old.stable.version == release.version and old.stable.digest not in ("", release.bundle_digest):
            raise UserError(
                f"deploy: {release.name} version {release.version} serves, but it is another bundle "
                f"({old.stable.digest:.12}…, yours is {release.bundle_digest:.12}…): two registries number the same "
                "name. Deploy from the registry of the one that serves, register yours under another name, or delete "
                "the InferenceService"
            )
        if old.stable.version == release.version:  # it serves already; another version's canary ends
            return fresh.model_copy(update={"phase": "promoted", "stable": mine, "reason": "it served before"})
        if self._spec.mode == "knative" and not conditions.rolled_out(live):
            raise TryAgainError(
                f"deploy: {release.name}: no revision has all requests yet: {conditions.failing(live)}; try again later"
            )
        return Rollout(
            phase="canary",
            version=release.version,
            digest=release.bundle_digest,
            stable=old.stable,
            # the same version again makes no new revision
            revision=old.revision if old.version == release.version else conditions.revision(live),
        )

    def _serving(self) -> Serving:
        release = self._release
        return Serving(version=release.version, predictor=self._mine, digest=release.bundle_digest)

    def _object(self, state: Rollout) -> dict[str, Any]:
        serving = state.stable.predictor if state.stable else self._mine
        candidate, percent = None, None
        if state.phase == "canary":
            candidate = self._mine
            percent = 0 if state.watched_since is None else self._spec.canary_percent
        elif state.leaving and self._spec.mode == "standard":
            candidate, percent = state.leaving.predictor, 0
        elif state.phase == "rolled_back" and state.stable and self._spec.mode == "knative":
            candidate, percent = self._mine, 0  # as KServe rolls back: the last full revision gets all
        return isvc.service(
            self._spec,
            self._release.name,
            self._cluster.namespace,
            serving=serving,
            candidate=candidate,
            percent=percent,
            rollout=state,
            stop=state.phase == "rolled_back" and state.stable is None,
        )

    def _move(self, state: Rollout, **changes: Any) -> Rollout:
        moved = state.model_copy(update=changes)
        self._apply(moved, self._read())
        return moved

    def _read(self) -> Mapping[str, Any]:
        """The object, in the state in which we left it."""
        live = self._cluster.get(self._release.name)
        if live is None:
            raise UserError(f"deploy: {self._release.name}: somebody deleted the InferenceService; deploy again")
        found = isvc.rollout_of(live)
        if found == self._left:
            return live
        taken = (
            f"deploy: {self._release.name}: another deployment has taken over: version {found.version}, {found.phase}"
        )
        if (found.version, found.digest) == (self._release.version, self._release.bundle_digest):
            raise TryAgainError(f"{taken}; run the same command again when that one has ended")
        raise UserError(f"{taken}; deploy one version at a time")

    def _apply(self, state: Rollout, live: Mapping[str, Any] | None) -> None:
        """Onto what was read and nothing else; a change of the controller's alone is read again."""
        for _ in range(_CHANGED_TRIES):
            service = self._object(state)
            if live is not None:
                service["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
            try:
                self._cluster.apply(service)
            except ChangedError:
                self._clock.sleep(_CHANGED_SECONDS)
                live = self._read()
            else:
                self._left = state
                return
        raise TryAgainError(f"deploy: {self._release.name}: the object changes all the time; try again later")

    def _first(self, state: Rollout) -> Outcome:
        live = self._wait(lambda live: conditions.serves(live, self._release, mode=self._spec.mode))
        try:
            self._smoke(self._server(live))
        except NasflowError as error:
            if isinstance(error, TryAgainError | UserError):
                raise
            self._roll_back(state, str(error))
        return self._promote(state, "the first version; it answered the golden rows as it was evaluated")

    def _canary(self, state: Rollout) -> Outcome:
        mode, inside = self._spec.mode, self._cluster.inside
        try:
            live = self._wait(
                lambda live: conditions.canary_ready(live, self._release, mode=mode, before=state.revision)
            )
            server = self._server(live, conditions.canary_url(live, self._release, mode=mode, inside=inside))
            self._smoke(server)
            if state.watched_since is None:
                state = self._move(state, watched_since=self._clock.time())
            watch = self._watch(server, self._stable(live, state), state.watched_since or 0.0)
        except NasflowError as error:
            if isinstance(error, TryAgainError | UserError):
                raise
            self._roll_back(state, str(error))
        return self._promote(state, f"canary at {self._spec.canary_percent} %: {watch}")

    def _promote(self, state: Rollout, reason: str) -> Outcome:
        stable = self._serving()
        logger.info("deploy: %s version %d promoted: %s", self._release.name, state.version, reason)
        leaving = state.stable if self._spec.mode == "standard" else None
        return self._promoted(self._move(state, phase="promoted", stable=stable, leaving=leaving, reason=reason))

    def _promoted(self, state: Rollout) -> Outcome:
        live = self._wait(lambda live: conditions.serves(live, self._release, mode=self._spec.mode))
        server = self._server(live)
        difference = self._smoke(server)
        if state.leaving is not None:
            state = self._move(state, leaving=None)
        return Outcome(server=server, difference=difference, reason=state.reason, service=self._object(state))

    def _roll_back(self, state: Rollout, reason: str) -> None:
        self._move(state, phase="rolled_back", reason=reason)
        left = f"version {state.stable.version} serves" if state.stable else "it is stopped, nothing serves"
        raise NasflowError(f"deploy: {self._release.name} version {state.version} was rolled back, {left}: {reason}")

    def _wait(self, done: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        deadline = self._clock.time() + self._spec.ready_minutes * 60
        said = ""
        while True:
            live = self._read()
            if done(live):
                return live
            why = conditions.failing(live)
            if conditions.hopeless(live):
                raise NasflowError(f"not Ready: {why}")
            if self._clock.time() >= deadline:
                raise NasflowError(f"not Ready after {self._spec.ready_minutes:g} min (deploy.ready_minutes): {why}")
            if why != said:
                logger.info("deploy: %s: waiting: %s", self._release.name, why)
                said = why
            self._clock.sleep(_POLL_SECONDS)

    def _server(self, live: Mapping[str, Any], url: str | None = None) -> RemoteServer:
        url = url or conditions.service_url(live, mode=self._spec.mode, inside=self._cluster.inside)
        return RemoteServer(url, self._release.name, self._cluster.request)

    def _smoke(self, server: RemoteServer) -> float:
        deadline = self._clock.time() + _ROUTE_SECONDS
        while True:
            try:
                return self._check(server)
            except NoAnswerError:
                if self._clock.time() >= deadline:
                    raise
                self._clock.sleep(_POLL_SECONDS)

    def _stable(self, live: Mapping[str, Any], state: Rollout) -> RemoteServer | None:
        """The version beside the canary, for its metrics."""
        if state.stable is None:
            return None
        predictor, inside = state.stable.predictor, self._cluster.inside
        url = conditions.stable_url(live, predictor, mode=self._spec.mode, inside=inside)
        return self._server(live, url) if url else None

    def _watch(self, server: RemoteServer, stable: RemoteServer | None, since: float) -> Watch:
        """Golden rows every few seconds, beside whatever the canary is asked by others.

        Raises:
            NasflowError: why it must be rolled back.
        """
        watch, until = Watch(), since + self._spec.watch_minutes * 60
        while True:
            started = self._clock.time()
            try:
                self._check(server)  # another answer than evaluate's ends it at once
                watch.answered(self._clock.time() - started)
            except NoAnswerError as error:
                watch.failed(reached="HTTP 5" in str(error))
            watch.scrape(server.metrics())
            if stable is not None:
                watch.scrape_stable(stable.metrics())
            if problem := watch.problem(self._spec):
                raise NasflowError(problem)
            if self._clock.time() >= until and watch.requests >= self._spec.min_requests:
                return watch
            self._clock.sleep(_POLL_SECONDS)
