"""Makes tests/quality/follow_ups.jsonl: two-step questions out of `squad` and `sec10q` (../shared/data/README.md).

    python tests/quality/make_follow_ups.py ../shared/data

squad: two questions about the same paragraph that share a name; in the second one the name becomes a pronoun. sec10q:
a question about a company's quarter, then only the other quarter or the other company. Each line keeps the whole second
question (``self_contained``), so that what rewriting wins can be compared with what could be won. The text of the
questions is SQuAD 2.0's (CC BY-SA 4.0) and KG-RAG-datasets' (MIT), shortened as said.
"""

import json
import random
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
OUT = Path(__file__).with_name("follow_ups.jsonl")
OF_SQUAD, OF_REPORTS = 100, 60
QUARTERS = ("Q3 2022", "Q1 2023", "Q2 2023", "Q3 2023")
TICKERS = {"Apple": "AAPL", "Amazon": "AMZN", "NVIDIA": "NVDA"}
_NAME = re.compile(r"(?:the )?[A-Z][\w’'-]+(?: (?:of |the )*[A-Z][\w’'-]+)*")
_QUARTER = re.compile(r"Q[1-3] 202[23]")
_ENDS_NAME = re.compile(
    r"[’']s |[?,]"
    r"| (?:is|was|are|were|did|do|does|has|have|had|can|could|to|in|on|at|by)\b"
    r"| (?:from|of|with|and|or|for|as|during)\b"
)
_AUXILIARY = re.compile(r"\b(?:did|does|do) (?:the )?$")


def main(data: Path) -> None:
    made = [*of_squad(data / "squad"), *of_reports(data / "sec10q")]
    OUT.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in made), encoding="utf-8")
    print(f"{len(made)} two-step questions in {OUT}")


def questions(folder: Path) -> list[Entry]:
    return [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]


def of_squad(folder: Path) -> list[Entry]:
    answerable = [entry for entry in questions(folder) if entry["answerable"]]
    pairs = [pair for pair in pairwise(answerable) if _same_paragraph(*pair)]
    made = [made for first, second in pairs if (made := _with_pronoun(first, second))]
    return sorted(random.Random(5).sample(made, OF_SQUAD), key=lambda entry: entry["id"])


def _same_paragraph(first: Entry, second: Entry) -> bool:
    return (first["document"], first["paragraph_index"]) == (second["document"], second["paragraph_index"])


def _with_pronoun(first: Entry, second: Entry) -> Entry | None:
    """The second question with its longest name that the first one has too as a pronoun."""
    shared = [m for m in _NAME.finditer(second["question"]) if m.start() and m.group() in first["question"]]
    if not shared:
        return None
    name = max(shared, key=lambda match: len(match.group()))
    rest = second["question"][name.end() :]
    if not (_ENDS_NAME.match(rest) or _AUXILIARY.search(second["question"][: name.start()])):
        return None  # the name may go on ("Yuan dynasty"): only a part of it would be replaced
    pronoun, rest = _pronoun(second["question"][: name.start()], name.group(), rest)
    before = re.sub(r"\b[Tt]he $", "", second["question"][: name.start()])
    return _entry(
        second["id"],
        first["question"],
        _sentence_of(first),
        before + pronoun + rest,
        second["question"],
        {"document": second["document"], "answers": second["answers"]},
    )


def _pronoun(before: str, name: str, rest: str) -> tuple[str, str]:
    if rest.startswith(("'s ", "’s ")):
        return "its", rest[2:]
    many = name.endswith("s") and not name.endswith("ss")
    is_object = bool(re.search(r"\b(?:of|in|to|by|from|with|for|on|about|at|against) (?:the )?$", before))
    return ("them" if is_object else "they") if many else "it", rest


def _sentence_of(entry: Entry) -> str:
    """What an answer may have quoted: the answer itself is enough."""
    text: str = entry["answers"][0]["text"]
    return text


def of_reports(folder: Path) -> list[Entry]:
    found = [made for entry in questions(folder) for made in _of_report(entry)]
    return sorted(random.Random(5).sample(found, OF_REPORTS), key=lambda entry: entry["id"])


def _of_report(entry: Entry) -> Iterator[Entry]:
    quarter = _QUARTER.search(entry["question"])
    company = next((name for name in TICKERS if name in entry["question"]), None)
    if quarter is None or company is None:
        return
    for other in QUARTERS:
        if other != quarter.group():
            whole = entry["question"].replace(quarter.group(), other)
            for n, asked in enumerate((f"And in {other}?", f"What about {other}?")):
                yield _report_entry(f"{entry['id']}-{other}-{n}", entry, asked, whole, other, company)
    for other in TICKERS:
        if other != company:
            whole = entry["question"].replace(company, other)
            for n, asked in enumerate((f"And {other}?", f"What about {other}?")):
                yield _report_entry(f"{entry['id']}-{other}-{n}", entry, asked, whole, quarter.group(), other)


def _report_entry(identifier: str, entry: Entry, asked: str, whole: str, quarter: str, company: str) -> Entry:
    number, year = quarter.split()
    wanted = {"documents": [f"{year} {number} {TICKERS[company]}.pdf"]}
    return _entry(identifier, entry["question"], "", asked, whole, wanted)


def _entry(identifier: str, first: str, answer: str, asked: str, whole: str, wanted: Entry) -> Entry:
    head = {"id": identifier, "first": first, "first_answer": answer, "question": asked, "self_contained": whole}
    return {**head, "set": "squad" if "answers" in wanted else "sec10q", **wanted}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
