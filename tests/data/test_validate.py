from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from preflearn.data.store import load, save
from preflearn.data.tables import PreferenceData
from preflearn.data.validate import validate
from preflearn.errors import InputError

SOON = datetime.now(UTC) + timedelta(days=2)


@pytest.fixture
def sound() -> PreferenceData:
    """Every table filled and nothing wrong."""
    return PreferenceData(
        prompts=pl.DataFrame(
            {"prompt_id": ["p", "q"], "messages": ["hi", "ho"], "conversation_id": ["k", "k"], "turn": [0, 1]}
        ),
        responses=pl.DataFrame(
            {
                "response_id": ["x", "y", "z", "x:0", "S"],
                "prompt_id": ["p", "p", "q", "p", "p"],
                "messages": ["hello", "hey", "no", "hell", None],
                "media": [None, None, ["m"], None, None],
                "finish": ["stop", None, "length", None, None],
                "part_of": [None, None, None, "x", None],
                "start": [None, None, None, 0.0, None],
                "end": [None, None, None, 4.0, None],
                "unit": [None, None, None, "character", None],
                "members": [None, None, None, None, ["x", "y"]],
            }
        ),
        media=pl.DataFrame({"media_id": ["m"], "kind": ["audio"], "duration": [3.0]}),
        annotators=pl.DataFrame({"annotator_id": ["u", "v"], "kind": ["person", "judge"], "weight": [1.0, 0.5]}),
        criteria=pl.DataFrame({"criterion_id": ["c"], "low": [1.0], "high": [5.0], "step": [0.5]}),
        comparisons=pl.DataFrame(
            {
                "comparison_id": ["1", "2", "3"],
                "response_a": ["x", "y", "x"],
                "response_b": ["y", "z", "z"],
                "outcome": ["a", "tie", None],
                "probability": [None, None, 0.75],
                "strength": [2, None, None],
                "annotator_id": ["u", "v", "v"],
                "count": [1, 7, None],
                "propensity": [0.5, 1.0, None],
                "time": [datetime(2024, 1, 1, tzinfo=UTC)] * 3,
            }
        ),
        ratings=pl.DataFrame(
            {
                "rating_id": ["1", "2"],
                "response_id": ["x", "y"],
                "value": [4.5, 3.21],
                "spread": [None, 0.4],
                "count": [None, 25],
                "criterion_id": ["c", "c"],
            }
        ),
        rankings=pl.DataFrame(
            {
                "ranking_id": ["1", "2"],
                "responses": [["x", "y", "z"], ["x", "y"]],
                "ranks": [[1, 1, 3], [None, 1]],
                "shown_order": [[2, 0, 1], None],
                "kind": ["full", "choice"],
            }
        ),
        signals=pl.DataFrame({"signal_id": ["1"], "response_id": ["x"], "kind": ["click"], "position": [0]}),
    )


def test_sound_data_has_no_problems(sound, case):
    assert validate(sound).problems == []
    assert validate(case).problems == []
    assert validate(PreferenceData()).problems == []
    validate(sound).check()


def first(column: str, value: object) -> pl.Expr:
    """This value in the first row, the others as they are."""
    return (
        pl.when(pl.int_range(pl.len()) == 0)
        .then(value if isinstance(value, pl.Expr) else pl.lit(value))
        .otherwise(pl.col(column))
        .alias(column)
    )


E, W = "error", "warning"
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("table", "column", "change", "severity", "rule"),
    [
        ("comparisons", "comparison_id", first("comparison_id", "2"), E, "is unique"),
        ("comparisons", "comparison_id", first("comparison_id", None), E, "is never null"),
        ("annotators", "annotator_id", pl.lit("u").alias("annotator_id"), E, "is unique"),
        ("comparisons", "response_a", first("response_a", "gone"), E, "is found in responses"),
        ("comparisons", "response_b", first("response_b", None), E, "is never null"),
        (
            "comparisons",
            "annotator_id",
            first("annotator_id", pl.lit("w").cast(pl.Categorical)),
            W,
            "is found in annotators",
        ),
        ("rankings", "responses", first("responses", pl.lit(["x", "y", "gone"])), E, "is found in responses"),
        ("responses", "members", pl.Series("members", [None] * 4 + [["x", "gone"]]), E, "is found in responses"),
        ("responses", "prompt_id", first("prompt_id", "gone"), E, "is found in prompts"),
        ("responses", "media", first("media", pl.lit(["gone"])), W, "is found in media"),
        ("comparisons", "outcome", first("outcome", "left"), E, "is one of a, b, tie"),
        ("responses", "finish", first("finish", "eos"), E, "is one of stop"),
        ("comparisons", "probability", first("probability", 0.6), E, "stands only where outcome is null"),
        ("comparisons", "probability", pl.Series("probability", [None, None, 83.0]), E, r"lies in \[0, 1\]"),
        ("comparisons", "probability_tie", pl.Series("probability_tie", [None, None, -0.1]), E, r"lies in \[0, 1\]"),
        (
            "comparisons",
            "probability_tie",
            pl.Series("probability_tie", [0.1, None, None]),
            W,
            "comes with probability",
        ),
        ("comparisons", "strength", first("strength", 0), E, "is at least 1"),
        ("comparisons", "strength", pl.Series("strength", [2, 1, None]), E, "comes only with a winner"),
        ("comparisons", "strength", pl.Series("strength", [2, None, 1]), E, "comes only with a winner"),
        ("comparisons", "response_a", first("response_a", "y"), W, "differs from response_b"),
        ("comparisons", "exposure_a_s", pl.lit(-1.0).alias("exposure_a_s"), E, "is finite and not negative"),
        ("comparisons", "count", first("count", 0), E, "is at least 1"),
        ("comparisons", "weight", pl.lit(NAN).alias("weight"), E, "is finite and not negative"),
        ("comparisons", "weight", pl.lit(-0.5).alias("weight"), E, "is finite and not negative"),
        ("comparisons", "propensity", first("propensity", 0.0), E, r"lies in \(0, 1\]"),
        ("comparisons", "propensity", first("propensity", 1.5), E, r"lies in \(0, 1\]"),
        ("comparisons", "confidence", pl.lit(INF).alias("confidence"), E, "is finite"),
        ("comparisons", "duration_s", pl.lit(-2.0).alias("duration_s"), E, "is finite and not negative"),
        ("comparisons", "time", first("time", SOON), W, "is not in the future"),
        ("comparisons", "prompt_id", pl.lit("q").alias("prompt_id"), W, "agrees with the prompt of the responses"),
        ("ratings", "value", first("value", NAN), E, "is finite"),
        ("ratings", "value", first("value", 5.5), E, "lies within the criterion's low and high"),
        ("ratings", "value", first("value", 4.4), W, "lies on a step"),
        ("ratings", "value", first("value", None), W, "or label is recorded"),
        ("ratings", "spread", first("spread", -0.1), E, "is finite and not negative"),
        ("ratings", "spread", first("spread", 0.3), W, "comes with count"),
        ("rankings", "ranks", first("ranks", pl.lit([1, 2])), E, "has one entry per response"),
        ("rankings", "ranks", first("ranks", pl.lit([0, 1, 2])), E, "counts from 1"),
        ("rankings", "ranks", first("ranks", pl.lit([1, 2, 4])), W, "has no gaps"),
        ("rankings", "ranks", first("ranks", pl.lit([1, 2, None])), E, "is complete where kind is full"),
        ("rankings", "ranks", pl.Series("ranks", [[1, 2, 3], [None, None]]), W, "ranks at least one"),
        ("rankings", "responses", first("responses", pl.lit(["x", "y", "x"])), E, "names every response once"),
        ("rankings", "responses", pl.Series("responses", [["x", "y", None], ["x", "y"]]), E, "has no null"),
        ("rankings", "shown_order", first("shown_order", pl.lit([0, 1])), E, "holds each place"),
        ("rankings", "shown_order", first("shown_order", pl.lit([1, 2, 3])), E, "holds each place"),
        ("responses", "end", pl.Series("end", [None] * 3 + [0.0, None]), E, "lies behind start"),
        ("responses", "end", pl.Series("end", [None] * 3 + [6.0, None]), E, "lies inside the whole"),
        ("responses", "start", pl.Series("start", [None] * 3 + [-1.0, None]), E, "is not negative"),
        ("responses", "start", pl.Series("start", [0.0, None, None, 0.0, None]), E, "comes with part_of"),
        ("responses", "unit", pl.lit(None, dtype=pl.String).alias("unit"), E, "comes with a unit"),
        ("responses", "part_of", pl.Series("part_of", [None] * 3 + ["x:0", None]), E, "is another response"),
        (
            "responses",
            "prompt_id",
            pl.Series("prompt_id", ["p", "p", "q", "q", "p"]),
            W,
            "of a segment is that of its whole",
        ),
        ("responses", "members", pl.Series("members", [None] * 4 + [["S"]]), E, "does not hold the set itself"),
        ("responses", "members", pl.Series("members", [None] * 4 + [[]]), W, "is not empty"),
        ("responses", "members", pl.Series("members", [None] * 3 + [["x"], None]), E, "is null for a segment"),
        ("prompts", "turn", first("turn", -1), E, "is not negative"),
        ("prompts", "turn", pl.lit(None, dtype=pl.String).alias("conversation_id"), W, "comes with conversation_id"),
        ("prompts", "continues", pl.lit(True).alias("continues"), E, "is set only where the last message"),
        ("criteria", "high", pl.lit(1.0).alias("high"), E, "lies above low"),
        ("criteria", "step", pl.lit(0.0).alias("step"), E, "is positive"),
        ("annotators", "weight", first("weight", INF), E, "is finite and not negative"),
        ("media", "duration", pl.lit(-1.0).alias("duration"), E, "is finite and not negative"),
        ("signals", "kind", pl.lit("smile").alias("kind"), E, "is one of exposure"),
        ("signals", "position", pl.lit(-1).alias("position"), E, "is not negative"),
        ("signals", "propensity", pl.lit(0.0).alias("propensity"), E, r"lies in \(0, 1\]"),
    ],
)
def test_each_rule_finds_its_breach(sound, table, column, change, severity, rule):
    import re

    report = validate(sound.replace(**{table: sound.table(table).with_columns(change)}))
    found = [p for p in report.problems if p.table == table and re.search(rule, p.rule)]
    assert len(found) == 1, report.lines()
    problem = found[0]
    assert problem.severity == severity
    assert problem.count >= 1
    assert len(problem.examples) == min(problem.count, 5)
    assert problem.cure
    assert report.ok == (not report.errors)
    if severity == E:
        with pytest.raises(InputError):
            report.check()
    else:
        assert problem in report.warnings


def test_the_breaching_rows_are_named(sound):
    ids = [f"c{i}" for i in range(100)]
    votes = pl.DataFrame(
        {"comparison_id": ids, "response_a": "x", "response_b": "y", "outcome": ["a"] * 93 + ["left"] * 7}
    )
    (problem,) = validate(sound.replace(comparisons=votes)).problems
    assert (problem.count, problem.examples) == (7, ids[93:98])
    assert "broken by 7 (c93, c94, c95, c96, c97, ...)" in problem.line()


def test_nested_segments_stay_in_their_segment(sound):
    inner = pl.DataFrame(
        {"response_id": "x:0:0", "prompt_id": "p", "part_of": "x:0", "start": 2.0, "end": 4.5, "unit": "character"}
    )
    data = sound.replace(responses=pl.concat([sound.responses, inner], how="diagonal_relaxed"))
    (problem,) = validate(data).problems
    assert (problem.rule, problem.examples) == ("lies inside the whole that part_of names", ["x:0:0"])


def test_seconds_are_held_against_the_medium(sound):
    inner = pl.DataFrame(
        {"response_id": "z:0", "prompt_id": "q", "part_of": "z", "start": 2.0, "end": 3.5, "unit": "second"}
    )
    data = sound.replace(responses=pl.concat([sound.responses, inner], how="diagonal_relaxed"))
    assert [p.examples for p in validate(data).errors] == [["z:0"]]


def test_copies_of_a_judgment_are_told_from_repeats(sound):
    copy = sound.comparisons.head(1).with_columns(comparison_id=pl.lit("copy"))
    report = validate(sound.replace(comparisons=pl.concat([sound.comparisons, copy])))
    assert [(p.rule, p.examples) for p in report.problems] == [
        ("repeats no other row in everything but its key", ["copy"])
    ]
    later = copy.with_columns(time=pl.col("time") + timedelta(minutes=5))
    assert validate(sound.replace(comparisons=pl.concat([sound.comparisons, later]))).problems == []
    anonymous = pl.DataFrame({"comparison_id": ["1", "2"], "response_a": "m1", "response_b": "m2", "outcome": "a"})
    systems = PreferenceData(comparisons=anonymous).completed()
    assert validate(systems).problems == []  # two anonymous votes may well be equal


def test_a_battle_of_names_is_only_warned_about(sound):
    battle = PreferenceData(
        comparisons=pl.DataFrame(
            {
                "comparison_id": ["1"],
                "response_a": ["m1"],
                "response_b": ["m2"],
                "outcome": ["a"],
                "annotator_id": ["u"],
            }
        )
    )
    report = validate(battle)
    assert report.ok
    assert {p.rule for p in report.warnings} == {"is found in responses", "is found in annotators"}
    assert validate(battle.completed()).problems == []


def test_media_named_in_messages_are_looked_up(sound):
    message = [[{"role": "user", "content": "look", "media": ["m", "gone"]}], None]
    data = sound.replace(prompts=sound.prompts.with_columns(messages=pl.Series(message)))
    (problem,) = validate(data).problems
    assert (problem.table, problem.rule, problem.examples) == ("prompts", "has its media in media", ["p"])


def test_best_worst_may_leave_the_middle_open(sound):
    ranks = pl.Series("ranks", [[1, None, 3], [None, 1]])
    data = sound.replace(rankings=sound.rankings.with_columns(ranks, kind=pl.Series(["best_worst", "choice"])))
    assert validate(data).problems == []


def test_a_message_without_role_is_found(sound):
    message = [[{"role": None, "content": "hi", "media": None}], None]
    data = sound.replace(prompts=sound.prompts.with_columns(messages=pl.Series(message)))
    assert [p.rule for p in validate(data).errors] == ["says the role of each message"]


def test_scanned_data_gives_the_same_report(sound, tmp_path):
    broken = sound.replace(comparisons=sound.comparisons.with_columns(first("count", 0)))
    save(broken, tmp_path / "d")
    scanned = load(tmp_path / "d", lazy=True)
    assert validate(scanned) == validate(broken)
    assert scanned.is_lazy


def test_report_is_plain_data(sound):
    import json

    broken = sound.replace(comparisons=sound.comparisons.with_columns(first("count", 0)))
    told = json.loads(json.dumps(validate(broken).as_dict()))
    assert told["ok"] is False
    assert told["problems"][0]["examples"] == ["1"]
    assert validate(broken).lines()[0].endswith("1 error(s), 0 warning(s)")


def test_what_is_shared_with_training_data_is_a_warning(sound, cases):
    rules = {p.rule for p in validate(sound, train=sound).warnings}
    assert rules >= {f"{what} are not in the training data too" for what in ("judgments", "prompts", "annotators")}
    other = sound.where("comparisons", pl.lit(False)).replace(ratings=sound.ratings.clear()).pruned()
    told = [p.line() for p in validate(cases["counted_row"], train=other).problems]
    assert told == []
