"""Conversations and messages in the admin: to look at, and their words only with a permission for that."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import path
from django.utils.text import Truncator

from chat.model_pages import language_models
from chat.models import Citation, Conversation, Message
from ragsite.admin_paging import BigTableAdmin

TEXT_PERMISSION = "chat.view_message_text"
SHOWN_IN_LISTS = 80


class ReadOnlyAdmin(BigTableAdmin):
    """Rows of people's own: nobody writes in their name. ``texts`` are the fields that need the permission."""

    texts: tuple[str, ...] = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def may_read(self, request: HttpRequest) -> bool:
        return request.user.has_perm(TEXT_PERMISSION)

    def get_list_display(self, request: HttpRequest) -> Any:
        return self._without_texts(request, super().get_list_display(request))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self._without_texts(request, super().get_fields(request, obj))

    def get_search_fields(self, request: HttpRequest) -> Any:
        """A search tells what is in a text as well as showing it does."""
        return self._without_texts(request, super().get_search_fields(request))

    def _without_texts(self, request: HttpRequest, names: Any) -> list[str]:
        return [name for name in names if name not in self.texts or self.may_read(request)]


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    change_list_template = "admin/chat/conversation_list.html"
    texts = ("title",)
    list_display = ("id", "owner", "title", "pinned", "archived_at", "created_at", "updated_at")
    list_select_related = ("owner",)
    list_filter = ("pinned",)
    ordering = ("-id",)
    fields = ("id", "owner", "title", "pinned", "archived_at", "language_model", "style", "created_at", "updated_at")

    def get_urls(self) -> list[Any]:
        page = path("language-models/", self.admin_site.admin_view(language_models), name="chat_language_models")
        return [page, *super().get_urls()]


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    texts = ("text", "question_searched")
    list_display = ("id", "conversation_id", "owner", "role", "status", "engine", "model", "error_code", "created_at")
    list_select_related = ("owner",)
    list_filter = ("role", "status", "engine")
    ordering = ("-id",)
    fields = (
        *("id", "owner", "conversation_id", "role", "status", "engine", "model", "created_at", "timings", "cached"),
        *("prompt_tokens", "completion_tokens", "error_code", "error_detail", "text", "question_searched"),
    )

    @admin.display(description="text")
    def text(self, message: Message) -> str:
        body = getattr(message, "body", None)
        return body.content if body else ""

    @admin.display(description="searched for")
    def question_searched(self, message: Message) -> str:
        trace = getattr(message, "trace", None)
        return trace.query if trace else ""


@admin.register(Citation)
class CitationAdmin(ReadOnlyAdmin):
    texts = ("quote", "short_quote", "filename")
    list_display = ("id", "message_id", "owner", "marker", "filename", "page", "verified", "short_quote")
    list_select_related = ("owner",)
    list_filter = ("verified",)
    ordering = ("-id",)
    fields = ("message_id", "owner", "marker", "document_id", "filename", "page", "start", "end", "quote", "verified")

    @admin.display(description="quote")
    def short_quote(self, citation: Citation) -> str:
        return Truncator(citation.quote).chars(SHOWN_IN_LISTS)
