"""Preferences between segments of trajectories, and policies read as preference models."""

from __future__ import annotations

from typing import Any

from preflearn.backbones import Columns, Segments, SegmentSteps
from preflearn.models.composed import Composed
from preflearn.models.control import LogRatio, Regret, StepReward
from preflearn.models.heads import Utility


def partial_return(
    hidden: tuple[int, ...] = (), steps: int | None = None, discount: float = 1.0, **options: Any
) -> Composed:
    """Segments by their sum of rewards: ``sigma(sum_t r(x_t) of a - sum_t r(x_t) of b)``.

    Args:
        hidden: widths of hidden layers of the reward of a step; none = linear.
        steps: of the longest segment, needed with hidden layers.
        discount: per step.
        options: of `Composed`; the encoders `segments` and `segment_steps` read files of trajectories, for a linear
            reward `embedding` reads sums. Features are taken as they are: give them comparable sizes.

    Source: Christiano et al. (2017), Deep reinforcement learning from human preferences, arXiv 1706.03741, equation 1.
    """
    if hidden and steps is None:
        raise ValueError("a reward with hidden layers scores steps: give the number of the longest segment, steps=")
    if steps is None:
        parts: dict[str, Any] = {"head": Utility(), "encoder": Segments(discount=discount)}
    else:
        parts = {"head": StepReward(steps, tuple(hidden), discount), "encoder": SegmentSteps(steps)}
    return Composed(**{**parts, "standardise": False, "ridge": 1.0, "name": "partial_return", **options})


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
    return Composed(
        **{"head": head, "encoder": "embedding", "standardise": False, "ridge": 1.0, "name": "regret", **options}
    )


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
