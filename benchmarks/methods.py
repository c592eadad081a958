"""What is measured: each method prepares (imports, and for bootstraps a fit), then returns the work that is timed.

Every method starts from the same integer codes in memory and ends with strengths in nats, centred. FastChat's formula
is written here from its description (weighted logistic loss of the distinct votes, minimised by L-BFGS from zero),
because its own module imports a serving stack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from votes import Codes

Floats = npt.NDArray[np.float64]
Work = Callable[[], Floats]


class Method(NamedTuple):
    """One way to the strengths, or to bootstrapped ones."""

    name: str
    prepare: Callable[[Codes, int], Work]
    """(codes, bootstrap replicates) -> the timed work."""
    needs: str | None
    """Distribution that must be installed."""
    replicates: int = 0
    """Bootstrap replicates asked for; 0 = a fit."""


# -- preflearn ---------------------------------------------------------------------------------------------------------


def _counted(codes: Codes) -> Any:
    from preflearn.choice import Binary
    from preflearn.ranking import votes_of_codes

    names = [str(i) for i in range(codes.case.n_items)]
    return votes_of_codes(names, codes.left, codes.right, codes.outcome, Binary())


def _fitted(codes: Codes) -> tuple[Any, Any]:
    """Counts, what is comparable, and strengths: a fit without its intervals."""
    from preflearn.choice import Binary
    from preflearn.ranking.design import Design, Prior
    from preflearn.ranking.graph import connectivity
    from preflearn.ranking.newton import newton

    cells = _counted(codes).cells
    assert len(connectivity(cells).components[0].items) == codes.case.n_items or codes.case.ridge
    design = Design(cells, Binary(), prior=Prior(codes.case.ridge))
    fit = newton(design, np.zeros(design.size))
    assert fit.converged
    return design, fit


def preflearn_fit(codes: Codes, _: int) -> Work:
    import preflearn.ranking  # noqa: F401

    return lambda: _centred(_fitted(codes)[1].parameters)


def preflearn_intervals(codes: Codes, _: int) -> Work:
    from preflearn.ranking import BradleyTerry

    model = BradleyTerry(cluster=None, interval="model", ridge=codes.case.ridge)
    return lambda: _centred(model.fit_votes(_counted(codes)).strengths_)


def preflearn_bootstrap(codes: Codes, replicates: int) -> Work:
    from preflearn.ranking.bootstrap import bootstrap

    design, fit = _fitted(codes)
    return lambda: bootstrap(design, fit, n=replicates).parameters.std(0)


# -- others ------------------------------------------------------------------------------------------------------------


def evalica_bradley_terry(codes: Codes, _: int) -> Work:
    import evalica
    import pandas as pd

    def work() -> Floats:
        winners = np.where(codes.outcome == 1, 1, 2).tolist()
        index = pd.RangeIndex(codes.case.n_items)
        found = evalica.bradley_terry(codes.left, codes.right, winners, index=index)
        return _centred(np.log(found.scores.sort_index().to_numpy()))

    return work


def evalica_newman(codes: Codes, _: int) -> Work:
    import evalica
    import pandas as pd

    def work() -> Floats:
        winners = np.where(codes.outcome == 1, 1, 2).tolist()
        index = pd.RangeIndex(codes.case.n_items)
        found = evalica.newman(codes.left, codes.right, winners, index=index)
        return _centred(np.log(found.scores.sort_index().to_numpy()))

    return work


def evalica_bootstrap(codes: Codes, replicates: int) -> Work:
    import evalica
    import pandas as pd

    def work() -> Floats:
        winners = np.where(codes.outcome == 1, 1, 2).tolist()
        index = pd.RangeIndex(codes.case.n_items)
        found = evalica.bootstrap(
            evalica.bradley_terry,
            codes.left,
            codes.right,
            winners,
            index=index,
            n_resamples=replicates,
            bootstrap_method="percentile",  # its default jackknifes every single vote
            random_state=0,
        )
        draws = np.log(found.distribution.sort_index(axis=1).to_numpy(dtype=np.float64))
        return (draws - draws.mean(1, keepdims=True)).std(0)

    return work


def choix_ilsr(codes: Codes, _: int) -> Work:
    import choix

    return lambda: _centred(choix.ilsr_pairwise_dense(_win_matrix(codes)))


def fastchat_formula(codes: Codes, _: int) -> Work:
    import scipy.optimize  # noqa: F401

    return lambda: _centred(_lbfgs(*_distinct(codes), codes.case))


def fastchat_bootstrap(codes: Codes, replicates: int) -> Work:
    left, right, outcome, count = _distinct(codes)

    def work() -> Floats:
        generator = np.random.default_rng(0)
        draws = generator.multinomial(int(count.sum()), count / count.sum(), replicates)
        fits = [_centred(_lbfgs(left, right, outcome, drawn.astype(float), codes.case)) for drawn in draws]
        return np.std(fits, axis=0)

    return work


def sklearn_counted(codes: Codes, _: int) -> Work:
    import scipy.sparse  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    return lambda: _centred(_logistic_regression(*_distinct(codes), codes.case))


def sklearn_votes(codes: Codes, _: int) -> Work:
    import scipy.sparse  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    return lambda: _centred(_logistic_regression(codes.left, codes.right, codes.outcome, None, codes.case))


def arena_rank_fit(codes: Codes, _: int) -> Work:
    import jax

    jax.config.update("jax_enable_x64", True)
    import pandas as pd
    from arena_rank.models.bradley_terry import BradleyTerry
    from arena_rank.utils.data_utils import PairDataset

    def work() -> Floats:
        frame = pd.DataFrame(
            {"model_a": codes.left, "model_b": codes.right, "winner": codes.outcome.astype(np.float64)}, copy=False
        )
        votes = PairDataset.from_pandas(frame, outcome_map=lambda won: won)
        model = BradleyTerry(codes.case.n_items).fit(votes)
        return _centred(np.asarray(model.params["ratings"], dtype=np.float64))

    return work


# -- shared by the formulas --------------------------------------------------------------------------------------------


def _centred(strengths: Floats) -> Floats:
    return strengths - strengths.mean()


def _win_matrix(codes: Codes) -> Floats:
    n = codes.case.n_items
    winner = np.where(codes.outcome == 1, codes.left, codes.right).astype(np.int64)
    loser = np.where(codes.outcome == 1, codes.right, codes.left)
    return np.bincount(winner * n + loser, minlength=n * n).reshape(n, n).astype(np.float64)


def _distinct(codes: Codes) -> tuple[Any, Any, Any, Floats]:
    """Left, right, outcome and count of the distinct votes, by sorting keys."""
    n = codes.case.n_items
    key = (codes.left.astype(np.int64) * n + codes.right) * 2 + codes.outcome
    key, count = np.unique(key, return_counts=True)
    pair, outcome = np.divmod(key, 2)
    left, right = np.divmod(pair, n)
    return left, right, outcome, count.astype(np.float64)


def _lbfgs(left: Any, right: Any, outcome: Any, count: Floats, case: Any) -> Floats:
    from scipy.optimize import minimize
    from scipy.special import expit

    n = case.n_items

    def loss_and_gradient(theta: Floats) -> tuple[float, Floats]:
        chance = expit(theta[left] - theta[right])
        loss = -(count * np.log(np.where(outcome == 1, chance, 1 - chance))).sum() + case.ridge / 2 * theta @ theta
        pull = count * (outcome - chance)
        return loss, np.bincount(right, pull, n) - np.bincount(left, pull, n) + case.ridge * theta

    found = minimize(
        loss_and_gradient, np.zeros(n), jac=True, method="L-BFGS-B", options={"maxiter": 1000, "gtol": 1e-6}
    )
    return np.asarray(found.x, dtype=np.float64)


def _logistic_regression(left: Any, right: Any, outcome: Any, count: Floats | None, case: Any) -> Floats:
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    rows = len(left)
    columns = np.stack([left, right], axis=1).ravel()
    signs = np.tile([1.0, -1.0], rows)
    design = csr_matrix((signs, columns, np.arange(0, 2 * rows + 1, 2)), shape=(rows, case.n_items))
    model = LogisticRegression(C=1 / case.ridge if case.ridge else np.inf, fit_intercept=False, tol=1e-8, max_iter=1000)
    return np.asarray(model.fit(design, outcome, sample_weight=count).coef_[0], dtype=np.float64)


METHODS = {
    method.name: method
    for method in (
        Method("preflearn", preflearn_fit, None),
        Method("preflearn, with intervals", preflearn_intervals, None),
        Method("evalica.bradley_terry", evalica_bradley_terry, "evalica"),
        Method("evalica.newman", evalica_newman, "evalica"),
        Method("choix.ilsr_pairwise_dense", choix_ilsr, "choix"),
        Method("FastChat's formula (L-BFGS)", fastchat_formula, None),
        Method("scikit-learn, distinct votes", sklearn_counted, "scikit-learn"),
        Method("scikit-learn, single votes", sklearn_votes, "scikit-learn"),
        Method("arena-rank", arena_rank_fit, "arena-rank"),
        Method("preflearn, 100 bootstraps", preflearn_bootstrap, None, 100),
        Method("FastChat's formula, 100 bootstraps", fastchat_bootstrap, None, 100),
        Method("evalica.bootstrap, 10 bootstraps", evalica_bootstrap, "evalica", 10),
    )
}
