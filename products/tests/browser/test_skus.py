"""The back office, with all characters of SKUs."""

from products.tests.wide_skus import run_with_wide_skus


def test_the_back_office_works_with_all_characters() -> None:
    run_with_wide_skus("products/tests/browser/skus")
