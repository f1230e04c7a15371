"""manage.py test_model: what is wrong with a language model's address, key, name or context."""

import argparse
import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chat.engines.diagnosis import Finding, diagnosed
from ragsite.language_models import FIRST, LanguageModel, configured_models

MARKS = {True: "ok", False: "WRONG", None: "note"}


class Command(BaseCommand):
    help = "Try the configured language models, or the one at --url, and tell what is wrong. Keys are never shown."
    requires_system_checks = ()  # what is half configured is what this is for

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", help="One of those configured: default, or a name of LLM_MODELS.")
        parser.add_argument("--url", help="Try this address instead, with the key in LLM_API_KEY.")
        parser.add_argument(
            "--model", default="", help="With --url: the model's name there; without, names are listed."
        )
        parser.add_argument(
            "--context", action="store_true", help="Fill the whole context once: slow on small machines."
        )

    def handle(self, *, name: str | None, url: str | None, model: str, context: bool, **_options: Any) -> None:
        failed = [one.name for one in _wanted(name, url, model) if not self._try(one, context)]
        if failed:
            raise CommandError(f"Not in order: {', '.join(failed)}.")

    def _try(self, model: LanguageModel, fill_context: bool) -> bool:
        self.stdout.write(f"{model.name}: {model.model or '(no model named)'} at {model.base_url}")
        fine = True
        for finding in diagnosed(model, fill_context):
            self.stdout.write(_line(finding))
            fine = fine and finding.ok is not False
        return fine


def _line(finding: Finding) -> str:
    advice = f" {finding.advice}" if finding.advice else ""
    return f"  {MARKS[finding.ok]:5}  {finding.step}: {finding.detail}{advice}"


def _wanted(name: str | None, url: str | None, model: str) -> list[LanguageModel]:
    if url:
        return [LanguageModel(name or FIRST, url, model, os.environ.get("LLM_API_KEY", ""))]
    found = [one for one in configured_models() if name in (None, one.name)]
    if not found:
        raise CommandError(f"There is no model {name!r}." if name else "No model is configured: set LLM_BASE_URL.")
    return found
