"""The classifier and its training in plain form: torch's modules and optimizers, without sharing and lazy updates."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from core.config import TrialConfig
from core.nn.classifier import SentenceClassifier


class Plain(nn.Module):
    """One multi-layer LSTM over packed sentences, float64; without dropout."""

    def __init__(self, model: SentenceClassifier, max_norm: float | None = None) -> None:
        """Start with the weights of `model`."""
        super().__init__()
        self.config = config = model.config
        n_words, dim = model.embedding.weight.shape
        self.embedding = nn.Embedding(n_words, dim, padding_idx=0, max_norm=max_norm)
        self.embedding.weight.requires_grad = not config.freeze_embedding
        self.lstm = nn.LSTM(
            dim, config.hidden_dim, config.n_layers, batch_first=True, bidirectional=config.bidirectional
        )
        if config.pooling == "attention":
            width = config.hidden_dim * (2 if config.bidirectional else 1)
            self.attention = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))
        self.output = nn.Linear(model.output.in_features, model.output.out_features)
        self.double()
        self.load_state_dict({self._plain_name(name): value for name, value in model.state_dict().items()})

    @staticmethod
    def _plain_name(name: str) -> str:
        """`lstm.1.1.weight_ih_l0` there is `lstm.weight_ih_l1_reverse` here."""
        if not name.startswith("lstm."):
            return name
        _, layer, direction, weight = name.split(".")
        return f"lstm.{weight.removesuffix('0')}{layer}{'_reverse' if direction == '1' else ''}"

    def named(self, model: SentenceClassifier) -> dict[str, Tensor]:
        """The weights by the names that `model` gives them."""
        own = self.state_dict()
        return {name: own[self._plain_name(name)] for name in model.state_dict()}

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """int64 (B, T) padded with 0, int64 (B,) -> float64 (B, C)."""
        packed = pack_padded_sequence(self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False)
        states, (last, _) = self.lstm(packed)
        states, _ = pad_packed_sequence(states, batch_first=True)  # (B, T, H)
        if self.config.pooling == "last":
            ends = last[-2:] if self.config.bidirectional else last[-1:]
            return self.output(torch.cat(list(ends), dim=1))
        return self.output(torch.stack([self._pool(s[:n]) for s, n in zip(states, lengths, strict=True)]))

    def _pool(self, states: Tensor) -> Tensor:
        """One sentence's states (T, H), none of them padding, to one vector."""
        parts = []
        if "mean" in self.config.pooling:
            parts.append(states.mean(dim=0))
        if "max" in self.config.pooling:
            parts.append(states.max(dim=0).values)
        if self.config.pooling == "attention":
            parts.append((states * self.attention(states).softmax(dim=0)).sum(dim=0))
        return torch.cat(parts)


def plain_optimizer(config: TrialConfig, model: Plain) -> torch.optim.Optimizer:
    """torch's optimizer with the config's settings, over every trained weight."""
    words = [p for p in model.embedding.parameters() if p.requires_grad]
    others = [p for name, p in model.named_parameters() if not name.startswith("embedding.")]
    groups = [
        {"params": others},
        *([{"params": words, "lr": config.learning_rate * config.embedding_lr_scale}] if words else []),
    ]
    kinds = {
        "adadelta": torch.optim.Adadelta,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "rmsprop": torch.optim.RMSprop,
    }
    options = {"rho": 0.95} if config.optimizer == "adadelta" else {}
    return kinds[config.optimizer](groups, lr=config.learning_rate, weight_decay=config.weight_decay, **options)


def plain_step(
    model: Plain,
    optimizer: torch.optim.Optimizer,
    tokens: Tensor,
    lengths: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """One step on one batch; return its loss. With weights, the sum of the weighted losses over the batch's size."""
    optimizer.zero_grad()
    logits, smoothing = model(tokens, lengths), model.config.label_smoothing
    if weights is None:
        loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    else:
        assert smoothing == 0
        loss = F.cross_entropy(logits, labels, weight=weights, reduction="sum") / len(labels)
    loss.backward()
    if model.config.clip_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), model.config.clip_norm)
    optimizer.step()
    return loss.detach()
