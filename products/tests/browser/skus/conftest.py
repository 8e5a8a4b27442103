"""These tests run only in a process in which SKUs may have all characters."""

from products.tests.wide_skus import ignored_without_wide_skus

collect_ignore_glob = ignored_without_wide_skus()
