"""The search spaces that are part of sentune, in the form of a space file (see tuning.space.load)."""

RANDOM_VECTORS = {"freeze_embedding": "false", "embedding_lr_scale": "1.0"}
"""Overrides of `quick` and `default` for random word vectors, which a model must learn like its other weights."""
PRESETS = {
    # The tutorial notebook's settings; the six that its text suggests to change are searched.
    "notebook": """
settings:
  n_layers: int(1, 3)
  hidden_dim: int(64, 256, log)
  lstm_dropout: {range: "float(0, 0.5)", when: n_layers > 1}
  fc_dropout: float(0.1, 0.6)
  learning_rate: log(0.1, 1)
  freeze_embedding: [true, false]
  bidirectional: false
  pooling: last
  fc_dropout_twice: true
  embedding_max_norm: 5.0
  optimizer: adadelta
  batch_size: 50
  clip_norm: none
""",
    # For 48 trials or more, an hour on two cores: all settings, with ranges from the literature, without learning rates
    # that almost no good configuration of the recording has (benchmarks.portfolio.spaces). Fixed: `fc_dropout_twice`,
    # which equals a higher dropout; `embedding_max_norm`, which affects only random vectors; a gradient norm of 1, the
    # usual value; `inexact_lazy_adam`, which is not Adam. Weight decay is searched only for adamw: the others have
    # dropout instead, and adadelta and rmsprop would lose their fast path.
    "default": """
settings:
  n_layers: int(1, 3)
  hidden_dim: int(64, 512, log)
  bidirectional: [true, false]
  pooling: [last, max, mean, mean+max, attention]
  embedding_dropout: float(0, 0.6)
  lstm_dropout: {range: "float(0, 0.5)", when: n_layers > 1}
  weight_dropout: float(0, 0.5)
  fc_dropout: float(0.1, 0.6)
  freeze_embedding: [true, false]
  embedding_lr_scale: {range: "log(0.1, 1)", when: not freeze_embedding}
  optimizer: [adam, adamw, adadelta, rmsprop]
  learning_rate_adam: {field: learning_rate, range: "log(3e-4, 1e-2)", when: "optimizer in (adam, adamw)"}
  learning_rate_adadelta: {field: learning_rate, range: "log(0.25, 1)", when: optimizer == adadelta}
  learning_rate_rmsprop: {field: learning_rate, range: "log(3e-4, 1e-2)", when: optimizer == rmsprop}
  lr_schedule: [constant, cosine, plateau]
  weight_decay: {range: "log(1e-4, 1e-1)", when: optimizer == adamw}
  batch_size: [16, 32, 50, 64]
  ema_decay: [none, 0.99, 0.999]
  label_smoothing: float(0, 0.2)
  class_weight: [none, balanced]
  clip_norm: 1.0
""",
    # For 16 trials in a few minutes on two cores: small sizes, without adadelta and low learning rates, which few good
    # configurations of the recording have (benchmarks.portfolio.spaces), and without `class_weight`, which made no
    # difference to the accuracy there.
    "quick": """
settings:
  n_layers: int(1, 2)
  hidden_dim: int(32, 192, log)
  bidirectional: [true, false]
  pooling: [last, max, mean, mean+max, attention]
  embedding_dropout: float(0, 0.6)
  lstm_dropout: {range: "float(0, 0.5)", when: n_layers > 1}
  weight_dropout: float(0, 0.5)
  fc_dropout: float(0.1, 0.6)
  freeze_embedding: [true, false]
  embedding_lr_scale: {range: "log(0.1, 1)", when: not freeze_embedding}
  optimizer: [adam, adamw, rmsprop]
  learning_rate: log(1e-3, 1e-2)
  lr_schedule: [constant, cosine, plateau]
  weight_decay: {range: "log(1e-4, 1e-1)", when: optimizer == adamw}
  batch_size: [16, 32, 50, 64]
  ema_decay: [none, 0.99, 0.999]
  label_smoothing: float(0, 0.2)
  clip_norm: 1.0
""",
}
