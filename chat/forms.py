"""Forms of the chat's pages."""

from django import forms

from chat.engines import pickable_names
from chat.models import MODEL_NAME_LENGTH, TITLE_LENGTH, Style
from chat.services import LONGEST_QUESTION


class QuestionForm(forms.Form):
    """What is asked, and who is to answer how; what is not named stays as it is."""

    content = forms.CharField(max_length=LONGEST_QUESTION)
    style = forms.ChoiceField(choices=[("", ""), *Style.choices], required=False)
    language_model = forms.CharField(max_length=MODEL_NAME_LENGTH, required=False)

    @property
    def writing(self) -> dict[str, str]:
        """The changes to the conversation. A model that is configured no longer is none."""
        named = {name: self.cleaned_data[name] for name in ("style", "language_model") if name in self.data}
        if named.get("language_model") and named["language_model"] not in pickable_names():
            named["language_model"] = ""
        return named


class TitleForm(forms.Form):
    """A conversation's name."""

    title = forms.CharField(
        max_length=TITLE_LENGTH, label="Name", widget=forms.TextInput(attrs={"autofocus": True, "autocomplete": "off"})
    )
