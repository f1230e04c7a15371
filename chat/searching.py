"""Which conversations hold all words of a search: of those that few hold a list, of those that many hold a sieve.

The index of words knows no order, and the order of a list is that of the last change: of all that it finds, each
message and each conversation would be read, 31,827 pages of 8 KB for a word of 14,769 conversations. So it is asked for
``FEW`` at most. Where there are more, the list is looked through from its beginning, a stretch at a time: what many
conversations hold is soon met.
"""

from uuid import UUID

from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from chat.models import Conversation, MessageBody
from chat.querysets import BODY_WORDS, TITLE_WORDS, ConversationQuerySet
from ragsite.accounts.models import User
from ragsite.api.sifting import Sieve
from ragsite.word_indexes import FEW, long_words, matching, tsquery, words_of

LOOKED_AT = 300
"""Conversations that a page looks at, with all their messages."""
# The scalar sub-query keeps the planner from reading all messages once; coalesce's third argument keeps it from the
# index of words. Messages are found by messagebody_conversation_idx.
SAID = """documents_tsvector('simple', sifted.title) @@ to_tsquery('simple', %s) OR (
  SELECT true FROM chat_messagebody b WHERE b.owner_id = %s AND b.conversation_id = sifted.id
    AND documents_tsvector('simple', coalesce(b.words, b.content, '')) @@ to_tsquery('simple', %s) LIMIT 1)"""


def searched(conversations: ConversationQuerySet, owner: User, text: str) -> ConversationQuerySet:
    """Of these, the owner's whose title or one of whose messages holds all words; each may be unfinished."""
    words = words_of(text)
    if not words:
        return conversations.none()
    known = long_words(words)
    found = _few(owner, known) if known else None
    if found is not None:
        conversations = conversations.filter(id__in=found)
    exact = found is not None and (not found or known == words)
    return conversations if exact else conversations.sifted(_sieve(owner, words))


def _sieve(owner: User, words: list[str]) -> Sieve:
    query = tsquery(words)
    return Sieve(f"({SAID})", [query, owner.pk, query], LOOKED_AT)


def _few(owner: User, words: list[str]) -> set[UUID] | None:
    """Of the conversations that hold them; None where more than ``FEW`` messages or titles do."""
    titles = Conversation.objects.for_user(owner).filter(_holds(TITLE_WORDS, owner, words)).values_list("id")
    bodies = MessageBody.objects.filter(_holds(BODY_WORDS, owner, words), owner=owner).values_list("conversation_id")
    found = [row[0] for row in titles[: FEW + 1].union(bodies[: FEW + 1], all=True)]
    return set(found) if len(found) <= FEW else None


def _holds(expression: str, owner: User, words: list[str]) -> RawSQL:
    return RawSQL(*matching(expression, owner.pk, words), BooleanField())
