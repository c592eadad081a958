"""Preferences between segments of trajectories, and policies read as preference models."""

from __future__ import annotations

from typing import Any

from preflearn.backbones import Columns
from preflearn.models.composed import Composed
from preflearn.models.control import LogRatio, Regret
from preflearn.models.heads import Utility


def partial_return(**options: Any) -> Composed:
    """Segments by their sum of rewards, ``sigma(w . phi_a - w . phi_b)``; rewards linear in the features of a step.

    Args:
        options: of `Composed`; the encoder `segments` sums what files of trajectories record, `embedding` reads sums.

    Source: Christiano et al. (2017), Deep reinforcement learning from human preferences, arXiv 1706.03741, equation 1.
    """
    return Composed(
        **{"head": Utility(), "encoder": "segments", "standardise": False, "name": "partial_return", **options}
    )


def regret(policies: int = 1, temperature: float = 1e-3, **options: Any) -> Composed:
    """Segments by how much worse they are than optimal behaviour would have been: the smaller regret is preferred.

    Where people judge so, the partial return learns another reward than theirs, and another optimal policy.

    Args:
        policies: number of policies whose successor features the data carries (see `control.regret_features`); with 1,
            values are those of one policy that is known to be the best.
        temperature: of the soft maximum over policies.
        options: of `Composed`.

    Source: Knox et al. (2022), Models of human preference for learning reward functions, arXiv 2206.02231 (official
    code, deterministic transitions; of the paper the abstract).
    """
    head = Regret(policies, temperature)
    return Composed(**{"head": head, "encoder": "embedding", "standardise": False, "name": "regret", **options})


def implicit_reward(
    policy: str = "policy_logp",
    reference: str = "reference_logp",
    beta: float = 0.1,
    learned: bool = False,
    **options: Any,
) -> Composed:
    """A policy as a preference model: differences of ``beta log(pi / pi_ref)``.

    Args:
        policy, reference: columns of responses with the log-probabilities of each response, in nats.
        beta: known, or where learning starts.
        learned: fit beta to the comparisons.
        options: of `Composed`.

    Source: Rafailov et al. (2023), Direct preference optimization, arXiv 2305.18290, equation 5; as a reward model
    (DPORM) compared with explicit ones by Lin et al. (2024), arXiv 2409.03650 (abstract).
    """
    encoder = Columns((policy, reference))
    head = LogRatio(beta, learned)
    return Composed(**{"head": head, "encoder": encoder, "standardise": False, "name": "implicit_reward", **options})
