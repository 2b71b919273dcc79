import pytest

from nasflow.core.errors import UserError
from nasflow_pipelines.argo_cron import Schedule
from nasflow_pipelines.schedules import five_fields, six_fields


@pytest.mark.parametrize(
    ("written", "kfp", "argo"),
    [
        ("30 4 * * 1", "0 30 4 * * 1", "30 4 * * 1"),
        ("*/15 * * * *", "0 */15 * * * *", "*/15 * * * *"),
        ("0 0 1,15 * *", "0 0 0 1,15 * *", "0 0 1,15 * *"),
        ("0 9-17 * * MON-FRI", "0 0 9-17 * * MON-FRI", "0 9-17 * * MON-FRI"),
        ("  0   4 * * ? ", "0 0 4 * * ?", "0 4 * * ?"),
        ("0 4 1-15/2 jan-Jun,12 sun", "0 0 4 1-15/2 jan-Jun,12 sun", "0 4 1-15/2 jan-Jun,12 sun"),
    ],
)
def test_five_fields_get_seconds_on_kubeflow_alone(written, kfp, argo):
    assert (six_fields(written), five_fields(written)) == (kfp, argo)


def test_six_fields_are_kubeflows():
    assert six_fields("5 0 4 * * *") == "5 0 4 * * *"
    with pytest.raises(UserError, match="expected `minute hour day-of-month month day-of-week`, got '5 0 4"):
        five_fields("5 0 4 * * *")


@pytest.mark.parametrize("read", [five_fields, six_fields])
@pytest.mark.parametrize(
    ("cron", "says"),
    [
        ("4 * *", "expected"),
        ("", "expected"),
        ("60 4 * * *", "minute must be 0 to 59, got 60"),
        ("0 24 * * *", "hour must be 0 to 23, got 24"),
        ("0 4 0 * *", "day of month must be 1 to 31, got 0"),
        ("0 4 * 13 *", "month must be 1 to 12 or JAN to DEC, got 13"),
        ("0 4 * * 8", "day of week must be 0 to 6 or SUN to SAT, got 8"),
        ("0 4 * * 7", "day of week must be 0 to 6 or SUN to SAT, where 0 is Sunday, got 7"),
        ("0 4 * * XYZ", "got XYZ"),
        ("0 17-9 * * *", "hour: the range 17-9 is empty"),
        ("0 4 * * FRI-MON", "day of week: the range FRI-MON is empty"),
        ("*/0 4 * * *", "as the minute"),
        ("0 4 * * 1#2", "as the day of week"),
        ("0 4 * * $(x)", "expected"),
    ],
)
def test_what_is_no_cron_is_refused(read, cron, says):
    with pytest.raises(UserError) as refused:
        read(cron)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"cron": "0 0 4 * * *"}, "--cron: expected"),
        ({"timezone": "Europe/Berlino"}, "--timezone: no time zone 'Europe/Berlino'"),
        ({"late_minutes": -1}, "--late-minutes: must be >= 0, got -1"),
        ({"keep_succeeded": -2}, "--keep-succeeded: must be >= 0, got -2"),
    ],
)
def test_a_schedule_that_argo_would_refuse(wrong, says):
    with pytest.raises(UserError) as refused:
        Schedule(**{"cron": "0 4 * * *", **wrong})
    assert says in str(refused.value)
