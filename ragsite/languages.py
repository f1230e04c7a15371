"""The language of a text, and the words of scripts that put no spaces between them."""

import re
import unicodedata
from array import array
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from mmap import ACCESS_READ, mmap
from tempfile import TemporaryFile
from threading import Lock

DEFAULT = "en"
DETECTION_CHARACTERS = 4000
FEWEST_LETTERS = 10
FEWEST_TELLING_LETTERS = 4
_SCRIPTS_OF_FEW_LANGUAGES = "\u0530"
"""After Latin, Greek and Cyrillic come scripts that hardly leave a choice: a few letters tell."""

STEMMERS = {
    "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "da": "danish", "nl": "dutch", "en": "english",
    "fi": "finnish", "fr": "french", "de": "german", "el": "greek", "hi": "hindi", "hu": "hungarian",
    "id": "indonesian", "ga": "irish", "it": "italian", "lt": "lithuanian", "ne": "nepali", "no": "norwegian",
    "nb": "norwegian", "nn": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian",
    "es": "spanish", "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
"""PostgreSQL's and Snowball's stemmer by language; the first migration of documents is built on it."""

# The detector knows 140 languages; short texts in large ones are taken for small relatives (Spanish for Venetian,
# Chinese for Wu). Restricted to these it is right for 97 of 104 sentences of 3 to 6 words in 26 languages instead of 93
# (docs/decisions/0008-format-readers.md).
_OTHERS = (
    "zh ja ko th lo km my vi he fa ur bn te ml kn gu mr pa si ka uk bg be hr mk sl sk cs pl et lv sq is mt af sw ms tl "
    "cy gl az kk mn am uz"
)
DETECTED = frozenset(STEMMERS) - {"nb", "yi"} | frozenset(_OTHERS.split())

# Han, kana, Thai, Lao, Khmer, Burmese: written without spaces, so PostgreSQL's parser finds no words in them.
_UNSPACED = re.compile(
    r"[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\uff66-\uff9f\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\U00020000-\U0003134f]+"
)
_HIRAGANA = re.compile(r"[\u3040-\u309f]+")


def detect(text: str) -> str:
    """The ISO 639-1 code of the language that most of the text is in; empty when it has too few letters to tell."""
    sample = text[:DETECTION_CHARACTERS]
    letters = [character for character in sample if character.isalpha()]
    telling = sum(character >= _SCRIPTS_OF_FEW_LANGUAGES for character in letters)
    if len(letters) < (FEWEST_TELLING_LETTERS if 2 * telling > len(letters) else FEWEST_LETTERS):
        return ""
    return prepared()(sample)[0]


def prepared() -> Callable[[str], tuple[str, float]]:
    """What tells languages; the first call loads it."""
    with _loading:  # documents are read in threads, and whoever came while the languages are set would get nonsense
        return _classifier()


_loading = Lock()


@cache
def _classifier() -> Callable[[str], tuple[str, float]]:
    import numpy as np
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # 0.5 s and 20 MB: only workers need it

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(sorted(DETECTED))
    chances, moves = identifier.nb_ptc, identifier.tk_nextmove
    with suppress(OSError):  # no room, or no folder for it: they stay in memory
        mapped = _mapped(chances.tobytes()), _mapped(moves)
        identifier.nb_ptc = np.frombuffer(mapped[0], chances.dtype).reshape(chances.shape)
        identifier.tk_nextmove = memoryview(mapped[1]).cast("B").cast(moves.typecode)
    # It keeps the table of all its languages beside that of ours, to be told others: 28 MB that nobody asks for.
    identifier._full_model = (identifier.nb_ptc, identifier.nb_pc, identifier.nb_classes)
    return identifier.classify


def _mapped(content: "bytes | array[int]") -> mmap:
    """A copy in an unnamed file: of the tables' 54 MB only the pages that texts lead to are in memory."""
    with TemporaryFile() as file:
        file.write(content)
        file.flush()
        return mmap(file.fileno(), 0, access=ACCESS_READ)


def has_unspaced(text: str) -> bool:
    """Whether the text holds a run of a script without spaces between words."""
    return _UNSPACED.search(text) is not None


def index_words(text: str) -> str:
    """The text with each run of an unspaced script replaced by its characters and pairs of characters.

    Pairs and single characters with the all-hiragana ones dropped rank best for Japanese (docs/quality.md): hiragana
    alone are endings and particles.
    """
    return _UNSPACED.sub(lambda run: f" {' '.join(_grams(run.group()))} ", unicodedata.normalize("NFKC", text))


def _grams(run: str) -> list[str]:
    grams = list(run) + [run[i : i + 2] for i in range(len(run) - 1)]
    return [gram for gram in grams if not _HIRAGANA.fullmatch(gram)]
