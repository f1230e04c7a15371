"""The few words that the site itself says in an answer, and telling which language to say them in."""

import re

FUNCTION_WORDS = {
    "en": "a an the of to in on at by for from with as is are was were be been being do does did has have had "
    "what which who whom whose when where why how many much and or but not it its this that these those "
    "there i you he she we they can could will would should may might than then into about over during "
    "after before between his her their our your my",
    "de": "der die das den dem des ein eine einen einem einer eines und oder aber nicht ist sind war waren wird "
    "werden wurde wurden hat haben hatte hatten was wer wen wem wessen wann wo warum wieso wie viele viel "
    "welche welcher welches welchem welchen in im an am auf aus bei mit nach von vom zu zum zur für über "
    "durch als es er sie wir ihr ich du sich auch",
    "fr": "le la les l un une des du de d au aux et ou mais ne pas est sont était étaient être a ont avait que "
    "qu qui quoi quel quelle quels quelles quand où pourquoi comment combien dans en sur par pour avec ce "
    "cette ces il elle ils elles on nous vous je tu se s son sa ses leur leurs c y",
    "es": "el la los las un una unos unas de del al y o pero no es son era eran fue fueron ser ha han había que "
    "qué quién quiénes cuál cuáles cuándo dónde por qué cómo cuánto cuántos cuánta cuántas en con para se "
    "su sus lo le les este esta estos estas",
    "it": "il lo la i gli le un uno una di del della dei delle da dal dalla in nel nella su con per tra e o ma "
    "non è sono era erano fu che chi cosa quale quali quando dove perché come quanto quanti quante si suo "
    "sua suoi loro questo questa",
    "pt": "o a os as um uma uns umas de do da dos das em no na nos nas por para com e ou mas não é são era eram "
    "foi foram que quem qual quais quando onde como quanto quantos quantas se seu sua seus suas este esta "
    "isto isso ao à",
    "nl": "de het een en of maar niet is zijn was waren wordt worden werd heeft hebben had wat wie welke welk "
    "wanneer waar waarom hoe veel hoeveel in op aan bij met naar van voor uit door over als er dit dat "
    "deze die zich",
}
STOP_WORDS = {language: frozenset(words.split()) for language, words in FUNCTION_WORDS.items()}

SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7af]")),
    ("zh", re.compile("[\u4e00-\u9fff]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
)

NOTHING_FOUND = {
    "en": "Your documents do not answer this.",
    "de": "In Ihren Dokumenten steht dazu keine Antwort.",
    "fr": "Vos documents ne contiennent pas de réponse à cette question.",
    "es": "Sus documentos no contienen una respuesta a esta pregunta.",
    "it": "I tuoi documenti non contengono una risposta a questa domanda.",
    "pt": "Os seus documentos não contêm uma resposta a esta pergunta.",
    "nl": "Uw documenten geven hier geen antwoord op.",
    "ja": "文書の中に、この質問への答えは見つかりませんでした。",
    "ko": "문서에서 이 질문에 대한 답을 찾지 못했습니다.",
    "zh": "您的文档中没有这个问题的答案。",
    "ru": "В ваших документах нет ответа на этот вопрос.",
    "ar": "لا توجد إجابة عن هذا السؤال في مستنداتك.",
}


def question_language(text: str) -> str:
    """The language of a question, by its script or its function words; empty where they do not tell.

    A statistical detector is often wrong on so few words, and costs 60 MB in every web process.
    """
    for language, letters in SCRIPTS:
        if letters.search(text):
            return language
    words = re.findall(r"\w+", text.lower())
    counts = {language: sum(word in known for word in words) for language, known in STOP_WORDS.items()}
    best = max(counts, key=lambda language: counts[language])
    return best if counts[best] else ""


def nothing_found(question: str) -> str:
    """That the documents hold no answer, in the question's language."""
    return NOTHING_FOUND.get(question_language(question) or "en", NOTHING_FOUND["en"])
