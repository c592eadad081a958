"""Models in which the prompt or the context decides what counts: ArmoRM, Preference Orchestrator, MiCRo, contexts."""

from __future__ import annotations

from typing import Any, Literal

from preflearn.models.composed import Composed
from preflearn.models.fitting.attributes import AttributeStages
from preflearn.models.fitting.routed import RoutedStages
from preflearn.models.heads import Utility
from preflearn.models.outcomes import GaussianRating
from preflearn.models.population import Gate, Router


def armorm(
    verbosity: str | None = None, hidden: tuple[int, ...] = (128,), temperature: float = 10.0, **options: Any
) -> Composed:
    """Attribute scores from ratings, mixed by a gate on the prompt: ``R(x, y) = g(x)' T r(x, y)``.

    Stage 1 is ridge regression of every criterion's ratings; stage 2 learns g from comparisons. With `verbosity` that
    criterion is taken out of all scores first (T), as the paper says; the released training script computes these
    scores and then trains on the others.

    Args:
        verbosity: criterion to take out, or None.
        hidden: widths of the gate (three of 1,024 in the paper).
        temperature: of the gate's softmax (10 in the paper, with a learned factor).
        options: of `Composed`.

    Source: Wang et al. (2024), ArmoRM, arXiv 2406.12845, and the official training scripts.
    """
    gate = Gate("criteria", hidden=tuple(hidden), temperature=temperature, scaled=True)
    stages = AttributeStages(verbosity=verbosity)
    return _attributes("armorm", gate, stages, options)


def orchestrator(
    target: Literal["chosen", "winner_minus_loser"] = "chosen",
    hidden: tuple[int, ...] = (128,),
    temperature: float = 0.1,
    **options: Any,
) -> Composed:
    """Weights of attribute scores predicted from the prompt, taught by the scores of the preferred response.

    ``w(x) -> softmax(r(x, winner) / temperature)``. An attribute on which winners happen to score high need not be why
    they won: "winner_minus_loser" (ours) asks by how much they score higher.

    Args:
        target: of the weights.
        hidden: widths of the adapter.
        temperature: of the target.
        options: of `Composed`.

    Source: Preference Orchestrator (2025), arXiv 2511.10656, equation 7 as four reviews state it; the paper's text was
    not available. Scores here are in standard units, which the paper does not say.
    """
    gate = Gate("criteria", hidden=tuple(hidden))
    return _attributes("orchestrator", gate, AttributeStages(target=target, temperature=temperature), options)


def _attributes(name: str, gate: Gate, stages: AttributeStages, options: dict[str, Any]) -> Composed:
    ratings = GaussianRating("free", per_criterion=True)
    parts = {"head": Utility(), "population": gate, "fitting": stages, "outcomes": ("choice", ratings)}
    return Composed(**{"name": name, **parts, **options})


def micro(components: int = 3, entropy: float = 0.05, hidden: tuple[int, ...] = (128,), **options: Any) -> Composed:
    """Mixture of K utilities routed by the prompt, then by prompt and context: probabilities are mixed.

    Args:
        components: K.
        entropy: how much an undecided router is favoured, nats per judgment (.5 in the paper).
        hidden: widths of the router.
        options: of `Composed`.

    Source: Shen et al. (2025), MiCRo, arXiv 2505.24846v2, equations of both stages.
    """
    on = options.pop("on", "both")
    router = Router(components, on=on, hidden=tuple(hidden), entropy=entropy)
    return Composed(**{"name": "micro", "population": router, "fitting": RoutedStages(), **options})


def context_aware(channels: int = 8, on: Literal["context", "both"] = "context", **options: Any) -> Composed:
    """Preferences given a context (a principle, a persona, a scenario): ``u(y, c) = sum_k g_k(c) r_k(y)``, bilinear.

    Without a context the answer is the mean of the probabilities over the contexts of the training judgments.

    Args:
        channels: rank of the dependence on the context.
        on: what the weights see: the context, or prompt and context.
        options: of `Composed`.

    Source: Pitis et al. (2024), arXiv 2407.14916: ``P(a > b | x) = E_c P(a > b | x, c)``. The paper puts the context
    into the prompt of a language model; over fixed features the same dependence is a bilinear form (ours).
    """
    gate = Gate(channels, on=on, form="linear")
    return Composed(**{"name": "context_aware", "population": gate, **options})
