"""manage.py ingest: files from this machine, processed with or without workers."""

import pytest
from django.core.management import CommandError, call_command

from documents.models import Collection, Document
from processing import ingesting
from processing.ingesting import files_below
from ragsite.accounts.models import User
from ragsite.first_start import ensure_first_administrator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("fake_encoder", "sandbox_service")]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.md").write_text("# A\n\nThe first text.\n")
    (tmp_path / "inner" / "b.txt").write_text("The second text.\n")
    (tmp_path / "inner" / "b-again.txt").write_text("The second text.\n")
    (tmp_path / "picture.psd").write_bytes(b"8BPS" + bytes(50))
    (tmp_path / ".hidden").write_text("not this")
    return tmp_path


def test_a_folder_is_uploaded_and_processed(owner, folder, capsys):
    call_command("ingest", str(folder), owner="owner", collection="Texts")
    shown = capsys.readouterr()
    assert "2 new, 1 already there, 1 refused, 0 failed" in shown.out
    assert "picture.psd" in shown.err
    assert set(Document.objects.values_list("filename", "status")) == {
        ("a.md", "processed"),
        ("b-again.txt", "processed"),
    }
    assert Collection.objects.get(name="Texts").documents.count() == 2


def test_the_same_again_does_nothing_twice(owner, folder, capsys, fake_encoder):
    call_command("ingest", str(folder), owner="owner")
    embedded = len(fake_encoder.embedded)
    call_command("ingest", str(folder), owner="owner")
    assert "0 new, 3 already there" in capsys.readouterr().out
    assert len(fake_encoder.embedded) == embedded


def test_a_file_that_fails_is_named_with_its_reason(owner, tmp_path, capsys):
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\nbroken")
    call_command("ingest", str(tmp_path), owner="owner")
    assert "broken.pdf" in capsys.readouterr().err


def test_nothing_that_can_be_taken_is_an_error(owner, tmp_path):
    (tmp_path / "picture.psd").write_bytes(b"8BPS" + bytes(50))
    with pytest.raises(CommandError, match="None of the files"):
        call_command("ingest", str(tmp_path), owner="owner")


def test_a_path_that_is_not_there_and_a_missing_owner_are_told(owner, tmp_path):
    with pytest.raises(CommandError, match="There is no"):
        call_command("ingest", str(tmp_path / "nothing"), owner="owner")
    with pytest.raises(CommandError, match="administrator"):
        call_command("ingest", str(tmp_path))


def test_on_a_new_site_the_library_is_that_of_the_administrator_who_gets_a_password_at_the_first_start(db, folder):
    call_command("ingest", str(folder))
    admin = User.objects.get()
    assert (admin.username, admin.is_superuser, admin.has_usable_password()) == ("admin", True, False)
    assert Document.objects.filter(owner=admin).count() == 2
    made = ensure_first_administrator()
    assert made is not None
    assert User.objects.get().check_password(made["password"])


def test_hidden_files_are_left_out(folder):
    assert [path.name for path in files_below([folder])] == ["a.md", "b-again.txt", "b.txt", "picture.psd"]


def test_questions_for_evaluate_are_left_out_and_told_but_taken_when_named(owner, tmp_path, capsys):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# A\n\nThe first text.\n")
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "Which text?"}\n')
    call_command("ingest", str(tmp_path), owner="owner")
    assert f"left out  {questions}" in capsys.readouterr().out
    assert [document.filename for document in Document.objects.all()] == ["a.md"]
    call_command("ingest", str(questions), owner="owner")
    assert Document.objects.get(filename="questions.jsonl").status == "processed"


def test_an_interruption_while_files_are_uploaded_says_how_to_go_on_and_nothing_is_uploaded_twice(
    owner, folder, monkeypatch, capsys
):
    upload = ingesting.upload_document
    uploaded = []

    def interrupted(**values):
        if len(uploaded) == 1:
            raise KeyboardInterrupt
        uploaded.append(values["filename"])
        return upload(**values)

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as ended:
        patched.setattr(ingesting, "upload_document", interrupted)
        call_command("ingest", str(folder), owner="owner")
    assert ended.value.code == 130
    assert "run the same command again" in capsys.readouterr().err
    first = Document.objects.get()
    call_command("ingest", str(folder), owner="owner")
    assert "1 new, 2 already there" in capsys.readouterr().out
    assert Document.objects.get(id=first.id).file.name == first.file.name
