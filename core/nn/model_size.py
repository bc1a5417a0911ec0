"""How large a classifier is, without building one: reading a study loads no torch."""

from core.config import TrialConfig

OPTIMIZER_STATE_TENSORS = {"adadelta": 2, "adam": 2, "adamw": 2, "rmsprop": 1}
"""Running averages that an optimizer keeps of each weight; core.training.optim allocates them."""


def count_trainable_parameters(config: TrialConfig, vocabulary: int, embedding_dim: int, n_classes: int) -> int:
    """How many numbers training changes: those of core.nn.classifier.SentenceClassifier, without frozen word vectors.

    Args:
        config: the trial's settings.
        vocabulary: words, `<pad>` and `<unk>` included.
        embedding_dim: width of a word vector.
        n_classes: of the data.
    """
    directions = 2 if config.bidirectional else 1
    hidden, width = config.hidden_dim, config.hidden_dim * directions
    total = 0 if config.freeze_embedding else vocabulary * embedding_dim
    for layer in range(config.n_layers):
        inputs = width if layer else embedding_dim
        total += directions * 4 * hidden * (inputs + hidden + 2)  # four gates, two biases each
    if config.pooling == "attention":
        total += width * width + width + width
    pooled = width * (2 if config.pooling == "mean+max" else 1)
    return total + (pooled + 1) * n_classes


def _copies(config: TrialConfig) -> int:
    """How often a training holds each number that it changes: itself, and running averages."""
    return 1 + OPTIMIZER_STATE_TENSORS[config.optimizer] + (config.ema_decay is not None)


def _word_copies(config: TrialConfig) -> int:
    return 0 if config.freeze_embedding else _copies(config)


def min_training_bytes(config: TrialConfig, vocab_size: int, embedding_dim: int, n_classes: int) -> int:
    """Memory below which a training cannot be: weights, averages and, but for word vectors, the gradient; fp32."""
    others = count_trainable_parameters(config.replace(freeze_embedding=True), vocab_size, embedding_dim, n_classes)
    return 4 * (others * (_copies(config) + 1) + vocab_size * embedding_dim * _word_copies(config))


def max_checkpoint_bytes(config: TrialConfig, vocab_size: int, embedding_dim: int, n_classes: int) -> int:
    """One checkpoint on the disk, at most: weights, averages, and the best weights where they are older; fp32."""
    return 4 * count_trainable_parameters(config, vocab_size, embedding_dim, n_classes) * (_copies(config) + 1)
