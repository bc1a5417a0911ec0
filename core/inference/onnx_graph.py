"""Build a model as an ONNX graph, for any number of sentences of any length.

The graph uses ONNX's own operators. torch's exporter fixes the length of reversed sentences (pytorch issue 191855),
while ONNX's LSTM takes lengths: its backward direction begins at each sentence's last word.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from core.config import TrialConfig
from core.inference.members import LstmMember, Member
from core.plain_baseline import PlainBaseline

OPSET, IR_VERSION = 17, 8
"""Operators and file format that every runtime since 2022 reads."""

Weights = Mapping[str, NDArray[np.float32]]
"""By the names of SentenceClassifier."""


def build_graph(members: Sequence[Member], n_classes: int, temperature: float) -> onnx.ModelProto:
    """Return the Predictor of some members in float32, checked by ONNX.

    Inputs: `tokens` int64 (batch, steps), word ids, where anything after a sentence's end is ignored; `lengths` int64
    (batch,), each in 1..steps. Outputs: `logits` and `probabilities`, float (batch, classes).
    """
    graph = _Graph()
    mixed = _mixture(graph, members)
    graph.add("Div", mixed, graph.constant(np.float32(temperature)), name="logits")
    graph.add("Softmax", "logits", name="probabilities", axis=1)
    inputs: dict[str, list[str | int]] = {"tokens": ["batch", "steps"], "lengths": ["batch"]}
    outputs: dict[str, list[str | int]] = {name: ["batch", n_classes] for name in ("logits", "probabilities")}
    graph_proto = helper.make_graph(
        graph.nodes,
        "sentence_classifier",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        graph.constants,
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph_proto, producer_name="sentune", opset_imports=opset, ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """The operators and constants of a graph; a value is referred to by its name."""

    def __init__(self) -> None:
        self.prefix = ""
        """Prefix of the names of constants: the member that is being added."""
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Append an operator; return the name of its output."""
        output = name or f"{operator}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def add_initializer(self, name: str, values: Any) -> str:
        """Add a named constant; return its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), self.prefix + name))
        return self.prefix + name

    def constant(self, value: Any) -> str:
        """Add a small constant, named by its position; return its name."""
        return self.add_initializer(f"constant.{len(self.constants)}", np.array(value))

    def transpose(self, value: str, *order: int) -> str:
        """Append a transposition; return the name of its output."""
        return self.add("Transpose", value, perm=order)


def _mixture(graph: _Graph, members: Sequence[Member]) -> str:
    """Return the logits (B, C) of a single member, or the logarithms (B, C) of the weighted mean probabilities."""
    logs = []
    for member in members:
        graph.prefix = f"{member.name}."
        logits = (
            _lstm_logits(graph, member) if isinstance(member, LstmMember) else _plain_logits(graph, member.baseline)
        )
        if len(members) == 1:
            return logits
        share = graph.constant(np.float32(math.log(member.weight)))
        weighted = graph.add("Add", graph.add("LogSoftmax", logits, axis=1), share)
        logs.append(graph.add("Unsqueeze", weighted, graph.constant([1])))  # (B, 1, C)
    return graph.add("ReduceLogSumExp", graph.add("Concat", *logs, axis=1), axes=[1], keepdims=0)


def _plain_logits(graph: _Graph, baseline: PlainBaseline) -> str:
    """Return the plain baseline's logits (B, C) of the tokens (B, T); no feature contains `<pad>` or `<unk>`."""
    ngrams, idf, coefficients = baseline.ngrams, baseline.idf, baseline.coefficients
    if not len(idf):  # the operator needs a feature: this one occurs in no sentence
        ngrams, idf = np.array([[-1, 0]], np.int32), np.ones(1, np.float32)
        coefficients = np.zeros((len(baseline.intercepts), 1), np.float32)
    order = np.argsort(ngrams[:, 1] > 0, kind="stable")  # single words first
    single, pairs = ngrams[ngrams[:, 1] == 0, 0], ngrams[ngrams[:, 1] > 0]
    lengths = graph.add("Unsqueeze", "lengths", graph.constant([1]))
    real = graph.add("Less", _places(graph), lengths)  # (B, T)
    counted = graph.add(
        "TfIdfVectorizer",
        graph.add("Where", real, "tokens", graph.constant(0)),
        mode="TFIDF",
        min_gram_length=1,
        max_gram_length=2 if len(pairs) else 1,
        max_skip_count=0,
        ngram_counts=[0, len(single)] if len(pairs) else [0],
        ngram_indexes=list(range(len(order))),
        pool_int64s=[*single.tolist(), *pairs.ravel().tolist()],
        weights=idf[order].tolist(),
    )  # (B, F)
    norm = graph.add("ReduceL2", counted, axes=[1], keepdims=1)
    scaled = graph.add("Div", counted, graph.add("Max", norm, graph.constant(np.float32(1e-30))))
    matrix = graph.add_initializer("coefficients", coefficients[:, order])
    return graph.add("Gemm", scaled, matrix, graph.add_initializer("intercepts", baseline.intercepts), transB=1)


def _lstm_logits(graph: _Graph, member: LstmMember) -> str:
    """Return SentenceClassifier's logits (B, C) of the tokens (B, T)."""
    config, weights = member.config, {name: value.float().numpy() for name, value in member.weights.items()}
    vectors = graph.add_initializer("embedding", weights["embedding.weight"])
    words = graph.add("Gather", vectors, graph.transpose("tokens", 1, 0))  # (T, B, E)
    states, ends = _layers(graph, config, weights, words)
    if config.pooling == "last":
        pooled = graph.add("Reshape", graph.transpose(ends, 1, 0, 2), graph.constant([0, -1]))  # (B, H * directions)
    else:
        pooled = _pooled(graph, config.pooling, weights, _concat(graph, states))
    matrix, bias = (graph.add_initializer(name, weights[name]) for name in ("output.weight", "output.bias"))
    return graph.add("Gemm", pooled, matrix, bias, transB=1)


def _layers(graph: _Graph, config: TrialConfig, weights: Weights, words: str) -> tuple[str, str]:
    """Return the last layer's states (T, directions, B, H) and final states (directions, B, H) of words (T, B, E)."""
    lengths = graph.add("Cast", "lengths", to=TensorProto.INT32)
    direction = "bidirectional" if config.bidirectional else "forward"
    states = ends = ""
    for layer in range(config.n_layers):
        words = _concat(graph, states) if layer else words
        parts = _lstm(weights, layer, config.directions)
        initializers = [graph.add_initializer(f"lstm.{layer}.{name}", values) for name, values in parts.items()]
        states, ends = f"{graph.prefix}lstm.{layer}.states", f"{graph.prefix}lstm.{layer}.ends"
        node = helper.make_node(
            "LSTM", [words, *initializers, lengths], [states, ends], hidden_size=config.hidden_dim, direction=direction
        )
        graph.nodes.append(node)
    return states, ends


def _concat(graph: _Graph, states: str) -> str:
    """Concatenate the directions: (T, directions, B, H) -> (T, B, H * directions)."""
    return graph.add("Reshape", graph.transpose(states, 0, 2, 1, 3), graph.constant([0, 0, -1]))


def _lstm(weights: Weights, layer: int, directions: int) -> dict[str, NDArray[np.float32]]:
    """Return ONNX's W (directions, 4H, E), R (directions, 4H, H) and B (directions, 8H) of a layer."""

    def gates(part: str, direction: int) -> NDArray[np.float32]:
        i, f, g, o = np.split(weights[f"lstm.{layer}.{direction}.{part}_l0"], 4)  # torch's order
        return np.concatenate([i, o, f, g])  # ONNX's order

    both = range(directions)
    return {
        "W": np.stack([gates("weight_ih", each) for each in both]),
        "R": np.stack([gates("weight_hh", each) for each in both]),
        "B": np.stack([np.concatenate([gates("bias_ih", each), gates("bias_hh", each)]) for each in both]),
    }


def _pooled(graph: _Graph, pooling: str, weights: Weights, states: str) -> str:
    """Pool as core.nn.sequence does: (T, B, H) -> (B, H), ignoring padding."""
    real = graph.add("Less", graph.add("Unsqueeze", _places(graph), graph.constant([1])), "lengths")  # (T, B)
    real = graph.add("Unsqueeze", real, graph.constant([2]))  # (T, B, 1)

    def sum_over_time(values: str) -> str:
        return graph.add("ReduceSum", values, graph.constant([0]), keepdims=0)

    def filled(values: str, otherwise: float) -> str:
        return graph.add("Where", real, values, graph.constant(np.float32(otherwise)))

    if pooling == "attention":
        names = ("attention.0.weight", "attention.0.bias", "attention.2.weight")
        weight, bias, score = (graph.add_initializer(name, weights[name].T) for name in names)
        hidden = graph.add("Tanh", graph.add("Add", graph.add("MatMul", states, weight), bias))
        scores = filled(graph.add("MatMul", hidden, score), -np.inf)
        shares = graph.add("Softmax", scores, axis=0)  # (T, B, 1)
        return sum_over_time(graph.add("Mul", filled(states, 0), shares))
    pooled = []
    if "mean" in pooling:
        count = graph.add("Cast", graph.add("Unsqueeze", "lengths", graph.constant([1])), to=TensorProto.FLOAT)
        pooled.append(graph.add("Div", sum_over_time(filled(states, 0)), count))
    if "max" in pooling:
        pooled.append(graph.add("ReduceMax", filled(states, -np.inf), axes=[0], keepdims=0))
    return graph.add("Concat", *pooled, axis=1)


def _places(graph: _Graph) -> str:
    """Return the places of the tokens in their sentences: 0 to T - 1, (T,)."""
    steps = graph.add("Gather", graph.add("Shape", "tokens"), graph.constant(1))
    return graph.add("Range", graph.constant(0), steps, graph.constant(1))
