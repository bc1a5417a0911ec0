"""An LSTM layer over words that repeat: each distinct word of a batch is projected into the gates once.

Half of a batch's words occur in it before, and with wide word vectors that projection is most of a first layer's
work. torch's LSTM takes only whole inputs, so this is the layer written out: one product over the distinct words,
then a loop over time of one small product and a few operations in place each. `pays` says where that is faster.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def over_words(lstm: nn.LSTM, vectors: Tensor, tokens: Tensor) -> Tensor:
    """The states that `lstm(vectors[tokens])` gives.

    Args:
        lstm: one layer, one direction, time first.
        vectors: float (U, E), on a CPU.
        tokens: int64 (T, B) places in `vectors`.

    Returns:
        float (T, B, H).
    """
    w_in, w_state, b_in, b_state = lstm.all_weights[0]
    states: Tensor = _OverWords.apply(vectors, tokens, w_in, w_state, b_in + b_state)  # type: ignore[no-untyped-call,unused-ignore]
    return states


def pays(lstm: nn.LSTM, vectors: Tensor, tokens: Tensor) -> bool:
    """Is `over_words` faster than the layer itself?

    It saves the projections of repeated words and costs time at each step: 60 us, and 0.28 of the step's product,
    which oneDNN's own loop does better. At 100 products a ns, fitted on one AVX-512 core in fp32 with batches of 50:
    0.83 of `nn.LSTM`'s time forward and backward for vectors of 300 and hidden size 128, 0.90 for 256, 0.98 for 512;
    1.08 for vectors of 100, 1.13 for 50. In bf16, where products are cheap, it never pays.
    """
    if not vectors.is_cpu or torch.is_autocast_enabled("cpu"):
        return False
    (steps, batch), (distinct, width), hidden = tokens.shape, vectors.shape, lstm.hidden_size
    saved_us = (steps * batch - distinct) * width * hidden * 24 / 1e5
    return saved_us > steps * (60 + 0.28 * batch * hidden * hidden * 24 / 1e5)


class _OverWords(torch.autograd.Function):
    """States of an LSTM layer, with torch's order of gates: i, f, g, o.

    tanh(x) is taken as 2 sigmoid(2 x) - 1, because torch's sigmoid is six times as fast as its tanh on a CPU: one
    sigmoid over all four gates, the third one's input doubled, then leaves only 2 x - 1 to do for g. Constants come
    as tensors or as `alpha`, since a plain number costs a conversion of 3 us at each step.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, tokens: Tensor, w_in: Tensor, w_state: Tensor, bias: Tensor) -> Tensor:
        (steps, batch), hidden = tokens.shape, w_state.shape[1]
        projected = torch.addmm(bias, vectors, w_in.t())  # (U, 4H)
        doubled = w_state.clone()
        for gate in projected[:, 2 * hidden : 3 * hidden], doubled[2 * hidden : 3 * hidden]:
            gate += gate
        gates = projected.index_select(0, tokens.reshape(-1)).view(steps, batch, 4 * hidden)
        states: Tensor = w_state.new_empty(steps + 1, batch, hidden)
        cells, tanhs = torch.empty_like(states), torch.empty_like(states)
        states[0], cells[0] = 0, 0
        w_state_t, minus_one = doubled.t(), w_state.new_full((1, 1), -1)
        by_gate = gates.view(steps, batch, 4, hidden).transpose(1, 2)
        for step, (all_four, (i, f, g, o)) in enumerate(zip(gates, by_gate, strict=True)):
            all_four.addmm_(states[step], w_state_t).sigmoid_()
            torch.add(minus_one, g, alpha=2, out=g)
            cell = torch.mul(f, cells[step], out=cells[step + 1]).addcmul_(i, g)
            tanh = torch.add(cell, cell, out=tanhs[step]).sigmoid_()
            torch.add(minus_one, tanh, alpha=2, out=tanh)
            torch.mul(o, tanh, out=states[step + 1])
        ctx.save_for_backward(vectors, tokens, w_in, w_state, gates, states, cells, tanhs)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        """Backpropagation through time; afterwards the gates' room holds the slopes of their inputs."""
        vectors, tokens, w_in, w_state, gates, states, cells, tanhs = ctx.saved_tensors
        (steps, batch), hidden = tokens.shape, w_state.shape[1]
        to_cell, to_state, scratch = w_state.new_zeros(3, batch, hidden)
        bend, factors = w_state.new_empty(2, batch, 4 * hidden)  # of the four gates: d gate / d input, d loss / d gate
        bend_if, bend_g, bend_o = bend.split([2 * hidden, hidden, hidden], dim=1)
        to_i, to_f, to_g, to_o = factors.view(batch, 4, hidden).unbind(1)
        one = w_state.new_ones(1, 1)
        by_gate = gates.view(steps, batch, 4, hidden).transpose(1, 2)
        for step in reversed(range(steps)):
            all_four, (i, f, g, o), tanh = gates[step], by_gate[step], tanhs[step]
            if step == steps - 1:
                to_state.copy_(slopes[step])
            else:
                torch.addmm(slopes[step], gates[step + 1], w_state, out=to_state)
            torch.addcmul(o, states[step + 1], tanh, value=-1, out=scratch)  # o (1 - tanh^2)
            to_cell.addcmul_(to_state, scratch)
            torch.mul(to_cell, g, out=to_i)
            torch.mul(to_cell, cells[step], out=to_f)
            torch.mul(to_cell, i, out=to_g)
            torch.mul(to_state, tanh, out=to_o)
            to_cell.mul_(f)
            i_and_f = all_four[:, : 2 * hidden]
            torch.addcmul(i_and_f, i_and_f, i_and_f, value=-1, out=bend_if)  # sigmoid' = x - x^2
            torch.addcmul(one, g, g, value=-1, out=bend_g)  # tanh' = 1 - x^2
            torch.addcmul(o, o, o, value=-1, out=bend_o)
            torch.mul(bend, factors, out=all_four)
        by_token = gates.view(steps * batch, 4 * hidden)
        by_word = w_state.new_zeros(len(vectors), 4 * hidden).index_add_(0, tokens.reshape(-1), by_token)
        return (
            by_word @ w_in if ctx.needs_input_grad[0] else None,
            None,
            (vectors.t() @ by_word).t(),  # a tenth faster than by_word.t() @ vectors
            (states[:-1].reshape(steps * batch, hidden).t() @ by_token).t(),
            by_word.sum(dim=0),
        )
