"""Sizes of a classifier, computed without building it, so that reading a study does not load torch."""

from core.config import TrialConfig

OPTIMIZER_STATE_TENSORS = {"adadelta": 2, "adam": 2, "adamw": 2, "rmsprop": 1}
"""Number of running averages of each weight by optimizer; core.training.optim allocates them."""


def count_trainable_parameters(config: TrialConfig, vocabulary: int, embedding_dim: int, n_classes: int) -> int:
    """Return the number of parameters of SentenceClassifier, without frozen word vectors.

    Args:
        config: The trial's settings.
        vocabulary: Number of words, `<pad>` and `<unk>` included.
        embedding_dim: Width of a word vector.
        n_classes: Number of classes.
    """
    directions = config.directions
    hidden, width = config.hidden_dim, config.hidden_dim * directions
    total = 0 if config.freeze_embedding else vocabulary * embedding_dim
    for layer in range(config.n_layers):
        inputs = width if layer else embedding_dim
        total += directions * 4 * hidden * (inputs + hidden + 2)  # four gates, two biases each
    if config.pooling == "attention":
        total += width * width + width + width
    pooled = width * (2 if config.pooling == "mean+max" else 1)
    return total + (pooled + 1) * n_classes


def multiplications_per_word(config: TrialConfig, embedding_dim: int) -> int:
    """Return the number of multiplications that one more word of a sentence takes in prediction.

    The lookup of a word takes none, whether or not the vectors were trained. The output layer is applied per sentence.
    """
    directions = config.directions
    hidden, width = config.hidden_dim, config.hidden_dim * directions
    inputs = [embedding_dim, *[width] * (config.n_layers - 1)]
    layers = sum(directions * 4 * hidden * (each + hidden) for each in inputs)
    return layers + (width * width + width if config.pooling == "attention" else 0)


def _copies(config: TrialConfig) -> int:
    """Return how many values training stores per parameter: itself and its running averages."""
    return 1 + OPTIMIZER_STATE_TENSORS[config.optimizer] + (config.ema_decay is not None)


def stored_word_vectors(config: TrialConfig) -> int:
    """Return how many values training stores per value of a word vector; none if the vectors are frozen."""
    return 0 if config.freeze_embedding else _copies(config)


def min_training_bytes(config: TrialConfig, vocab_size: int, embedding_dim: int, n_classes: int) -> int:
    """Return a lower bound of training memory: weights, averages and gradients other than of word vectors; fp32."""
    others = count_trainable_parameters(config.replace(freeze_embedding=True), vocab_size, embedding_dim, n_classes)
    return 4 * (others * (_copies(config) + 1) + vocab_size * embedding_dim * stored_word_vectors(config))


def max_checkpoint_bytes(config: TrialConfig, vocab_size: int, embedding_dim: int, n_classes: int) -> int:
    """Return the maximum size of a checkpoint's fp32 tensors: weights, averages and older best weights."""
    return 4 * count_trainable_parameters(config, vocab_size, embedding_dim, n_classes) * (_copies(config) + 1)
