"""Fast checks before anything runs: only headers, footers and samples are read, and no Beam is imported."""

from nasflow.core.errors import UserError
from nasflow.core.spec import DataSection, Task
from nasflow.preprocess.plan import make_plan
from nasflow.preprocess.sources.find import Sources, find, find_one


def check(data: DataSection, task: Task) -> list[str]:
    """Every problem that can be found quickly, empty where there is none.

    The files exist and can be opened, they fit the task, the label column is there, kinds agree, there are rows.
    """
    problems: list[str] = []
    for key, uri in (("data.train", data.train), ("data.test", data.test)):
        if uri is None:
            continue
        try:
            source = find_one(key, uri, data, task)
            make_plan(Sources(train=source, test=None), data, task, partial=data.test is not None)
        except UserError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{key}: {uri!r} cannot be read: {error}")
    if not problems:
        try:
            sources = find(data, task)
            if sources.test is not None:
                make_plan(sources, data, task)  # do training and test data agree?
        except UserError as error:
            problems.append(str(error))
    return list(dict.fromkeys(problems))
