"""Who is asking, unseen: mixtures of probabilities whose latent type is shared by all records of a unit.

The unit (annotator, group, prompt, record) is what keeps one type; with one record per unit two opposite types cannot
be told from noise. Knows nothing of what the records are: it takes their log-probabilities under each type.
"""

from __future__ import annotations

from array_api_compat import array_namespace

from preflearn.choice.arrays import Array, as_float, segment_sum
from preflearn.choice.stable import log_softmax, logsumexp


def log_mixture(log_prob: Array, log_weight: Array, unit: Array | None = None, units: int | None = None) -> Array:
    """Log-likelihood ``[U]`` (nats) of each unit: ``log sum_z w_z prod_{r of u} p_rz``.

    Args:
        log_prob: ``[n, Z]``, log-probability of each record under each type; a record that stands for c identical
            ones is given as c times its log-probability.
        log_weight: ``[Z]``, or ``[U, Z]`` for weights of the unit's own; logarithms of weights that sum to 1.
        unit: ``[n]``, integers in ``0 .. U - 1``; by default every record is a unit of its own (a gate by prompt).
        units: their number U; needed with ``unit``.

    Returns:
        ``[U]``; a unit without records gets ``log sum_z w_z``, which is 0.

    Raises:
        ValueError: for shapes that do not fit, or codes outside the range. Weights that a gate gives per record
            become weights per unit through :func:`unit_weight`.
    """
    return logsumexp(_joint(log_prob, log_weight, unit, units)[1])


def responsibilities(log_prob: Array, log_weight: Array, unit: Array | None = None, units: int | None = None) -> Array:
    """Posterior of the type of each unit, ``[U, Z]``, rows sum to 1: the E-step.

    It is the derivative of :func:`log_mixture` by ``log_weight``. A unit to which every type gives probability 0
    keeps its prior weights. Arguments as for :func:`log_mixture`.
    """
    prior, joint = _joint(log_prob, log_weight, unit, units)
    xp = array_namespace(joint)
    possible = xp.any(joint > -xp.inf, axis=-1)[..., None]
    return xp.exp(log_softmax(xp.where(possible, joint, xp.broadcast_to(prior, joint.shape))))


def unit_weight(log_weight: Array, unit: Array, units: int) -> Array:
    """Log-weights ``[U, Z]`` of units from those ``[n, Z]`` that a gate gives to each of their records.

    The normalised geometric mean over the records of a unit: equal rows come back as they are, and a type that one
    record excludes is excluded. A unit without records gets equal weights.
    """
    xp, rows = as_float(log_weight)
    count = segment_sum(xp.ones_like(rows[:, 0]), unit, units)
    return log_softmax(segment_sum(rows, unit, units) / xp.clip(count, 1, None)[:, None])


def hedge(weights: Array, losses: Array, rate: float) -> Array:
    """Weights ``[..., Z]`` after one step of Hedge: proportional to ``weights exp(-rate losses)``, rows sum to 1.

    Mirror descent on the simplex with the entropy as its mirror. With ``rate = 1 / tau`` it is the target of MiCRo's
    router (Shen et al. 2025, arXiv 2505.24846, stage 2, paper text); a rate of 1 on negative log-likelihoods is Bayes.

    Args:
        weights: ``[..., Z]``, not negative, not all 0.
        losses: ``[..., Z]``.
        rate: step size, not negative; 0 only normalises.

    Source: Freund and Schapire (1997), A decision-theoretic generalization of on-line learning, JCSS 55, 119-139.
    """
    xp, w = as_float(weights)
    _, loss = as_float(losses, like=w)
    present = w > 0
    log_weight = xp.log(xp.where(present, w, xp.ones_like(w))) - rate * loss
    return xp.exp(log_softmax(log_weight, xp.broadcast_to(present, log_weight.shape)))


def entropy(weights: Array) -> Array:
    """``-sum w log w`` over the last axis, ``[...]``, nats, with ``0 log 0 = 0`` (and gradient 0 there)."""
    xp, w = as_float(weights)
    present = w > 0
    return -xp.sum(xp.where(present, w * xp.log(xp.where(present, w, xp.ones_like(w))), xp.zeros_like(w)), axis=-1)


def _joint(log_prob: Array, log_weight: Array, unit: Array | None, units: int | None) -> tuple[Array, Array]:
    """Log-weights, and log-probabilities ``[U, Z]`` of (records, type) of each unit."""
    _, rows = as_float(log_prob)
    _, prior = as_float(log_weight, like=rows)
    if rows.ndim != 2:
        raise ValueError(f"log_prob has shape {tuple(rows.shape)}; expected [n, Z], one column per type")
    if unit is None:
        total = rows
    elif units is None:
        raise ValueError("unit needs units, the number of units: some may have no records here")
    else:
        total = segment_sum(rows, unit, units)
    if tuple(prior.shape) not in (tuple(rows.shape[1:]), tuple(total.shape)):
        raise ValueError(
            f"log_weight has shape {tuple(prior.shape)}; expected [{rows.shape[1]}] for all units or "
            f"{list(total.shape)} for each (weights per record: unit_weight makes them weights per unit)"
        )
    return prior, prior + total
