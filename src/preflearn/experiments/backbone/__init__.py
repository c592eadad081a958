"""A language model under the heads of preference models: adapters against frozen features, on planted and real labels.

`python -m preflearn.experiments.backbone [--only KEY]` writes `docs/backbone.json` and `docs/backbone.md`. It needs
PREFLEARN_DATA and the packaged SmolLM2-135M; about ten minutes a run on two cores.
"""
