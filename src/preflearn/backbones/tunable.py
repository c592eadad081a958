"""A language model to be fine-tuned as an encoder, as plain data: what is trained and how; `build` makes the module.

No torch here: a specification can be read, compared and saved without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from preflearn.backbones.hidden import HiddenState
from preflearn.backbones.registry import encoder_of
from preflearn.backbones.types import Encoded, Mask
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError, MissingDependency

if TYPE_CHECKING:
    from preflearn.backbones.tuning import TunableEncoder


@dataclass(frozen=True)
class LoRA:
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): W + alpha / rank * B A, with B = 0 at the start.

    Args:
        rank: of the update.
        alpha: its scale.
        dropout: on the input of A, in training.
        targets: `all-linear`, or names of modules.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"

    def __post_init__(self) -> None:
        if not isinstance(self.targets, str):
            object.__setattr__(self, "targets", tuple(self.targets))
        if self.rank < 1:
            raise InputError("the rank is below 1.", value=self.rank)


@dataclass(frozen=True)
class Tunable:
    """A hidden state whose language model is trained with the heads on it.

    As an encoder it gives what the language model gives before training.

    Args:
        encoder: the hidden state it starts from (or its specification).
        lora: adapters to train; None: all parameters.
        gradient_checkpointing: compute activations again in the backward pass instead of keeping them.
    """

    encoder: HiddenState
    lora: LoRA | None = LoRA()
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        inner = encoder_of(self.encoder)
        if not isinstance(inner, HiddenState):
            raise InputError("only a hidden_state can be fine-tuned.", value=self.encoder)
        if inner.adapter is not None:
            raise InputError(
                "the hidden_state has an adapter already, and only one can be trained and saved.",
                path=inner.adapter,
                cure="Continue training it (`restore`), or merge it into the model first.",
            )
        object.__setattr__(self, "encoder", inner)
        given: Any = self.lora
        if isinstance(given, Mapping):
            try:
                object.__setattr__(self, "lora", LoRA(**given))
            except TypeError as error:
                raise InputError(f"the adapters cannot be made: {error}.", value=dict(given)) from error

    @property
    def dimension(self) -> int | None:
        """As the hidden state it starts from."""
        return self.encoder.dimension

    def encode(
        self, data: PreferenceData, *, prompts: bool = False, needed: Mask | None = None, progress: bool | None = None
    ) -> Encoded:
        """As the hidden state it starts from."""
        return self.encoder.encode(data, prompts=prompts, needed=needed, progress=progress)

    def signature(self) -> str:
        """As the hidden state it starts from: these are the same vectors."""
        return self.encoder.signature()

    def build(self, seed: int = 0) -> TunableEncoder:
        """The module, on the CPU; its first output equals the frozen encoding.

        Args:
            seed: of the adapters' start.

        Raises:
            InputError, NotSupported, MissingDependency: as `HiddenState.encode`; peft is needed for adapters.
        """
        try:
            from preflearn.backbones.tuning import TunableEncoder
        except ImportError as error:
            raise MissingDependency(error.name or "torch", "text") from error
        return TunableEncoder(self, seed)
