"""The rules of the filters of a list."""

import pytest

from fetchml.core.requests.listing import LATEST_MS, Filters, fault, label


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters("ada", "train", "e", "x" * 256, ("a=b=c", "a", "a="), 0, LATEST_MS - 1, "0-af"),
        Filters(labels=["x" * 1024] * 16),
    ],
)
def test_valid_filters_have_no_fault(filters: Filters) -> None:
    assert fault(filters) is None


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        (Filters(user="\ud800"), "user_id"),
        (Filters(job_name_prefix="\ud800"), "job_name_prefix"),
        (Filters(text="\ud800"), "text"),
        (Filters(sweep_id="\ud800"), "sweep_id"),
        (Filters(text="x" * 257), "text"),
        (Filters(labels=[""]), "labels"),
        (Filters(labels=["=b"]), "labels"),
        (Filters(labels=["a=\0"]), "labels"),
        (Filters(labels=["a"] * 17), "labels"),
        (Filters(created_after=-1), "created_after"),
        (Filters(created_before=LATEST_MS), "created_before"),
        (Filters(id_suffix="123"), "id_suffix"),
        (Filters(id_suffix="12345\n"), "id_suffix"),
    ],
)
def test_fault_names_the_filter(filters: Filters, field: str) -> None:
    found = fault(filters)
    assert found is not None
    assert found.field == field


def test_first_equals_sign_ends_a_labels_key() -> None:
    assert label("a=b=c") == ("a", "b=c")
    assert label("a=") == ("a", "")
    assert label("a") == ("a", None)
