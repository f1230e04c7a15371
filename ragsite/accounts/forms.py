"""Forms of the settings pages."""

from datetime import datetime, timedelta

from django import forms
from django.utils import timezone

from ragsite.accounts.models import ApiToken

LIFETIMES = {"30": "30 days", "90": "90 days", "365": "a year", "": "until revoked"}


class NewTokenForm(forms.Form):
    """What a new token is to be."""

    name = forms.CharField(max_length=100, help_text="What it is for, so that you know it again.")
    scopes = forms.MultipleChoiceField(
        choices=[(ApiToken.READ, "read"), (ApiToken.WRITE, "write")],
        initial=list(ApiToken.SCOPES),
        widget=forms.CheckboxSelectMultiple,
        label="May",
    )
    days = forms.ChoiceField(choices=list(LIFETIMES.items()), required=False, initial="90", label="Works for")

    def expires_at(self) -> datetime | None:
        """When the token ends; None for never."""
        days = self.cleaned_data["days"]
        return timezone.now() + timedelta(days=int(days)) if days else None
