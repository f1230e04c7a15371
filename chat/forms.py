"""Forms of the chat's pages."""

from django import forms

from chat.models import TITLE_LENGTH
from chat.services import LONGEST_QUESTION


class QuestionForm(forms.Form):
    """What is asked."""

    content = forms.CharField(max_length=LONGEST_QUESTION)


class TitleForm(forms.Form):
    """A conversation's name."""

    title = forms.CharField(
        max_length=TITLE_LENGTH, label="Name", widget=forms.TextInput(attrs={"autofocus": True, "autocomplete": "off"})
    )
