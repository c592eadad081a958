"""Models in which people are latent: an encoder reads off someone's comparisons what they are like."""

from __future__ import annotations

from typing import Any, Literal

from preflearn.models.composed import Composed
from preflearn.models.fitting.minibatch import Minibatch
from preflearn.models.heads import Utility
from preflearn.models.population import Amortised


def vpl(
    latent: int = 8,
    hidden: tuple[int, ...] = (32,),
    decoder: Literal["head", "channels"] = "head",
    pooling: Literal["mean", "attention", "evidence"] = "mean",
    deterministic: bool = False,
    odd: bool = False,
    guidance: float = 0.0,
    beta: float = 1.0,
    steps: int = 300,
    **options: Any,
) -> Composed:
    """Variational preference learning: ``P(a beats b | u) = E_z sigma(r(a, z) - r(b, z))``, z read off answers of u.

    Newcomers are encoded like everyone else, without any optimisation; strangers answer by the prior of z. beta = 1 is
    the evidence bound: one divergence per person beside the sum over their comparisons. The official code's weights
    of the divergence (0 to 1e-4, on means over comparisons), clamps and normalisation of z are not reproduced.

    Args:
        latent: numbers of z.
        hidden: widths of the utility r(x, z).
        decoder: "head": r sees [features; z]; "channels": r(x, z) = r_0(x) + sum_k z_k r_k(x) (ours: fewer judgments
            suffice, and with no hidden layers people have linear utilities).
        pooling: of encoded comparisons: "mean" or "attention" (the official language-model encoder has both), or
            "evidence", in which comparisons add up like measurements.
        deterministic: z is a function of the comparisons: the shape of FSPO and PPD, without their language models.
        odd: turning every answer round turns z into -z.
        guidance: weight, in nats per person, of SPL's swap guidance: turned answers should turn the mean of z.
        beta: weight of the divergence.
        steps: of Adam, each on all comparisons.
        options: of `Composed`.

    Source: Poddar et al. (2024), arXiv 2408.10075, and SPL (2026), arXiv 2603.12595 (official code of both read, texts
    not).
    """
    people = Amortised(
        latent, variational=not deterministic, pooling=pooling, decoder=decoder, odd=odd, guidance=guidance, beta=beta
    )
    parts = {"head": Utility(tuple(hidden)), "population": people, "fitting": Minibatch(steps)}
    return Composed(**{"name": "vpl", **parts, **options})
