"""What OpenAI's endpoints take and give."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from chat.serializers import WritingSerializer
from chat.services import LONGEST_QUESTION


@extend_schema_field({"type": ["string", "array", "null"], "items": {"type": "object"}})
class ContentField(serializers.Field):
    """Text, or a list of parts whose texts count (pictures are passed by)."""

    def to_internal_value(self, data: Any) -> str:
        if isinstance(data, list):
            data = "\n".join(
                part["text"] for part in data if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
        if data is not None and not isinstance(data, str):
            raise serializers.ValidationError("Text, or a list of parts of text.")
        if data and len(data) > LONGEST_QUESTION * 10:
            raise serializers.ValidationError(f"At most {LONGEST_QUESTION * 10} characters.")
        return data or ""

    def to_representation(self, value: str) -> str:
        return value


class ChatMessageSerializer(serializers.Serializer):
    role = serializers.ChoiceField(choices=["system", "developer", "user", "assistant", "tool", "function"])
    content = ContentField(allow_null=True, required=False, default="")


class StreamOptionsSerializer(serializers.Serializer):
    include_usage = serializers.BooleanField(default=False)


class ChatCompletionSerializer(WritingSerializer):
    """Other parameters (temperature, tools, …) are taken and passed by.

    ``language_model`` and ``style`` are this site's own; OpenAI's client sends them as ``extra_body``.
    """

    model = serializers.CharField(max_length=200, help_text="`ragsite`, or `ragsite/COLLECTION_ID`.")
    messages = ChatMessageSerializer(many=True, allow_empty=False)
    stream = serializers.BooleanField(default=False, allow_null=True)
    stream_options = StreamOptionsSerializer(required=False, allow_null=True)


class ModelSerializer(serializers.Serializer):
    id = serializers.CharField()
    object = serializers.CharField()
    created = serializers.IntegerField()
    owned_by = serializers.CharField()


class ModelListSerializer(serializers.Serializer):
    object = serializers.CharField()
    data = ModelSerializer(many=True)  # type: ignore[assignment]
