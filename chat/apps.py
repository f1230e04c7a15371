from django.apps import AppConfig


class ChatConfig(AppConfig):
    """Conversations with one's documents."""

    name = "chat"

    def ready(self) -> None:
        from chat import deactivating, forgetting, succession
        from chat.answers.producer import interrupt_all
        from ragsite.stopping import before_stop

        forgetting.connect()
        succession.connect()
        deactivating.connect()
        before_stop(interrupt_all)
