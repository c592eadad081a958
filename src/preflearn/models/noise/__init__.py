"""Noise: what lies between a preference and its record (position, nuisance covariates, wrong labels)."""

from preflearn.models.noise.controls import Controls
from preflearn.models.noise.ensemble import EnsembleStrength
from preflearn.models.noise.flips import Flips, Smoothing, Unbiased, flip_profile
from preflearn.models.noise.peers import PeerReview
from preflearn.models.noise.position import Position
from preflearn.models.noise.reliability import Reliability, ReliabilityEM, reliabilities

__all__ = [
    "Controls",
    "EnsembleStrength",
    "Flips",
    "PeerReview",
    "Position",
    "Reliability",
    "ReliabilityEM",
    "Smoothing",
    "Unbiased",
    "flip_profile",
    "reliabilities",
]
