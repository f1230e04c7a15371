from django.apps import AppConfig


class RagsiteConfig(AppConfig):
    """What every other app leans on: settings, services, API plumbing, health."""

    name = "ragsite"

    def ready(self) -> None:
        from ragsite import checks  # noqa: F401  (registers the checks)
        from ragsite.celery import app  # noqa: F401  (shared_task binds to it)
