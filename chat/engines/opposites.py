"""Whether a sentence says the opposite of what a question says: one has *first*, the other *last*.

The list is short and of words that change the answer; a prefix of denial (*un*, *in*, *non*…) before the same word
counts too.
"""

import re

_PAIRS = """
first last; earliest latest; early late; most least; more less; more fewer; many few; most few; numerous few; largest
smallest; large small; larger smaller; big small; bigger smaller; highest lowest; high low; higher lower; greatest
smallest; greater lesser; greater smaller; best worst; better worse; longest shortest; long short; longer shorter;
oldest newest; oldest youngest; old new; older younger; increase decrease; increased decreased; rise fall; rose fell;
grow shrink; gain lose; gained lost; win lose; won lost; before after; inside outside; within outside; above below;
over under; begin end; began ended; start end; started ended; start stop; north south; northern southern; east west;
eastern western; left right; upper lower; top bottom; front back; internal external; maximum minimum; major minor;
majority minority; common rare; always never; all none; all part; all some; include exclude; accept reject; accepted
rejected; allow forbid; allow prohibit; support oppose; supported opposed; agree disagree; success failure; succeed
fail; failed succeeded; strong weak; strongest weakest; simple complex; easy difficult; hot cold; dry wet; rich poor;
public private; male female; man woman; father mother; son daughter; brother sister; king queen; victory defeat; enemy
ally; positive negative; import export; buy sell; open closed; add remove; join leave; enter leave; attack defend;
create destroy; created destroyed; built destroyed; primary secondary; ancient modern; direct indirect; temporary
permanent; permanent temporary; erste letzte; ersten letzten; meisten wenigsten; größte kleinste; höchste niedrigste;
vor nach; mehr weniger; älteste jüngste; premier dernier; première dernière; plus moins; avant après; grand petit;
primero último; primera última; más menos; antes después; mayor menor; primo ultimo; prima ultima; più meno; maggiore
minore
"""
_OPPOSITES: dict[str, set[str]] = {}
for _pair in _PAIRS.replace("\n", " ").split(";"):
    _one, _other = _pair.split()
    _OPPOSITES.setdefault(_one, set()).add(_other)
    _OPPOSITES.setdefault(_other, set()).add(_one)
_DENIALS = ("un", "in", "im", "ir", "dis", "non", "non-", "anti", "anti-", "de")
_SHORTEST_DENIED = 5
_WORD = re.compile(r"[\w-]+")


def opposed(question: str, sentence: str) -> bool:
    """Whether a word of the question has its opposite, and not itself, in the sentence."""
    asked, said = (set(_WORD.findall(text.lower())) for text in (question, sentence))
    return (
        any(_OPPOSITES.get(word, set()) & said for word in asked - said)
        or _denied(asked - said, said)
        or _denied(said - asked, asked)
    )


def _denied(words: set[str], others: set[str]) -> bool:
    """Whether one of the words is another with a prefix of denial."""
    return any(
        word.removeprefix(prefix) in others
        for word in words
        for prefix in _DENIALS
        if word.startswith(prefix) and len(word) - len(prefix) >= _SHORTEST_DENIED
    )
