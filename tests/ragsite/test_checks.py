"""Insecure or impossible settings are found before the site starts."""

import os
import re
import subprocess
import sys

import pytest

from ragsite import checks
from ragsite.language_models import LanguageModel
from ragsite.layout import PROJECT_DIR

CHECKS = [checks.check_exposure, checks.check_addresses, checks.check_models, checks.check_throttles]


def found():
    return {message.id for check in CHECKS for message in check()}


def test_the_defaults_are_fine():
    assert found() == set()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"PRODUCTION": True, "DEBUG": True}, "ragsite.E001"),
        ({"RAGSITE_HOST": "0.0.0.0", "RAGSITE_ALLOW_HTTP": True, "DEBUG": True}, "ragsite.E001"),
        ({"PRODUCTION": True, "ALLOWED_HOSTS": ["*"]}, "ragsite.E002"),
        ({"SECRET_KEY": "short"}, "ragsite.E003"),
        ({"SECRET_KEY": "a" * 60}, "ragsite.E003"),
        ({"RAGSITE_HOST": "0.0.0.0"}, "ragsite.E004"),
        ({"RAGSITE_HOST": "::"}, "ragsite.E004"),
        ({"RAGSITE_HOST": "docs.example.com"}, "ragsite.E004"),
        ({"RAGSITE_PORT": 0}, "ragsite.E005"),
        ({"RAGSITE_PORT": 70000}, "ragsite.E005"),
        ({"RAGSITE_URL": "docs.example.com"}, "ragsite.E006"),
        ({"RAGSITE_URL": "https://"}, "ragsite.E006"),
        ({"RAGSITE_URL": "https://example.com:x"}, "ragsite.E006"),
        ({"LLM_BASE_URL": "localhost:8080", "LLM_MODEL": "m"}, "ragsite.E006"),
        ({"EMBEDDING_BASE_URL": "unix:///x"}, "ragsite.E006"),
        ({"RAGSITE_URL": "https://example.com/docs"}, "ragsite.E007"),
        ({"DATABASES": {"default": {"NAME": ""}}}, "ragsite.E008"),
        ({"REDIS_URL": "localhost:6379"}, "ragsite.E009"),
        ({"CACHE_URL": "memcached://x"}, "ragsite.E009"),
        ({"CELERY_BROKER_URL": "localhost"}, "ragsite.E009"),
        ({"LLM_BASE_URL": "http://localhost:8080/v1"}, "ragsite.E010"),
        ({"LLM_MODEL": "m"}, "ragsite.E011"),
        ({"LLM_API_KEY": "k"}, "ragsite.E011"),
        ({"LLM_CONTEXT_TOKENS": 8192, "LLM_MAX_TOKENS": 8192}, "ragsite.E012"),
        ({"LLM_MODELS": (LanguageModel("big", "localhost", "m"),)}, "ragsite.E006"),
        ({"LLM_MODELS": (LanguageModel("big", "http://localhost/v1", ""),)}, "ragsite.E010"),
        ({"LLM_MODELS": (LanguageModel("big", "http://localhost/v1", "m", "", 10, 20),)}, "ragsite.E012"),
        ({"LLM_TIMEOUT_SECONDS": 0}, "ragsite.E013"),
        ({"RAGSITE_MAX_UPLOAD_MB": -1}, "ragsite.E013"),
        ({"REST_FRAMEWORK": {"DEFAULT_THROTTLE_RATES": {"user": "many"}}}, "ragsite.E014"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Overriding setting")
def test_what_would_hurt_is_an_error(settings, changes, expected):
    for name, value in changes.items():
        setattr(settings, name, value)
    assert found() == {expected}


@pytest.mark.parametrize(
    "changes",
    [
        {"RAGSITE_HOST": "127.0.0.5"},
        {"RAGSITE_HOST": "::1"},
        {"RAGSITE_HOST": "localhost"},
        {"RAGSITE_HOST": "0.0.0.0", "RAGSITE_ALLOW_HTTP": True},
        {"RAGSITE_HOST": "0.0.0.0", "PRODUCTION": True, "RAGSITE_URL": "https://docs.example.com/"},
        {"LLM_BASE_URL": "http://[::1]:8080/v1", "LLM_MODEL": "m"},
        {"CELERY_BROKER_URL": "amqp://x"},
    ],
    ids=str,
)
def test_what_is_fine_is_left_alone(settings, changes):
    for name, value in changes.items():
        setattr(settings, name, value)
    assert found() == set()


def test_a_misspelt_variable_is_told_with_the_nearest_name(monkeypatch):
    monkeypatch.setenv("RAGSITE_SINGUP", "off")
    monkeypatch.setenv("RAGSITE_QQQQQQQQQQ", "1")
    unlike, like = checks.check_names()
    assert "RAGSITE_SINGUP" in like.msg
    assert "RAGSITE_SIGNUP" in like.hint
    assert "docs/settings.md" in unlike.hint


def test_the_known_variables_are_those_that_the_sources_read():
    sources = [PROJECT_DIR / "manage.py", *PROJECT_DIR.glob("tests/*.py")]
    for package in ("ragsite", "documents", "processing", "chat"):
        sources += [path for path in (PROJECT_DIR / package).rglob("*.py") if path.name != "checks.py"]
    read = {name for path in sources for name in re.findall(r'"(RAGSITE_[A-Z_]+)"', path.read_text())}
    assert {name for name in read - {"RAGSITE_"} if not name.endswith("_FD")} == checks.KNOWN_VARIABLES


def manage(*arguments, **environment):
    """manage.py without servers: a check asks none."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAGSITE_", "LLM_"))}
    kept |= {name: os.environ[name] for name in ("RAGSITE_DATA_DIR", "RAGSITE_DOTENV")}
    command = [sys.executable, "-m", "django", *arguments, "--settings=ragsite.settings"]
    return subprocess.run(command, cwd=PROJECT_DIR, env={**kept, **environment}, capture_output=True, text=True)


def test_a_deployment_check_of_production_is_clean():
    done = manage("check", "--deploy", "--fail-level=WARNING", RAGSITE_URL="https://docs.example.com")
    assert done.returncode == 0, done.stderr


def test_insecure_settings_stop_a_command():
    done = manage("check", RAGSITE_HOST="0.0.0.0")
    assert done.returncode != 0
    assert "RAGSITE_ALLOW_HTTP=on" in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RAGSITE_PORT", "eighty"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d"),
        ("DATABASE_URL", "postgres://u:hunter2@h:x/d"),
    ],
)
def test_a_value_that_cannot_be_read_is_told_in_one_line_without_secrets(name, value):
    command = [sys.executable, "manage.py", "check"]
    done = subprocess.run(
        command, cwd=PROJECT_DIR, env={**os.environ, name: value}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"ragsite: {name}")
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


def test_the_docs_list_exactly_the_settings_there_are():
    internal = {"RAGSITE_TEST_DATA_DIR"}
    source = (PROJECT_DIR / "ragsite" / "settings.py").read_text()
    read = set(re.findall(r'\benv(?:\.\w+)?\(\s*"([A-Z_]+)"', source)) | checks.KNOWN_VARIABLES - internal
    listed = re.findall(r"^\| `([A-Z_]+)` \|", (PROJECT_DIR / "docs" / "settings.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(read)
