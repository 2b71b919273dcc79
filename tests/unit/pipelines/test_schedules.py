import pytest

from nasflow.core.errors import UserError
from nasflow_pipelines.schedules import six_fields


@pytest.mark.parametrize(
    ("written", "kfp"),
    [
        ("30 4 * * 1", "0 30 4 * * 1"),
        ("*/15 * * * *", "0 */15 * * * *"),
        ("0 0 1,15 * *", "0 0 0 1,15 * *"),
        ("0 9-17 * * MON-FRI", "0 0 9-17 * * MON-FRI"),
        ("  0   4 * * * ", "0 0 4 * * *"),
        ("5 0 4 * * *", "5 0 4 * * *"),
    ],
)
def test_five_fields_get_seconds_and_six_are_kept(written, kfp):
    assert six_fields(written) == kfp


@pytest.mark.parametrize(
    ("cron", "says"),
    [
        ("4 * *", "expected"),
        ("", "expected"),
        ("60 4 * * *", "minute must be 0 to 59, got 60"),
        ("0 24 * * *", "hour must be 0 to 23, got 24"),
        ("0 4 0 * *", "day of month must be 1 to 31, got 0"),
        ("0 4 * 13 *", "month must be 1 to 12, got 13"),
        ("0 4 * * 8", "day of week must be 0 to 7, got 8"),
        ("0 4 * * $(x)", "expected"),
    ],
)
def test_what_is_no_cron_is_refused(cron, says):
    with pytest.raises(UserError, match=says.replace("(", r"\(")):
        six_fields(cron)
