"""What a model does not know about a question: the documented fallback, said aloud; criteria; posteriors on disk."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.models.makers import with_ratings

from preflearn.errors import InputError, NotComputable
from preflearn.models import load
from preflearn.models.spec import build
from preflearn.simulate.embedded import embedded

STORED = {"encoder": "embedding", "ridge": 4.0}


@pytest.fixture(scope="module")
def study():
    w = np.random.default_rng(0).standard_normal(4)
    camp = np.where(np.arange(20) < 10, 1.0, -1.0)
    found = embedded(
        lambda a, b, who, prompt: camp[who] * ((a - b) @ w), features=4, annotators=20, votes=20, prompts=30
    )
    side = pl.when(pl.int_range(pl.len()) < 10).then(pl.lit("left")).otherwise(pl.lit("right"))
    people = found.data.annotators.with_columns(group=side, age=pl.int_range(pl.len()))
    return found, people


@pytest.fixture(scope="module")
def data(study):
    found, people = study
    return found.data.replace(annotators=people)


@pytest.mark.parametrize(
    ("recipe", "options"), [("groups", {"column": "annotators.group"}), ("attributes", {"names": ("age",)})]
)
def test_without_their_columns_people_get_the_common_answer_and_it_is_said(data, recipe, options):
    model = build(recipe, **options, **STORED).fit(data)
    assert model.reservations(data) == []
    blind = data.replace(annotators=data.annotators.select("annotator_id"))
    unknown = data.replace(annotators=data.annotators.with_columns(group=pl.lit("other"), age=pl.lit(None, pl.Int64)))
    (said,) = model.reservations(blind)
    assert "no column" in said
    if recipe == "groups":
        np.testing.assert_array_equal(model.prob(blind), model.prob(unknown))
        assert "400 of 400 comparisons" in model.reservations(unknown)[0]
    else:
        np.testing.assert_allclose(model.prob(blind), model.prob(data), atol=1e-6)  # known people are remembered
    with pytest.raises(InputError, match=r"group|age"):
        build(recipe, **options, **STORED).fit(blind)


def test_strangers_are_counted(data):
    model = build("mixture", **STORED).fit(data)
    strangers = data.replace(comparisons=data.comparisons.with_columns(annotator_id=pl.lit("nobody known")))
    assert "400 of 400 comparisons" in model.reservations(strangers)[0] and model.reservations(data) == []
    assert build("bradley_terry", **STORED).fit(data).reservations(strangers) == []


class TestCriteria:
    @staticmethod
    def on(data, *names):
        """The comparisons on these criteria in turn; None = not recorded."""
        column = pl.Series("criterion_id", [names[k % len(names)] for k in range(data.comparisons.height)], pl.String)
        return data.replace(comparisons=data.comparisons.with_columns(column))

    def test_none_recorded_means_overall(self, data):
        mixed = self.on(data, None, "tone")
        with pytest.raises(InputError, match=r"2 criteria.*overall, tone"):
            build("bradley_terry", **STORED).fit(mixed)
        model = build("bradley_terry", criterion="overall", **STORED).fit(mixed)
        assert model.shape_.total == 200
        np.testing.assert_array_equal(
            build("bradley_terry", **STORED).fit(self.on(data, None)).prob(data),
            build("bradley_terry", **STORED).fit(self.on(data, "overall")).prob(data),
        )

    def test_another_criterion_at_prediction_is_said(self, data, tmp_path):
        model = build("bradley_terry", **STORED).fit(self.on(data, "tone"))
        model.save(tmp_path / "m")
        for each in (model, load(tmp_path / "m")):
            assert each.reservations(self.on(data, "tone")) == []
            (said,) = each.reservations(self.on(data, "tone", "facts"))
            assert "200 of 400" in said and "'facts'" in said and "'tone'" in said

    def test_comparisons_of_several_criteria_are_not_pooled_under_a_gate(self, study, data):
        found, _ = study
        rng = np.random.default_rng(1)
        item = np.tile(np.arange(40), 2)
        names = ["tone"] * 40 + ["facts"] * 40
        rated = with_ratings(found, rng.standard_normal(80), item, criterion_id=names)
        mixed = self.on(data, "tone", "facts").replace(ratings=rated.ratings)
        with pytest.raises(InputError, match="2 criteria"):
            build("armorm", hidden=(4,), encoder="embedding").fit(mixed)
        model = build("armorm", hidden=(4,), encoder="embedding", criterion="tone").fit(mixed)
        assert model.shape_.codes["criterion"] == 2, "ratings keep both"
        assert len(model._training.batch.pairs) == 200


def test_refits_are_made_only_when_asked_for(data, tmp_path, monkeypatch):
    from preflearn.models import beliefs

    made = []
    find = beliefs.posterior_of
    monkeypatch.setattr(beliefs, "posterior_of", lambda *a, **k: made.append(1) or find(*a, **{**k, "refits": 3}))
    model = build("gpm", pairs=1, **STORED).fit(data)
    model.save(tmp_path / "plain")
    assert not made
    with pytest.raises(NotComputable, match="draws=True"):
        load(tmp_path / "plain").prob_draws(data, 2, 0)
    model.save(tmp_path / "draws", draws=True)
    assert made == [1] and load(tmp_path / "draws").prob_draws(data, 2, 0).shape == (2, 400)
    model.save(tmp_path / "again")  # what was computed is kept
    assert load(tmp_path / "again").prob_draws(data, 2, 0).shape == (2, 400) and made == [1]
    line = build("bradley_terry", **STORED).fit(data)
    line.save(tmp_path / "line")
    assert load(tmp_path / "line").prob_draws(data, 2, 0).shape == (2, 400), "Laplace's costs nothing"
