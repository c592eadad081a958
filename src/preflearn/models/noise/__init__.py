"""Noise: what lies between a preference and its record (position, nuisance covariates, wrong labels)."""

from preflearn.models.noise.position import Position

__all__ = ["Position"]
