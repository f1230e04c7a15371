"""Endpoints of the chat, below /api/v1/."""

from django.urls import path

from chat import api

urlpatterns = [
    path("conversations", api.ConversationListView.as_view(), name="conversation-list"),
    path("conversations/<uuid:pk>", api.ConversationView.as_view(), name="conversation"),
    path("conversations/<uuid:pk>/messages", api.MessageListView.as_view(), name="message-list"),
    path("language-models", api.LanguageModelsView.as_view(), name="language-models"),
    path("messages/<uuid:pk>", api.MessageView.as_view(), name="message"),
    path("messages/<uuid:pk>/events", api.EventsView.as_view(), name="message-events"),
    path("messages/<uuid:pk>/stop", api.StopView.as_view(), name="message-stop"),
]
