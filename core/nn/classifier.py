"""SentenceClassifier: word vectors, LSTM layers, pooling, a linear layer."""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.config import TrialConfig
from core.nn.seeding import Dropout
from core.nn.sequence import attention_pool, last_state, max_pool, mean_pool, reversal_index, reverse


class SentenceClassifier(nn.Module):
    """Word ids to class logits.

    To use trained weights: `SentenceClassifier(...)`, then `load_state_dict(weights, assign=True)`.
    Parameters: `embedding.weight` (V, E); `lstm.LAYER.DIRECTION.*` named as in `nn.LSTM`, direction 0 reading
    forward and 1 backward; with attention pooling `attention.*`; `output.*`.
    """

    def __init__(
        self, config: TrialConfig, vocab_size: int, embedding_dim: int, n_classes: int, vectors: Tensor | None = None
    ) -> None:
        """Define the parameters on torch's meta device: all except `vectors` have no values and no memory yet.

        Args:
            config: The trial's settings.
            vocab_size: V, `<pad>` and `<unk>` included.
            embedding_dim: E.
            n_classes: C.
            vectors: float (V, E) pretrained word vectors, row 0 zero; used without a copy.
        """
        super().__init__()
        self.config = config
        directions = config.directions
        width = config.hidden_dim * directions
        meta = torch.device("meta")  # on another device, the constructors would draw from the global generator
        # From a given matrix, because drawing one on the meta device imports 70 MB of torch.
        self.embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call,unused-ignore]
            torch.empty(vocab_size, embedding_dim, device=meta) if vectors is None else vectors,
            freeze=vectors is not None and config.freeze_embedding,
        )
        self.lstm = nn.ModuleList(
            nn.ModuleList(
                nn.LSTM(width if layer else embedding_dim, config.hidden_dim, device=meta) for _ in range(directions)
            )
            for layer in range(config.n_layers)
        )
        if config.pooling == "attention":
            self.attention = nn.Sequential(
                nn.Linear(width, width, device=meta), nn.Tanh(), nn.Linear(width, 1, bias=False, device=meta)
            )
        self.output = nn.Linear(width * (2 if config.pooling == "mean+max" else 1), n_classes, device=meta)

    def initialize(self, generator: torch.Generator) -> None:
        """Allocate every parameter, and draw its first value from `generator` (on the CPU), as torch's layers do.

        Word vectors are drawn from N(0, 1), with row 0 zero, if the constructor got none.
        """
        if self.embedding.weight.is_meta:
            vectors = torch.empty(self.embedding.weight.shape).normal_(generator=generator)
            vectors[0] = 0
            self.embedding.weight = nn.Parameter(vectors, requires_grad=not self.config.freeze_embedding)
        for module in self.modules():
            if isinstance(module, nn.LSTM):
                bound = 1 / math.sqrt(module.hidden_size)
            elif isinstance(module, nn.Linear):
                bound = 1 / math.sqrt(module.in_features)
            else:
                continue
            for name, parameter in list(module.named_parameters(recurse=False)):
                drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
                setattr(module, name, nn.Parameter(drawn))

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Classify, without dropout.

        Args:
            tokens: int64 (B, T) word ids; anything at steps >= lengths[b] is ignored.
            lengths: int64 (B,) each in 1..T.

        Returns:
            float (B, C) logits.
        """
        return self.forward_batch(self.embedding.weight, tokens.t(), lengths)

    def forward_batch(self, vectors: Tensor, tokens: Tensor, lengths: Tensor, dropout: Dropout | None = None) -> Tensor:
        """Classify sentences whose words are given as rows of a small table.

        Embedding dropout drops whole words, each occurrence separately, by replacing its row number by 0.

        Args:
            vectors: float (U, E) word vectors; with embedding dropout row 0 must be zero.
            tokens: int64 (T, B) places in `vectors`; anything at steps >= lengths[b] is ignored.
            lengths: int64 (B,) each in 1..T.
            dropout: Source of the masks; None to drop nothing.

        Returns:
            float (B, C) logits.
        """
        config, dropped = self.config, self.config.embedding_dropout
        if dropout and dropped > 0:
            tokens = tokens * dropout.keep_mask(tokens.shape, dropped)
            vectors = vectors / (1 - dropped)
        mirror = reversal_index(lengths, tokens.shape[0])
        states = [
            self._read(lstm, F.embedding(order, vectors), dropout)
            for lstm, order in self._by_direction(0, tokens, mirror)
        ]
        for layer in range(1, config.n_layers):
            x = self._concat_directions(states, mirror)
            x = dropout(x, config.lstm_dropout) if dropout else x
            states = [self._read(lstm, order, dropout) for lstm, order in self._by_direction(layer, x, mirror)]
        if config.pooling == "last":
            pooled = torch.cat([last_state(s, lengths) for s in states], dim=1)
        elif config.pooling == "attention":
            pooled = self._pool(self._concat_directions(states, mirror), lengths)
        else:  # independent of order
            pooled = self._pool(torch.cat(states, dim=2), lengths)
        if dropout:
            for _ in range(2 if config.fc_dropout_twice else 1):
                pooled = dropout(pooled, config.fc_dropout)
        logits: Tensor = self.output(pooled)
        return logits

    def _read(self, lstm: nn.LSTM, x: Tensor, dropout: Dropout | None) -> Tensor:
        """Return the states (T, B, H) of one direction for its input `x` (T, B, ...), with weight dropout.

        One mask of the hidden-to-hidden weights holds for the whole batch and every step in time (Merity, Keskar and
        Socher 2018, "Regularizing and Optimizing LSTM Language Models").
        """
        if not dropout or self.config.weight_dropout == 0:
            states: Tensor = lstm(x)[0]
            return states
        # As in `nn.LSTM.forward`. On a GPU, `functional_call` would move the weights out of the learner's flat vector.
        input_weights, hidden_weights, *biases = lstm.all_weights[0]
        weights = [input_weights, dropout(hidden_weights, self.config.weight_dropout), *biases]
        zeros = x.new_zeros(1, x.shape[1], lstm.hidden_size)
        return torch.lstm(x, (zeros, zeros), weights, True, 1, 0.0, lstm.training, False, False)[0]

    def _by_direction(self, layer: int, x: Tensor, mirror: Tensor) -> list[tuple[nn.LSTM, Tensor]]:
        """Return each direction of a layer with its input: `x` (T, B, ...), and `x` reversed."""
        directions = cast("nn.ModuleList", self.lstm[layer])
        return [(cast("nn.LSTM", lstm), reverse(x, mirror) if back else x) for back, lstm in enumerate(directions)]

    @staticmethod
    def _concat_directions(states: list[Tensor], mirror: Tensor) -> Tensor:
        """Concatenate the directions' states, (T, B, H) each, in reading order: (T, B, H * directions)."""
        ahead, *back = states
        return torch.cat([ahead, *(reverse(s, mirror) for s in back)], dim=2) if back else ahead

    def _pool(self, states: Tensor, lengths: Tensor) -> Tensor:
        if self.config.pooling == "max":
            return max_pool(states, lengths)
        if self.config.pooling == "mean":
            return mean_pool(states, lengths)
        if self.config.pooling == "mean+max":
            return torch.cat([mean_pool(states, lengths), max_pool(states, lengths)], dim=1)
        return attention_pool(states, self.attention(states), lengths)
