"""Judgments as tensors: what is asked (features of both sides), of whom, and what was answered.

A `Batch` is all of a data set or a few units of it; nothing in it knows how a model will use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
ATTRIBUTES = "annotator_attributes"
"""Where `Who.columns` has the attributes of the annotator of each judgment [n, p], also of strangers; zeros = none."""


@dataclass(frozen=True, eq=False)
class Who:
    """Of whom and about what a judgment was asked; one row per judgment, -1 = not recorded or not known to the model.

    Attributes:
        annotator: place in the model's annotators, [n].
        prompt: row of `Batch.prompts`, [n].
        columns: what parts asked for besides: codes [n] (int64, -1 unknown) or numbers [n] or [n, p].
    """

    annotator: Tensor
    prompt: Tensor
    columns: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.annotator.shape[0])


@dataclass(frozen=True, eq=False)
class Pairs:
    """Comparisons.

    Attributes:
        who: [n].
        a, b: rows of `Batch.x`, [n].
        target: distribution over the outcomes of the link, [n, K]; zeros where nothing was answered.
        strength: recorded steps by which the winner is better, [n]; 1 where not recorded.
        weight: count times importance, [n].
        position: +1 a shown first, -1 b, 0 not recorded, [n].
        controls: nuisance differences a minus b, [n, p].
    """

    who: Who
    a: Tensor
    b: Tensor
    target: Tensor
    strength: Tensor
    weight: Tensor
    position: Tensor
    controls: Tensor

    def __len__(self) -> int:
        return int(self.a.shape[0])


@dataclass(frozen=True, eq=False)
class Lists:
    """Rankings, padded to the longest.

    Attributes:
        who: [n].
        items: rows of `Batch.x`, [n, K]; padding 0.
        mask: True where there is an item, [n, K].
        ranks: 1 = best, equal = tied, 0 = shown but not ranked, [n, K].
        weight: [n].
    """

    who: Who
    items: Tensor
    mask: Tensor
    ranks: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return int(self.weight.shape[0])


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings of one response each.

    Attributes:
        who: [n]; the criterion is `who.columns["criterion"]`.
        item: rows of `Batch.x`, [n].
        value: on the criterion's scale, [n]; NaN = none.
        label: place among the labels of the outcome, [n]; -1 = none.
        spread: standard deviation among the people behind a mean, [n]; NaN = not recorded.
        weight: [n].
    """

    who: Who
    item: Tensor
    value: Tensor
    label: Tensor
    spread: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return int(self.weight.shape[0])


@dataclass(frozen=True, eq=False)
class Batch:
    """Judgments and the features they refer to.

    Attributes:
        x: features of responses, [R, d].
        scale: by which `x` is still to be divided, [d]: linear fits over differences do that by themselves and spare a
            copy of all features; None everywhere else.
        prompts: features of prompts, [P, d'], where a part needs them.
        contexts: features of the contexts of judgments, [G, d''], where a part needs them; `who.columns["context_row"]`
            points into them.
        attributes: of the annotators known to the model, [U, p], where a part needs them.
    """

    x: Tensor
    scale: Tensor | None = None
    prompts: Tensor | None = None
    contexts: Tensor | None = None
    attributes: Tensor | None = None
    pairs: Pairs | None = None
    lists: Lists | None = None
    ratings: Ratings | None = None

    def __len__(self) -> int:
        return sum(len(part) for part in (self.pairs, self.lists, self.ratings) if part is not None)

    def judgments(self) -> list[Pairs | Lists | Ratings]:
        """The kinds of judgments there are."""
        return [part for part in (self.pairs, self.lists, self.ratings) if part is not None]

    def to(self, target: torch.dtype | torch.device) -> Batch:
        """Floating tensors in another dtype, or everything on another device."""
        result: Batch = _mapped(
            self, lambda t: t.to(target) if isinstance(target, torch.device) or t.is_floating_point() else t
        )
        return result

    def only(self, **rows: Tensor) -> Batch:
        """Some judgments (`pairs=index`, ...; kinds not named are left out); features stay whole."""
        chosen: dict[str, Any] = dict.fromkeys(("pairs", "lists", "ratings"))
        for name, index in rows.items():
            chosen[name] = taken(getattr(self, name), index)
        return replace(self, **chosen)

    def used(self) -> Tensor:
        """Rows of `x` that the judgments refer to, ascending."""
        rows: Tensor = torch.unique(torch.cat([_items(part) for part in self.judgments()]))
        return rows

    def compact(self) -> Batch:
        """The same judgments with only the responses they refer to: for encoders that run inside the loss."""
        used = self.used()
        place = torch.full((self.x.shape[0],), -1, dtype=torch.int64, device=used.device)
        place[used] = torch.arange(len(used), device=used.device)
        pairs, lists, ratings = self.pairs, self.lists, self.ratings
        return replace(
            self,
            x=self.x[used],
            pairs=None if pairs is None else replace(pairs, a=place[pairs.a], b=place[pairs.b]),
            lists=None if lists is None else replace(lists, items=place[lists.items].clamp(min=0)),
            ratings=None if ratings is None else replace(ratings, item=place[ratings.item]),
        )


def _items(part: Pairs | Lists | Ratings) -> Tensor:
    if isinstance(part, Pairs):
        return torch.cat([part.a, part.b])
    return part.items[part.mask] if isinstance(part, Lists) else part.item


def taken(part: T, index: Tensor) -> T:
    """Rows of a kind of judgments (or of its `Who`)."""
    result: T = _mapped(part, lambda tensor: tensor[index])
    return result


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(inner, change) for key, inner in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _mapped(getattr(value, f.name), change) for f in fields(value)})
    return value
