"""Catalogue of ranking and of the likelihood parts under it: what each is, who proposed it, how it is proved."""

from __future__ import annotations

from preflearn.registry import Method, register

_SIMULATION = ("preflearn.simulate", "preflearn.experiments.measures")
_RANKING = ("preflearn.ranking", "preflearn.choice", *_SIMULATION)
_MODELS = "preflearn.experiments.models"
_INFERENCE = "preflearn.experiments.inference"
_LIKELIHOODS = "preflearn.experiments.likelihoods"

register(
    Method(
        key="bradley_terry",
        title="Bradley-Terry",
        authors="Bradley, Terry",
        year=1952,
        reference="Biometrika 39, 324-345, doi 10.2307/2334029",
        family="understand",
        formula="P(a beats b) = sigma(theta_a - theta_b)",
        recipe="preflearn.ranking:BradleyTerry",
        proof=f"{_MODELS}:bradley_terry",
        parts=_RANKING,
    )
)
register(
    Method(
        key="davidson",
        title="Ties after Davidson",
        authors="Davidson",
        year=1970,
        reference="JASA 65, 317-328, doi 10.1080/01621459.1970.10481082",
        family="understand",
        formula="P(a) : P(tie) : P(b) = pi_a : nu sqrt(pi_a pi_b) : pi_b, pi = exp theta",
        recipe="preflearn.ranking:Davidson",
        proof=f"{_MODELS}:davidson",
        parts=_RANKING,
    )
)
register(
    Method(
        key="rao_kupper",
        title="Ties after Rao and Kupper",
        authors="Rao, Kupper",
        year=1967,
        reference="JASA 62, 194-204",
        family="understand",
        formula="P(a) = sigma(d - delta), P(b) = sigma(-d - delta), P(tie) = the rest, d = theta_a - theta_b",
        recipe="preflearn.ranking:RaoKupper",
        proof=f"{_MODELS}:rao_kupper",
        parts=_RANKING,
    )
)
register(
    Method(
        key="graded",
        title="Graded comparisons (symmetric cumulative logit)",
        authors="Agresti",
        year=1992,
        reference="Applied Statistics 41, 287-297",
        family="understand",
        formula="P(grade above cut c) = sigma(d - c), cuts symmetric around 0",
        recipe="preflearn.ranking:Graded",
        proof=f"{_MODELS}:graded",
        parts=_RANKING,
    )
)
register(
    Method(
        key="position_effect",
        title="Advantage of being shown first",
        authors="Davidson, Beaver",
        year=1977,
        reference="Biometrics 33, 693-702",
        family="understand",
        formula="logit = theta_a - theta_b + gamma (+1 if a is shown first, -1 if b)",
        recipe="preflearn.choice.nuisance:position",
        proof=f"{_MODELS}:position_effect",
        parts=_RANKING,
    )
)
register(
    Method(
        key="style_control",
        title="Style control: strengths with length and markup held constant",
        authors="Li, Angelopoulos, Chiang",
        year=2024,
        reference="https://lmsys.org/blog/2024-08-28-style-control",
        family="understand",
        formula="logit = theta_a - theta_b + beta' x, x_k = (k_a - k_b) / (k_a + k_b + 1) in standard units",
        recipe="preflearn.ranking.style:with_covariates",
        proof=f"{_MODELS}:style_control",
        parts=_RANKING,
    )
)
register(
    Method(
        key="nuisance_covariates",
        title="Effects of covariates, unpenalised or with a penalty on the summed log-likelihood",
        authors="Turner, Firth",
        year=2012,
        reference="Journal of Statistical Software 48(9), doi 10.18637/jss.v048.i09",
        family="understand",
        formula="maximise sum_v log P(outcome_v | theta, beta) - lambda/2 |beta|^2",
        recipe="preflearn.choice.nuisance:linear",
        proof=f"{_MODELS}:nuisance_covariates",
        parts=_RANKING,
    )
)
register(
    Method(
        key="plackett_luce",
        title="Plackett-Luce: rankings as successive choices, partial ones included",
        authors="Plackett; Luce",
        year=1975,
        reference="Applied Statistics 24, 193-202, doi 10.2307/2346567; Luce (1959), Individual choice behavior",
        family="understand",
        formula="P(ranking) = prod_k pi_(k) / sum of pi over what is not placed before k",
        recipe="preflearn.choice.plackett_luce:log_prob",
        proof=f"{_LIKELIHOODS}:rankings",
        parts=("preflearn.choice", *_SIMULATION),
    )
)
register(
    Method(
        key="flips",
        title="Labels flipped at an unknown rate",
        authors="Chen, Bennett, Collins-Thompson, Horvitz",
        year=2013,
        reference="WSDM, Pairwise ranking aggregation in a crowdsourced setting",
        family="understand",
        formula="P(o) = (1 - eps) P0(o) + eps P0(swapped o)",
        recipe="preflearn.choice:Flip",
        proof=f"{_LIKELIHOODS}:flips",
        parts=("preflearn.choice", *_SIMULATION),
    )
)
register(
    Method(
        key="unbiased_labels",
        title="Targets corrected for a known flip rate",
        authors="Natarajan, Dhillon, Ravikumar, Tewari",
        year=2013,
        reference="NeurIPS, Learning with noisy labels, lemma 1",
        family="understand",
        formula="target' = ((1 - eps) target - eps swapped(target)) / (1 - 2 eps)",
        recipe="preflearn.choice:unbiased_target",
        proof=f"{_LIKELIHOODS}:unbiased_labels",
        parts=("preflearn.choice", *_SIMULATION),
    )
)
register(
    Method(
        key="soft_labels",
        title="A teacher's probabilities as labels",
        authors="Hinton, Vinyals, Dean",
        year=2015,
        reference="arXiv 1503.02531",
        family="understand",
        formula="maximise y log sigma(d) + (1 - y) log sigma(-d)",
        recipe="preflearn.choice:Binary",
        proof=f"{_LIKELIHOODS}:soft_labels",
        parts=("preflearn.choice", *_SIMULATION),
    )
)
register(
    Method(
        key="clustered_intervals",
        title="Intervals clustered by annotator",
        authors="Liang, Zeger",
        year=1986,
        reference="Biometrika 73, 13-22",
        family="understand",
        formula="V = H^-1 (U/(U-1) sum_u s_u s_u') H^-1, s_u the summed score of annotator u",
        recipe="preflearn.ranking.covariance:covariance",
        proof=f"{_INFERENCE}:clustered_intervals",
        parts=_RANKING,
    )
)
register(
    Method(
        key="two_way_clusters",
        title="Intervals clustered two ways",
        authors="Cameron, Gelbach, Miller",
        year=2011,
        reference="Journal of Business & Economic Statistics 29, 238-249",
        family="understand",
        formula="B = B_annotator + B_prompt - B_annotator,prompt",
        recipe="preflearn.ranking.covariance:covariance",
        proof=f"{_INFERENCE}:two_way_clusters",
        parts=_RANKING,
    )
)
register(
    Method(
        key="cluster_bootstrap",
        title="Bootstrap of annotators by reweighting counts",
        authors="Field, Welsh",
        year=2007,
        reference="Journal of the Royal Statistical Society B 69, 369-390",
        family="understand",
        formula="W* = sum_u m_u W_u, m ~ Multinomial(U, 1/U); refit by Newton from the estimate",
        recipe="preflearn.ranking.bootstrap:bootstrap",
        proof=f"{_INFERENCE}:cluster_bootstrap",
        parts=_RANKING,
    )
)
register(
    Method(
        key="rank_sets",
        title="Simultaneous rank sets",
        authors="Mogstad, Romano, Shaikh, Wilhelm",
        year=2024,
        reference="Review of Economic Studies 91, 476-518; see also arXiv 2402.00192",
        family="understand",
        formula="ranks of i: 1 + #{j surely above i} .. n - #{j surely below i}, by the maximum of all |t|",
        recipe="preflearn.ranking.ranksets:rank_sets",
        proof=f"{_INFERENCE}:rank_sets",
        parts=_RANKING,
    )
)
register(
    Method(
        key="inverse_propensity",
        title="Votes weighed by the inverse probability of their question",
        authors="Horvitz, Thompson",
        year=1952,
        reference="JASA 47, 663-685",
        family="understand",
        formula="maximise sum_v log P(outcome_v) / propensity_v",
        recipe="preflearn.ranking:BradleyTerry",
        proof=f"{_INFERENCE}:inverse_propensity",
        parts=_RANKING,
    )
)
register(
    Method(
        key="ghost_prior",
        title="Ghost item: half a win and half a loss against strength 0",
        authors="Turner, van Etten, Firth, Kosmidis",
        year=2020,
        reference="Computational Statistics 35, 1027-1057, doi 10.1007/s00180-020-00959-3",
        family="understand",
        formula="log prior = g sum_i (log sigma(theta_i) + log sigma(-theta_i))",
        recipe="preflearn.ranking.design:Prior",
        proof=f"{_INFERENCE}:ghost_prior",
        parts=_RANKING,
    )
)
register(
    Method(
        key="ridge_prior",
        title="Normal prior on strengths",
        authors="Whelan",
        year=2017,
        reference="arXiv 1712.05311",
        family="understand",
        formula="log prior = -lambda/2 |theta|^2 on the summed log-likelihood, lambda = 1/variance",
        recipe="preflearn.ranking.design:Prior",
        proof=f"{_INFERENCE}:ridge_prior",
        parts=_RANKING,
    )
)
