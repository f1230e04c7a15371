"""People and tokens as JSON."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from ragsite.accounts.models import ApiToken, User


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    """A token without its secret."""

    scopes = serializers.ListField(child=serializers.ChoiceField(choices=list(ApiToken.SCOPES)))

    class Meta:
        model = ApiToken
        fields = ["id", "name", "hint", "scopes", "created_at", "last_used_at", "expires_at"]
        read_only_fields = fields


class IssuedTokenSerializer(TokenSerializer):
    """A token at its making: the one time that its secret is told."""

    secret = serializers.CharField(help_text="Keep it: it is not shown again.")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "secret"]
        read_only_fields = fields


class NewTokenSerializer(serializers.Serializer[dict[str, Any]]):
    """What a new token is to be."""

    name = serializers.CharField(max_length=100)
    scopes = serializers.MultipleChoiceField(
        choices=list(ApiToken.SCOPES), allow_empty=False, required=False, help_text="All unless told."
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        if value is not None and value <= timezone.now():
            raise serializers.ValidationError("This time is past.")
        return value


class MeSerializer(serializers.ModelSerializer[User]):
    """Who is calling, and what this call may do."""

    scopes = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields = ["username", "email", "is_staff", "date_joined", "scopes"]
        read_only_fields = fields

    def get_scopes(self, user: User) -> list[str]:
        auth = self.context["request"].auth
        return list(auth.scopes if isinstance(auth, ApiToken) else ApiToken.SCOPES)
