from importlib import import_module

from django.apps import AppConfig


class DocumentsConfig(AppConfig):
    name = "documents"

    def import_models(self) -> None:
        """Rooms of this app have models of their own, which Django would not find there."""
        super().import_models()
        for room in ("tus", "importing", "queue"):
            import_module(f"documents.{room}.models")

    def ready(self) -> None:
        from documents.queue import gauges, panel
        from ragsite.metrics.gauges import add
        from ragsite.service_level import panels

        add("queue", gauges.queue_gauges)
        panels.add(panel.TEMPLATE, panel.queue_panel)
