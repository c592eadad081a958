"""Sentence embeddings of responses by any sentence-transformers model, computed once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from preflearn.backbones.batching import length_batches
from preflearn.backbones.cache import Batch, Job, cut_note, through_cache
from preflearn.backbones.load import Located, device, locate, quiet_loading
from preflearn.backbones.rows import Conversation, Inputs, Of, all_rows, prompt_inputs, response_inputs
from preflearn.backbones.types import Encoded, Mask, Vectors
from preflearn.data.arrays import Ints
from preflearn.data.tables import PreferenceData
from preflearn.errors import InputError, MissingDependency

if TYPE_CHECKING:
    import sentence_transformers

_TOKENS_PER_BATCH, _TEXTS_PER_BATCH = 8192, 128


@dataclass(frozen=True)
class SentenceTransformer:
    """Embeddings of texts by a sentence-transformers model, kept on disk by content.

    The text of a response are its messages' contents, one per line; with `of="prompt+response"` the prompt's come
    before, after an empty line. A text longer than the model reads is cut at its end, and counted in the notes.

    Args:
        model: `minilm` (packaged all-MiniLM-L6-v2, 384 numbers), a directory, or a name on the hub.
        normalise: scale each vector to length 1.
        of: what is read.
        prefix: put before every text (some models ask for "query: ").
        max_length: tokens read of each text; None: what the model says.
        revision: branch, tag or commit on the hub.
    """

    model: str = "minilm"
    normalise: bool = True
    of: Of = "response"
    prefix: str = ""
    max_length: int | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.of not in ("response", "prompt+response"):
            raise InputError("`of` is not known.", value=self.of, cure="It is response or prompt+response.")

    @property
    def dimension(self) -> int | None:
        """None until something was encoded."""
        return None

    def encode(
        self, data: PreferenceData, *, prompts: bool = False, needed: Mask | None = None, progress: bool | None = None
    ) -> Encoded:
        """Sentence embeddings [R, d] of the responses (and [P, d] of the prompts' texts).

        Raises:
            InputError: a needed response has no text, or the model cannot be found; both with the cure.
            MissingDependency: sentence-transformers is not installed.
        """
        wanted = all_rows(data, needed)
        responses, notes = self._encoded(response_inputs(data, wanted, self.of), data.height("responses"), progress)
        if not prompts:
            return Encoded(responses, None, notes)
        asked, more = self._encoded(prompt_inputs(data, wanted), data.height("prompts"), progress)
        return Encoded(responses, asked, notes + more)

    def signature(self) -> str:
        """Content of the model, and how texts are read."""
        return json.dumps(
            {
                "sentence_transformer": locate(self.model, self.revision).identity,
                "normalise": self.normalise,
                "of": self.of,
                "prefix": self.prefix,
                "max_length": self.max_length,
            }
        )

    def _encoded(self, inputs: Inputs, height: int, progress: bool | None) -> tuple[Vectors, tuple[str, ...]]:
        found = through_cache(
            inputs.keys,
            self.signature(),
            lambda chosen: self._job(inputs.conversations(chosen)),
            label=f"{inputs.table} through {self.model}",
            progress=progress,
        )
        out = np.zeros((height, found.vectors.shape[1]), dtype=np.float32)
        out[inputs.rows] = found.vectors
        return out, cut_note(found.cut, "end", inputs.table, self.model)

    def _job(self, conversations: list[Conversation]) -> Job:
        model = loaded_model(self)
        texts = [self.prefix + _text(conversation) for conversation in conversations]
        tokens = _token_counts(model, texts)
        limit = model.max_seq_length
        read = np.minimum(tokens, limit) if limit else tokens
        batches = length_batches(read, _TOKENS_PER_BATCH, _TEXTS_PER_BATCH)

        def run() -> Iterator[Batch]:
            for places in batches:
                vectors = model.encode(
                    [texts[place] for place in places],
                    batch_size=len(places),
                    normalize_embeddings=self.normalise,
                    convert_to_numpy=True,
                    show_progress_bar=False,
                )
                yield Batch(places, vectors.astype(np.float32), (tokens - read)[places], int(read[places].sum()))

        return Job(int(read.sum()), run())


def _text(conversation: Conversation) -> str:
    parts = (
        "\n".join(m["content"] for m in part if m["content"]) for part in (conversation.prompt, conversation.response)
    )
    return "\n\n".join(part for part in parts if part)


def _token_counts(model: sentence_transformers.SentenceTransformer, texts: list[str]) -> Ints:
    """[n] tokens of each text before anything is cut; characters / 4 for models without a Hugging Face tokenizer."""
    tokenizer: Any = model.tokenizer
    if not callable(tokenizer):
        return np.array([len(text) // 4 for text in texts], dtype=np.int64)
    counts: list[int] = []
    for start in range(0, len(texts), 4096):
        ids = tokenizer(texts[start : start + 4096], truncation=False, padding=False, verbose=False)["input_ids"]
        counts += [len(one) for one in ids]
    return np.array(counts, dtype=np.int64)


def loaded_model(encoder: SentenceTransformer) -> sentence_transformers.SentenceTransformer:
    """The model of an encoder; kept for the next call.

    Raises:
        InputError: it cannot be found, or is no sentence-transformers model.
        MissingDependency: sentence-transformers is not installed.
    """
    return _loaded(locate(encoder.model, encoder.revision), encoder.max_length)


@lru_cache(maxsize=2)
def _loaded(found: Located, max_length: int | None) -> sentence_transformers.SentenceTransformer:
    try:
        from sentence_transformers import SentenceTransformer as Model
    except ImportError as error:
        raise MissingDependency("sentence-transformers", "text") from error
    path = found.path
    if not (path / "modules.json").is_file():
        raise InputError(
            "this is not a sentence-transformers model (there is no modules.json).",
            path=path,
            cure=f"For a language model's hidden states: {{hidden_state: {{model: {path}}}}}.",
        )
    with quiet_loading():
        loaded = Model(str(path), device=str(device()), local_files_only=True)
    if max_length is not None:
        loaded.max_seq_length = max_length
    return loaded.eval()
