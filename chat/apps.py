from django.apps import AppConfig


class ChatConfig(AppConfig):
    """Conversations with one's documents."""

    name = "chat"

    def ready(self) -> None:
        from chat import forgetting

        forgetting.connect()
