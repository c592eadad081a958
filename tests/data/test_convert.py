import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from preflearn.data.convert import (
    CONVERSIONS,
    columns_to_criteria,
    counts_to_votes,
    criteria_to_columns,
    labels_to_values,
    pairs_to_rankings,
    pool,
    rankings_to_pairs,
    ratings_to_pairs,
    values_to_labels,
    votes_to_counts,
)
from preflearn.data.tables import PreferenceData
from preflearn.data.validate import validate
from preflearn.errors import InputError


def triples(data: PreferenceData) -> list[tuple[str, str, str]]:
    return data.comparisons.select("response_a", "response_b", "outcome").rows()


def step(data: PreferenceData) -> str:
    return data.provenance["steps"][-1]


def rankings(**columns: object) -> PreferenceData:
    return PreferenceData(rankings=pl.DataFrame(columns, strict=False))


# -- rankings -> pairs


def test_a_ranking_becomes_all_its_pairs(cases):
    data = rankings_to_pairs(cases["ranking_with_tie_and_unranked"])
    assert triples(data) == [
        ("w", "x", "b"),
        ("w", "y", "tie"),
        ("w", "z", "a"),
        ("x", "y", "a"),
        ("x", "z", "a"),
        ("y", "z", "a"),
    ]
    frame = data.comparisons
    assert data.rankings.height == 0
    assert frame["comparison_id"].to_list() == ["k:1-2", "k:1-3", "k:1-4", "k:2-3", "k:2-4", "k:3-4"]
    assert frame["shown_first"].to_list() == ["b", "b", "b", "a", "a", "a"]  # places 3, 0, 1, 2
    assert frame["presentation_id"].to_list() == ["show1"] * 6
    assert frame["ranking_id"].to_list() == ["k"] * 6
    assert frame["annotator_id"].to_list() == ["u"] * 6
    assert frame["time"].n_unique() == 1
    how = "unranked below, ties keep, weight by pair"
    assert step(data) == f"rankings to pairs ({how}): 1 rankings; 6 comparisons made; 1 ties among them"
    assert validate(data).problems == []


def test_unranked_and_ties_can_be_left_out(cases):
    data = rankings_to_pairs(cases["ranking_with_tie_and_unranked"], unranked="out", ties="out")
    assert triples(data) == [("w", "x", "b"), ("x", "y", "a")]
    assert "1 ties left out" in step(data)


def test_a_ranking_without_presentation_is_its_own():
    data = rankings_to_pairs(rankings(ranking_id=["k"], responses=[["x", "y"]], ranks=[[2, 1]]))
    assert data.comparisons["presentation_id"].to_list() == ["ranking:k"]


def test_pairs_of_one_list_can_share_its_weight():
    data = rankings(
        ranking_id=["k", "l"], responses=[["x", "y", "z"], ["x", "y"]], ranks=[[1, 2, 3], [1, 2]], weight=[3.0, None]
    )
    assert rankings_to_pairs(data, weight="list").comparisons["weight"].to_list() == [1.0, 1.0, 1.0, 1.0]
    assert rankings_to_pairs(data).comparisons["weight"].to_list() == [3.0, 3.0, 3.0, None]


def test_a_choice_beats_what_was_not_chosen_and_says_nothing_of_the_rest():
    data = rankings_to_pairs(
        rankings(ranking_id=["k"], responses=[["x", "y", "z"]], ranks=[[None, 1, None]], kind=["choice"])
    )
    assert triples(data) == [("x", "y", "b"), ("y", "z", "a")]


def test_best_worst_puts_the_open_ones_between():
    data = rankings(ranking_id=["k"], responses=[["w", "x", "y", "z"]], ranks=[[None, 1, None, 4]], kind=["best_worst"])
    assert triples(rankings_to_pairs(data)) == [
        ("w", "x", "b"),
        ("w", "z", "a"),
        ("x", "y", "a"),
        ("x", "z", "a"),
        ("y", "z", "a"),
    ]


def test_malformed_rankings_stay_and_ids_do_not_collide():
    data = PreferenceData(
        comparisons=pl.DataFrame(
            {"comparison_id": ["k:1-2"], "response_a": ["p"], "response_b": ["q"], "outcome": ["a"]}
        ),
        rankings=pl.DataFrame(
            {
                "ranking_id": ["k", "short", "twice", "none"],
                "responses": [["x", "y"], ["x", "y"], ["x", "x"], []],
                "ranks": [[1, 2], [1], [1, 2], []],
            }
        ),
    )
    done = rankings_to_pairs(data)
    assert done.comparisons["comparison_id"].to_list() == ["k:1-2", "k:1-2'"]
    assert done.rankings["ranking_id"].to_list() == ["short", "twice"]
    assert "2 malformed rankings left as they are" in step(done)
    assert "1 rankings without any pair" in step(done)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.one_of(st.none(), st.integers(1, 4)), min_size=0, max_size=5), max_size=6))
def test_pairs_say_what_the_ranks_say(lists):
    data = rankings(
        ranking_id=pl.Series([str(i) for i in range(len(lists))], dtype=pl.String),
        responses=pl.Series([[f"r{j}" for j in range(len(r))] for r in lists], dtype=pl.List(pl.String)),
        ranks=pl.Series(lists, dtype=pl.List(pl.Int32)),
    )
    expected = []
    for ranks in lists:
        for i in range(len(ranks)):
            for j in range(i + 1, len(ranks)):
                if ranks[i] is None and ranks[j] is None:
                    continue
                a, b = (99 if r is None else r for r in (ranks[i], ranks[j]))
                expected.append((f"r{i}", f"r{j}", "a" if a < b else "b" if a > b else "tie"))
    assert triples(rankings_to_pairs(data)) == expected


# -- pairs -> rankings


@settings(max_examples=8, deadline=None)
@given(st.lists(st.lists(st.integers(1, 3), min_size=3, max_size=5), min_size=1, max_size=4))
def test_rankings_survive_the_way_through_pairs(lists):
    data = PreferenceData(
        responses=pl.DataFrame(
            [(f"{i}:{j}", f"p{i}") for i, ranks in enumerate(lists) for j in range(len(ranks))],
            schema=["response_id", "prompt_id"],
            orient="row",
        ),
        rankings=pl.DataFrame(
            {
                "ranking_id": [str(i) for i in range(len(lists))],
                "responses": [[f"{i}:{j}" for j in range(len(ranks))] for i, ranks in enumerate(lists)],
                "ranks": lists,
                "annotator_id": "u",
                "criterion_id": "c",
            }
        ),
    )
    back = pairs_to_rankings(rankings_to_pairs(data))
    assert back.comparisons.height == 0
    found = back.rankings
    assert found["ranking_id"].to_list() == [str(i) for i in range(len(lists))]
    assert found["criterion_id"].to_list() == ["c"] * len(lists)
    for i, ranks in enumerate(lists):
        got = dict(zip(found["responses"][i], found["ranks"][i]))
        dense = [1 + sum(other < rank for other in ranks) for rank in ranks]
        assert got == {f"{i}:{j}": rank for j, rank in enumerate(dense)}
    assert validate(back).ok


def votes(rows: list[tuple[str, str, str | None]], **columns: object) -> PreferenceData:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(["response_a", "response_b", "outcome"], pl.String), orient="row")
    extra = {name: value if isinstance(value, pl.Series) else pl.lit(value) for name, value in columns.items()}
    ids = pl.Series("comparison_id", [f"c{i}" for i in range(frame.height)])
    return PreferenceData(comparisons=frame.with_columns(ids, **extra))


TRIANGLE = [("x", "y", "a"), ("y", "z", "a"), ("z", "x", "b")]


def test_a_complete_consistent_triangle_is_a_ranking():
    data = votes(TRIANGLE, annotator_id="u", prompt_id="p", rationale="longer", weight=0.5)
    done = pairs_to_rankings(data)
    assert done.rankings.select("responses", "ranks", "kind", "prompt_id", "weight").rows() == [
        (["x", "y", "z"], [1, 2, 3], "full", "p", 0.5)
    ]
    assert done.comparisons.height == 0
    assert step(done) == "pairs to rankings: 3 comparisons used; 1 rankings made; 3 rationale values without place"


@pytest.mark.parametrize(
    ("rows", "columns", "reason"),
    [
        ([("x", "y", "a"), ("y", "z", "a"), ("z", "x", "a")], {}, "3 comparisons left (contradictory)"),
        ([("x", "y", "tie"), ("y", "z", "tie"), ("z", "x", "a")], {}, "3 comparisons left (contradictory)"),
        (TRIANGLE[:2], {}, "2 comparisons left (incomplete)"),
        (TRIANGLE[:1], {}, "1 comparisons left (too few)"),
        ([*TRIANGLE, ("y", "x", "b")], {}, "4 comparisons left (repeated)"),
        ([*TRIANGLE[:2], ("z", "x", "skip")], {}, "3 comparisons left (skipped or unjudged)"),
        ([*TRIANGLE[:2], ("z", "x", None)], {}, "3 comparisons left (skipped or unjudged)"),
        ([*TRIANGLE[:2], ("z", "x", "both_bad")], {}, "3 comparisons left (skipped or unjudged)"),
        (TRIANGLE, {"weight": pl.Series([1.0, 2.0, 1.0])}, "3 comparisons left (weights differ)"),
        (TRIANGLE, {"annotator_id": None}, "3 comparisons of unknown annotator or prompt left"),
        (TRIANGLE, {"prompt_id": None}, "3 comparisons of unknown annotator or prompt left"),
        (TRIANGLE, {"criterion_id": pl.Series(["c", "d", "c"])}, "2 comparisons left (incomplete)"),
        (TRIANGLE, {"annotator_id": pl.Series(["u", "v", "u"])}, "1 comparisons left (too few)"),
    ],
)
def test_other_pairs_stay_and_the_reason_is_counted(rows, columns, reason):
    data = votes(rows, **{"annotator_id": "u", "prompt_id": "p"} | columns)
    done = pairs_to_rankings(data)
    assert done.rankings.height == 0
    assert done.comparisons.height == len(rows)
    assert reason in step(done)


def test_a_showing_stands_for_the_unknown_annotator():
    done = pairs_to_rankings(votes(TRIANGLE, presentation_id="s"))
    assert done.rankings["presentation_id"].to_list() == ["s"]


# -- ratings -> pairs


def rated(values: list[float | None], **columns: object) -> PreferenceData:
    n = len(values)
    frame = pl.DataFrame(
        {"rating_id": [f"r{i}" for i in range(n)], "response_id": [f"x{i}" for i in range(n)], "value": values},
        schema={"rating_id": pl.String, "response_id": pl.String, "value": pl.Float64},
    )
    base = {"annotator_id": "u", "prompt_id": "p"}
    extra = {k: v if isinstance(v, pl.Series) else pl.lit(v) for k, v in (base | columns).items()}
    return PreferenceData(ratings=frame.with_columns(**extra))


def test_ratings_of_one_annotator_and_prompt_become_pairs():
    data = ratings_to_pairs(rated([3.0, 5.0, 3.0], criterion_id="c", source="survey"))
    assert triples(data) == [("x0", "x1", "b"), ("x0", "x2", "tie"), ("x1", "x2", "a")]
    frame = data.comparisons
    assert set(frame["criterion_id"].cast(pl.String)) == {"c"}
    assert set(frame["annotator_id"].cast(pl.String)) == {"u"}
    assert set(frame["prompt_id"]) == {"p"}
    assert set(frame["source"].cast(pl.String)) == {"survey"}
    assert frame["comparison_id"].to_list() == ["r0>r1", "r0>r2", "r1>r2"]
    assert data.ratings.height == 0
    assert "3 comparisons made; 1 ties among them; 3 ratings used" in step(data)
    assert ratings_to_pairs(rated([3.0, 5.0]), keep=True).ratings.height == 2


@pytest.mark.parametrize("column", ["annotator_id", "prompt_id", "criterion_id", "context", "protocol"])
def test_nothing_is_paired_across(column):
    data = ratings_to_pairs(rated([1.0, 2.0, 3.0], **{column: pl.Series(["a", "b", "a"])}))
    assert triples(data) == [("x0", "x2", "b")]
    assert data.ratings["rating_id"].to_list() == ["r1"]  # what made no pair stays


def test_margin_ties_and_direction():
    near = rated([3.0, 3.5, 5.0], criterion_id="c")
    assert [t[2] for t in triples(ratings_to_pairs(near, margin=0.5))] == ["tie", "b", "b"]
    assert [t[2] for t in triples(ratings_to_pairs(near, margin=0.5, ties="out"))] == ["b", "b"]
    worse = near.replace(criteria=pl.DataFrame({"criterion_id": ["c"], "higher_is_better": [False]}))
    assert [t[2] for t in triples(ratings_to_pairs(worse))] == ["a", "a", "a"]
    with pytest.raises(InputError, match="margin -1"):
        ratings_to_pairs(near, margin=-1)


def test_across_prompts_must_be_asked_for():
    data = rated([1.0, 2.0], prompt_id=None)
    assert ratings_to_pairs(data).comparisons.height == 0
    assert "2 ratings without prompt left" in step(ratings_to_pairs(data))
    assert triples(ratings_to_pairs(data, across_prompts=True)) == [("x0", "x1", "b")]


def test_unknown_annotators_pair_only_within_a_showing():
    assert "2 ratings of unknown annotator left" in step(ratings_to_pairs(rated([1.0, 2.0], annotator_id=None)))
    shown = rated([1.0, 2.0, 3.0], annotator_id=None, presentation_id=pl.Series(["s", "s", "t"]))
    assert triples(ratings_to_pairs(shown)) == [("x0", "x1", "b")]


def test_repeats_of_one_response_are_no_pair():
    data = rated([1.0, 2.0, 3.0], response_id=pl.Series(["x", "x", "y"]))
    assert triples(ratings_to_pairs(data)) == [("x", "y", "b"), ("x", "y", "b")]


def test_means_become_pairs_only_as_asked():
    data = rated([3.0, 4.0], annotator_id=None, count=25, spread=pl.Series([0.6, 0.8]))
    assert ratings_to_pairs(data).comparisons.height == 0
    assert "2 ratings that are means of several people" in step(ratings_to_pairs(data))
    assert triples(ratings_to_pairs(data, means="sign")) == [("x0", "x1", "b")]
    soft = ratings_to_pairs(data, means="normal").comparisons
    assert soft["outcome"].to_list() == [None]
    assert soft["probability"][0] == pytest.approx(norm.cdf(-1.0), abs=1e-12)
    assert "count" not in soft.columns
    certain = rated([3.0, 4.0, 4.0], annotator_id=None, count=25, spread=0.0)
    assert ratings_to_pairs(certain, means="normal").comparisons["probability"].to_list() == [0.0, 0.0, 0.5]


def test_unanswered_ratings_stay():
    data = ratings_to_pairs(rated([1.0, None, 2.0, float("nan")]))
    assert triples(data) == [("x0", "x2", "b")]
    assert "2 ratings without value left" in step(data)


def test_weights_of_ratings():
    data = rated([1.0, 2.0, 3.0], weight=pl.Series([1.0, 3.0, None]))
    assert ratings_to_pairs(data).comparisons["weight"].to_list() == [2.0, 1.0, 2.0]
    assert ratings_to_pairs(data, weight="list").comparisons["weight"].sum() == pytest.approx(5 / 3)


# -- labels


def test_thumbs_and_values_go_both_ways():
    data = PreferenceData(
        ratings=pl.DataFrame(
            {
                "rating_id": ["1", "2", "3", "4"],
                "response_id": "x",
                "label": ["up", "down", "pass", None],
                "criterion_id": ["c", "c", "c", "d"],
            }
        )
    )
    valued = labels_to_values(data, {"up": 1, "down": 0})
    assert valued.ratings["value"].to_list() == [1.0, 0.0, None, None]
    assert valued.ratings["label"].to_list() == ["up", "down", "pass", None]
    assert "2 ratings given a value; 1 labels without stated value left" in step(valued)
    assert labels_to_values(data, {"up": 1}, criterion="d").ratings["value"].to_list() == [None] * 4
    stars = rated([1.0, 2.5, 4.0, 5.0, None])
    labelled = values_to_labels(stars, {"up": 4, "down": 2})
    assert labelled.ratings["label"].to_list() == [None, "down", "up", "up", None]
    assert "3 ratings given a label; 1 values below every threshold left" in step(labelled)
    with pytest.raises(InputError, match="no rating is of criterion"):
        values_to_labels(stars, {"up": 4}, criterion="c")


# -- criteria as columns


@pytest.fixture
def two_criteria() -> PreferenceData:
    return PreferenceData(
        criteria=pl.DataFrame({"criterion_id": ["help", "harm.less"]}),
        ratings=pl.DataFrame(
            {
                "rating_id": ["1", "2", "3", "4", "5", "6"],
                "response_id": ["x", "x", "y", "x", "x", "z"],
                "value": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
                "rationale": ["good", None, None, None, None, "plain"],
                "criterion_id": ["help", "harm.less", "help", "help", "help", None],
                "annotator_id": ["u", "u", "u", "v", "u", "u"],
                "stance": ["s", "s", "s", "s", "s", "s"],
            }
        ),
    )


def test_criteria_become_columns_and_come_back(two_criteria):
    wide = criteria_to_columns(two_criteria)
    rows = wide.ratings.select("response_id", "annotator_id", "help.value", "harm.less.value", "help.rationale").rows()
    assert rows == [
        ("z", "u", None, None, None),
        ("x", "u", 1.0, 2.0, "good"),
        ("y", "u", 3.0, None, None),
        ("x", "v", 4.0, None, None),
        ("x", "u", 5.0, None, None),  # asked twice: a row of its own
    ]
    assert (
        "4 ratings of criterion help; 1 ratings of criterion harm.less; 4 wide rows; 1 rows without criterion left"
        in step(wide)
    )
    long = columns_to_criteria(wide)
    assert long.ratings.columns == two_criteria.ratings.columns
    assert long.replace(ratings=long.ratings.sort("rating_id")).equals(two_criteria)


def test_wide_tables_of_others_become_criteria():
    data = PreferenceData(
        comparisons=pl.DataFrame(
            {
                "comparison_id": ["1", "2"],
                "response_a": "x",
                "response_b": "y",
                "truth.outcome": ["a", None],
                "style.outcome": ["b", "tie"],
            }
        )
    )
    long = columns_to_criteria(data, table="comparisons")
    assert long.comparisons.select("comparison_id", pl.col("criterion_id").cast(pl.String), "outcome").rows() == [
        ("1.truth", "truth", "a"),
        ("1.style", "style", "b"),
        ("2.style", "style", "tie"),
    ]
    assert sorted(long.criteria["criterion_id"].cast(pl.String)) == ["style", "truth"]
    with pytest.raises(InputError, match="no column of 'ratings'"):
        columns_to_criteria(data)
    with pytest.raises(InputError, match="no criterion is recorded"):
        criteria_to_columns(data, table="comparisons")
    unnamed = data.replace(ratings=data.ratings.with_columns(criterion_id=pl.lit(None, pl.String)))
    with pytest.raises(InputError, match="no criterion is recorded"):
        criteria_to_columns(unnamed)


# -- counts


def test_votes_add_up_and_come_back():
    data = PreferenceData(
        comparisons=pl.DataFrame(
            {
                "comparison_id": [f"c{i}" for i in range(6)],
                "response_a": "x",
                "response_b": "y",
                "outcome": ["a", "a", "b", "a", "a", "a"],
                "annotator_id": ["u", "v", "u", None, "w", "w"],
                "count": [None, 3, None, None, None, None],
                "criterion_id": ["c", "c", "c", "c", "d", "c"],
                "shown_first": ["a", "a", "a", "a", "a", "b"],
            }
        )
    )
    counted = votes_to_counts(data)
    rows = counted.comparisons.select(
        "comparison_id", "outcome", pl.col("criterion_id").cast(pl.String), "shown_first", "count"
    ).rows()
    assert rows == [
        ("c0", "a", "c", "a", 5),
        ("c2", "b", "c", "a", 1),
        ("c4", "a", "d", "a", 1),
        ("c5", "a", "c", "b", 1),
    ]
    assert "annotator_id" not in counted.columns("comparisons")
    assert "6 comparisons added up; 4 counted rows; 5 values of annotator_id forgotten" in step(counted)
    again = counts_to_votes(counted)
    assert again.comparisons["comparison_id"].to_list() == ["c0", "c0#2", "c0#3", "c0#4", "c0#5", "c2", "c4", "c5"]
    assert again.comparisons["count"].to_list() == [None] * 8
    assert votes_to_counts(again).equals(counted)
    by_annotator = votes_to_counts(data, forget=["presentation_id"])
    assert by_annotator.comparisons.height == 6


def test_means_are_not_so_many_votes(cases):
    mean = cases["mean_of_25_ratings"]
    assert counts_to_votes(mean, table="ratings").ratings["count"].to_list() == [25]
    assert "1 means left as they are" in step(votes_to_counts(mean, table="ratings"))


def test_rankings_are_counted_too(cases):
    data = cases["ranking_with_tie_and_unranked"]
    twice = data.replace(rankings=pl.concat([data.rankings, data.rankings.with_columns(ranking_id=pl.lit("l"))]))
    counted = votes_to_counts(twice, table="rankings").rankings
    assert (counted.height, counted["count"].to_list()) == (1, [2])


def test_ids_of_repeats_do_not_collide():
    data = PreferenceData(
        comparisons=pl.DataFrame({"comparison_id": ["c", "c#2"], "response_a": "x", "response_b": "y", "count": [2, 1]})
    )
    assert counts_to_votes(data).comparisons["comparison_id"].to_list() == ["c", "c#2'", "c#2"]


def test_counting_refuses_what_makes_no_sense():
    with pytest.raises(InputError, match="holds no judgments"):
        votes_to_counts(PreferenceData(), table="prompts")
    with pytest.raises(InputError, match="holds no judgments"):
        counts_to_votes(PreferenceData(), table="signals")
    with pytest.raises(InputError, match="nothing without response_a"):
        votes_to_counts(PreferenceData(), forget=["response_a"])


# -- pooling


def test_pooling_is_asked_for_counted_and_leaves_a_trace(two_criteria):
    pooled = pool(two_criteria, "criterion_id", "overall", values=["help"])
    assert pooled.ratings["criterion_id"].cast(pl.String).to_list() == [
        "overall",
        "harm.less",
        "overall",
        "overall",
        "overall",
        None,
    ]
    assert pooled.ratings["criterion_id_before_pooling"].to_list()[:2] == ["help", "harm.less"]
    assert step(pooled) == "pooled criterion_id into overall: 4 ratings of help"
    assert "overall" in pooled.criteria["criterion_id"].cast(pl.String).to_list()
    again = pool(pooled, "criterion_id", "everything")
    assert again.ratings["criterion_id_before_pooling"].to_list()[:2] == ["help", "harm.less"]
    with pytest.raises(InputError, match="no judgment has criterion_id 'colour'"):
        pool(two_criteria, "criterion_id", "overall", values=["colour"])
    with pytest.raises(InputError, match="'annotator_id' is not pooled"):
        pool(two_criteria, "annotator_id", "all")


def test_no_conversion_pools_criteria_or_protocols(two_criteria):
    """Whatever is converted by default: criteria and protocols that go in come out, no row has a mixture."""
    frame = two_criteria.ratings.with_columns(protocol=pl.Series(["p", "p", "q", "p", "q", "p"]), prompt_id=pl.lit("p"))
    data = two_criteria.replace(ratings=frame)
    for name in ("ratings-to-pairs", "pairs-to-rankings"):
        data = CONVERSIONS[name](data)
        for table in ("comparisons", "rankings"):
            got = data.select(table, ["criterion_id", "protocol"]).unique().collect()
            assert {tuple(map(str, row)) for row in got.rows()} <= {("help", "p"), ("help", "q")}


def test_data_without_any_judgment_converts_to_itself(cases):
    empty = PreferenceData(prompts=cases["follow_up_turn"].prompts)
    for name in ("rankings-to-pairs", "pairs-to-rankings", "ratings-to-pairs", "votes-to-counts", "counts-to-votes"):
        done = CONVERSIONS[name](empty)
        assert done.counts() == empty.counts()
        assert done.provenance["steps"]


def test_no_conversion_touches_its_input(case):
    before = case.fingerprint()
    for name in ("rankings-to-pairs", "pairs-to-rankings", "ratings-to-pairs", "votes-to-counts", "counts-to-votes"):
        CONVERSIONS[name](case)
    case._fingerprint = None
    assert case.fingerprint() == before
