"""Catalogue of preference models over content: what each is, who proposed it, how it is proved."""

from __future__ import annotations

from preflearn.registry import Method, register

_RECIPES = "preflearn.models.recipes"

register(
    Method(
        key="reward_model",
        title="Bradley-Terry reward model: one utility for everyone",
        authors="Christiano, Leike, Brown, Martic, Legg, Amodei",
        year=2017,
        reference="arXiv 1706.03741",
        family="model",
        formula="P(a beats b) = sigma(r(a) - r(b))",
        recipe=f"{_RECIPES}.bradley_terry:bradley_terry",
        proof=None,
    )
)
