"""Bodies that are read by a serializer made once."""

import pytest
from rest_framework import serializers

from ragsite.api.forms import validated


class Order(serializers.Serializer):
    what = serializers.CharField(max_length=5)
    times = serializers.IntegerField(default=1)
    of = serializers.ListField(child=serializers.IntegerField(), required=False)


def test_a_body_is_read_as_by_a_serializer_of_its_own() -> None:
    assert validated(Order, {"what": "tea"}) == {"what": "tea", "times": 1}
    assert validated(Order, {"what": "tea", "times": "2", "of": ["3"]}) == {"what": "tea", "times": 2, "of": [3]}
    assert validated(Order, {"what": "tea"}) == {"what": "tea", "times": 1}  # nothing is left of the one before


@pytest.mark.parametrize("body", [{}, {"what": "coffee"}, {"what": "tea", "of": [1, "x"]}, None, [], "tea"])
def test_what_is_wrong_is_told_as_by_a_serializer_of_its_own(body: object) -> None:
    form = Order(data=body)
    assert not form.is_valid()
    with pytest.raises(serializers.ValidationError) as told:
        validated(Order, body)
    assert told.value.get_full_details() == serializers.ValidationError(form.errors).get_full_details()
