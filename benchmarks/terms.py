"""The search terms of a product in SQL, to fill a large shop quickly."""


def terms_sql(sku: str, words: str) -> str:
    """Return the SQL of `products.models.terms_of`.

    Both arguments are SQL: of a SKU of at least three characters, and of the words of a name, in
    lower case and between blanks. Percent signs are not escaped.
    """
    parts = f"""
        SELECT string_agg(E'\\n~' || substr(lower({sku}), start, 3), '' ORDER BY start)
        FROM generate_series(2, length({sku}) - 2) start
    """
    starts = "".join(f" || E'\\n^' || left(lower({sku}), {length})" for length in (1, 2, 3))
    return f"(E'\\n' || replace({words}, ' ', E'\\n'){starts} || ({parts}))"
