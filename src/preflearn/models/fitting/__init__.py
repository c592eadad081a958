"""Ways to find the parameters of a network, plain data with one method: ``fit(network, batch, seed) -> Report``.

A file is one way, or what several ways share (which judgments to hold out, whether a network is linear, its ridge). The
mathematics below them, which knows nothing of networks, lies in `models.solvers`.
"""

from preflearn.models.fitting.full_batch import PRECISE, FullBatch, Report, weight_of

__all__ = ["PRECISE", "FullBatch", "Report", "weight_of"]
