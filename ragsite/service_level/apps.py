from django.apps import AppConfig


class ServiceLevelConfig(AppConfig):
    """What is promised, measured and shown to administrators."""

    name = "ragsite.service_level"
    verbose_name = "service level"
