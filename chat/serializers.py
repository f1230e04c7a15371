"""What the chat endpoints take, and, for the schema, what they give (``chat.representations`` makes it)."""

from typing import Any

from rest_framework import serializers

from chat.engines import pickable_names
from chat.models import MODEL_NAME_LENGTH, TITLE_LENGTH, Message, Style
from chat.scopes import MOST_CHOSEN
from chat.services import LONGEST_QUESTION
from documents.models import Document


class ChosenIdsField(serializers.ListField):
    """Ids of documents or collections."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            child=serializers.UUIDField(), max_length=MOST_CHOSEN, required=False, allow_null=True, **options
        )


class ScopeSerializer(serializers.Serializer):
    """What to look in; without either, the whole library."""

    documents = ChosenIdsField(help_text="Only these documents (and those of the collections).")
    collections = ChosenIdsField(help_text="Only the documents of these collections (and those named).")


class WritingSerializer(serializers.Serializer):
    """Who writes, and how."""

    language_model = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MODEL_NAME_LENGTH,
        help_text="One of `GET /api/v1/language-models`; empty: the first of them.",
    )
    style = serializers.ChoiceField(  # type: ignore[assignment]
        choices=Style.choices, required=False, allow_blank=True, help_text="`quotes`: sentences of the documents alone."
    )

    def validate_language_model(self, name: str) -> str:
        if name and name not in pickable_names():
            raise serializers.ValidationError(f"There is no language model {name!r} here.")
        return name


class NewConversationSerializer(ScopeSerializer, WritingSerializer):
    title = serializers.CharField(max_length=TITLE_LENGTH, required=False, allow_blank=True)


class ConversationChangeSerializer(ScopeSerializer, WritingSerializer):
    title = serializers.CharField(max_length=TITLE_LENGTH, required=False)
    pinned = serializers.BooleanField(required=False)
    archived = serializers.BooleanField(required=False)


class ConversationSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    title = serializers.CharField(allow_blank=True)
    pinned = serializers.BooleanField()
    archived = serializers.BooleanField()
    documents = serializers.ListField(child=serializers.UUIDField(), allow_null=True)
    collections = serializers.ListField(child=serializers.UUIDField(), allow_null=True)
    language_model = serializers.CharField(allow_blank=True)
    style = serializers.CharField(allow_blank=True)  # type: ignore[assignment]
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField(help_text="The newest question or answer.")


class CitationSerializer(serializers.Serializer):
    marker = serializers.IntegerField(help_text="n of [n] in the text.")
    document = serializers.UUIDField(allow_null=True, help_text="null when the document was deleted or replaced.")
    replaced_by = serializers.UUIDField(allow_null=True, help_text="The newer version of the document quoted.")
    filename = serializers.CharField(allow_blank=True)
    page = serializers.IntegerField(allow_null=True)
    page_kind = serializers.ChoiceField(choices=Document.PageKind.choices, allow_null=True)
    page_label = serializers.CharField(allow_null=True, help_text="As printed; a sheet's or an attachment's name.")
    place = serializers.CharField(allow_blank=True, help_text="In words: `slide 3`, `sheet Budget`.")
    headings = serializers.ListField(child=serializers.CharField(), help_text="That the quote stands under.")
    table_header = serializers.CharField(allow_blank=True, help_text="What names the columns of a quoted row.")
    start = serializers.IntegerField(help_text="Code point in the document's text.")
    end = serializers.IntegerField(help_text="Exclusive.")
    answer_start = serializers.IntegerField(allow_null=True, help_text="Of the likely answer, where one is seen.")
    answer_end = serializers.IntegerField(allow_null=True, help_text="Exclusive.")
    quote = serializers.CharField(allow_blank=True)
    verified = serializers.BooleanField(help_text="The quote stood there, word for word, when it was stored.")
    note = serializers.CharField(allow_blank=True)


class UsageSerializer(serializers.Serializer):
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()


class UnsupportedClaimSerializer(serializers.Serializer):
    start = serializers.IntegerField(help_text="Code point in the answer.")
    end = serializers.IntegerField(help_text="Exclusive.")
    reason = serializers.ChoiceField(
        choices=["not_in_source", "no_source"], help_text="Whether it cites a passage that does not say it, or none."
    )


class SupportSerializer(serializers.Serializer):
    """How far what a model wrote stands in the passages that it cites, judged by words, numbers and vectors."""

    claims = serializers.IntegerField()
    supported = serializers.IntegerField()
    share = serializers.FloatField()
    unsupported = UnsupportedClaimSerializer(many=True)


class MessageErrorSerializer(serializers.Serializer):
    code = serializers.CharField()
    detail = serializers.CharField()


class MessageSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    conversation = serializers.UUIDField()
    role = serializers.ChoiceField(choices=Message.Role.choices)
    content = serializers.CharField(allow_blank=True)
    status = serializers.ChoiceField(choices=Message.Status.choices)
    citations = CitationSerializer(many=True)
    cached = serializers.BooleanField()
    timings = serializers.DictField(
        child=serializers.FloatField(), help_text="Seconds from the start to the end of a part."
    )
    engine = serializers.CharField(allow_blank=True)
    model = serializers.CharField(allow_blank=True)
    usage = UsageSerializer(allow_null=True)
    support = SupportSerializer(allow_null=True, help_text="null where answers quote, and where nothing is claimed.")
    error = MessageErrorSerializer(allow_null=True)
    created_at = serializers.DateTimeField()


class MessagePageSerializer(serializers.Serializer):
    results = MessageSerializer(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class ConversationDetailSerializer(ConversationSerializer):
    messages = MessagePageSerializer()


class LanguageModelSerializer(serializers.Serializer):
    name = serializers.CharField()
    label = serializers.CharField(help_text="For people.")  # type: ignore[assignment]
    model = serializers.CharField(allow_blank=True, help_text="What its server calls it.")
    first = serializers.BooleanField(help_text="The one that answers where none is picked.")


class LanguageModelListSerializer(serializers.Serializer):
    results = LanguageModelSerializer(many=True)


class NewMessageSerializer(ScopeSerializer, WritingSerializer):
    content = serializers.CharField(max_length=LONGEST_QUESTION)
    fresh = serializers.BooleanField(default=False, help_text="Pass by every cached answer.")
