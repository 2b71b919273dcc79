"""From `preprocess.options` to Beam's flags. Beam ignores a name that it does not know; here that is an error."""

import contextlib
import difflib
import io
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from nasflow.core.errors import SpecError, TryAgainError
from nasflow.core.spec import PreprocessSection

EMBED = "embed"
"""A `job_endpoint`: a job server inside this process."""
_ANSWER_SECONDS = 15.0


def flags(section: PreprocessSection) -> tuple[str, ...]:
    """Beam's command line for a section.

    The job server, where there is one already, is asked which options it has of its own (Flink's `parallelism`).

    Raises:
        SpecError: an unknown name, or a value that the option does not take; all of them at once.
        TryAgainError: the job server or the worker pool does not answer.
    """
    given = dict(section.options)
    endpoint = given.get("job_endpoint")
    described = {} if endpoint in (None, EMBED) else _described(str(endpoint))
    if endpoint == EMBED and given.get("environment_type") == "EXTERNAL":
        # Here it is this process that calls the pool; elsewhere the address holds on the runner's machines only.
        _reach("environment_config", str(given.get("environment_config", "")), "start the worker pool")
    made = _made(given, described)
    known = _parsed(made)
    starts_its_own = section.runner in ("flink", "spark") and endpoint is None
    unknown = [name for name in given if f"--{name}" not in known and name not in described]
    if unknown and not starts_its_own:  # what a job server takes that does not run yet cannot be asked
        names = [name.removeprefix("--") for name in known] + list(described)
        raise SpecError([f"preprocess.options.{name}: no option of Beam's{_hint(name, names)}" for name in unknown])
    return made


def _made(given: Mapping[str, Any], described: Mapping[str, Any]) -> tuple[str, ...]:
    made: list[str] = []
    for name, value in given.items():
        option = described.get(name)
        if isinstance(value, bool) and option is not None and option.default_value == "true":
            made += [] if value else [f"--{name}"]  # Beam's client makes a switch that turns such an option off
        elif isinstance(value, bool | list):
            made += PipelineOptions.from_dictionary({name: value})._flags  # knows the --no_… switches
        else:
            made.append(f"--{name}={value}")
    return tuple(made)


def _parsed(made: tuple[str, ...]) -> set[str]:
    """Checks the values of options that Beam's Python SDK knows; returns their flags, all of them."""
    parsers: list[Any] = []
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            PipelineOptions(list(made)).get_all_options(add_extra_args_fn=parsers.append)
    except SystemExit as error:  # argparse
        message = said.getvalue().strip().splitlines()[-1].rpartition("error: ")[2]
        raise SpecError([f"preprocess.options: {message}; give a value that Beam takes"]) from error
    except ValueError as error:
        raise SpecError([f"preprocess.options: {error}; give a value that Beam takes"]) from error
    return {flag for action in parsers[0]._actions for flag in action.option_strings}  # no public list


def _described(endpoint: str) -> dict[str, Any]:
    """The options of a job server, by name."""
    _reach("job_endpoint", endpoint, "start the job server")
    with grpc.insecure_channel(endpoint) as channel:
        stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
        try:
            answer = stub.DescribePipelineOptions(
                beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=_ANSWER_SECONDS
            )
        except grpc.RpcError as error:
            raise TryAgainError(
                f"preprocess.options.job_endpoint: {endpoint!r} does not answer as a Beam job server "
                f"({error.details() if isinstance(error, grpc.Call) else error}); look at the address, then run again"
            ) from error
    return {option.name: option for option in answer.options}


def _reach(key: str, address: str, what: str) -> None:
    """Waits until something listens at ``host:port``."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        raise SpecError([f"preprocess.options.{key}: expected host:port, got {address!r}"])
    deadline = time.monotonic() + _ANSWER_SECONDS
    for error in _attempts(host.strip("[]"), int(port)):
        if error is None:
            return
        if time.monotonic() > deadline:
            raise TryAgainError(
                f"preprocess.options.{key}: nothing answers at {address!r} ({error}); {what}, then run again"
            ) from error


def _attempts(host: str, port: int) -> Iterator[OSError | None]:
    while True:
        try:
            socket.create_connection((host, port), timeout=5).close()
            yield None
        except OSError as error:
            yield error
        time.sleep(0.5)


def _hint(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else "; see the options of its PipelineOptions"
