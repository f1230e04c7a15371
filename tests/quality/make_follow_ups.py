"""Makes tests/quality/follow_ups.jsonl and follow_ups_held_out.jsonl: two-step questions out of `squad` and `sec10q`.

    python tests/quality/make_follow_ups.py ../shared/data

squad: two questions about the same paragraph that share a name; in the second one the name becomes a pronoun. sec10q:
a question about a company's quarter, then only the other quarter or the other company. Each line keeps the whole second
question (``self_contained``), so that what rewriting wins can be compared with what could be won. The rules of
chat/answers/followups.py were written with the first file in view; no question of the second is in it, and its reports
are asked for in other words. The text of the questions (../shared/data/README.md) is SQuAD 2.0's (CC BY-SA 4.0) and
KG-RAG-datasets' (MIT), shortened as said.
"""

import json
import random
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
IN_VIEW = Path(__file__).with_name("follow_ups.jsonl")
HELD_OUT = Path(__file__).with_name("follow_ups_held_out.jsonl")
OF_SQUAD, OF_REPORTS = 100, 60
WORDS = ("And in {}?", "What about {}?")
WORDS_OF_COMPANIES = ("And {}?", "What about {}?")
OTHER_WORDS = ("How about {}?", "And for {}?", "What was it for {}?", "Now the same for {}, please.")
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
    in_view, held_out = of_squad(data / "squad")
    reports_in_view, reports_held_out = of_reports(data / "sec10q")
    write(IN_VIEW, [*in_view, *reports_in_view])
    write(HELD_OUT, [*held_out, *reports_held_out])


def write(file: Path, made: list[Entry]) -> None:
    file.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in made), encoding="utf-8")
    print(f"{len(made)} two-step questions in {file}")


def questions(folder: Path) -> list[Entry]:
    return [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]


def of_squad(folder: Path) -> tuple[list[Entry], list[Entry]]:
    answerable = [entry for entry in questions(folder) if entry["answerable"]]
    pairs = [pair for pair in pairwise(answerable) if _same_paragraph(*pair)]
    made = [made for first, second in pairs if (made := _with_pronoun(first, second))]
    in_view = by_id(random.Random(5).sample(made, OF_SQUAD))
    known = {entry[part] for entry in in_view for part in ("first", "self_contained")}
    rest = [entry for entry in made if not {entry["first"], entry["self_contained"]} & known]
    return in_view, by_id(random.Random(6).sample(rest, min(OF_SQUAD, len(rest))))


def by_id(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: str(entry["id"]))


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


def of_reports(folder: Path) -> tuple[list[Entry], list[Entry]]:
    """Held out are other questions in other words: of the same ones the rules would know the form."""
    entries = questions(folder)
    found = [made for entry in entries for made in _of_report(entry, WORDS, WORDS_OF_COMPANIES)]
    in_view = by_id(random.Random(5).sample(found, OF_REPORTS))
    known = {entry["first"] for entry in in_view}
    unseen = [entry for entry in entries if entry["question"] not in known]
    others = [made for entry in unseen for made in _of_report(entry, OTHER_WORDS, OTHER_WORDS)]
    return in_view, by_id(random.Random(6).sample(others, min(OF_REPORTS, len(others))))


def _of_report(entry: Entry, words: Sequence[str], words_of_companies: Sequence[str]) -> Iterator[Entry]:
    quarter = _QUARTER.search(entry["question"])
    company = next((name for name in TICKERS if name in entry["question"]), None)
    if quarter is None or company is None:
        return
    for other in QUARTERS:
        if other != quarter.group():
            whole = entry["question"].replace(quarter.group(), other)
            for n, asked in enumerate(words):
                yield _report_entry(f"{entry['id']}-{other}-{n}", entry, asked.format(other), whole, other, company)
    for other in TICKERS:
        if other != company:
            whole = entry["question"].replace(company, other)
            for n, asked in enumerate(words_of_companies):
                now = quarter.group()
                yield _report_entry(f"{entry['id']}-{other}-{n}", entry, asked.format(other), whole, now, other)


def _report_entry(identifier: str, entry: Entry, asked: str, whole: str, quarter: str, company: str) -> Entry:
    number, year = quarter.split()
    wanted = {"documents": [f"{year} {number} {TICKERS[company]}.pdf"]}
    return _entry(identifier, entry["question"], "", asked, whole, wanted)


def _entry(identifier: str, first: str, answer: str, asked: str, whole: str, wanted: Entry) -> Entry:
    head = {"id": identifier, "first": first, "first_answer": answer, "question": asked, "self_contained": whole}
    return {**head, "set": "squad" if "answers" in wanted else "sec10q", **wanted}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
