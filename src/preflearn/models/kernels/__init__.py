"""Kernels: how two representations meet. The formulas live in `preflearn.choice.kernels`; one file per family."""

from preflearn.models.kernels.classifier import Classifier
from preflearn.models.kernels.combined import Sum
from preflearn.models.kernels.difference import Difference, Gaussian
from preflearn.models.kernels.lexicographic import Lexicographic
from preflearn.models.kernels.points import IdealPoint
from preflearn.models.kernels.skew import Skew

__all__ = ["Classifier", "Difference", "Gaussian", "IdealPoint", "Lexicographic", "Skew", "Sum"]
