"""Which judgments to keep aside: whole prompts, or whole annotators, so that what is learned by heart does not help."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from preflearn.models.batch import Batch, Lists, Pairs

KINDS = ("pairs", "lists", "ratings")


def folds(batch: Batch, count: int, seed: int) -> dict[str, Tensor]:
    """Fold 0 .. count - 1 of every judgment, by kind ("pairs", "lists", "ratings"): [n] each.

    Responses that were ever judged together share a fold; with comparisons within prompts these are prompts. Where
    most judgments hang together (everything was compared with everything), single judgments are dealt out instead.
    """
    random = np.random.default_rng([seed, 104_729])
    kinds = {kind: rows for kind in KINDS if (rows := getattr(batch, kind)) is not None}
    edges = [_edges(rows) for rows in kinds.values()]
    tails, heads = (np.concatenate([pair[side].cpu().numpy() for pair in edges]) for side in (0, 1))
    size = batch.x.shape[0]
    graph = coo_matrix((np.ones(len(tails), np.int8), (tails, heads)), shape=(size, size))
    together, component = connected_components(graph, directed=False)
    fold = random.permutation(together) % count
    found = {kind: component[_first(rows).cpu().numpy()] for kind, rows in kinds.items()}
    sizes = np.bincount(np.concatenate(list(found.values())), minlength=together)
    if sizes.max() > sizes.sum() / 2:
        return {kind: torch.from_numpy(random.permutation(len(codes)) % count) for kind, codes in found.items()}
    return {kind: torch.from_numpy(fold[codes]) for kind, codes in found.items()}


def unit_folds(batch: Batch, unit: Mapping[str, Tensor], count: int, seed: int) -> dict[str, Tensor]:
    """Fold of every judgment by kind, all judgments of one unit in the same; those of nobody (-1) one by one.

    Args:
        batch: the judgments.
        unit: codes by kind, [n] each.
        count: number of folds.
        seed: of the deal.
    """
    random = np.random.default_rng([seed, 104_723])
    codes = torch.cat(list(unit.values()))
    deal = random.permutation(int(codes.max()) + 1 if len(codes) else 0) % count
    return {
        kind: torch.from_numpy(
            np.where(one < 0, random.permutation(len(one)) % count, deal[np.maximum(one, 0)] if len(deal) else 0)
        )
        for kind, one in ((kind, each.cpu().numpy()) for kind, each in unit.items())
    }


def where(batch: Batch, chosen: Mapping[str, Tensor]) -> Batch:
    """The judgments for which `chosen` (by kind, [n] of bool) is true; kinds of which none is left are left out."""
    index = {kind: torch.nonzero(mask)[:, 0] for kind, mask in chosen.items() if bool(mask.any())}
    return batch.only(**index)


def _edges(rows: object) -> tuple[Tensor, Tensor]:
    if isinstance(rows, Pairs):
        return rows.a, rows.b
    if isinstance(rows, Lists):
        first = rows.items[:, :1].expand_as(rows.items)
        return first[rows.mask], rows.items[rows.mask]
    item: Tensor = rows.item  # type: ignore[attr-defined]
    return item, item


def _first(rows: object) -> Tensor:
    return _edges(rows)[0] if not isinstance(rows, Lists) else rows.items[:, 0]
