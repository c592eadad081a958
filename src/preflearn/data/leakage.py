"""What two data sets share that a model could learn in one and be credited for in the other."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import polars as pl

from preflearn.data.fingerprints import prompt_contents, response_contents, row_fingerprints
from preflearn.data.schema import JUDGMENTS, TABLES
from preflearn.data.tables import PreferenceData


@dataclass(frozen=True, slots=True)
class Leakage:
    """Counts of what both data sets hold."""

    judgments: int
    """Comparisons that are the same judgment whatever their id, plus ratings and rankings of equal id."""
    presentations: int
    prompts: int
    """Equal ids (which data sets of different origin may use for different things)."""
    prompt_contents: int
    """Equal texts, whatever the id."""
    conversations: int
    responses: int
    """Ids of responses that are more than the name of a system."""
    response_contents: int
    """Equal contents, whatever the id."""
    annotators: int
    not_later: int
    """Judgments of `test` that are not later than the last of `train`."""

    def as_dict(self) -> dict[str, int]:
        """Plain data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """What is shared, as short lines for people; empty if nothing is."""
        return [f"{count:,} {name.replace('_', ' ')} in both" for name, count in self.as_dict().items() if count]


def leakage(train: PreferenceData, test: PreferenceData) -> Leakage:
    """Count what `train` and `test` share. Which of it matters depends on what is to generalise.

    To new prompts: prompts, prompt contents (and responses). To new texts: response contents. To new people:
    annotators. To the future: not_later. Named systems without content may be shared by design and are not counted.
    """
    sets = (train, test)
    hashes = [_column(response_contents(d)["content"]) for d in sets]
    known = [_content_ids(d) for d in sets]
    votes = [pl.DataFrame({"key": row_fingerprints(d)}) for d in sets]
    same = _shared(*votes) + sum(_shared(*(_keys(d, name, TABLES[name].key) for d in sets)) for name in JUDGMENTS[1:])
    return Leakage(
        judgments=same,
        presentations=_shared(*(pl.concat([_keys(d, name, "presentation_id") for name in JUDGMENTS]) for d in sets)),
        prompts=_shared(*(_keys(d, "prompts", "prompt_id") for d in sets)),
        prompt_contents=_shared(*(_column(prompt_contents(d)["asked"]) for d in sets)),
        conversations=_shared(*(_keys(d, "prompts", "conversation_id") for d in sets)),
        responses=_shared(*known),
        response_contents=_shared(*hashes),
        annotators=_shared(*(pl.concat([_keys(d, name, "annotator_id") for name in JUDGMENTS]) for d in sets)),
        not_later=_not_later(train, test),
    )


def _column(values: pl.Series) -> pl.DataFrame:
    return values.cast(pl.String).alias("key").to_frame()


def _keys(data: PreferenceData, table: str, column: str) -> pl.DataFrame:
    return data.select(table, [column]).select(pl.col(column).cast(pl.String).alias("key")).unique().collect()


def _content_ids(data: PreferenceData) -> pl.DataFrame:
    """Ids of responses with content, or at least a prompt."""
    with_prompt = data.select("responses", ["response_id", "prompt_id"]).drop_nulls("prompt_id").collect()
    return pl.concat([_column(response_contents(data)["id"]), _column(with_prompt["response_id"])])


def _shared(left: pl.DataFrame, right: pl.DataFrame) -> int:
    return left.drop_nulls().unique().join(right.drop_nulls().unique(), on="key", how="semi").height


def _not_later(train: PreferenceData, test: PreferenceData) -> int:
    def times(data: PreferenceData) -> pl.Series:
        frames = [data.select(name, ["time"]) for name in JUDGMENTS]
        return pl.concat(frames).drop_nulls().collect()["time"]

    last = times(train).max()
    return 0 if last is None else int((times(test) <= last).sum())
