"""Catalogue of models of cyclic preferences, and of people who differ and do not say how."""

from __future__ import annotations

from preflearn.registry import Method, register

_RECIPES = "preflearn.models.recipes"
_PROOFS = "preflearn.experiments.preferences"
_PARTS = ("preflearn.models", "preflearn.choice", "preflearn.simulate", "preflearn.experiments.preferences.studies")

register(
    Method(
        key="gpm",
        title="General preference model: preferences may run in circles",
        authors="Zhang, Zhang, Wu, Xu, Gu",
        year=2024,
        reference="arXiv 2410.02197",
        family="model",
        formula="P(a beats b) = sigma(v_a' R v_b), R skew-symmetric",
        recipe=f"{_RECIPES}.plural:gpm",
        proof=f"{_PROOFS}.cycles:general_preferences",
        parts=_PARTS,
    )
)
register(
    Method(
        key="gpm_cycles",
        title="A cycle of any length in one plane",
        authors="Zhang, Zhang, Wu, Xu, Gu",
        year=2024,
        reference="arXiv 2410.02197",
        family="model",
        formula="v_i = (cos t_i, sin t_i): sigma(scale sin(t_b - t_a))",
        recipe="preflearn.models.kernels:Skew",
        proof=f"{_PROOFS}.cycles:tournaments",
        parts=_PARTS,
    )
)
register(
    Method(
        key="bradley_terry_on_cycles",
        title="What Bradley-Terry makes of a cycle: nothing",
        authors="Bradley, Terry",
        year=1952,
        reference="Biometrika 39, 324-345",
        family="model",
        formula="argmin of the loss on a regular tournament: r = 0, loss = ln 2",
        recipe="preflearn.models.kernels:Difference",
        proof=f"{_PROOFS}.cycles:nothing_to_learn",
        parts=_PARTS,
        kind="study",
    )
)
register(
    Method(
        key="gpm_rank",
        title="As many planes as the preferences have",
        authors="Zhang, Zhang, Wu, Xu, Gu",
        year=2024,
        reference="arXiv 2410.02197",
        family="model",
        formula="rank of the skew form <= 2k",
        recipe="preflearn.models.heads:SkewRepresentation",
        proof=f"{_PROOFS}.cycles:planes",
        parts=_PARTS,
        kind="study",
    )
)
register(
    Method(
        key="gpm_constant",
        title="A utility as a plane: the constant coordinate",
        authors="Zhang, Zhang, Wu, Xu, Gu",
        year=2024,
        reference="arXiv 2410.02197",
        family="model",
        formula="v = W [h; 1], so that r(a) - r(b) is a skew form",
        recipe="preflearn.models.heads:SkewRepresentation",
        proof=f"{_PROOFS}.cycles:constant",
        parts=_PARTS,
    )
)
register(
    Method(
        key="hybrid",
        title="A utility beside a skew form",
        authors="(names not checked)",
        year=2026,
        reference="arXiv 2605.17342",
        family="model",
        formula="P(a beats b) = sigma(r(a) - r(b) + v_a' R v_b)",
        recipe=f"{_RECIPES}.plural:hybrid",
        proof=f"{_PROOFS}.cycles:utility_and_skew",
        parts=_PARTS,
    )
)
register(
    Method(
        key="gated_planes",
        title="Planes weighed by the prompt",
        authors="Zhang, Zhang, Wu, Xu, Gu",
        year=2024,
        reference="arXiv 2410.02197",
        family="model",
        formula="v_a' D(x) R v_b, D(x) = k softmax(W x) in pairs",
        recipe="preflearn.models.kernels:Skew",
        proof=f"{_PROOFS}.cycles:gates",
        parts=_PARTS,
    )
)
register(
    Method(
        key="mixture",
        title="Camps that nobody recorded",
        authors="Chakraborty, Qiu, Yuan, Koppel, Huang, Manocha, Bedi, Wang",
        year=2024,
        reference="arXiv 2402.08925",
        family="model",
        formula="P(labels of u) = sum_k pi_k prod_r sigma(r_k(a) - r_k(b)), by EM",
        recipe=f"{_RECIPES}.plural:mixture",
        proof=f"{_PROOFS}.plural:three_groups",
        parts=_PARTS,
    )
)
register(
    Method(
        key="mixture_minority",
        title="A mixture for its smallest camp",
        authors="Chakraborty, Qiu, Yuan, Koppel, Huang, Manocha, Bedi, Wang",
        year=2024,
        reference="arXiv 2402.08925",
        family="model",
        formula="P(z | labels of u) proportional to pi_z prod_r P_z(r)",
        recipe="preflearn.models.population:Mixture",
        proof=f"{_PROOFS}.plural:smallest_group",
        parts=_PARTS,
    )
)
register(
    Method(
        key="mixture_shares",
        title="How many people each taste has",
        authors="Chakraborty, Qiu, Yuan, Koppel, Huang, Manocha, Bedi, Wang",
        year=2024,
        reference="arXiv 2402.08925",
        family="model",
        formula="pi_k = mean over people of P(k | labels)",
        recipe="preflearn.models.population:Mixture",
        proof=f"{_PROOFS}.plural:largest_share",
        parts=_PARTS,
    )
)
register(
    Method(
        key="mixture_components",
        title="How many tastes there are",
        authors="Schwarz",
        year=1978,
        reference="Annals of Statistics 6, 461-464",
        family="understand",
        formula="-2 log L + parameters log n",
        recipe="preflearn.models.population:Mixture",
        proof=f"{_PROOFS}.plural:how_many",
        parts=_PARTS,
    )
)
register(
    Method(
        key="mixture_without_people",
        title="A mixture that is not told who judged",
        authors="Chakraborty, Qiu, Yuan, Koppel, Huang, Manocha, Bedi, Wang",
        year=2024,
        reference="arXiv 2402.08925",
        family="model",
        formula="sum_k pi_k sigma(r_k(a) - r_k(b)), one judgment at a time",
        recipe="preflearn.models.population:Mixture",
        proof=f"{_PROOFS}.plural:nobody_known",
        parts=_PARTS,
        kind="study",
    )
)
register(
    Method(
        key="pal_a",
        title="PAL, model A: people between ideal points",
        authors="Chen, Chen, Rege, Vinayak",
        year=2024,
        reference="arXiv 2406.08469",
        family="model",
        formula="|z_b - p_u|^2 - |z_a - p_u|^2, p_u = sum_k w_uk P_k",
        recipe=f"{_RECIPES}.plural:pal_a",
        proof=f"{_PROOFS}.plural:ideal_points",
        parts=_PARTS,
    )
)
register(
    Method(
        key="pal_a_prototypes",
        title="One prototype too many, one too few",
        authors="Chen, Chen, Rege, Vinayak",
        year=2024,
        reference="arXiv 2406.08469",
        family="model",
        formula="p_u = sum_k w_uk P_k, w_u on a simplex of K corners",
        recipe="preflearn.models.population:Simplex",
        proof=f"{_PROOFS}.plural:one_too_many",
        parts=_PARTS,
        kind="study",
    )
)
register(
    Method(
        key="pal_b",
        title="PAL, model B: ideal points that the prompt moves",
        authors="Chen, Chen, Rege, Vinayak",
        year=2024,
        reference="arXiv 2406.08469",
        family="model",
        formula="cos(z_a, p_u(x)) - cos(z_b, p_u(x)), p_u(x) = sum_k w_uk g_k(x)",
        recipe=f"{_RECIPES}.plural:pal_b",
        proof=f"{_PROOFS}.plural:moving_points",
        parts=_PARTS,
    )
)
register(
    Method(
        key="vpl",
        title="Variational preference learning: tastes read off a few answers",
        authors="Poddar, Wan, Ivison, Gupta, Jaques",
        year=2024,
        reference="arXiv 2408.10075",
        family="model",
        formula="E_q log P(labels | z) - KL(q(z | answers of u) || N(0, I))",
        recipe=f"{_RECIPES}.latent:vpl",
        proof=f"{_PROOFS}.plural:read_off",
        parts=_PARTS,
    )
)
register(
    Method(
        key="vpl_collapse",
        title="Where latent tastes collapse",
        authors="Poddar, Wan, Ivison, Gupta, Jaques",
        year=2024,
        reference="arXiv 2408.10075",
        family="model",
        formula="mean over n labels - KL = (sum - n KL) / n",
        recipe="preflearn.models.population:Amortised",
        proof=f"{_PROOFS}.plural:collapse",
        parts=_PARTS,
        kind="study",
    )
)
