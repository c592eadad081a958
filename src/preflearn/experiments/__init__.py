"""Proofs of the methods: each simulates a known truth, compares with a named baseline and asserts the effect.

`python -m preflearn.experiments run` verifies every method with one fresh seed and writes the table of the docs.
"""

from preflearn.experiments.proof import Figures, Proof, ProofResult, proof, verify

__all__ = ["Figures", "Proof", "ProofResult", "proof", "verify"]
