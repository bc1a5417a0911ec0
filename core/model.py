"""SentenceClassifier: word vectors, LSTM layers, pooling, a linear layer."""

import math

import torch
from torch import Tensor, nn

from core.config import TrialConfig
from core.pooling import at_end, max_over_time, mean_over_time, weighted_over_time


class Dropout:
    """Inverted dropout whose masks come from a generator of its own, so that no one else's draws move them."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def __call__(self, x: Tensor, probability: float, *, shape: tuple[int, ...] | None = None) -> Tensor:
        """Zero each value with `probability` and scale the rest; one draw for each place of `shape` (default x's)."""
        if probability == 0:
            return x
        mask = torch.empty(shape or x.shape, dtype=x.dtype, device=x.device)
        return x * mask.bernoulli_(1 - probability, generator=self.generator).div_(1 - probability)


def mirrored(lengths: Tensor, steps: int) -> Tensor:
    """int64 (T, B): where step t of each sentence read from its end stands; padding stays in place."""
    step = torch.arange(steps, device=lengths.device)[:, None]
    return torch.where(step < lengths, lengths - 1 - step, step)


def reorder(x: Tensor, steps: Tensor) -> Tensor:
    """Take step `steps[t, b]` of sentence b as its step t: (T, B, H), int64 (T, B) -> (T, B, H)."""
    return x.gather(0, steps[:, :, None].expand(-1, -1, x.shape[2]))


class SentenceClassifier(nn.Module):
    """Word ids to class logits.

    Built for training with `initialize`, or for use by `load_state_dict` of trained weights.
    Parameters: `embedding.weight` (V, E), `lstm.LAYER.DIRECTION.*` as in `nn.LSTM`, with attention
    `attention.*`, and `output.*`.
    """

    def __init__(
        self, config: TrialConfig, vocab_size: int, embedding_dim: int, n_classes: int, vectors: Tensor | None = None
    ) -> None:
        """Make the layers, on the CPU; no weight but `vectors` is set yet.

        Args:
            config: the trial's settings.
            vocab_size: V, `<pad>` and `<unk>` included.
            embedding_dim: E.
            n_classes: C.
            vectors: float (V, E) pretrained word vectors, row 0 zero; used without a copy.
        """
        super().__init__()
        self.config = config
        self.pretrained = vectors is not None
        directions = 2 if config.bidirectional else 1
        width = config.hidden_dim * directions
        with torch.device("meta"):  # constructors would draw from the global generator
            self.embedding = nn.Embedding(vocab_size, embedding_dim)
            self.lstm = nn.ModuleList(
                nn.ModuleList(nn.LSTM(width if layer else embedding_dim, config.hidden_dim) for _ in range(directions))
                for layer in range(config.n_layers)
            )
            if config.pooling == "attention":
                self.attention = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))
            self.output = nn.Linear(width * (2 if config.pooling == "mean+max" else 1), n_classes)
        if vectors is not None:
            self.embedding.weight = nn.Parameter(vectors, requires_grad=not config.freeze_embedding)
        for module in (self.lstm, getattr(self, "attention", None), self.output):
            if module is not None:
                module.to_empty(device="cpu")
        if vectors is None:
            self.embedding.to_empty(device="cpu")

    def initialize(self, generator: torch.Generator) -> None:
        """Draw every weight as torch's own layers do, but from `generator`; pretrained vectors stay."""
        with torch.no_grad():
            if not self.pretrained:
                self.embedding.weight.normal_(generator=generator)[0] = 0
            for module in self.modules():
                if isinstance(module, nn.LSTM):
                    bound = 1 / math.sqrt(module.hidden_size)
                elif isinstance(module, nn.Linear):
                    bound = 1 / math.sqrt(module.in_features)
                else:
                    continue
                for parameter in module.parameters(recurse=False):
                    parameter.uniform_(-bound, bound, generator=generator)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Classify, without dropout.

        Args:
            tokens: int64 (B, T) word ids; anything at steps >= lengths[b] is ignored.
            lengths: int64 (B,) each in 1..T.

        Returns:
            float (B, C) logits.
        """
        rows, places = torch.unique(tokens.t(), return_inverse=True)  # (U,), (T, B)
        return self.classify(rows, places, lengths)

    def classify(self, rows: Tensor, tokens: Tensor, lengths: Tensor, dropout: Dropout | None = None) -> Tensor:
        """From distinct word ids (U,), places among them (T, B) and lengths (B,) to logits (B, C)."""
        config = self.config
        embedded = self.embedding(rows)  # (U, E)
        x = embedded[tokens]  # (T, B, E)
        if dropout:
            x = dropout(x, config.embedding_dropout, shape=(*tokens.shape, 1))
        mirror = mirrored(lengths, tokens.shape[0])
        for number, layer in enumerate(self.lstm):
            assert isinstance(layer, nn.ModuleList)
            if dropout and number > 0:
                x = dropout(x, config.lstm_dropout)
            states = [layer[0](x)[0]]
            if config.bidirectional:
                states.append(layer[1](reorder(x, mirror))[0])  # in reversed time
            if config.pooling == "last" and number == config.n_layers - 1:
                return self._decide(torch.cat([at_end(s, lengths) for s in states], dim=1), dropout)
            x = torch.cat([states[0], *(reorder(s, mirror) for s in states[1:])], dim=2)  # (T, B, H)
        return self._decide(self._pool(x, lengths), dropout)

    def _decide(self, pooled: Tensor, dropout: Dropout | None) -> Tensor:
        if dropout:
            for _ in range(2 if self.config.fc_dropout_twice else 1):
                pooled = dropout(pooled, self.config.fc_dropout)
        logits: Tensor = self.output(pooled)
        return logits

    def _pool(self, states: Tensor, lengths: Tensor) -> Tensor:
        if self.config.pooling == "max":
            return max_over_time(states, lengths)
        if self.config.pooling == "mean":
            return mean_over_time(states, lengths)
        if self.config.pooling == "mean+max":
            return torch.cat([mean_over_time(states, lengths), max_over_time(states, lengths)], dim=1)
        return weighted_over_time(states, self.attention(states), lengths)
