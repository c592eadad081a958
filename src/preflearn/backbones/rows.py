"""Which rows are to be encoded, and what stands in them: digests of texts and the messages themselves.

Nothing is rendered before it is needed: rows are told apart by digest, and messages are fetched for the distinct ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from preflearn.backbones.types import Mask
from preflearn.data.arrays import Ints, places
from preflearn.data.ids import content_id, digest
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError

Of = Literal["response", "prompt+response"]
Messages = list[dict[str, Any]]


def all_rows(data: PreferenceData, needed: Mask | None) -> Mask:
    """[R] `needed`, checked; all rows when it is None.

    Raises:
        InputError: it has another length than `data.responses`.
    """
    height = data.height("responses")
    if needed is None:
        return np.ones(height, dtype=np.bool_)
    mask = np.asarray(needed, dtype=np.bool_)
    if mask.shape != (height,):
        raise InputError(f"`needed` has the shape {mask.shape}, and there are {height:,} responses.")
    return mask


def prompts_of(data: PreferenceData, wanted: Mask) -> Mask:
    """[P] the prompts that the wanted responses answer."""
    out = np.zeros(data.height("prompts"), dtype=np.bool_)
    found = _prompt_rows(data)[wanted]
    out[found[found >= 0]] = True
    return out


class Conversation(NamedTuple):
    """What one vector is made from."""

    name: str
    """Which row this is, for messages: "response 'r1'"."""
    prompt: Messages
    """Empty when there is none."""
    response: Messages
    """Empty when the prompt alone is encoded."""
    continues: bool
    """The response continues the last message of the prompt."""


@dataclass(frozen=True)
class Inputs:
    """Rows to be encoded and how to fetch what stands in them."""

    data: PreferenceData
    table: Literal["responses", "prompts"]
    rows: Ints
    """[n] rows of the table."""
    prompt_rows: Ints
    """[n] rows of prompts that belong to them; -1: none, or not to be read."""
    keys: pl.Series
    """[n] digests (hex): equal for equal input."""

    def conversations(self, chosen: Ints) -> list[Conversation]:
        """The messages of the chosen ones (positions in `rows`)."""
        asked = self.prompt_rows[chosen]
        prompts = self.data.select("prompts", ["messages", "continues"]).collect()
        taken = prompts[np.maximum(asked, 0)] if prompts.height else prompts.clear(len(chosen))
        before = taken["messages"].to_list()
        continues = taken["continues"].fill_null(False).to_list()
        own: list[Any] = [None] * len(chosen)
        key = "prompt_id"
        if self.table == "responses":
            key = "response_id"
            own = self.data.responses["messages"].gather(self.rows[chosen]).to_list()
        ids = self.data.table(self.table)[key].gather(self.rows[chosen]).to_list()
        return [
            Conversation(
                f"{key.removesuffix('_id')} {name!r}", (prompt or []) if row >= 0 else [], response or [], flag
            )
            for name, prompt, response, flag, row in zip(ids, before, own, continues, asked.tolist(), strict=True)
        ]


def response_inputs(data: PreferenceData, wanted: Mask, of: Of) -> Inputs:
    """The wanted responses, with or without the prompts they answer.

    Raises:
        InputError: a response (or, where it is read, its prompt) has no text; the first is named.
    """
    rows = np.flatnonzero(wanted)
    contents = _contents(
        data, "responses", rows, "Record the texts (`messages`), or encode stored embeddings or columns."
    )
    if of == "response":
        return Inputs(data, "responses", rows, np.full(rows.size, -1), contents)
    asked = _prompt_rows(data)[rows]
    lost = (asked < 0) & data.select("responses", ["prompt_id"]).collect()["prompt_id"].is_not_null().to_numpy()[rows]
    if lost.any():
        row = int(rows[lost.argmax()])
        raise InputError(
            "a response refers to a prompt that is not in the table of prompts.",
            row=row,
            column="responses.prompt_id",
            value=data.responses["prompt_id"][row],
            cure="Record the prompts, or encode responses alone (of: response).",
        )
    distinct, inverse = np.unique(asked, return_inverse=True)
    present = distinct[distinct >= 0]
    questions = _contents(data, "prompts", present, "Record their texts, or encode responses alone (of: response).")
    continues = data.select("prompts", ["continues"]).collect()["continues"].fill_null(False)
    flags = continues.gather(present).cast(pl.Int8).cast(pl.String)
    both = pl.DataFrame({"q": questions, "f": flags}).select(pl.concat_str("q", "f")).to_series()
    if present.size < distinct.size:
        both = pl.concat([pl.Series([""], dtype=pl.String), both.rechunk()])
    joined = pl.DataFrame({"q": both.gather(inverse), "r": contents}).select(pl.concat_str("q", "r", separator=" "))
    return Inputs(data, "responses", rows, asked, digest(joined.to_series()))


def prompt_inputs(data: PreferenceData, wanted: Mask) -> Inputs:
    """The prompts that the wanted responses answer, by themselves.

    Raises:
        InputError: a prompt has no text; the first is named.
    """
    rows = np.flatnonzero(prompts_of(data, wanted))
    contents = _contents(data, "prompts", rows, "Record their texts, or choose a model that does not read prompts.")
    # A prompt by itself is another input than a response of the same words.
    return Inputs(data, "prompts", rows, rows, digest(contents, before="prompt "))


def text_of(messages: pl.Expr) -> pl.Expr:
    """The text of a list of messages: contents one per line; null where there are none."""
    return messages.list.eval(pl.element().struct.field("content")).list.join("\n", ignore_nulls=True)


def _prompt_rows(data: PreferenceData) -> Ints:
    asked = data.select("responses", ["prompt_id"]).collect()["prompt_id"]
    return places(asked, data.prompts["prompt_id"])


def _contents(data: PreferenceData, table: Literal["responses", "prompts"], rows: Ints, cure: str) -> pl.Series:
    """Digests of the messages of some rows, given in order of the table."""
    messages = data.select(table, ["messages"]).collect()["messages"]
    if rows.size < messages.len():
        chosen = np.zeros(messages.len(), dtype=np.bool_)
        chosen[rows] = True
        messages = messages.filter(pl.Series(chosen))
    has_text = pl.col("messages").list.eval(pl.element().struct.field("content").is_not_null()).list.any()
    silent = ~messages.to_frame("messages").select(has_text.fill_null(False)).to_series().to_numpy()
    if silent.any():
        key = f"{table.removesuffix('s')}_id"
        row = int(rows[silent.argmax()])
        name = data.table(table)[key][row]
        raise InputError(
            f"{silent.sum():,} of {rows.size:,} needed {table} have no text; the first is {name!r}.",
            row=row,
            column=f"{table}.messages",
            cure=cure,
        )
    return content_id(messages)
