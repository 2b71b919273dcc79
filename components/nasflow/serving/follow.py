"""A registry alias, watched: a promotion or a rollback is served some seconds later, and no request is lost.

The new version is loaded, verified and warmed up beside the old one, in a thread; then the two are exchanged between
two requests. A version that cannot be loaded is refused, and the old one goes on.
"""

import logging
import threading
from collections.abc import Callable

from nasflow.core.errors import NasflowError, TryAgainError
from nasflow.registry._base import Registry, Version
from nasflow.serving import metrics
from nasflow.serving.live import Live, Loaded

logger = logging.getLogger(__name__)

Load = Callable[[Version], Loaded]


class Follower:
    """Exchanges a server's model when an alias moves."""

    def __init__(self, live: Live, registry: Registry, name: str, alias: str, load: Load, *, seconds: float) -> None:
        """Args:
        live: the server's model; its version is where the alias points now.
        registry: where the alias is.
        name: the model's.
        alias: the alias.
        load: makes a version ready to answer; raises NasflowError where it cannot be served.
        seconds: between two looks.
        """
        self._live = live
        self._registry = registry
        self._name = name
        self._alias = alias
        self._load = load
        self._seconds = seconds
        self._refused: int | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Looks every few seconds, in a thread that ends with the process."""
        threading.Thread(target=self._run, name="follow-alias", daemon=True).start()

    def stop(self) -> None:
        """Ends it."""
        self._stop.set()

    def look(self) -> bool:
        """Looks once; returns whether the model was exchanged.

        A registry that does not answer changes nothing. A version that is damaged or cannot be served here is not tried
        twice in a row; one that only could not be had (a store that does not answer, a full disk) is, at the next look.
        """
        try:
            number = self._registry.aliases(self._name).get(self._alias)
            if number is None or str(number) == self._live.current.version:
                self._refused = None
                return False
            if number == self._refused:
                return False
            version = self._registry.get(self._name, version=number)
        except Exception as error:  # whatever it is: whoever does not look again serves an old version for ever
            logger.warning(
                "%s@%s: the registry cannot be read: %s", self._name, self._alias, error,
                exc_info=not isinstance(error, NasflowError | OSError),
            )  # fmt: skip
            return False
        return self._exchange(version)

    def _exchange(self, version: Version) -> bool:
        before = self._live.current.version
        try:
            loaded = self._load(version)
        except Exception as error:
            passes = isinstance(error, TryAgainError | OSError)
            self._refused = None if passes else version.version
            metrics.reloaded(done=False)
            logger.exception(
                "%s@%s: version %d cannot be served%s, version %s stays: %s",
                self._name, self._alias, version.version, " yet" if passes else "", before, error,
                exc_info=not isinstance(error, NasflowError | OSError),
            )  # fmt: skip
            return False
        self._live.swap(loaded)
        self._refused = None
        metrics.serves(loaded.version, loaded.bundle.engine.name)
        metrics.reloaded(done=True)
        logger.info(
            "%s@%s: version %s answers from now on, %s before",
            self._name, self._alias, loaded.version, before,
            extra={"model": self._name, "version": version.version},
        )  # fmt: skip
        return True

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self.look()
