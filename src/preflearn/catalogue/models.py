"""Catalogue of reward models, of recorded strength and ties, and of ratings."""

from __future__ import annotations

from preflearn.registry import Method, register

_RECIPES = "preflearn.models.recipes"
_PROOFS = "preflearn.experiments.preferences"
_PARTS = ("preflearn.models", "preflearn.choice", "preflearn.simulate", "preflearn.experiments.preferences.studies")

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
        proof=f"{_PROOFS}.strength:reward_model",
        parts=_PARTS,
    )
)
register(
    Method(
        key="ordinal",
        title="Recorded strength as graded outcomes",
        authors="Agresti",
        year=1992,
        reference="Applied Statistics 41, 287-297",
        family="model",
        formula="P(outcome <= m) = sigma(c_m - (r(a) - r(b)))",
        recipe=f"{_RECIPES}.strength:ordinal",
        proof=f"{_PROOFS}.strength:graded_outcomes",
        parts=_PARTS,
    )
)
register(
    Method(
        key="ordinal_cut_points",
        title="Where slight, clear and strong preferences begin",
        authors="Agresti",
        year=1992,
        reference="Applied Statistics 41, 287-297",
        family="model",
        formula="P(strength >= m for a) = sigma(r(a) - r(b) - c_m), c learned",
        recipe="preflearn.models.outcomes:Strength",
        proof=f"{_PROOFS}.strength:cut_points",
        parts=_PARTS,
    )
)
register(
    Method(
        key="margin_bt",
        title="Bradley-Terry with recorded strength as a margin",
        authors="Touvron, Martin, Stone, and others",
        year=2023,
        reference="arXiv 2307.09288",
        family="model",
        formula="-log sigma(r(a) - r(b) - m)",
        recipe=f"{_RECIPES}.strength:margin_bt",
        proof=f"{_PROOFS}.strength:margins",
        parts=_PARTS,
    )
)
register(
    Method(
        key="scaled_bt",
        title="Bradley-Terry with recorded strength as a weight",
        authors="Wang, Bukharin, Delalleau, Egert, Shen, Zeng, Kuchaiev, Dong",
        year=2024,
        reference="arXiv 2410.01257",
        family="model",
        formula="-m log sigma(r(a) - r(b))",
        recipe=f"{_RECIPES}.strength:scaled_bt",
        proof=f"{_PROOFS}.strength:weights_by_strength",
        parts=_PARTS,
    )
)
register(
    Method(
        key="scaled_repetition",
        title="Strength as a weight is repetition",
        authors="Wang, Bukharin, Delalleau, Egert, Shen, Zeng, Kuchaiev, Dong",
        year=2024,
        reference="arXiv 2410.01257",
        family="model",
        formula="-m log sigma(d) = -sum_1^m log sigma(d)",
        recipe="preflearn.models.outcomes:Strength",
        proof=f"{_PROOFS}.strength:repetition",
        parts=_PARTS,
        kind="study",
    )
)
register(
    Method(
        key="helpsteer2",
        title="Ratings first, then comparisons of recorded strength",
        authors="Wang, Bukharin, Delalleau, Egert, Shen, Zeng, Kuchaiev, Dong",
        year=2024,
        reference="arXiv 2410.01257",
        family="model",
        formula="min |y - r|^2, from there min -m log sigma(r(a) - r(b))",
        recipe=f"{_RECIPES}.ratings:helpsteer2",
        proof=f"{_PROOFS}.strength:ratings_then_comparisons",
        parts=_PARTS,
    )
)
register(
    Method(
        key="warm_start_memory",
        title="How much of what ratings said comparisons should keep",
        authors="Wang, Bukharin, Delalleau, Egert, Shen, Zeng, Kuchaiev, Dong",
        year=2024,
        reference="arXiv 2410.01257",
        family="model",
        formula="min -m log sigma(d) + memory (w - w_0)' H (w - w_0) / 2",
        recipe="preflearn.models.fitting.warm_start:WarmStart",
        proof=f"{_PROOFS}.strength:few_ratings",
        parts=_PARTS,
        kind="study",
    )
)
register(
    Method(
        key="rating_regression",
        title="Regression on ratings by raters with scales of their own",
        authors="Wang, Dong, Delalleau, Zeng, Shen, Egert, Zhang, Sreedhar, Kuchaiev",
        year=2024,
        reference="arXiv 2406.08673",
        family="model",
        formula="y = r(x) + shift_u + noise",
        recipe=f"{_RECIPES}.ratings:rating_regression",
        proof=f"{_PROOFS}.strength:ratings",
        parts=_PARTS,
    )
)
register(
    Method(
        key="davidson_outcome",
        title="Ties between responses",
        authors="Davidson",
        year=1970,
        reference="Journal of the American Statistical Association 65, 317-328",
        family="model",
        formula="P(tie) proportional to nu sqrt(pi_a pi_b), log pi = r(x)",
        recipe="preflearn.models.outcomes:Comparisons",
        proof=f"{_PROOFS}.strength:ties",
        parts=_PARTS,
    )
)
