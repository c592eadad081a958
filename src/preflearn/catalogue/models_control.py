"""Catalogue of models of trajectories and policies, and of recorded criteria in order."""

from __future__ import annotations

from preflearn.registry import Method, register

_RECIPES = "preflearn.models.recipes"
_PROOFS = "preflearn.experiments.preferences"
_PARTS = ("preflearn.models", "preflearn.choice", "preflearn.simulate", "preflearn.experiments.preferences.studies")

register(
    Method(
        key="partial_return",
        title="Segments of trajectories by their sum of rewards",
        authors="Christiano, Leike, Brown, Martic, Legg, Amodei",
        year=2017,
        reference="arXiv 1706.03741",
        family="model",
        formula="P(a beats b) = sigma(sum_t r(x_t) of a - sum_t r(x_t) of b)",
        recipe=f"{_RECIPES}.trajectories:partial_return",
        proof=f"{_PROOFS}.control:judged_by_return",
        parts=_PARTS,
    )
)
register(
    Method(
        key="regret",
        title="Segments of trajectories by regret",
        authors="Knox, Hatgis-Kessell, Booth, Niekum, Stone, Allievi",
        year=2022,
        reference="arXiv 2206.02231",
        family="model",
        formula="P(a beats b) = sigma(regret(b) - regret(a)), regret = V*(s_0) - sum_t r_t - V*(s_T)",
        recipe=f"{_RECIPES}.trajectories:regret",
        proof=f"{_PROOFS}.control:judged_by_regret",
        parts=_PARTS,
    )
)
register(
    Method(
        key="implicit_reward",
        title="A policy as a preference model",
        authors="Rafailov, Sharma, Mitchell, Ermon, Manning, Finn",
        year=2023,
        reference="arXiv 2305.18290",
        family="model",
        formula="r(x, y) = beta log(pi(y | x) / pi_ref(y | x)), beta learned",
        recipe=f"{_RECIPES}.trajectories:implicit_reward",
        proof=f"{_PROOFS}.control:log_ratios",
        parts=_PARTS,
    )
)
register(
    Method(
        key="lexicographic",
        title="HERON: criteria in order of priority",
        authors="Bukharin, Li, He, Chen, Zhao",
        year=2023,
        reference="arXiv 2309.02632",
        family="model",
        formula="the first criterion that differs by more than its threshold decides",
        recipe="preflearn.models.kernels:Lexicographic",
        proof=f"{_PROOFS}.control:priorities",
        parts=_PARTS,
    )
)
