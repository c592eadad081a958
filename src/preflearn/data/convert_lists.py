"""Rankings to pairs and back; what cannot be converted stays where it is and is counted."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import polars as pl

from preflearn.data.columns import attach
from preflearn.data.tables import PreferenceData, plain

Weight = Literal["pair", "list"]


def sentence(what: str, counts: Counter[str]) -> str:
    """A provenance step: what was done, then what was counted."""
    told = "; ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    return f"{what}: {told or 'nothing to convert'}"


def fresh_ids(ids: pl.Series, taken: pl.Series) -> pl.Series:
    """These ids; those already taken get as many primes as no id has."""
    primes = pl.concat([ids, taken]).str.extract(r"('*)$").str.len_chars().to_list()
    longer = "'" * (max((n for n in primes if n), default=0) + 1)
    return pl.select(pl.when(ids.is_in(taken.implode())).then(ids + longer).otherwise(ids)).to_series().alias(ids.name)


# -- rankings to pairs -------------------------------------------------------------------------------------------------


def rankings_to_pairs(
    data: PreferenceData,
    *,
    unranked: Literal["below", "out"] = "below",
    ties: Literal["keep", "out"] = "keep",
    weight: Weight = "pair",
) -> PreferenceData:
    """Replace rankings by all the comparisons that they imply.

    A ranking of K gives up to K (K - 1) / 2 pairs, which are not independent of each other: all of them keep the
    ranking's presentation_id (its own id where none is recorded) and a column `ranking_id`, by which to cluster.

    Args:
        unranked: `below`: what was shown but not ranked loses against all that was ranked (in best-worst choices it
            stands between best and worst); `out`: it takes part in no pair. Two unranked responses are never a pair.
        ties: `keep` equal ranks as ties, or leave such pairs `out`.
        weight: `pair`: every pair has the ranking's weight; `list`: the pairs of one ranking share it evenly, so that a
            long list counts as much as a short one.

    Malformed rankings (lengths differ, a response twice) stay in the table.
    """
    counts: Counter[str] = Counter()
    responses, ranks = pl.col("responses"), pl.col("ranks")
    whole = (responses.list.len() == ranks.list.len()) & (responses.list.n_unique() == responses.list.len())
    frame = data.rankings.with_columns(whole.fill_null(False).alias("__whole"), pl.int_range(pl.len()).alias("__list"))
    usable, left = frame.filter("__whole"), frame.filter(~pl.col("__whole"))
    counts["rankings"] = usable.height
    long = _long(data, usable, unranked)
    sides = long.join(long, on="__list", suffix="_b", maintain_order="left_right")
    pairs = sides.filter((pl.col("place") < pl.col("place_b")) & ~(pl.col("null") & pl.col("null_b")))
    tied = pairs["level"] == pairs["level_b"]
    if ties == "out":
        counts["ties left out"] = int(tied.sum())
        pairs = pairs.filter(~tied)
    made = _comparisons(usable, pairs, data.select("comparisons", ["comparison_id"]).collect()["comparison_id"])
    if weight == "list":
        shared = pl.col("weight").fill_null(1.0) if "weight" in made.columns else pl.lit(1.0)
        made = made.with_columns(weight=shared / pl.len().over("__list"))
    counts["comparisons made"] = made.height
    counts["ties among them"] = int((made["outcome"] == "tie").sum())
    counts["rankings without any pair"] = usable.height - pairs["__list"].n_unique()
    counts["malformed rankings left as they are"] = left.height
    made = made.drop("__list", *([] if "shown_order" in usable.columns else ["shown_first"]))
    how = f"rankings to pairs (unranked {unranked}, ties {ties}, weight by {weight})"
    comparisons = pl.concat([plain(data.comparisons), plain(made)], how="diagonal_relaxed")
    return data.replace(sentence(how, counts), comparisons=comparisons, rankings=left.drop("__whole", "__list"))


def _long(data: PreferenceData, usable: pl.DataFrame, unranked: str) -> pl.DataFrame:
    """One row per listed response: its place in the list, its level (lower is better), whether it went unranked."""
    low, high = pl.col("ranks").list.min(), pl.col("ranks").list.max()
    kind = pl.col("kind") if "kind" in usable.columns else pl.lit(None, dtype=pl.String)
    order = "shown_order" in usable.columns
    long = (
        usable.select(
            "__list",
            "responses",
            "ranks",
            pl.int_ranges(pl.col("responses").list.len()).alias("place"),
            pl.when((kind == "best_worst") & (low < high)).then((low + high) / 2).otherwise(float("inf")).alias("else"),
            *(
                [
                    pl.when(pl.col("shown_order").list.len() == pl.col("responses").list.len())
                    .then("shown_order")
                    .otherwise(pl.lit(None, dtype=pl.Int32).repeat_by(pl.col("responses").list.len()))
                    .alias("shown")
                ]
                if order
                else []
            ),
        )
        .filter(pl.col("responses").list.len() > 0)
        .explode("responses", "ranks", "place", *(["shown"] if order else []))
    )
    if not order:
        long = long.with_columns(shown=pl.lit(None, dtype=pl.Int32))
    long = long.with_columns(
        null=pl.col("ranks").is_null(), level=pl.coalesce(pl.col("ranks").cast(pl.Float64), "else")
    )
    return long.filter(~pl.col("null")) if unranked == "out" else long


def _comparisons(usable: pl.DataFrame, pairs: pl.DataFrame, taken: pl.Series) -> pl.DataFrame:
    """Rows of comparisons; every column of the ranking that is not about its list goes with each of its pairs."""
    carried = usable.drop("responses", "ranks", "__whole", *({"kind", "shown_order"} & set(usable.columns)))
    if "presentation_id" not in carried.columns:
        carried = carried.with_columns(presentation_id=pl.lit(None, dtype=pl.String))
    place = [(pl.col(side) + 1).cast(pl.String) for side in ("place", "place_b")]
    own = pl.concat_str(pl.col("ranking_id"), pl.lit(":"), place[0], pl.lit("-"), place[1])
    first = pl.when(pl.col("shown") < pl.col("shown_b")).then(pl.lit("a")).when(pl.col("shown") > pl.col("shown_b"))
    outcome = (
        pl.when(pl.col("level") < pl.col("level_b"))
        .then(pl.lit("a"))
        .when(pl.col("level") > pl.col("level_b"))
        .then(pl.lit("b"))
        .otherwise(pl.lit("tie"))
    )
    made = (
        pairs.join(carried, on="__list", how="left", maintain_order="left")
        .with_columns(
            comparison_id=own,
            response_a=pl.col("responses"),
            response_b=pl.col("responses_b"),
            outcome=outcome,
            shown_first=first.then(pl.lit("b")),
            presentation_id=pl.coalesce("presentation_id", pl.lit("ranking:") + pl.col("ranking_id")),
        )
        .select("comparison_id", "response_a", "response_b", "outcome", "shown_first", *carried.columns)
    )
    return made.with_columns(fresh_ids(made["comparison_id"], taken))


# -- pairs to rankings -------------------------------------------------------------------------------------------------


def pairs_to_rankings(data: PreferenceData, *, at_least: int = 3) -> PreferenceData:
    """Replace comparisons by a ranking wherever one annotator's comparisons of one prompt's responses make one.

    They do if every pair of the K responses was judged exactly once (K >= `at_least`), under one criterion, context,
    protocol, weight and count, each a win or a tie, and no answer contradicts another. Without annotator_id, or without
    prompt, the showing (presentation_id) takes its place. All other comparisons stay, counted by reason; strengths and
    free text of those that leave have no place in a ranking and are counted, too.
    """
    counts: Counter[str] = Counter()
    frame = attach(data, "comparisons", {"__prompt": "prompt_id"}).with_row_index("__row").collect()
    columns = ("annotator_id", "criterion_id", "context", "protocol", "presentation_id", "weight", "count", "outcome")
    shared = data.select("comparisons", columns).rename(lambda name: f"__{name}").collect()
    frame = frame.hstack(plain(shared))
    who = pl.coalesce(pl.lit("a") + pl.col("__annotator_id"), pl.lit("p") + pl.col("__presentation_id"))
    where = pl.coalesce(pl.lit("q") + pl.col("__prompt"), pl.lit("p") + pl.col("__presentation_id"))
    same = [f"__{name}" for name in ("criterion_id", "context", "protocol")]
    keyed = frame.with_columns(who.alias("__who"), where.alias("__where"))
    known = keyed.filter(pl.col("__who").is_not_null() & pl.col("__where").is_not_null())
    counts["comparisons of unknown annotator or prompt left"] = frame.height - known.height
    known = known.with_columns(
        pl.struct("__who", "__where", *same).rank("dense").alias("__group"),
        pl.min_horizontal("response_a", "response_b").alias("__low"),
        pl.max_horizontal("response_a", "response_b").alias("__high"),
    )
    state = known.join(_state(known, at_least), on="__group", how="left", maintain_order="left")
    for reason in ("too few", "incomplete", "repeated", "skipped or unjudged", "weights differ", "contradictory"):
        counts[f"comparisons left ({reason})"] = int((state["reason"] == reason).sum())
    used = state.filter(pl.col("reason").is_null())
    rankings = _rankings(used, data)
    counts["comparisons used"] = used.height
    counts["rankings made"] = rankings.height
    for lost in ("strength", "rationale", "raw", "confidence"):
        if lost in used.columns:
            counts[f"{lost} values without place"] = used.height - used[lost].null_count()
    rest = data.comparisons.with_row_index("__row").join(used.select("__row"), on="__row", how="anti")
    return data.replace(
        sentence("pairs to rankings", counts),
        comparisons=rest.sort("__row").drop("__row"),
        rankings=pl.concat([plain(data.rankings), rankings], how="diagonal_relaxed"),
    )


def _state(known: pl.DataFrame, at_least: int) -> pl.DataFrame:
    """Per group: why it makes no ranking, or null."""
    items = pl.concat_list("response_a", "response_b").explode().n_unique()
    strict = pl.col("__outcome").is_in(["a", "b", "tie"]).fill_null(False)
    groups = known.group_by("__group").agg(
        items.alias("k"),
        pl.len().alias("n"),
        pl.struct("__low", "__high").n_unique().alias("distinct"),
        strict.all().alias("answered"),
        (pl.struct("__weight", "__count").n_unique() == 1).alias("even"),
    )
    score = _scores(known)
    level = known.join(score, left_on=["__group", "response_a"], right_on=["__group", "item"], how="left").join(
        score, left_on=["__group", "response_b"], right_on=["__group", "item"], how="left", suffix="_b"
    )
    wins = (pl.col("score") - pl.col("score_b")).sign()  # a weak order exists iff it is the order of the scores
    meant = pl.col("__outcome").replace_strict({"a": 1.0, "b": -1.0, "tie": 0.0}, default=None)
    order = level.group_by("__group").agg((wins == meant).fill_null(False).all().alias("ordered"))
    reason = (
        pl.when(pl.col("k") < at_least)
        .then(pl.lit("too few"))
        .when(pl.col("distinct") < pl.col("n"))
        .then(pl.lit("repeated"))
        .when(pl.col("n") < pl.col("k") * (pl.col("k") - 1) // 2)
        .then(pl.lit("incomplete"))
        .when(~pl.col("answered"))
        .then(pl.lit("skipped or unjudged"))
        .when(~pl.col("even"))
        .then(pl.lit("weights differ"))
        .when(~pl.col("ordered"))
        .then(pl.lit("contradictory"))
    )
    return groups.join(order, on="__group", how="left").select("__group", reason.alias("reason"))


def _scores(known: pl.DataFrame) -> pl.DataFrame:
    """Wins plus half the ties of every response in its group."""
    half = pl.col("__outcome").replace_strict({"a": 1.0, "b": 0.0, "tie": 0.5}, default=None)
    return (
        pl.concat(
            [
                known.select("__group", pl.col("response_a").alias("item"), half.alias("score")),
                known.select("__group", pl.col("response_b").alias("item"), (1 - half).alias("score")),
            ]
        )
        .group_by("__group", "item")
        .agg(pl.col("score").sum())
    )


def _rankings(used: pl.DataFrame, data: PreferenceData) -> pl.DataFrame:
    """One ranking per group; columns that are the same in all its comparisons go with it."""
    score = _scores(used).with_columns(
        pl.col("score").rank("min", descending=True).over("__group").cast(pl.Int32).alias("rank")
    )
    lists = (
        score.sort("__group", "rank", "item")
        .group_by("__group", maintain_order=True)
        .agg(pl.col("item").alias("responses"), pl.col("rank").alias("ranks"))
    )
    gone = {"comparison_id", "response_a", "response_b", "outcome", "strength", "probability", "probability_tie"}
    gone |= {"shown_first", "exposure_a_s", "exposure_b_s", "rationale", "raw", "confidence", "duration_s", "time"}
    carried = [c for c in used.columns if not c.startswith("__") and c not in gone | {"reason"}]
    same = (
        plain(used)
        .group_by("__group", maintain_order=True)
        .agg(
            pl.col("comparison_id").first(),
            *(pl.when(pl.col(c).n_unique() == 1).then(pl.col(c).first()).alias(c) for c in carried),
            *([pl.col("time").max()] if "time" in used.columns else []),
            *([pl.col("duration_s").sum()] if "duration_s" in used.columns else []),
        )
    )
    if "ranking_id" in carried:  # pairs that came from rankings become them again
        again = pl.when(pl.len().over("ranking_id") == 1).then("ranking_id")
        same = same.with_columns(ranking_id=pl.coalesce(again, "comparison_id"))
    else:
        same = same.with_columns(ranking_id=pl.col("comparison_id"))
    taken = data.rankings["ranking_id"]
    return (
        same.with_columns(fresh_ids(same["ranking_id"], taken), kind=pl.lit("full"))
        .join(lists, on="__group", how="left", maintain_order="left")
        .drop("__group", "comparison_id")
    )
