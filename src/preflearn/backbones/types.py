"""What every encoder is and gives: the contract between those who turn responses into vectors and those who use them.

numpy only; this file knows nothing about models, texts or files.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from preflearn.data.tables import PreferenceData

Vectors = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class Encoded(NamedTuple):
    """Vectors of responses and, when asked for, of prompts."""

    responses: Vectors
    """[R, d]: row i belongs to row i of `data.responses`; rows that were not needed are zero."""
    prompts: Vectors | None = None
    """[P, d']: row i belongs to row i of `data.prompts`; rows that no needed response refers to are zero."""
    notes: tuple[str, ...] = ()
    """What the user should know (texts cut short, ...), one sentence each."""


@runtime_checkable
class Encoder(Protocol):
    """Turns responses into vectors.

    Implementations are frozen dataclasses of plain data: they can be written as YAML or JSON (`as_spec`) and built
    again (`encoder_of`), and two that are equal compute the same.
    """

    @property
    def dimension(self) -> int | None:
        """Length of the vectors, or None while it is not known."""
        ...

    def encode(
        self,
        data: PreferenceData,
        *,
        prompts: bool = False,
        needed: Mask | None = None,
        progress: bool | None = None,
    ) -> Encoded:
        """Vectors of the responses of `data`.

        Args:
            data: what is judged.
            prompts: also encode the prompts of the needed responses, by themselves.
            needed: [R] which rows of `data.responses` are wanted; None: all. The others need not be encodable.
            progress: show a progress bar; None: when standard error is a terminal.

        Raises:
            InputError: a needed response lacks what the encoder reads; it is named, with the cure.
            MissingDependency: a library is not installed.
        """
        ...

    def signature(self) -> str:
        """Identity of what is computed (content of the model, pooling, template, ...), equal on every machine.

        Vectors of encoders with equal signatures may be exchanged: it is part of the cache's keys and is compared when
        a fitted model is loaded.
        """
        ...
