import pytest

from nasflow.core import spec_file
from nasflow.core.errors import EXIT_USER, SpecError

GOOD = "task: tabular_regression\ndata:\n  train: a.csv\n  label: y\n"


def problems(text, **more):
    with pytest.raises(SpecError) as caught:
        spec_file.parse(text, source="e.yaml", **more)
    assert caught.value.exit_code == EXIT_USER
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


def test_all_mistakes_are_said_at_once_each_with_its_line():
    text = "task: imagination\ndata:\n  train: a.csv\nsaerch: {}\nsearch:\n  budget:\n    trials: 0\n"
    found = problems(text)
    assert len(found) == 4
    assert found[0].startswith("e.yaml:1: task: ")
    assert "got 'imagination'" in found[0]
    assert "e.yaml:2: data.label: required, but missing; add it" in found
    assert "e.yaml:4: saerch: unknown key; did you mean 'search'?" in found
    assert any(each.startswith("e.yaml:7: search.budget.trials: ") and each.endswith("got 0") for each in found)


def test_a_nested_unknown_key_names_the_keys_there_are():
    (found,) = problems(GOOD + "constraints:\n  colour: red\n")
    assert (
        found
        == "e.yaml:6: constraints.colour: unknown key; known keys: flops, latency_ms, memory_mb, parameters, size_mb"
    )
    (found,) = problems(GOOD + "resources:\n  accelerator:\n    cuont: 2\n")
    assert found.endswith("did you mean 'count'?")


def test_a_key_given_twice_is_refused():
    assert problems(GOOD + "seed: 1\nseed: 2\n") == ["e.yaml:6: seed: given twice; keep one"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a mapping"),
        ("- a\n- b\n", "expected a mapping"),
        ("task: [", "e.yaml:"),
        ("a: b: c", "e.yaml:1: not YAML"),
    ],
)
def test_what_is_no_mapping_is_refused(text, says):
    (found,) = problems(text)
    assert says in found


def test_overrides_are_yaml_values_at_any_depth():
    spec = spec_file.parse(
        GOOD, overrides=["search.budget.trials=3", "constraints.flops=2M", "data.ignore=[id, x]", "seed=7"]
    )
    assert spec.search.budget.trials == 3
    assert spec.constraints.flops == 2_000_000
    assert spec.data.ignore == ("id", "x")
    assert spec.seed == 7
    assert spec_file.parse(GOOD, overrides=["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize("override", ["seed", "=1", "task.x=1", "seed=[", "search.bugdet.trials=3"])
def test_a_wrong_override_is_refused(override):
    assert len(problems(GOOD, overrides=[override])) == 1


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(SpecError, match="no such file; `nasflow init` writes one"):
        spec_file.load(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot be read"):
        spec_file.load(tmp_path / "b.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        spec_file.load(tmp_path)


def test_json_of_a_spec_is_canonical_and_comes_back():
    spec = spec_file.parse(GOOD)
    text = spec_file.to_json(spec)
    assert spec_file.from_json(text) == spec
    assert spec_file.to_json(spec_file.from_json(text)) == text
    assert '"register"' in text


def test_a_problem_found_later_is_placed_too(tmp_path):
    (tmp_path / "e.yaml").write_text(GOOD)
    place = tmp_path / "e.yaml"
    assert spec_file.located("data.train: 'a.csv' is missing", place) == f"{place}:3: data.train: 'a.csv' is missing"
    assert spec_file.located("something else", place) == "something else"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("objective: acuracy", ["e.yaml:3: objective: unknown metric 'acuracy'; did you mean 'accuracy'?"]),
        (
            "objective: [acuracy, latency_ms]",
            ["e.yaml:3: objective.0: unknown metric 'acuracy'; did you mean 'accuracy'?"],
        ),
        ("objective: [accuracy]", ["e.yaml:3: objective: should have at least 2 items, got ['accuracy']"]),
        ("search: {warm_start: runs/a}", ["e.yaml:3: search.warm_start: should be a list, got 'runs/a'"]),
        (
            "search: {filter: synflow}",
            ["e.yaml:3: search.filter: should be keys of its own (by, keep, after), got 'synflow'"],
        ),
        (
            "search: {space: 3}",
            ["e.yaml:3: search.space: should be a valid string", "e.yaml:3: search.space: should be keys"],
        ),
    ],
)
def test_a_key_that_takes_several_forms_is_judged_by_the_one_that_was_written(line, said):
    """And not in pydantic's words (`function-after[parse_metric(), str]`)."""
    found = problems(f"task: tabular_classification\ndata: {{train: a.csv, label: y}}\n{line}\n")
    assert len(found) == len(said)
    for problem, begins in zip(found, said, strict=True):
        assert problem.startswith(begins)
        assert "[parse" not in problem


def test_a_name_that_cannot_be_one_is_told_in_words():
    (found,) = problems(GOOD + "name: My_Run\n")
    assert found.startswith("e.yaml:5: name: 'My_Run' cannot be one: Lower-case letters, digits and dashes")
    assert "^" not in found
