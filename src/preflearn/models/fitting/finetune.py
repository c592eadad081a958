"""Training a language model under the same head, kernel, population and outcome: first the parts, then all together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from preflearn.backbones import Encoded, HiddenState, Tunable
from preflearn.backbones.tokens import Tokens
from preflearn.backbones.tuning import TunableEncoder
from preflearn.data import PreferenceData
from preflearn.errors import InputError
from preflearn.models.base import Part, Taste
from preflearn.models.batch import Batch, Pairs
from preflearn.models.bounds import Count
from preflearn.models.fitting.full_batch import FullBatch, Report
from preflearn.models.network import Network
from preflearn.models.parts import part
from preflearn.models.vocabulary import Vocabulary
from preflearn.train import InMemorySource, Loss, TrainSettings, train

Rows = npt.NDArray[np.int64]
_SETTINGS: Mapping[str, Any] = {
    "epochs": 2,
    "lr": 2e-4,
    "groups": {"network.*": {"lr": 1e-3}},
    "schedule": "cosine",
    "warmup": 0.05,
    "clip": 1.0,
    "precision": "auto",
    "patience": 3,
}
"""What differs from the defaults of `TrainSettings`: adapters at 2e-4, the parts on top at 1e-3."""


class Tuned:
    """The encoder that a fine-tuning left: computes with the module in memory, nothing is kept on disk.

    Args:
        module: the trained language model.
    """

    def __init__(self, module: TunableEncoder) -> None:
        self.module = module.eval()

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self.module.dimension

    def signature(self) -> str:
        """Of what it was trained from; the weights are saved beside the model."""
        return self.module.spec.signature() + " fine-tuned"

    def encode(
        self,
        data: PreferenceData,
        *,
        prompts: bool = False,
        needed: npt.NDArray[np.bool_] | None = None,
        progress: bool | None = None,
    ) -> Encoded:
        """Vectors [R, d] of the needed responses; of prompts those of the model before training."""
        tokens = self.module.tokenise(data, needed=needed)
        wanted = np.flatnonzero(tokens.lengths > 0)
        out = np.zeros((data.height("responses"), self.dimension), np.float32)
        order = wanted[np.argsort(tokens.lengths[wanted], kind="stable")]
        with torch.inference_mode():
            for start in range(0, len(order), 32):
                rows = order[start : start + 32]
                out[rows] = self.module(tokens, torch.as_tensor(rows)).cpu().numpy()
        asked = self.module.spec.encode(data, prompts=True, needed=needed).prompts if prompts else None
        return Encoded(out, asked, self.module.notes(tokens))

    def save(self, path: Path) -> HiddenState:
        """Write what was trained and return the encoder that reads it."""
        self.module.save(path)
        spec = self.module.spec
        if spec.lora is None:
            return replace(spec.encoder, model=str(path), revision=None)
        return replace(spec.encoder, adapter=str(path))


class Joint(nn.Module):
    """Language model and network as one module; features on the scale that the network was built on."""

    centre: Tensor
    scale: Tensor

    def __init__(self, network: Network, backbone: TunableEncoder, tokens: Tokens, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.network, self.backbone, self.tokens = network, backbone, tokens
        centre = np.zeros(backbone.dimension) if vocabulary.centre is None else vocabulary.centre
        scale = np.ones(backbone.dimension) if vocabulary.scale is None else vocabulary.scale
        self.register_buffer("centre", torch.as_tensor(centre, dtype=torch.float32), persistent=False)
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32), persistent=False)

    def features(self, rows: Tensor) -> Tensor:
        """Features [m, d] of rows of responses."""
        values: Tensor = self.backbone(self.tokens, rows)
        return (values - self.centre) / self.scale


class Split(NamedTuple):
    """Rows of the comparisons to train on and to stop by."""

    train: Rows
    held_out: Rows


@part("fitting", "fine_tune")
@dataclass(frozen=True)
class FineTune(Part):
    """The parts on frozen features first (`start`), then language model and parts together on minibatches.

    Comparisons that share responses share a minibatch: each response is read once for all of them. A mixture keeps the
    posterior of each annotator from the start (the M-step of EM); other populations are trained with the rest.

    Attributes:
        start: how the parts are fitted on the features before training.
        settings: of `preflearn.train.TrainSettings`, where they differ from these defaults: two epochs, adapters at
            2e-4, parts at 1e-3, cosine with warm-up, clipping at 1, bfloat16 where it is native.
        responses: largest number of responses in a minibatch.
        held_out: share of the groups of responses to stop by; 0 = none, the last weights are kept.
        out: folder for the log and checkpoints, from which a stopped run resumes bit by bit; None = none.
    """

    start: Part = field(default_factory=FullBatch)
    settings: Mapping[str, Any] = field(default_factory=dict)
    responses: Count = 48
    held_out: float = 0.1
    out: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise InputError("held_out is a share of the groups of responses, below 1.", value=self.held_out)
        self._settings(0)

    def _settings(self, seed: int) -> TrainSettings:
        return TrainSettings.parse({**_SETTINGS, "seed": seed, **self.settings})

    def fit(self, network: Network, batch: Batch, seed: int) -> Report:
        raise InputError(
            "there is no language model to train.", cure="Give an encoder of the kind `tunable`, or another fitting."
        )

    def tune(
        self, network: Network, batch: Batch, seed: int, data: PreferenceData, spec: Tunable, vocabulary: Vocabulary
    ) -> tuple[Report, Tuned]:
        """Fit the parts, then everything.

        Raises:
            InputError: judgments that are no comparisons.
        """
        if batch.pairs is None or batch.lists is not None or batch.ratings is not None:
            raise InputError(
                "a language model is fine-tuned on comparisons.", cure="Convert ratings or rankings first."
            )
        report: Report = self.start.fit(network, batch, seed)  # type: ignore[attr-defined]
        network.settle(batch)
        network.float()
        backbone = spec.build(seed)
        needed = np.zeros(batch.x.shape[0], np.bool_)
        needed[batch.used().numpy()] = True
        joint = Joint(network, backbone, backbone.tokenise(data, needed=needed), vocabulary)
        groups = _groups(batch.pairs, self.responses)
        split = _split(groups, self.held_out, seed)
        settings = self._settings(seed)
        if not len(split.held_out):
            settings = replace(settings, monitor=None, patience=None)
        source = InMemorySource(
            len(split.train),
            lambda rows: split.train[rows],
            batch_size=1,  # a group is a minibatch
            seed=seed,
            unit=groups[split.train],
        )
        result = train(
            joint,
            _StepLoss(batch),
            source,
            settings,
            evaluate=_Evaluation(batch, split.held_out) if len(split.held_out) else None,
            out=self.out,
            resume=self.out is not None,
        )
        notes = [*report.notes, *backbone.notes(joint.tokens)]
        if result.best is not None and result.evaluations:
            first = result.evaluations[0]["metrics"]["log_loss"]
            notes.append(
                f"held-out log loss {first:.4f} before and {result.best.value:.4f} after training, "
                f"best at step {result.best.step} of {result.steps}"
            )
        return report._replace(notes=tuple(notes)), Tuned(backbone)


class _StepLoss:
    """Mean negative log-likelihood of the comparisons of a minibatch, and the prior's share."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        assert batch.pairs is not None
        self.total = float(batch.pairs.weight.sum())

    def __call__(self, module: nn.Module, rows: Rows) -> Loss:
        assert isinstance(module, Joint)
        part = _encoded(module, self.batch, rows)
        network = module.network
        cost = _expected(network, part) if network.population.whole_units else None
        if cost is None:
            objective = network.objective(part)
            cost = objective.per_unit.sum() + objective.extra
        assert part.pairs is not None
        weight = part.pairs.weight.sum()
        return Loss((cost / weight)[None], weight[None], penalty=network.penalty() / self.total)


class _Evaluation:
    """Log loss on held-out comparisons, as the model would answer."""

    def __init__(self, batch: Batch, rows: Rows) -> None:
        self.batch, self.rows = batch, rows

    def __call__(self, module: nn.Module) -> Mapping[str, float]:
        assert isinstance(module, Joint)
        total, weight = 0.0, 0.0
        for rows in np.array_split(self.rows, max(1, len(self.rows) // 256)):
            part = _encoded(module, self.batch, rows)
            assert part.pairs is not None
            probs, shares = module.network.predict(part.pairs, part)
            mixed = torch.log((shares[:, :, None] * probs).sum(1).clamp(min=1e-12))
            total -= float((part.pairs.weight * (part.pairs.target * mixed).sum(1)).sum())
            weight += float(part.pairs.weight.sum())
        return {"log_loss": total / weight}


def _encoded(module: Joint, batch: Batch, rows: Rows) -> Batch:
    """The comparisons with features that the language model computes now; each response once."""
    part = batch.only(pairs=torch.as_tensor(rows))
    used = part.used()
    return replace(part.compact(), x=module.features(used))


def _expected(network: Network, part: Batch) -> Tensor | None:
    """Expected negative log-likelihood under the units' posteriors: what the M-step of EM minimises."""
    rows = part.pairs
    assert rows is not None
    taste: Taste = network.population.known(rows, part)
    if taste.log_weights is None:
        return None
    log_prob = network.log_prob(rows, part, taste)
    return -(rows.weight[:, None] * torch.exp(taste.log_weights.detach()) * log_prob).sum()


def _groups(pairs: Pairs, size: int) -> Rows:
    """Group of each comparison, [n]: the comparisons of a group concern at most `size` responses, or one pair.

    Responses that are compared with each other come one after the other (reverse Cuthill-McKee), so that a group reads
    each of its responses once for as many comparisons as possible.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    a, b = pairs.a.numpy(), pairs.b.numpy()
    n = int(max(a.max(), b.max())) + 1
    ones = np.ones(2 * len(a))
    graph = coo_array((ones, (np.concatenate([a, b]), np.concatenate([b, a]))), shape=(n, n)).tocsr()
    place = np.empty(n, np.int64)
    place[reverse_cuthill_mckee(graph, symmetric_mode=True)] = np.arange(n)
    low, high = np.minimum(place[a], place[b]), np.maximum(place[a], place[b])
    groups = np.empty(len(a), np.int64)
    inside: set[int] = set()
    current = 0
    for row in np.lexsort((high, low)):
        wanted = inside | {int(low[row]), int(high[row])}
        if inside and len(wanted) > size:
            current += 1
            wanted = {int(low[row]), int(high[row])}
        inside = wanted
        groups[row] = current
    return groups


def _split(groups: Rows, share: float, seed: int) -> Split:
    """Whole groups held out."""
    names = np.unique(groups)
    rng = np.random.default_rng([seed, 23])
    chosen = rng.permutation(names)[: round(share * len(names))] if len(names) > 1 else names[:0]
    out = np.isin(groups, chosen)
    return Split(np.flatnonzero(~out), np.flatnonzero(out))
