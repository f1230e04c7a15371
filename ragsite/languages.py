"""The language of a text, and the words of scripts that put no spaces between them."""

import re
import unicodedata

DEFAULT = "en"
DETECTION_CHARACTERS = 4000

STEMMERS = {
    "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "da": "danish", "nl": "dutch", "en": "english",
    "fi": "finnish", "fr": "french", "de": "german", "el": "greek", "hi": "hindi", "hu": "hungarian",
    "id": "indonesian", "ga": "irish", "it": "italian", "lt": "lithuanian", "ne": "nepali", "no": "norwegian",
    "nb": "norwegian", "nn": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian",
    "es": "spanish", "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
"""PostgreSQL's and Snowball's stemmer by language; the first migration of documents is built on it."""

# Han, kana, Thai, Lao, Khmer, Burmese: written without spaces, so PostgreSQL's parser finds no words in them.
_UNSPACED = re.compile(
    r"[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\uff66-\uff9f\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\U00020000-\U0003134f]+"
)
_HIRAGANA = re.compile(r"[\u3040-\u309f]+")


def detect(text: str) -> str:
    """The ISO 639-1 code of the language that most of the text is in; empty when it has too few letters to tell."""
    import py3langid  # 0.5 s and 60 MB: only workers need it

    sample = text[:DETECTION_CHARACTERS]
    if sum(character.isalpha() for character in sample) < 20:
        return ""
    return py3langid.classify(sample)[0]


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
