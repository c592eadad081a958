"""People between prototypes who come later: their weights by hand, from few answers, and beside few known people."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from preflearn.models import Composed, load
from preflearn.models.population import Simplex
from preflearn.simulate.embedded import embedded


def camps(people: int, votes: int, seed: int = 0):
    """Every other annotator has the opposite of a common part, and the rest is shared."""
    rng = np.random.default_rng([seed, 50])
    side = np.where(np.arange(people) % 2 == 0, 1.0, -1.0)
    own, shared = 2 * np.linalg.qr(rng.standard_normal((8, 2)))[0].T
    return embedded(
        lambda a, b, who, prompt: ((a - b) * (shared / 2 + side[who][:, None] * own)).sum(1),
        features=8,
        annotators=people,
        votes=votes,
        prompts=150,
        seed=seed,
    )


def first(study, rows, count):
    """The first few comparisons of everyone."""
    place = np.zeros(len(rows), int)
    for person in np.unique(study.annotator[rows]):
        mine = rows & (study.annotator == person)
        place[mine] = np.arange(mine.sum())
    return rows & (place < count)


@pytest.fixture(scope="module")
def fitted():
    study = camps(40, 60)
    train, test = study.halves()
    new = study.annotator >= 24
    model = Composed(population=Simplex(2), encoder="embedding").fit(study.rows(train & ~new).pruned())
    return study, model, train & new, test & new


def test_weights_of_a_newcomer_are_the_posterior_mean_over_people_like_those_known(fitted):
    study, model, taught, _ = fitted
    mine = taught & (study.annotator == 30)
    data = study.rows(mine).pruned()
    found = model.adapt(data).network_.population.weights[-1].detach().numpy()
    shares = torch.softmax(model.network_.population._people_like_those_known(), -1).numpy()
    assert len(shares) >= 1_000
    # Utilities of the prototypes tell the logits of any mixture of them.
    values = model.represent(study.data)
    frame = data.comparisons
    a, b = ([int(name[2:]) for name in frame[side]] for side in ("response_a", "response_b"))
    sign = np.where((frame["outcome"] == "a").to_numpy(), 1.0, -1.0)
    gap = values[a] - values[b]
    likelihood = np.prod(1 / (1 + np.exp(-sign[:, None] * (gap @ shares.T))), axis=0)
    np.testing.assert_allclose(found, (likelihood[:, None] * shares).sum(0) / likelihood.sum(), atol=1e-6)


def test_a_few_answers_tell_the_camp(fitted, tmp_path):
    study, model, taught, asked = fitted
    known = study.halves()[1] & (study.annotator < 24)
    as_known = study.right(model.prob(study.rows(known)), known)
    found = []
    for count in (3, 20):
        adapted = model.adapt(study.rows(first(study, taught, count)).pruned())
        found.append(study.right(adapted.prob(study.rows(asked)), asked))
    stranger = study.right(model.prob(study.rows(asked)), asked)
    assert found[0] > stranger + 0.6 * (as_known - stranger)
    assert found[1] > stranger + 0.9 * (as_known - stranger)
    adapted.save(tmp_path / "model")
    np.testing.assert_allclose(load(tmp_path / "model").prob(study.data), adapted.prob(study.data), atol=1e-12)


def test_newcomers_do_not_depend_on_who_came_before_them(fitted):
    study, model, taught, asked = fitted
    early, late = taught & (study.annotator < 36), taught & (study.annotator >= 36)
    together = model.adapt(study.rows(early | late).pruned())
    one_by_one = model.adapt(study.rows(early).pruned()).adapt(study.rows(late).pruned())
    rows = study.rows(asked)
    np.testing.assert_allclose(together.prob(rows), one_by_one.prob(rows), atol=1e-9)


def test_one_known_person_is_no_reason_to_think_all_are_alike():
    study = camps(2, 200, seed=2)
    model = Composed(population=Simplex(2), encoder="embedding").fit(study.rows(study.annotator == 0).pruned())
    draws = model.network_.population._people_like_those_known()
    assert torch.isfinite(draws).all()
    assert draws.std() > 0.5
