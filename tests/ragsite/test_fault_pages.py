"""What people see when something is wrong: a page of the site, with words."""

import pytest
from django.test import Client, RequestFactory

from ragsite.api import problems


def test_an_address_that_leads_nowhere_says_so(client, db):
    response = client.get("/nowhere/")
    assert response.status_code == 404
    assert "There is nothing at this address" in response.content.decode()


def test_a_form_that_is_too_old_says_so(db):
    response = Client(enforce_csrf_checks=True).post("/accounts/login/", {"login": "x", "password": "y"})
    assert response.status_code == 403
    assert "The form was too old" in response.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("view", "status", "words"),
    [(problems.bad_request, 400, "could not be read"), (problems.permission_denied, 403, "You may not see this page")],
)
def test_other_refusals_have_their_pages(view, status, words, rf: RequestFactory, owner):
    request = rf.get("/library/")
    request.user, request.resolver_match = owner, None
    response = view(request, ValueError("secret detail"))
    assert response.status_code == status
    assert words in response.content.decode()
    assert "secret" not in response.content.decode()


def test_a_fault_of_the_site_has_a_page_that_needs_nothing_but_itself(rf: RequestFactory):
    response = problems.server_error(rf.get("/library/"))
    assert response.status_code == 500
    assert "Something went wrong here" in response.content.decode()
