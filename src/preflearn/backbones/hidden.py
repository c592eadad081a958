"""Hidden states of any Hugging Face language model or encoder as vectors of responses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from preflearn.backbones.batching import length_batches
from preflearn.backbones.cache import Batch, Job, cut_note, through_cache
from preflearn.backbones.load import DTYPES, Loaded, device, load_backbone, locate
from preflearn.backbones.rows import Inputs, Of, all_rows, prompt_inputs, response_inputs
from preflearn.backbones.tokens import tokenise
from preflearn.backbones.types import Encoded, Mask, Vectors
from preflearn.data.arrays import Ints
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError, MissingDependency

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

Pooling = Literal["last", "mean"]

_TOKENS_PER_BATCH, _TEXTS_PER_BATCH = 8192, 64


@dataclass(frozen=True)
class HiddenState:
    """A hidden state of a language model (or encoder) that has read the prompt and the response, kept on disk.

    Args:
        model: `smollm2` (packaged SmolLM2-135M-Instruct), a directory, a .gguf file, or a name on the hub.
        layer: which hidden state: -1 the last (after the final norm), 0 the token embeddings, 1 the first layer, ...
        pooling: of the last token, or the mean of all tokens.
        template: render messages by the tokenizer's chat template, where it has one.
        max_length: tokens read; of a longer conversation the beginning is cut off (counted in the notes).
        of: what is read.
        dtype: of the weights; the vectors are float32.
        adapter: directory of a PEFT adapter (as a fine-tuned encoder saves it).
        revision: branch, tag or commit on the hub.
    """

    model: str
    layer: int = -1
    pooling: Pooling = "last"
    template: bool = True
    max_length: int = 1024
    of: Of = "prompt+response"
    dtype: str = "float32"
    adapter: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("pooling", ("last", "mean")),
            ("of", ("response", "prompt+response")),
            ("dtype", DTYPES),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"`{name}` is not known.", value=getattr(self, name), cure=f"It is one of {', '.join(allowed)}."
                )
        if self.max_length < 2:
            raise InputError("`max_length` is below 2.", value=self.max_length)

    @property
    def dimension(self) -> int | None:
        """None until the model is loaded."""
        return None

    def encode(
        self, data: PreferenceData, *, prompts: bool = False, needed: Mask | None = None, progress: bool | None = None
    ) -> Encoded:
        """Hidden states [R, d] of the responses; of a prompt, that where the answer begins [P, d].

        Raises:
            InputError: a needed response (or its prompt) has no text, the template refuses it, the model cannot be
                found or loaded or has no such layer; each with the cure.
            NotSupported: the model has an encoder and a decoder.
            MissingDependency: torch or transformers is not installed.
        """
        wanted = all_rows(data, needed)
        responses, notes = self._encoded(response_inputs(data, wanted, self.of), data.height("responses"), progress)
        if not prompts:
            return Encoded(responses, None, notes)
        asked, more = self._encoded(prompt_inputs(data, wanted), data.height("prompts"), progress)
        return Encoded(responses, asked, notes + more)

    def signature(self) -> str:
        """Content of the model (and adapter), and how conversations are read and pooled."""
        return json.dumps(
            {
                "hidden_state": locate(self.model, self.revision).identity,
                "adapter": None if self.adapter is None else locate(self.adapter).identity,
                "layer": self.layer,
                "pooling": self.pooling,
                "template": self.template,
                "max_length": self.max_length,
                "of": self.of,
                "dtype": self.dtype,
            }
        )

    def load(self) -> Loaded:
        """The model on the CPU with its adapter merged in, and its tokenizer; a new copy each time.

        Raises:
            InputError, NotSupported, MissingDependency: as `encode`.
        """
        loaded = load_backbone(self.model, revision=self.revision, dtype=self.dtype)
        layers = int(loaded.model.config.get_text_config().num_hidden_layers)
        if not -layers - 1 <= self.layer <= layers:
            raise InputError(f"the model has {layers} layers.", value=self.layer, column="layer")
        return loaded if self.adapter is None else loaded._replace(model=_merged(loaded, self.adapter))

    def limit(self, loaded: Loaded) -> int:
        """Tokens read: `max_length`, or fewer where the model or its tokenizer says so."""
        positions = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
        return min(self.max_length, positions or self.max_length, loaded.tokenizer.model_max_length)

    def _encoded(self, inputs: Inputs, height: int, progress: bool | None) -> tuple[Vectors, tuple[str, ...]]:
        found = through_cache(
            inputs.keys,
            self.signature(),
            lambda chosen: self._job(inputs, chosen),
            label=f"{inputs.table} through {self.model}",
            progress=progress,
        )
        out = np.zeros((height, found.vectors.shape[1]), dtype=np.float32)
        out[inputs.rows] = found.vectors
        return out, cut_note(found.cut, "beginning", inputs.table, self.model)

    def _job(self, inputs: Inputs, chosen: Ints) -> Job:
        loaded = _held(self, self.signature())
        tokens = tokenise(loaded.tokenizer, inputs, chosen, template=self.template, max_length=self.limit(loaded))
        lengths = tokens.lengths

        def run() -> Iterator[Batch]:
            import torch

            target = next(loaded.model.parameters()).device
            for places in length_batches(lengths, _TOKENS_PER_BATCH, _TEXTS_PER_BATCH):
                ids, mask = (torch.from_numpy(part).to(target) for part in tokens.padded(places))
                with torch.inference_mode():
                    vectors = pooled_state(loaded.model, ids, mask, self.layer, self.pooling).cpu().numpy()
                yield Batch(places, vectors, tokens.cut[places], int(lengths[places].sum()))

        return Job(int(lengths.sum()), run())


def pooled_state(model: nn.Module, ids: Tensor, mask: Tensor, layer: int, pooling: Pooling) -> Tensor:
    """One vector per row: a hidden state of its last token, or the mean over its tokens.

    Args:
        model: a transformers model without a head.
        ids: [m, T] token ids, padded on either side.
        mask: [m, T] which are not padding; at least one in each row.
        layer: see `HiddenState`.
        pooling: see `HiddenState`.

    Returns:
        [m, d] float32.
    """
    out = model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=layer != -1, use_cache=False)
    state = out.last_hidden_state if layer == -1 else out.hidden_states[layer]
    return pool(state, mask, pooling)


def pool(state: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """[m, T, d] to [m, d] float32: the last token that is not padding, or the mean of those."""
    import torch

    if pooling == "last":
        steps = torch.arange(mask.shape[1], device=mask.device)
        last = torch.where(mask.bool(), steps, -1).amax(dim=1)
        return state[torch.arange(state.shape[0], device=state.device), last].float()
    weight = mask.to(torch.float32).unsqueeze(-1)
    return (state.float() * weight).sum(dim=1) / weight.sum(dim=1)


def _merged(loaded: Loaded, adapter: str) -> PreTrainedModel:
    try:
        from peft import PeftModel
    except ImportError as error:
        raise MissingDependency("peft", "text") from error
    try:
        merged: PreTrainedModel = PeftModel.from_pretrained(loaded.model, str(locate(adapter).path)).merge_and_unload()
    except (OSError, ValueError, RuntimeError) as error:
        said = str(error).strip().partition("\n")[0]
        raise InputError(f"the adapter does not fit the model: {said}", path=adapter) from error
    merged.train(False)
    return merged


@lru_cache(maxsize=1)
def _held(encoder: HiddenState, signature: str) -> Loaded:
    """The model last used, kept while its files stay the same, on the accelerator where there is one."""
    loaded = encoder.load()
    return loaded._replace(model=loaded.model.to(device()))
