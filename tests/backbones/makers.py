"""Tiny models made on the fly, and small data sets of texts and trajectories."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from preflearn.data import PreferenceData

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'tool' %}{{ raise_exception('tools are not spoken here') }}{% endif %}"
    "<|{{ m.role }}|>{{ m.content }}"
    "{% if not (loop.last and continue_final_message is defined and continue_final_message) %}</s>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEXTS = [
    "the cat sat on the mat",
    "a dog ran",
    "why does the sun rise every single morning over there",
    "no",
    "yes yes",
]


def tokenizer(template: str | None = TEMPLATE, padding_side: str = "right"):
    """Byte-level tokens; adds <s> itself; padding is end of text, as many models have it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(special + alphabet)}, merges=[], unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(special)
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    out = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="</s>",
        padding_side=padding_side,
    )
    out.chat_template = template
    return out


def tiny_llama(path: Path, template: str | None = TEMPLATE, padding_side: str = "right", positions: int = 512) -> str:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    made = tokenizer(template, padding_side)
    config = LlamaConfig(
        vocab_size=len(made),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    made.save_pretrained(path)
    return str(path)


def tiny_bert(path: Path) -> str:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    words = sorted({word for text in TEXTS for word in text.split()})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    inner = Tokenizer(models.WordLevel({t: i for i, t in enumerate(special + words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    config = BertConfig(
        vocab_size=len(made),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        initializer_range=0.3,
    )
    BertModel(config).save_pretrained(path)
    made.save_pretrained(path)
    return str(path)


def texts(responses: list[str | None] = TEXTS, prompt: str | None = "say something") -> PreferenceData:
    """One prompt, several responses."""
    tables = {
        "responses": pl.DataFrame(
            {
                "response_id": [f"r{i}" for i in range(len(responses))],
                "prompt_id": ["p" if prompt is not None else None] * len(responses),
                "messages": responses,
            },
            schema_overrides={"prompt_id": pl.String, "messages": pl.String},
        )
    }
    if prompt is not None:
        tables["prompts"] = pl.DataFrame({"prompt_id": ["p"], "messages": [prompt]})
    return PreferenceData(**tables)
