from django.apps import AppConfig
from django.conf import settings


class RagsiteConfig(AppConfig):
    """What every other app leans on: settings, services, API plumbing, health."""

    name = "ragsite"

    def ready(self) -> None:
        from ragsite import checks  # noqa: F401  (registers the checks)
        from ragsite.celery import app  # noqa: F401  (shared_task binds to it)

        if settings.RAGSITE_SILK:
            from ragsite.profiling.recording import install

            install()
        if settings.REPLICAS:
            from ragsite.metrics.gauges import add
            from ragsite.replicas import checks as replica_checks  # noqa: F401
            from ragsite.replicas.gauges import replica_gauges

            add("replicas", replica_gauges)
