"""The house: who may import whom, and that migrations follow the models."""

import ast
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]
MAY_IMPORT = {
    "ragsite": {"ragsite"},
    "documents": {"documents", "ragsite"},
    "processing": {"processing", "documents", "ragsite"},
    "chat": {"chat", "documents", "ragsite"},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("app", MAY_IMPORT)
def test_imports_flow_one_way(app):
    others = set(MAY_IMPORT) - MAY_IMPORT[app]
    wrong = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in (ROOT / app).rglob("*.py")
        if (found := imports(path) & others)
    }
    assert wrong == {}


@pytest.mark.parametrize("room", ["processing/sandbox", "processing/extractors", "ragsite/encoder", "ragsite/embedded"])
def test_what_runs_beside_the_site_knows_nothing_of_django(room):
    assert [path for path in (ROOT / room).rglob("*.py") if "django" in imports(path)] == []


@pytest.mark.django_db
def test_migrations_follow_the_models():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_browsers_that_ask_for_an_icon_get_one(client):
    assert client.get("/favicon.ico")["Location"].startswith("/static/img/favicon")
