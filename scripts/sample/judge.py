"""Judge the responses of the sample by a *simulated* panel with known tastes, and write the bundled data set.

Nobody was asked: who prefers what is decided below, and kept as the truth beside the data. README.md tells the story.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

import preflearn.ranking as ranking
import preflearn.simulate as simulate
from preflearn.choice import Davidson
from preflearn.data import PreferenceData
from preflearn.data.ids import content_id
from preflearn.errors import InputError, PreflearnError
from preflearn.simulate import Truth

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / "src" / "preflearn" / "data" / "sample"
SEED = 20250303

LOG_TIE = -0.7
POSITION = 0.25
PERSONAL = 0.35
"""Standard deviation of a person's taste around that of the camp, per standard unit of a trait."""

CAMPS: dict[str, dict[str, float]] = {
    "brief": {"long": -0.9, "warm": -0.5, "list": 0.2},
    "friendly": {"long": 0.5, "warm": 0.9, "list": -0.2},
}
"""Tastes in logits per standard unit of a trait of the response."""

POPULATION = simulate.Population(
    annotators=60, groups={"brief": 0.55, "friendly": 0.45}, careless={"random": 3 / 60, "first": 2 / 60}
)


SCENARIO = simulate.Scenario(
    votes=8_000,
    utility=(simulate.Taste(by_level=CAMPS, sd=PERSONAL), simulate.Position(POSITION)),
    population=POPULATION,
    answers=simulate.Answers("davidson", {"log_tie": LOG_TIE}),
    sampling=simulate.Popular({"lists": 1.6, "terse": 1.3, "sober": 0.7}),
    overlap=3,
    retest=0.06,
    start="2025-03-03T08:00:00+00:00",
    days=28,
    record_votes=True,
    seed=SEED,
)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file.

    Raises:
        InputError: unreadable file or line.
    """
    rows = []
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", path=path, cure="Run generate.py first.") from error
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise InputError(f"not JSON ({error.msg}).", path=path, row=number) from error
    return rows


def texts(prompts_path: Path, responses_path: Path) -> PreferenceData:
    """Prompts and responses as tables; responses carry their style counts.

    Raises:
        InputError: a prompt lacks a system's answer, or an answer its prompt.
    """
    prompts, responses = read_rows(prompts_path), read_rows(responses_path)
    systems = sorted({row["system"] for row in responses})
    expected = {(prompt["prompt_id"], system) for prompt in prompts for system in systems}
    found = {(row["prompt_id"], row["system"]) for row in responses}
    if len(found) != len(responses) or found != expected:
        odd = sorted(found ^ expected)[:3]
        raise InputError(
            f"every prompt needs one answer of each of {', '.join(systems)}; not so: {odd}.",
            path=responses_path,
            cure="Run generate.py to the end.",
        )
    facts = [_style_facts(row["text"])._asdict() for row in responses]
    text = pl.Series("text", [row["text"] for row in responses])
    return PreferenceData(
        prompts=pl.DataFrame(
            {
                "prompt_id": [row["prompt_id"] for row in prompts],
                "messages": [row["text"] for row in prompts],
                "language": [row["language"] for row in prompts],
                "category": [row["category"] for row in prompts],
                "source": ["preflearn sample"] * len(prompts),
            }
        ),
        responses=pl.DataFrame(
            {
                "response_id": [row["response_id"] for row in responses],
                "prompt_id": [row["prompt_id"] for row in responses],
                "system": [row["system"] for row in responses],
                "messages": text,
                "content_hash": content_id(text),
                "generation": [json.dumps(row["generation"], sort_keys=True) for row in responses],
                "finish": [row["finish"] for row in responses],
                **{name: [fact[name] for fact in facts] for name in facts[0]},
            }
        ),
    )


def traits(responses: pl.DataFrame) -> pl.DataFrame:
    """What the panel has tastes about, in standard units over all responses: response_id, long, warm, list."""
    warm = pl.col("warmth_words") + pl.col("exclamation_marks")
    raw = responses.select(
        "response_id",
        pl.col("words").log1p().alias("long"),
        (warm / (pl.col("words") + 5)).sqrt().alias("warm"),
        (pl.col("list_items") >= 2).cast(pl.Float64).alias("list"),
    )
    columns = ["long", "warm", "list"]
    return raw.with_columns(((pl.col(columns) - pl.col(columns).mean()) / pl.col(columns).std()).round(6))


def judged(data: PreferenceData) -> tuple[PreferenceData, Truth]:
    """The data with its judgments, and the truth about who made them."""
    measured = traits(data.responses)
    text = pl.col("system").cast(pl.String)
    with_traits = data.responses.with_columns(text).join(measured, on="response_id", maintain_order="left")
    votes = simulate.run(SCENARIO, on=data.replace(responses=with_traits))
    comparisons = votes.comparisons.with_columns(
        pl.lit("overall").alias("criterion_id"),
        pl.lit("pairwise").alias("protocol"),
        _durations(votes, data.responses),
        pl.lit("preflearn sample").alias("source"),
    )
    criteria = pl.DataFrame(
        {
            "criterion_id": ["overall"],
            "name": ["overall preference"],
            "text": ["Which answer do you prefer?"],
            "scale": ["binary"],
            "higher_is_better": [True],
        }
    )
    complete = PreferenceData(
        prompts=data.prompts,
        responses=data.responses,
        annotators=votes.annotators,
        criteria=criteria,
        comparisons=comparisons,
        provenance={
            "simulated": True,
            "note": "Texts by SmolLM2-135M-Instruct. Annotators are simulated, their tastes known: nobody was asked.",
            "made_by": "scripts/sample",
        },
    )
    limits = {camp: leaderboard(data, measured, {camp: 1.0}) for camp in CAMPS}
    shares = {camp: share / sum(POPULATION.groups.values()) for camp, share in POPULATION.groups.items()}
    strengths = pl.concat(
        table.select(pl.lit(camp).alias("level"), pl.lit(shares[camp]).alias("share"), "system", "strength")
        for camp, table in limits.items()
    )
    pooled = leaderboard(data, measured, shares)
    tables = {**votes.truth.tables, "strengths": strengths, "pooled": pooled, "traits": measured}
    return complete, Truth(votes.truth.scenario, tables)


def leaderboard(data: PreferenceData, measured: pl.DataFrame, shares: dict[str, float]) -> pl.DataFrame:
    """Davidson strengths (system, strength; mean 0) that infinitely many attentive votes of these camps would give,
    all pairs asked equally often and neither side shown first."""
    ordered = data.responses.select("response_id", "prompt_id", pl.col("system").cast(pl.String)).join(
        measured, on="response_id", maintain_order="left"
    )
    pairs = ordered.join(ordered, on="prompt_id", suffix="_b").filter(pl.col("system") < pl.col("system_b"))
    names = ["long", "warm", "list"]
    difference = pairs.select(names).to_numpy() - pairs.select(f"{name}_b" for name in names).to_numpy()
    node, weight = np.polynomial.hermite_e.hermegauss(30)
    spread = PERSONAL * np.linalg.norm(difference, axis=1)
    link = Davidson()
    probability: npt.NDArray[np.float64] = np.zeros((pairs.height, 3))
    for camp, share in shares.items():
        mean = difference @ np.array([CAMPS[camp][name] for name in names])
        chances = np.exp(np.asarray(link.log_probs(mean[:, None] + spread[:, None] * node, [LOG_TIE])))
        probability += share * np.einsum("nqk,q->nk", chances, weight / weight.sum())
    rows = [
        pairs.select(
            pl.col("response_id").alias("response_a"), pl.col("response_id_b").alias("response_b")
        ).with_columns(pl.lit(outcome).alias("outcome"), pl.Series("weight", probability[:, k]))
        for k, outcome in enumerate(link.outcomes)
    ]
    expected = pl.concat(rows).with_row_index("n").with_columns(pl.format("e{}", "n").alias("comparison_id")).drop("n")
    model = ranking.Davidson(cluster=None).fit(data.replace(comparisons=expected))
    limit = pl.DataFrame({"system": model.items_, "strength": model.strengths_})
    # Rounded, so that sums taken in another order do not change the stored file.
    return limit.with_columns(pl.col("strength").round(6)).sort("strength", descending=True)


def _durations(votes: simulate.Simulation, responses: pl.DataFrame) -> pl.Series:
    """Seconds per vote: reading time of both answers, a moment for those who do not read; log-normal, in tenths."""
    words = dict(responses.select("response_id", "words").iter_rows())
    read = sum(
        votes.comparisons[side].replace_strict(words, return_dtype=pl.Float64).to_numpy()
        for side in ("response_a", "response_b")
    )
    careless = (votes.truth.table("votes")["careless"] != "attentive").to_numpy()
    generator = np.random.default_rng([SEED, 1])
    seconds = np.where(careless, 3.0, 4.0 + 0.25 * read) * np.exp(0.4 * generator.standard_normal(len(careless)))
    return pl.Series("duration_s", np.round(seconds, 1))


def _style_facts(text: str) -> Any:
    return _features().style_facts(text)


def _features() -> Any:
    # Loaded by path: these scripts are no package, and may be run from anywhere.
    if "sample_features" not in sys.modules:
        spec = importlib.util.spec_from_file_location("sample_features", HERE / "features.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules["sample_features"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["sample_features"])
    return sys.modules["sample_features"]


def summary(data: PreferenceData, truth: Truth) -> list[str]:
    """What the sample shows, as lines: the usual leaderboard, the camps, and the truth."""
    usual = ranking.BradleyTerry(cluster=None).fit(data).leaderboard()
    honest = ranking.Davidson(position=True, cluster="annotator_id").fit(data).leaderboard()
    by_camp = ranking.rank_by(data, "annotators.group", "davidson", position=True, cluster="annotator_id")
    lines = [f"{data!r}"]
    lines.append("usual (pooled, ties half, votes independent): " + _places(usual))
    lines.append("pooled, clustered:                            " + _places(honest))
    for camp, board in by_camp.items():
        if isinstance(board, InputError):
            raise board
        lines.append(f"{camp}: {_places(board)}")
        known = truth.strengths(camp)
        inside = sum(s.low <= known[s.item] <= s.high for s in board.items if s.low is not None and s.high is not None)
        lines.append(f"  truth: {'  '.join(f'{name} {known[name]:+.2f}' for name in known)}; {inside} of 6 in interval")
    return lines


def _places(board: ranking.Leaderboard) -> str:
    return "  ".join(f"{s.item} {s.strength:+.2f}±{s.se:.2f}" for s in board.items if s.se is not None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 = written, 2 = bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=Path, default=HERE / "prompts.jsonl", help="default: %(default)s")
    parser.add_argument("--responses", type=Path, default=HERE / "responses.jsonl", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=OUT, help="data-set directory; default: %(default)s")
    chosen = parser.parse_args(arguments)
    try:
        data, truth = judged(texts(chosen.prompts, chosen.responses))
        data.save(chosen.out, force=True)
        truth.save(chosen.out)
    except PreflearnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(summary(data, truth)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
