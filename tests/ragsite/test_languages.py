"""The language of a text, and the words of scripts without spaces."""

import errno
import subprocess
import sys

import pytest

from ragsite import languages
from ragsite.languages import DETECTED, STEMMERS, detect, index_words
from ragsite.layout import PROJECT_DIR

SHORT = {
    "en": ["Where is the contract?", "The cat sat down."],
    "de": ["Wo ist der Vertrag?", "Die Katze schläft."],
    "fr": ["Où est le contrat ?", "Merci de signer ici"],
    "es": ["¿Dónde está el contrato?", "El gato duerme."],
    "it": ["Dov'è il contratto?", "Si prega di firmare qui"],
    "pt": ["Onde está o contrato?", "As vendas subiram em 2023."],
    "nl": ["Waar is het contract?", "De kat slaapt."],
    "sv": ["Var är avtalet?", "Skriv under här"],
    "fi": ["Missä sopimus on?", "Kissa nukkuu."],
    "pl": ["Gdzie jest umowa?", "Proszę podpisać tutaj"],
    "hu": ["Hol van a szerződés?", "A macska alszik."],
    "tr": ["Sözleşme nerede?", "Lütfen burayı imzalayın"],
    "ru": ["Где лежит договор?", "Продажи выросли в 2023 году."],
    "uk": ["Де лежить договір?", "Кішка спить."],
    "el": ["Πού είναι η σύμβαση;", "Η γάτα κοιμάται."],
    "ar": ["أين العقد؟", "القطة نائمة الآن."],
    "hi": ["अनुबंध कहाँ है?", "बिल्ली सो रही है।"],
    "zh": ["合同在哪里？", "猫在睡觉。"],
    "ja": ["契約書はどこですか。", "猫が寝ている。"],
    "ko": ["계약서는 어디에 있나요?", "2023년 매출이 증가했다."],
    "th": ["สัญญาอยู่ที่ไหน", "แมวกำลังนอน"],
    "km": ["តើកិច្ចសន្យានៅឯណា"],
    "lo": ["ສັນຍາຢູ່ໃສ"],
    "my": ["စာချုပ်ဘယ်မှာလဲ"],
}


@pytest.mark.parametrize(("language", "text"), [(key, text) for key, texts in SHORT.items() for text in texts])
def test_the_language_of_a_short_text_is_found(language: str, text: str) -> None:
    assert detect(text) == language


@pytest.mark.parametrize("text", ["", "42 | 17.5 | 2023", "SKU-8847", "!?"])
def test_a_text_of_hardly_any_letters_has_no_language(text: str) -> None:
    assert detect(text) == ""


def test_every_language_with_a_stemmer_can_be_found_but_those_the_detector_does_not_know() -> None:
    assert set(STEMMERS) - DETECTED == {"nb", "yi"}


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("ยอดขายเพิ่มขึ้นในปีนี้", "เพิ่มขึ้น"),
        ("ການຂາຍເພີ່ມຂຶ້ນໃນປີນີ້", "ເພີ່ມຂຶ້ນ"),
        ("ការលក់បានកើនឡើងនៅឆ្នាំនេះ", "កើនឡើង"),
        ("ယခုနှစ်ရောင်းအားတက်လာသည်", "ရောင်းအား"),
        ("今年销售额上升了", "销售额"),
        ("今年の売上高は増加した", "売上高"),
    ],
)
def test_a_word_of_a_script_without_spaces_is_found_within_its_sentence(text: str, question: str) -> None:
    assert set(index_words(question).split()) <= set(index_words(text).split())
    assert len(index_words(question).split()) > 1


def test_threads_that_ask_first_all_get_an_answer() -> None:
    """Loading takes half a second, in which the next documents ask too."""
    code = (
        "from concurrent.futures import ThreadPoolExecutor; from ragsite.languages import detect;"
        "print(set(ThreadPoolExecutor(8).map(detect, ['The river carries more water than any other.'] * 8)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT_DIR, check=False)
    assert told.stdout.strip() == "{'en'}", told.stderr


def test_without_room_for_files_the_tables_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(languages, "TemporaryFile", no_room)
    classify = languages._classifier.__wrapped__()

    assert classify("Where is the contract that we signed?")[0] == "en"
    assert classify("Wo ist der Vertrag, den wir unterschrieben haben?")[0] == "de"
