"""The models that `evaluate` was given by name: saved, predicted, or still to be fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from preflearn.cli.say import Say
from preflearn.errors import InputError

if TYPE_CHECKING:
    from preflearn.data import PreferenceData


class Candidate(NamedTuple):
    """One model of the comparison.

    Attributes:
        name: as given.
        make: an unfitted model; None for what is fitted or predicted already.
        path: of the others.
        takes_options: whether `--set` says something about it.
    """

    name: str
    make: Callable[[], Any] | None
    path: Path | None = None
    takes_options: bool = False

    @property
    def unfitted(self) -> bool:
        """Whether it must be fitted first."""
        return self.make is not None

    @property
    def fit(self) -> Callable[[PreferenceData], Any] | None:
        """From training data to a fitted model."""
        make = self.make
        return None if make is None else lambda data: make().fit(data)

    def source(self, say: Say, data: PreferenceData, training: PreferenceData | None) -> Any:
        """A fitted model, or probabilities of the comparisons of `data`."""
        from preflearn.cli.models import load_model
        from preflearn.cli.predictions import SUFFIXES, read_predictions

        if self.fit is not None:
            if training is None:
                raise InputError(f"{self.name} must be fitted before it can be evaluated.", cure="Give --train DATA.")
            with say.working(f"fitting {self.name}"):
                model = self.fit(training)
            return self._reserved(say, model, data)
        assert self.path is not None
        if self.path.suffix in SUFFIXES:
            predictions, notes = read_predictions(self.path, data)
            for note in notes:
                say.warn(note)
            return predictions
        return self._reserved(say, load_model(self.path), data)

    def _reserved(self, say: Say, model: Any, data: PreferenceData) -> Any:
        """The model; what it answers by a fallback is said."""
        for note in getattr(model, "reservations", lambda data: [])(data):
            say.warn(f"{self.name}: {note}")
        return model


def candidates(
    say: Say, names: Sequence[str], data: PreferenceData, options: Sequence[str], encoder: str | None
) -> dict[str, Candidate]:
    """The models by name, in order.

    A name that both `fit` and `rank` know means the model over content where responses have texts or embeddings.

    Raises:
        InputError: a name twice, or one that is neither a file nor a model.
    """
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError("a model is named twice.", value=twice[0])
    own = _options(options, names)
    found = {name: _candidate(say, name, data, own.get(name, []), encoder) for name in names}
    takers = [name for name, each in found.items() if each.takes_options]
    for name, texts in own.items():
        addressed = [text for text in options if text.startswith(f"{name}:")]
        if texts and name not in takers and (addressed or not takers):
            raise InputError(
                f"{name} is no recipe to fit, so it has no options.",
                value=(addressed or texts)[0],
                cure="Leave out --set.",
            )
    return found


def _options(options: Sequence[str], names: Sequence[str]) -> Mapping[str, list[str]]:
    """``M:key=value`` goes to one model, ``key=value`` to all."""
    found: dict[str, list[str]] = {name: [] for name in names}
    for text in options:
        before, colon, rest = text.partition(":")
        if colon and before in names:
            found[before].append(rest)
        else:
            for each in found.values():
                each.append(text)
    return found


def _candidate(say: Say, name: str, data: PreferenceData, options: Sequence[str], encoder: str | None) -> Candidate:
    from preflearn.ranking import MODELS
    from preflearn.ranking.board import build
    from preflearn.registry import recipes

    path = Path(name)
    rating = name.removeprefix("rank:")
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return Candidate(name, _recipe(say, name, options, encoder), takes_options=True)
    if path.exists():
        return Candidate(name, None, path)
    if name.startswith("rank:") and rating in MODELS:
        return Candidate(name, lambda: build(rating, seed=say.seed))
    if name in recipes() and (name not in MODELS or _has_content(data)):
        return Candidate(name, _recipe(say, name, options, encoder), takes_options=True)
    if name in MODELS:
        return Candidate(name, lambda: build(name, seed=say.seed))
    if path.suffix:
        return Candidate(name, None, path)
    raise InputError(
        f"there is no model {name!r}: no such file, recipe or rating model.",
        cure="`preflearn fit --list` names the recipes; rating models are "
        + ", ".join(f"rank:{each}" for each in MODELS)
        + ".",
    )


def _recipe(say: Say, name: str, options: Sequence[str], encoder: str | None) -> Callable[[], Any]:
    from preflearn.cli.models import unfitted

    unfitted(name, options, encoder=encoder)  # wrong options are said before any work
    return lambda: unfitted(name, options, encoder=encoder, seed=say.chosen_seed)


def _has_content(data: PreferenceData) -> bool:
    return any(
        column in data.columns("responses") and data.responses[column].null_count() < data.height("responses")
        for column in ("messages", "embedding")
    )
