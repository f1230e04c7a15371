"""Pages of chat."""

from django.urls import path
from django.views.generic import RedirectView

from chat import views

urlpatterns = [
    path("", views.new_chat, name="chat"),
    path("chat/", RedirectView.as_view(pattern_name="chat", query_string=True)),
    path("chat/ask/", views.ask, name="chat-ask"),
    path("chat/list/", views.conversation_list, name="chat-list"),
    path("chat/scope/", views.choose_scope, name="chat-scope"),
    path("chat/<uuid:pk>/", views.conversation, name="chat-conversation"),
    path("chat/<uuid:pk>/ask/", views.ask, name="chat-ask-in"),
    path("chat/<uuid:pk>/scope/", views.choose_scope, name="chat-scope-of"),
    path("chat/<uuid:pk>/rename/", views.rename, name="chat-rename"),
    path("chat/<uuid:pk>/pin/", views.pin, name="chat-pin"),
    path("chat/<uuid:pk>/archive/", views.archive, name="chat-archive"),
    path("chat/<uuid:pk>/delete/", views.delete, name="chat-delete"),
    path("chat/messages/<uuid:pk>/", views.message, name="chat-message"),
    path("chat/messages/<uuid:pk>/stop/", views.stop, name="chat-stop"),
    path("chat/messages/<uuid:pk>/again/", views.ask_again, name="chat-again"),
]
