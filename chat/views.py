"""Pages of the chat."""

import math
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django.contrib import messages
from django.db.models.functions import Lower
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chat import services
from chat.answers.producer import TooBusy
from chat.caching import CONVERSATION_PAGE
from chat.choices import Choice, chosen_by, chosen_in, offered_documents
from chat.forms import QuestionForm, TitleForm
from chat.models import Conversation, Message
from chat.rendering import answer_html
from chat.scopes import scope_of
from chat.searching import searched
from documents.models import Collection, Document
from documents.search import Scope
from ragsite.accounts.callers import caller
from ragsite.api.keyset import InvalidCursor, Page, keyset_page
from ragsite.api.throttling import MessageThrottle
from ragsite.caching.views import cached_page
from ragsite.pages import back, is_fragment, private

if TYPE_CHECKING:
    from rest_framework.request import Request

LIST_SIZE = 40
PINNED_SHOWN = 50
MESSAGES_SHOWN = 40
OFFERED_COLLECTIONS = 200
KEPT_QUESTION = "kept_question"
"""Of the session."""

read_or_write = require_http_methods(["GET", "HEAD", "POST"])


@private
@require_safe
def new_chat(request: HttpRequest) -> HttpResponse:
    """A new conversation, not yet stored: about what the address names, or the whole library."""
    choice = chosen_in(caller(request), request.GET)
    empty = not Document.objects.for_user(caller(request)).exists()
    return render(
        request, "chat/new.html", {**_listed(request), "choice": choice, "library_empty": empty, **_kept(request)}
    )


@private
@require_safe
@cached_page(CONVERSATION_PAGE, conversation="pk")
def conversation(request: HttpRequest, pk: UUID) -> HttpResponse:
    """A conversation with its newest messages; ``cursor`` leads to earlier ones."""
    shown = _own_conversation(request, pk)
    try:
        page = keyset_page(
            Message.objects.of(shown).whole(shown.owner_id),
            ("-created_at", "-id"),
            request.GET.get("cursor"),
            MESSAGES_SHOWN,
        )
    except InvalidCursor:
        return redirect("chat-conversation", pk)
    page.items.reverse()
    context = {"conversation": shown, "page": page, "shown_messages": _rendered(page.items)}
    if is_fragment(request):
        return render(request, "chat/messages.html", context)
    choice = chosen_by(caller(request), scope_of(shown))
    context |= {"choice": choice, "running": any(row.status == "running" for row in page.items)}
    return render(request, "chat/conversation.html", {**_listed(request), **context, **_kept(request)})


@private
@require_safe
def conversation_list(request: HttpRequest) -> HttpResponse:
    """The list at the side alone: searched, archived, or its next stretch."""
    if not is_fragment(request):
        return redirect(f"{reverse('chat')}?{request.GET.urlencode()}")
    return render(request, "chat/list.html", _listed(request))


def _listed(request: HttpRequest) -> dict[str, Any]:
    """What the list at the side shows: pinned ones first, then the rest by activity; or what a search finds."""
    search, archived = request.GET.get("search", "").strip()[:200], "archived" in request.GET
    mine = Conversation.objects.for_user(caller(request))
    rest = searched(mine, caller(request), search) if search else mine.archived(archived)
    pinned: list[Conversation] = []
    if not search and not archived:
        rest = rest.filter(pinned=False)
        if "after" not in request.GET:
            pinned = list(mine.archived(False).filter(pinned=True).newest_first()[:PINNED_SHOWN])
    return {"pinned": pinned, "conversations": _list_page(request, rest), "search": search, "archived": archived}


def _list_page(request: HttpRequest, rows: Any) -> Page:
    try:
        return keyset_page(rows, ("-updated_at", "-id"), request.GET.get("after"), LIST_SIZE)
    except InvalidCursor:
        return keyset_page(rows, ("-updated_at", "-id"), None, LIST_SIZE)


def _rendered(rows: list[Message]) -> list[Message]:
    """The messages with what they say: ``said`` as text, ``html`` for answers."""
    for row in rows:
        body = getattr(row, "body", None)  # an answer has none before its end
        row.said = body.content if body else ""  # type: ignore[attr-defined]
        if row.role == Message.Role.ASSISTANT:
            row.html = answer_html(row, row.said)  # type: ignore[attr-defined]
    return rows


@private
@require_POST
def ask(request: HttpRequest, pk: UUID | None = None) -> HttpResponse:
    """Ask in a conversation, or begin one; for htmx the question and its running answer, else the page with them."""
    form = QuestionForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Write a question first." if not request.POST.get("content") else _first_error(form))
        return _to(request, back(request, reverse("chat")))
    shown = _own_conversation(request, pk) if pk else None
    content = form.cleaned_data["content"]
    if too_often := _asks_too_often(request):
        return _refused(request, back(request, reverse("chat")), too_often, content)
    if shown:
        _note_writing(shown, form.writing)
        return _ask(request, shown, content)
    choice = chosen_in(caller(request), request.POST)
    if choice.gone:
        messages.error(request, "What you chose is no longer in your library. Choose again what shall be asked.")
        return _to(request, back(request, reverse("chat")))
    begun = services.create_conversation(owner=caller(request), scope=choice.scope(caller(request)), **form.writing)
    return _ask(request, begun, content)


def _note_writing(shown: Conversation, changes: dict[str, str]) -> None:
    """Keep what was picked below the question for the next ones."""
    if any(getattr(shown, name) != value for name, value in changes.items()):
        services.update_conversation(conversation=shown, changes=changes)


def _first_error(form: QuestionForm) -> str:
    return str(form.errors["content"][0])


def _asks_too_often(request: HttpRequest) -> str:
    """What to tell who asks too often, over REST and here together; empty for others."""
    throttle = MessageThrottle()
    if throttle.ask(cast("Request", request), counted=True):  # of either kind it reads user and method
        return ""
    seconds = math.ceil(throttle.wait() or 1)
    return f"Those were many questions in a short time. Ask again in {seconds} second{'s' * (seconds > 1)}."


def _refused(request: HttpRequest, page: HttpResponse, reason: str, content: str) -> HttpResponse:
    """Lead to a page that tells why, with the question kept in its box."""
    messages.error(request, reason)
    request.session[KEPT_QUESTION] = content
    return _to(request, page)


def _kept(request: HttpRequest) -> dict[str, str]:
    """The question that was refused just now."""
    return {"kept_question": request.session.pop(KEPT_QUESTION, "")}


def _ask(request: HttpRequest, shown: Conversation, content: str, fresh: bool = False) -> HttpResponse:
    page = redirect("chat-conversation", shown.id)
    try:
        asked = services.ask(conversation=shown, content=content, fresh=fresh)
    except services.AnswerInProgress:
        busy = "An answer is being written here already. Wait for it, or stop it."
        return _refused(request, page, busy, content)
    except TooBusy:
        busy = "Many questions are being answered right now. Ask again in a few seconds."
        return _refused(request, page, busy, content)
    except services.ConversationGone as error:
        raise Http404 from error
    if not is_fragment(request):
        return page
    rows = services.messages_of(shown, [asked.question.id, asked.message.id])
    return render(request, "chat/messages.html", {"shown_messages": _rendered(rows)})


def _to(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """The redirect as htmx understands it."""
    if is_fragment(request):
        return HttpResponse(status=204, headers={"HX-Redirect": response["Location"]})
    return response


@private
@require_safe
def message(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One message, to take the place of what was streamed."""
    shown = get_object_or_404(Message.objects.whole(caller(request).pk), pk=pk)
    if not is_fragment(request):
        return redirect(f"{reverse('chat-conversation', args=[shown.conversation_id])}#message-{pk}")
    return render(request, "chat/messages.html", {"shown_messages": _rendered([shown])})


@private
@require_POST
def stop(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Stop an answer; what was written stays."""
    shown = get_object_or_404(Message.objects.for_user(caller(request)), pk=pk)
    services.stop_answer(message=shown)
    return HttpResponse(status=204) if is_fragment(request) else redirect("chat-conversation", shown.conversation_id)


@private
@require_POST
def ask_again(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Ask the question of an answer once more, and have it answered anew."""
    answer = get_object_or_404(Message.objects.for_user(caller(request)), pk=pk)
    shown = _own_conversation(request, answer.conversation_id)
    earlier = Message.objects.of(shown).filter(role=Message.Role.USER, created_at__lt=answer.created_at)
    question = earlier.select_related("body").order_by("-created_at", "-id").first()
    if question is None:
        raise Http404
    if too_often := _asks_too_often(request):
        return _refused(request, redirect("chat-conversation", shown.id), too_often, question.body.content)
    return _ask(request, shown, question.body.content, fresh=True)


@private
@read_or_write
def choose_scope(request: HttpRequest, pk: UUID | None = None) -> HttpResponse:
    """Choose what to ask: for a conversation it is kept, for a new one it goes into the address."""
    shown = _own_conversation(request, pk) if pk else None
    if request.method == "POST" and shown:
        scope = _wanted(request).scope(caller(request)) or Scope(shown.owner_id)
        services.update_conversation(conversation=shown, changes={"scope": scope})
        return redirect("chat-conversation", shown.id)
    choice = _wanted(request)
    if shown and "find" not in request.GET:
        choice = chosen_by(caller(request), scope_of(shown))
    find = request.GET.get("find", "")[:200]
    collections = Collection.objects.for_user(caller(request)).order_by(Lower("name"), "id")
    context = {
        "conversation": shown,
        "choice": choice,
        "find": find,
        "collections": collections[:OFFERED_COLLECTIONS],
        "offered": offered_documents(caller(request), find, choice),
    }
    if is_fragment(request):
        return render(request, "chat/scope_documents.html" if "find" in request.GET else "chat/scope.html", context)
    return render(request, "panel.html", {**context, "panel": "chat/scope.html"})


def _wanted(request: HttpRequest) -> Choice:
    return chosen_in(caller(request), request.POST if request.method == "POST" else request.GET)


@private
@read_or_write
def rename(request: HttpRequest, pk: UUID) -> HttpResponse:
    shown = _own_conversation(request, pk)
    form = TitleForm(request.POST or None, initial={"title": shown.title})
    if form.is_valid():
        services.update_conversation(conversation=shown, changes={"title": form.cleaned_data["title"]})
        return back(request, reverse("chat-conversation", args=[pk]))
    return _panel(request, "chat/rename.html", {"conversation": shown, "form": form})


@private
@require_POST
def pin(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Pin a conversation to the top, or no longer."""
    shown = _own_conversation(request, pk)
    services.update_conversation(conversation=shown, changes={"pinned": not shown.pinned})
    return back(request, reverse("chat-conversation", args=[pk]))


@private
@require_POST
def archive(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Put a conversation away, or take it back."""
    shown = _own_conversation(request, pk)
    put_away = shown.archived_at is None
    services.update_conversation(conversation=shown, changes={"archived": put_away})
    messages.success(request, f"“{shown.title}” is {'archived' if put_away else 'back in the list'}.")
    return back(request, reverse("chat-conversation", args=[pk]))


@private
@read_or_write
def delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Ask whether it is meant, then delete."""
    shown = _own_conversation(request, pk)
    if request.method != "POST":
        return _panel(request, "chat/delete.html", {"conversation": shown})
    services.delete_conversation(conversation=shown)
    messages.success(request, f"“{shown.title}” is deleted.")
    return redirect("chat")


def _panel(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """A form by itself for the dialog, or on a page where there is no JavaScript."""
    if is_fragment(request):
        return render(request, template, context)
    return render(request, "panel.html", {**context, "panel": template})


def _own_conversation(request: HttpRequest, pk: UUID) -> Conversation:
    return get_object_or_404(Conversation.objects.for_user(caller(request)), pk=pk)
