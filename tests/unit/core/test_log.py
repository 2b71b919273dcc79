import io
import json
import logging
from collections.abc import Iterator

import pytest

from nasflow.core import log


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    logger = logging.getLogger("nasflow")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def test_json_lines_carry_the_extra_fields() -> None:
    stream = io.StringIO()
    log.set_up(stream=stream)

    logging.getLogger("nasflow.search").info("trial %d", 3, extra={"score": 0.5})

    line = json.loads(stream.getvalue())
    assert line["message"] == "trial 3"
    assert line["score"] == 0.5
    assert line["severity"] == "INFO"
    assert line["logger"] == "nasflow.search"


def test_an_exception_is_one_line() -> None:
    stream = io.StringIO()
    log.set_up(stream=stream)
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("nasflow").exception("failed")

    (line,) = stream.getvalue().splitlines()
    assert "ValueError: no" in json.loads(line)["exception"]


def test_a_person_gets_plain_text_and_libraries_stay_silent() -> None:
    stream = io.StringIO()
    log.set_up(stream=stream, json_lines=False)

    logging.getLogger("nasflow.train").info("epoch 1")
    logging.getLogger("tensorflow").info("noise")

    assert stream.getvalue().endswith(" epoch 1\n")
    assert "noise" not in stream.getvalue()


def test_a_live_line_is_replaced_by_the_next_line() -> None:
    stream = io.StringIO()
    log.set_up(stream=stream, json_lines=False)
    logger = logging.getLogger("nasflow")
    logger.handlers[0].setFormatter(logging.Formatter("%(message)s"))

    logger.info("1 of 2", extra={"live": True})
    logger.info("2 of 2", extra={"live": True})
    logger.info("done")
    logger.info("more")

    assert stream.getvalue() == "1 of 2\r\x1b[K2 of 2\r\x1b[Kdone\nmore\n"


def test_a_live_line_at_the_end_is_a_whole_line() -> None:
    stream = io.StringIO()
    log.set_up(stream=stream, json_lines=False)
    logger = logging.getLogger("nasflow")

    logger.info("1 of 2", extra={"live": True})
    logger.handlers[0].close()

    assert stream.getvalue().endswith("1 of 2\n")
