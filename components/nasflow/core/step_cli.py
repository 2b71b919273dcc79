"""``python -m nasflow.<step>``: argv → spec → run → exit code. For Argo, Docker, and looking into one step."""

import importlib
import inspect
import logging
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from nasflow.core import log, spec_file
from nasflow.core.artifacts import Document
from nasflow.core.errors import NasflowError, SpecError, full_disk_is_try_again
from nasflow.core.spec import ExperimentSpec, Section
from nasflow.core.storage import assert_writable
from nasflow.core.task import stop_on_signals, task

logger = logging.getLogger(__name__)


def command(
    step: str,
    spec_class: type[Section],
    inputs: Mapping[str, type[Document]],
    facts: Mapping[str, Callable[[Any], str]] | None = None,
    *,
    module: str | None = None,
) -> click.Command:
    """The command of one step.

    Args:
        step: Its name.
        spec_class: What of the experiment the step depends on; ``--help`` prints its fields.
        inputs: The documents that it reads, by the name of `run`'s argument.
        facts: What an orchestrator may need of the finished document for a condition: ``--NAME-file`` gets its text.
        module: Whose ``run`` does the work; left out: ``nasflow.<step>.step``.
    """

    def main(
        *, spec: Path, overrides: tuple[str, ...], output: str, work_dir: str | None, run_id: str | None, **given: Any
    ) -> None:
        log.set_up()
        place = work_dir or str(Path(output) / "work")
        try:
            experiment = spec_file.load(spec, overrides)
            documents = {name: kind.read(given[name]) for name, kind in inputs.items()}
            assert_writable(place)
            assert_writable(output)
        except NasflowError as error:
            _fail(step, error)

        def work() -> Document:
            run = importlib.import_module(module or f"nasflow.{step}.step").run
            mine = experiment if spec_class is ExperimentSpec else spec_class.of(experiment)  # type: ignore[attr-defined]  # every step's spec has `of`
            made: Document = run(mine, **documents, work_dir=place, output=output)
            for fact, of in (facts or {}).items():
                if (path := given[f"{fact}_file"]) is not None:
                    path.write_text(of(made), encoding="utf-8")
            return made

        if run_id is not None:
            with task(step, work_dir=place, run_id=run_id) as current:
                current.done(work())
        else:
            stop_on_signals()
            try:
                with full_disk_is_try_again():
                    work()
            except NasflowError as error:
                _fail(step, error)
        click.echo(output)

    options = [
        click.Option(["--spec"], type=click.Path(path_type=Path), required=True, help="The experiment: YAML or JSON."),
        click.Option(["--set", "overrides"], multiple=True, metavar="KEY.PATH=VALUE", help="Override a key of --spec."),
        *(
            click.Option([f"--{name}"], required=True, metavar="DIR", help=f"Directory of the {kind.KIND} document.")
            for name, kind in inputs.items()
        ),
        click.Option(
            ["--output"], required=True, metavar="DIR", help="Directory for the document; its path is printed."
        ),
        click.Option(["--work-dir"], metavar="URI", help="Big files and unfinished work. [default: OUTPUT/work]"),
        *(
            click.Option(
                [f"--{fact}-file"], type=click.Path(path_type=Path), help=f"Write `{fact}` there, for a condition."
            )
            for fact in facts or {}
        ),
        click.Option(["--run-id"], help="Leave a record at WORK_DIR/runs/RUN_ID/, as a pipeline's task does."),
    ]
    return _StepCommand(
        name=step if module else f"python -m nasflow.{step}",
        callback=main,
        params=[*options],
        help=f"Run the step `{step}` alone. Finished work in --work-dir is reused.",
        spec_class=spec_class,
    )


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(key.path with its type and default, meaning) of every key below a model.

    >>> from nasflow.core.spec import BudgetSection
    >>> next(fields(BudgetSection, "search.budget."))
    ('search.budget.trials: int or null = 20', 'Trials that may start; null: no limit.')
    """
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        meaning = " ".join((field.description or "").split())
        section = _section_of(field)
        if section is not None:
            if isinstance(None, _kinds(field)):
                yield f"{key} = null", meaning
            yield from fields(section, f"{key}.")
        else:
            default = "" if field.is_required() else f" = {_shown(field.default)}"
            yield f"{key}: {_type_of(field)}{default}", meaning


class _StepCommand(click.Command):
    def __init__(self, *, spec_class: type[Section], **settings: Any) -> None:
        super().__init__(**settings)
        self._spec_class = spec_class

    def format_epilog(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        formatter.write_text("What it reads of the experiment (a change of anything else reuses its finished work):")
        for key, meaning in fields(self._spec_class):
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(key)
                with formatter.indentation():
                    formatter.write_text(meaning)


def _fail(step: str, error: NasflowError) -> typing.NoReturn:
    for line in error.problems if isinstance(error, SpecError) else (str(error),):
        logger.error("%s: %s", step, line, extra={"step": step, "exit_code": error.exit_code})
    sys.exit(error.exit_code)


def _options(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) is typing.Annotated:
        return _options(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(option for part in typing.get_args(annotation) for option in _options(part))
    return (annotation,)


def _kinds(field: FieldInfo) -> tuple[type, ...]:
    return tuple(option for option in _options(field.annotation) if inspect.isclass(option))


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    return next((kind for kind in _kinds(field) if issubclass(kind, BaseModel)), None)


def _type_of(field: FieldInfo) -> str:
    return " or ".join(_type_name(option) for option in _options(field.annotation))


def _type_name(option: Any) -> str:
    if option is type(None):
        return "null"
    if typing.get_origin(option) is typing.Literal:
        return " | ".join(str(value) for value in typing.get_args(option))
    if typing.get_origin(option) is tuple:
        return f"list of {_type_name(typing.get_args(option)[0])}"
    return str(getattr(option, "__name__", option))


def _shown(default: Any) -> str:
    match default:
        case None:
            return "null"
        case "":
            return "''"
        case bool():
            return str(default).lower()
        case tuple():
            return f"[{', '.join(map(str, default))}]"
    return str(default)
