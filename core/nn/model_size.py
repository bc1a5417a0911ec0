"""How large a classifier is, without building one: reading a study loads no torch."""

from core.config import TrialConfig


def trained_numbers(config: TrialConfig, vocabulary: int, embedding_dim: int, n_classes: int) -> int:
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
