"""What must stay together in a split: connected components of prompts and responses.

Two nodes are joined when content passes between them: a response and its prompt, a part and its whole, equal texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from preflearn.data.arrays import Ints, exploded, lengths, places
from preflearn.data.fingerprints import prompt_contents, response_contents
from preflearn.data.tables import PreferenceData

Level = Literal["response", "conversation", "prompt", "single prompt"]
LEVELS: tuple[Level, ...] = ("response", "conversation", "prompt", "single prompt")
"""From the strictest to the loosest; each joins what the next joins, and more.

- response: equal response contents, too.
- conversation: all turns of a conversation, and a response with the prompt that followed it, too.
- prompt: responses that are judged together (in one showing), with their prompts, too.
- single prompt: a response with its prompt, a part with its whole, an edit with its source, prompts of equal text.
"""
JUDGED = ("comparisons", "ratings", "rankings", "signals")
_TOUCHES: dict[str, tuple[str, ...]] = {
    "comparisons": ("response_a", "response_b"),
    "ratings": ("response_id",),
    "rankings": ("responses",),
    "signals": ("response_id",),
}


@dataclass(frozen=True, eq=False)
class Touches:
    """Which nodes the rows of one judgment table concern: its prompts and responses, or, without any, its showing."""

    owner: Ints
    """[m] row of the table, each at least once."""
    node: Ints
    """[m]"""
    showing: Ints
    """[rows] node of the showing that each row belongs to."""


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes, in this order: the prompts of a data set (completed), its responses, and its showings."""

    data: PreferenceData
    content: npt.NDArray[np.bool_]
    """[responses] whether a response is more than a name; a bare name (a system) may stand in every part."""
    touches: dict[str, Touches]
    n_nodes: int

    @property
    def n_prompts(self) -> int:
        """Nodes before the first response."""
        return self.data.prompts.height


def graph(data: PreferenceData) -> Graph:
    """Read a data set as a graph; `data` is completed first, so rows beyond its own are names only."""
    full = data.completed()
    responses = full.responses
    known = places(responses["response_id"], response_contents(full)["id"]) >= 0
    for column in ("prompt_id", "members", "part_of", "derived_from"):
        if column in responses.columns:
            known |= responses[column].is_not_null().to_numpy()
    showings, n_showings = _showings(full)
    start = full.prompts.height + full.responses.height
    touches = {name: _touch(full, name, known, showings[name] + start) for name in JUDGED}
    return Graph(full, known, touches, start + n_showings)


def components(whole: Graph, level: Level) -> Ints:
    """[nodes] label of the connected component of every node, from 0, at this level."""
    edges = [_structure(whole), _equal_texts(whole)]
    depth = LEVELS.index(level)
    if depth <= LEVELS.index("prompt"):
        edges += [np.column_stack([t.showing[t.owner], t.node]) for t in whole.touches.values()]
    if depth <= LEVELS.index("conversation"):
        edges += [_conversations(whole)]
    if depth <= LEVELS.index("response"):
        edges += [_equal_contents(whole)]
    pairs = np.concatenate(edges)
    n = whole.n_nodes
    matrix = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    labels: Ints = connected_components(matrix.tocsr(), directed=False)[1].astype(np.int64)
    return labels


def occupied(whole: Graph, labels: Ints) -> Ints:
    """Labels of the components that are units: they hold a prompt, a response with content, or a judgment."""
    places_ = np.zeros(whole.n_nodes, dtype=np.bool_)
    places_[: whole.n_prompts] = True
    places_[whole.n_prompts : whole.n_prompts + len(whole.content)] = whole.content
    for touched in whole.touches.values():
        places_[touched.node] = True
    return np.unique(labels[places_])


# -- edges, as [m, 2] node numbers -------------------------------------------------------------------------------------


def _structure(whole: Graph) -> Ints:
    """Response with prompt; part with whole; set with members; edit with source."""
    data, start = whole.data, whole.n_prompts
    ids = data.responses["response_id"]
    frame = data.select("responses", ["prompt_id", "part_of", "derived_from", "members"]).collect()
    me = np.arange(frame.height) + start
    edges = [_edges(me, places(frame["prompt_id"], data.prompts["prompt_id"]))]
    for column in ("part_of", "derived_from"):
        edges.append(_edges(me, places(frame[column], ids), start))
    members = places(exploded(frame["members"]), ids)
    edges.append(_edges(np.repeat(me, lengths(frame["members"])), members, start))
    return np.concatenate(edges)


def _equal_texts(whole: Graph) -> Ints:
    found = prompt_contents(whole.data)
    return _together(places(found["asked"], found["asked"]), places(found["id"], whole.data.prompts["prompt_id"]))


def _equal_contents(whole: Graph) -> Ints:
    data, ids = whole.data, whole.data.responses["response_id"]
    found = response_contents(data)
    by_content = _together(places(found["content"], found["content"]), places(found["id"], ids) + whole.n_prompts)
    hashes = data.select("responses", ["content_hash"]).collect()["content_hash"]
    rows = np.flatnonzero(hashes.is_not_null().to_numpy())
    by_hash = _together(places(hashes.drop_nulls(), hashes.drop_nulls()), rows + whole.n_prompts)
    return np.concatenate([by_content, by_hash])


def _conversations(whole: Graph) -> Ints:
    data = whole.data
    talks = data.select("prompts", ["conversation_id"]).collect()["conversation_id"]
    rows = np.flatnonzero(talks.is_not_null().to_numpy())
    turns = _together(places(talks.drop_nulls(), talks.drop_nulls()), rows)
    signals = data.select("signals", ["response_id", "follow_up_prompt_id"]).collect()
    followed = places(signals["response_id"], data.responses["response_id"])
    nexts = places(signals["follow_up_prompt_id"], data.prompts["prompt_id"])
    kept = (followed >= 0) & (nexts >= 0)
    kept[kept] = whole.content[followed[kept]]
    return np.concatenate([turns, np.column_stack([followed[kept] + whole.n_prompts, nexts[kept]])])


def _edges(source: Ints, target: Ints, start: int = 0) -> Ints:
    """Edges from nodes to rows (-1 = none), whose nodes begin at `start`."""
    kept = target >= 0
    return np.column_stack([source[kept], target[kept] + start])


def _together(group: Ints, node: Ints) -> Ints:
    """Join all nodes of a group through its first."""
    if not len(group):
        return np.empty((0, 2), dtype=np.int64)
    order = np.argsort(group, kind="stable")
    group, node = group[order], node[order]
    same = group[1:] == group[:-1]
    return np.column_stack([node[:-1][same], node[1:][same]])


# -- what judgments touch ----------------------------------------------------------------------------------------------


def _showings(data: PreferenceData) -> tuple[dict[str, Ints], int]:
    """Per judgment table: the number of each row's presentation, or a number of its own; and how many there are."""
    shown = [
        data.select(name, ["presentation_id"]).select(
            pl.lit(name).alias("table"),
            pl.coalesce(
                pl.lit("shown ") + pl.col("presentation_id"),
                pl.lit(f"{name} ") + pl.int_range(pl.len()).cast(pl.String),
            ).alias("showing"),
        )
        for name in JUDGED
    ]
    frame = pl.concat(shown).collect()
    numbers = np.unique(places(frame["showing"], frame["showing"]), return_inverse=True)[1].astype(np.int64)
    edges = np.cumsum([0, *(data.height(name) for name in JUDGED)])
    return {name: numbers[a:b] for name, a, b in zip(JUDGED, edges, edges[1:])}, int(numbers.max(initial=-1)) + 1


def _touch(data: PreferenceData, name: str, content: npt.NDArray[np.bool_], showing: Ints) -> Touches:
    frame = data.select(name, [*_TOUCHES[name], *(["prompt_id"] if name != "signals" else [])]).collect()
    rows = np.arange(frame.height)
    owners, nodes = [], []
    for column in _TOUCHES[name]:
        ids, owner = frame[column], rows
        if name == "rankings":
            ids, owner = exploded(frame[column]), np.repeat(rows, lengths(frame[column]))
        found = places(ids, data.responses["response_id"])
        kept = found >= 0
        kept[kept] = content[found[kept]]
        owners.append(owner[kept])
        nodes.append(found[kept] + data.prompts.height)
    if "prompt_id" in frame.columns:
        found = places(frame["prompt_id"], data.prompts["prompt_id"])
        owners.append(rows[found >= 0])
        nodes.append(found[found >= 0])
    free = np.setdiff1d(rows, np.concatenate(owners))
    return Touches(np.concatenate([*owners, free]), np.concatenate([*nodes, showing[free]]), showing)
