"""A small set of questions, written for these tests: three languages, codes, names of files, paraphrases."""

import json
from pathlib import Path

DOCUMENTS = {
    "staff-handbook.md": """# Staff handbook

## Holidays

Everybody has 27 days of paid leave a year. Days that are not taken expire at the end of March. Leave of more than two
weeks has to be agreed with the head of the team at least one month before.

## Illness

Whoever is ill tells the office before nine in the morning. A doctor's certificate is needed from the fourth day on.

## Working from home

Up to three days a week may be worked at home. The firm pays for a chair and a second screen, but not for the line.

## Travel

Trains are booked in second class. Flights below 700 kilometres are not refunded. Meals abroad are paid by a flat rate
that the table on the intranet names for each country.
""",
    "pump_manual_KX-4410.md": """# Circulation pump KX-4410

## Technical data

The pump moves 85 litres a minute at a head of six metres. It weighs 12.4 kg and takes 340 watts at full load.

## Faults

Error E-207: the rotor is blocked. Switch off, open the four screws of the cover and clean the chamber.

Error E-208: the water is too hot. The pump stops above 95 degrees and starts again by itself below 80.

Error E-311: no signal from the flow sensor. Check the plug behind the panel; order sensor FS-90021 when it is broken.

## Care

The seal is changed every 8,000 hours. Use only grease of type M2, never oil.
""",
    "minutes_2024-03.md": """# Minutes of the board, March 2024

Present: Ms Okafor (chair), Mr Lindqvist, Ms Tanaka, Mr Duarte.

The board approved the budget of 4.2 million crowns for the new warehouse in Gothenburg. Mr Lindqvist voted against it,
because the soil has not been examined.

Ms Tanaka reported that sales in Asia rose by 18 percent. The office in Osaka will take on six people.

It was decided to end the contract with the carrier Nordfrakt in September. Mr Duarte looks for another one.
""",
    "minutes_2024-06.md": """# Minutes of the board, June 2024

Present: Ms Okafor (chair), Ms Tanaka, Mr Duarte. Mr Lindqvist was excused.

The soil below the new warehouse was examined and is firm. Building begins in August and costs 4.6 million crowns.

The contract with the carrier Havlink begins on the first of October. It is eight percent cheaper than the one before.

Ms Okafor announced that she will leave the chair at the end of the year.
""",
    "garten.md": """# Der Schulgarten

## Boden

Der Boden ist sandig und trocknet schnell aus. Deshalb wird im Herbst eine Schicht Laub und Kompost aufgebracht, die
bis zum Frühjahr liegen bleibt.

## Gießen

Gegossen wird früh am Morgen, nie in der Mittagshitze. Das Wasser kommt aus einer Zisterne, die 5.000 Liter fasst.

## Schnecken

Gegen Schnecken hilft ein Zaun aus Kupferband. Körner aus dem Handel sind verboten, weil sie Igeln schaden.

## Ernte

Die Äpfel der alten Bäume reifen Ende September. Aus ihnen pressen die Kinder Saft, der beim Sommerfest verkauft wird.
""",
    "museum.md": """# 港の博物館

港の博物館は1931年に建てられた倉庫を使っている。開館時間は午前十時から午後五時までで、月曜日は休みである。

一階には漁船の模型が並び、二階では灯台の歴史を紹介している。灯台のレンズは1908年にフランスから運ばれた。

入館料は大人が六百円、子どもは無料である。団体は三日前までに電話で予約する必要がある。

屋上からは湾全体が見え、晴れた日には向かいの島の山まで見渡すことができる。
""",
}
QUESTIONS = [
    ("How many days of holiday do employees get?", "staff-handbook.md", "27 days"),
    ("Until when can I use up leave from last year?", "staff-handbook.md", "end of March"),
    ("When do I need a note from a physician?", "staff-handbook.md", "from the fourth day on"),
    ("Who pays for the internet connection at home?", "staff-handbook.md", "not for the line"),
    ("How often may people stay at home to work?", "staff-handbook.md", "three days a week"),
    ("May I fly to a city 500 km away?", "staff-handbook.md", "not refunded"),
    ("What does E-207 mean?", "pump_manual_KX-4410.md", "the rotor is blocked"),
    ("E-208", "pump_manual_KX-4410.md", "the water is too hot"),
    ("error 311", "pump_manual_KX-4410.md", "no signal from the flow sensor"),
    ("What is part FS-90021 for?", "pump_manual_KX-4410.md", "order sensor FS-90021"),
    ("How heavy is the KX-4410?", "pump_manual_KX-4410.md", "12.4 kg"),
    ("What power does the device draw?", "pump_manual_KX-4410.md", "340 watts"),
    ("Which lubricant may be used?", "pump_manual_KX-4410.md", "grease of type M2"),
    ("After how many hours must the seal be replaced?", "pump_manual_KX-4410.md", "8,000 hours"),
    ("Who was against the money for the warehouse?", "minutes_2024-03.md", "Mr Lindqvist voted against it"),
    ("Why did Lindqvist say no?", "minutes_2024-03.md", "the soil has not been examined"),
    ("How did business in Asia develop?", "minutes_2024-03.md", "rose by 18 percent"),
    ("Which company's transport contract was cancelled?", "minutes_2024-03.md", "Nordfrakt"),
    ("Who was present according to minutes_2024-06.md?", "minutes_2024-06.md", "Ms Okafor (chair), Ms Tanaka"),
    ("What will the warehouse cost according to the June minutes?", "minutes_2024-06.md", "4.6 million crowns"),
    ("Who transports the goods from October on?", "minutes_2024-06.md", "Havlink"),
    ("Who gives up the chair?", "minutes_2024-06.md", "Ms Okafor announced"),
    ("Wie viel Wasser passt in die Zisterne?", "garten.md", "5.000 Liter"),
    ("Was hilft gegen Schnecken?", "garten.md", "Kupferband"),
    ("Warum darf man kein Schneckenkorn streuen?", "garten.md", "weil sie Igeln schaden"),
    ("Zu welcher Tageszeit wird gegossen?", "garten.md", "früh am Morgen"),
    ("When are the apples ripe?", "garten.md", "Ende September"),
    ("Why is compost spread in autumn?", "garten.md", "trocknet schnell aus"),
    ("博物館は何曜日に休みですか?", "museum.md", "月曜日は休み"),
    ("灯台のレンズはどこから来ましたか?", "museum.md", "フランスから"),
    ("入館料はいくらですか?", "museum.md", "六百円"),
    ("What does a ticket for the harbour museum cost?", "museum.md", "六百円"),
    ("Wann wurde das Lagerhaus des Museums gebaut?", "museum.md", "1931年"),
    ("Wie lange im Voraus müssen Gruppen anrufen?", "museum.md", "三日前"),
    ("Wie viele Urlaubstage gibt es?", "staff-handbook.md", "27 days"),
    ("Bei welcher Temperatur schaltet die Pumpe ab?", "pump_manual_KX-4410.md", "95 degrees"),
]
"""Question, document, a piece of the text that a hit must hold."""


def write(folder: Path) -> None:
    """The set as ``manage.py evaluate`` reads it."""
    (folder / "docs").mkdir()
    for name, text in DOCUMENTS.items():
        (folder / "docs" / name).write_text(text, encoding="utf-8")
    lines = [json.dumps(_entry(*question)) for question in QUESTIONS]
    (folder / "questions.jsonl").write_text("\n".join(lines), encoding="utf-8")


def _entry(question: str, document: str, answer: str) -> dict[str, object]:
    start = DOCUMENTS[document].index(answer)
    answers = [{"text": answer, "start": start, "end": start + len(answer)}]
    return {"question": question, "document": f"docs/{document}", "answers": answers}
