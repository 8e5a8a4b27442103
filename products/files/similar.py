"""Find SKUs that a spreadsheet or a slip may have turned into each other.

A spreadsheet reads 00123 as 123, and 1E5 as 100000 or 1.00E+05. Two SKUs are similar if they differ
only by leading zeros or by an exponent. Case does not count: SKUs cannot differ by case alone.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from products import stock
from products.files.lines import FileLine
from products.models import Product
from products.validators import MAX_SKU_LENGTH

_EXPONENT = re.compile(r"([0-9]+)E(-?)([0-9]{1,4})")


def plain_form(sku: str) -> str:
    """Return the text that similar SKUs have in common."""
    text = sku.upper()
    if match := _EXPONENT.fullmatch(text):
        digits, sign, exponent = match.groups()
        if sign:
            text = f"{digits}E-{int(exponent)}"
        elif len(digits) + int(exponent) <= MAX_SKU_LENGTH:
            text = digits + "0" * int(exponent)
    return text.lstrip("0")


def _written_forms(sku: str) -> set[str]:
    """Return all SKUs similar to this one, in capitals and without leading zeros."""
    form = plain_form(sku)
    written = {form}
    if match := _EXPONENT.fullmatch(form):
        digits, sign, exponent = match.groups()
        written |= {f"{digits}E{sign}{int(exponent):0{width}}" for width in (1, 2, 3)}
    elif form.isascii() and form.isdigit():
        zeros = len(form) - len(form.rstrip("0"))
        for exponent in range(zeros + 1):
            digits = form[: len(form) - exponent]
            written |= {f"{digits}E{exponent:0{width}}" for width in (1, 2, 3)}
    return written


def similar_sku(sku: str) -> str | None:
    """Return the SKU of a product that is similar to a new SKU, if there is one."""
    return similar_skus([sku]).get(sku)


def similar_skus(skus: Collection[str]) -> dict[str, str]:
    """Map new SKUs to that of a similar product, if there is one."""
    texts = {text for sku in skus for text in _written_forms(sku)}
    found = Product.objects.written_as(texts).values_list("sku", flat=True) if texts else ()
    existing: defaultdict[str, list[str]] = defaultdict(list)
    for other in sorted(found):
        existing[plain_form(other)].append(other)
    similar = {}
    for sku in skus:
        others = [other for other in existing[plain_form(sku)] if other.upper() != sku.upper()]
        if others:
            similar[sku] = others[0]
    return similar


def refuse_similar(
    lines: Iterable[FileLine],
    products: Mapping[str, Product],
    *,
    created: Callable[[Collection[str]], Collection[str]] = lambda _: (),
) -> None:
    """Add a problem to each line whose SKU is similar to that of another product.

    Checks new products, and products that would get the name of a similar one. `products` are the
    products of the lines by their SKUs in capitals. `created` returns those SKUs that earlier lines
    of the file have created. They are accepted: a file that has both 00123 and 123 has lost no
    zeros.
    """
    checked = [line for line in lines if _is_checked(line, products.get(line.sku.upper()))]
    texts = {text for line in checked for text in _written_forms(line.sku)}
    similar = Product.objects.written_as(texts).values_list("sku", "name") if texts else ()
    names = dict(similar)
    if not names.keys() - {line.sku for line in checked}:
        return
    existing: defaultdict[str, set[str]] = defaultdict(set)
    for sku in names.keys() - set(created(names)):
        existing[plain_form(sku)].add(sku)
    for line in checked:
        others = sorted(existing[plain_form(line.sku)] - {line.sku})
        if isinstance(line.change, stock.Edit):
            others = [sku for sku in others if names[sku] == line.change.name]
            describe = _misnamed
        else:
            describe = _similar
        if others:
            line.problems.append(describe(line.sku, others[0]))


def _is_checked(line: FileLine, product: Product | None) -> bool:
    if line.problems:
        return False
    if isinstance(line.change, stock.Edit):
        return product is not None and line.change.name not in (None, product.name)
    return isinstance(line.change, stock.NewProduct)


_REMEDY = "Correct the SKU, or allow similar SKUs (--allow-similar)."


def describe_similar(sku: str, other: str) -> str:
    """Return what distinguishes a new SKU from the similar one of a product."""
    return f"{sku} is new. Only {_difference(sku, other)} it from {other}, which exists."


def _similar(sku: str, other: str) -> stock.Invalid:
    return stock.Invalid("sku", f"{describe_similar(sku, other)} {_REMEDY}")


def _misnamed(sku: str, other: str) -> stock.Invalid:
    detail = (
        f"{sku} would get the name of {other}. Only {_difference(sku, other)} the two SKUs. "
        f"{_REMEDY}"
    )
    return stock.Invalid("sku", detail)


def _difference(sku: str, other: str) -> str:
    if sku.upper().lstrip("0") == other.upper().lstrip("0"):
        return "leading zeros distinguish"
    return "an exponent distinguishes"
