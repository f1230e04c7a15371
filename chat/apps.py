from django.apps import AppConfig


class ChatConfig(AppConfig):
    """Conversations with one's documents."""

    name = "chat"

    def ready(self) -> None:
        from chat import deactivating, forgetting, succession
        from chat.answers.board import board
        from chat.answers.producer import interrupt_all
        from chat.gauges import answer_gauges
        from ragsite.metrics.gauges import add
        from ragsite.stopping import before_stop, finish_first

        forgetting.connect()
        succession.connect()
        deactivating.connect()
        finish_first(lambda: len(board()) > 0)
        before_stop(interrupt_all)
        add("answers", answer_gauges)
