"""Sentences that are not searched for: greetings, questions about the library, wishes for a summary."""

import pytest

from chat.intents.recognition import Kind, recognised


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Hello!", Kind.GREETING),
        ("Guten Morgen", Kind.GREETING),
        ("Bonjour !", Kind.GREETING),
        ("¡Hola!", Kind.GREETING),
        ("こんにちは", Kind.GREETING),
        ("你好", Kind.GREETING),
        ("Thank you very much.", Kind.THANKS),
        ("Vielen Dank!", Kind.THANKS),
        ("ありがとうございます", Kind.THANKS),
        ("What can you do?", Kind.ABILITIES),
        ("What documents do I have?", Kind.LIST),
        ("Which PDFs are in this collection?", Kind.LIST),
        ("List all my documents", Kind.LIST),
        ("Welche Dokumente habe ich?", Kind.LIST),
        ("Quels documents ai-je ?", Kind.LIST),
        ("¿Qué documentos tengo?", Kind.LIST),
        ("どんな文書がありますか？", Kind.LIST),
        ("我有哪些文档？", Kind.LIST),
        ("How many PDFs?", Kind.COUNT),
        ("How many documents do I have?", Kind.COUNT),
        ("Wie viele Dateien sind hochgeladen?", Kind.COUNT),
        ("Combien de documents y a-t-il ?", Kind.COUNT),
        ("¿Cuántos archivos hay?", Kind.COUNT),
        ("文書はいくつありますか", Kind.COUNT),
        ("有多少文件？", Kind.COUNT),
        ("Which are still in work?", Kind.IN_WORK),
        ("Which documents are still being processed?", Kind.IN_WORK),
        ("Welche Dokumente sind noch in Arbeit?", Kind.IN_WORK),
        ("What is this collection about?", Kind.ABOUT),
        ("Worum geht es in meinen Dokumenten?", Kind.ABOUT),
        ("Summarise this document", Kind.SUMMARY),
        ("Please summarize the report.", Kind.SUMMARY),
        ("What is this document about?", Kind.SUMMARY),
        ("Fasse dieses Dokument zusammen", Kind.SUMMARY),
        ("Résume ce document", Kind.SUMMARY),
        ("Resume este documento", Kind.SUMMARY),
        ("この文書を要約してください", Kind.SUMMARY),
        ("总结这个文档", Kind.SUMMARY),
        ("Compare the Rhine and the Danube", Kind.COMPARISON),
    ],
)
def test_a_wish_is_recognised_in_its_language(text: str, kind: Kind) -> None:
    found = recognised(text)
    assert found is not None
    assert found.kind is kind


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Summarise X 2.pdf", ("X 2.pdf",)),
        ('Summarise "Annual report.docx".', ("Annual report.docx",)),
        ("Fasse bericht.pdf zusammen", ("bericht.pdf",)),
        ("report.pdfを要約して", ("report.pdf",)),
        ("What is budget.xlsx about?", ("budget.xlsx",)),
        ("Compare a.pdf and b.pdf", ("a.pdf", "b.pdf")),
        ("Vergleiche Rhein.md mit Donau.md", ("Rhein.md", "Donau.md")),
    ],
)
def test_the_documents_that_it_names_are_told(text: str, names: tuple[str, ...]) -> None:
    found = recognised(text)
    assert found is not None
    assert found.names == names


@pytest.mark.parametrize(
    "text",
    [
        "How many documents did Nixon sign?",
        "What documents did the committee publish in 1974?",
        "What is the theory of gravity about?",
        "Summarise the risk factors to NVIDIA's business",
        "Hello world programs: how do they start?",
        "Which treaties are still in force?",
        "Thank you letters: what should they say?",
        "東京の人口は？",
        "Welche Dokumente braucht man für die Einreise?",
        "",
        "?",
        "x" * 5000,
    ],
)
def test_other_questions_are_searched_for(text: str) -> None:
    assert recognised(text) is None
