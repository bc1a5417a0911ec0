"""The search spaces that come with sentune, written as a space file would be (see tuning.space_file)."""

PRESETS = {
    # The notebook's run with the five settings that its text invites to change.
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
    # Ranges from the literature, kept small enough for a dozen trials in minutes on two cores.
    "default": """
settings:
  n_layers: int(1, 2)
  hidden_dim: int(32, 192, log)
  bidirectional: [true, false]
  pooling: [last, max, mean, mean+max, attention]
  embedding_dropout: float(0, 0.6)
  lstm_dropout: {range: "float(0, 0.5)", when: n_layers > 1}
  fc_dropout: float(0.1, 0.6)
  freeze_embedding: [true, false]
  embedding_lr_scale: {range: "log(0.1, 1)", when: not freeze_embedding}
  optimizer: [adam, adadelta]
  learning_rate_adam: {field: learning_rate, range: "log(3e-4, 1e-2)", when: optimizer == adam}
  learning_rate_adadelta: {field: learning_rate, range: "log(0.1, 1)", when: optimizer == adadelta}
  batch_size: [16, 32, 50, 64]
  clip_norm: 1.0
""",
}
