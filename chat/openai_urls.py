"""OpenAI's endpoints, below /v1/."""

from django.urls import path

from chat import openai_api

urlpatterns = [
    path("chat/completions", openai_api.ChatCompletionsView.as_view(), name="openai-chat-completions"),
    path("models", openai_api.ModelsView.as_view(), name="openai-models"),
    path("models/<path:model>", openai_api.ModelView.as_view(), name="openai-model"),
]
