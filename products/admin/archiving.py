"""Archive and restore products: on the page of one product, and for a selection of the list."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import pluralize

from products import stock
from products.admin.batches import BatchActions, BatchForm, count_products
from products.admin.dialogs import ProductDialog, dialog_action
from products.models import Product

KEPT = (
    "They stay on hand. You can still count, remove, fulfill and release them, but not add or "
    "reserve any."
)


class _SwitchDialog(ProductDialog):
    """A dialog that sets `archived`, unless the product has this value already."""

    archived: ClassVar[bool]
    done: ClassVar[str]
    done_before: ClassVar[str]
    explanation: ClassVar[str]

    def apply(self, by: stock.Actor) -> str:
        sku, archived = self.product.sku, self.archived
        stock.edit(sku=sku, archived=archived, expected={"archived": not archived}, by=by)
        return f"{self.done} {sku}."

    def refuse(self, error: stock.StockError) -> None:
        if not isinstance(error, stock.ProductChanged):
            super().refuse(error)
            return
        self.load()
        self.add_error(None, f"{self.product.sku} {self.done_before}. Nothing was changed.")


class ArchiveDialog(_SwitchDialog):
    title = submit = "Archive"
    archived = True
    done = "Archived"
    done_before = "is already archived"
    explanation = "Lists and alerts leave out archived products. To find one, use Filters."

    def warning(self) -> str:
        """Return what happens to the units of the product, for the template."""
        quantity, reserved = self.product.quantity, self.product.reserved_quantity
        if not quantity:
            return ""
        held = f" ({reserved:,} reserved)" if reserved else ""
        return (
            f"{self.product.sku} has {quantity:,} unit{pluralize(quantity)} on hand{held}. {KEPT}"
        )


class RestoreDialog(_SwitchDialog):
    title = submit = "Restore"
    archived = False
    done = "Restored"
    done_before = "is not archived"
    explanation = "Lists show the product again, and units can be added and reserved."


class ArchiveForm(BatchForm):
    title = "Archive"
    submit = "Archive"
    help = f"These products have units on hand. {KEPT}"

    def holding(self) -> list[Product]:
        return [product for product in self.products if product.quantity]

    def apply(self, by: stock.Actor) -> str:
        edits = [stock.Edit(sku=product.sku, archived=True) for product in self.products]
        stock.save_products(edits, by=by)
        return f"Archived {count_products(len(edits))}."


class RestoreForm(BatchForm):
    title = "Restore"
    submit = "Restore"

    def apply(self, by: stock.Actor) -> str:
        edits = [stock.Edit(sku=product.sku, archived=False) for product in self.products]
        stock.save_products(edits, by=by)
        return f"Restored {count_products(len(edits))}."


class ArchiveAdmin(BatchActions):
    """Archives and restores products."""

    actions: ClassVar[tuple[str, ...]] = (
        *BatchActions.actions,
        "archive_products",
        "restore_products",
    )
    archive = dialog_action("archive", ArchiveDialog, permission="change", icon="archive")
    restore = dialog_action("restore", RestoreDialog, permission="change", icon="unarchive")

    @admin.action(description="Archive", permissions=["change"])
    def archive_products(
        self, request: HttpRequest, queryset: QuerySet[Product]
    ) -> HttpResponse | None:
        return self.run_batch(request, queryset, ArchiveForm)

    @admin.action(description="Restore", permissions=["change"])
    def restore_products(
        self, request: HttpRequest, queryset: QuerySet[Product]
    ) -> HttpResponse | None:
        return self.run_batch(request, queryset, RestoreForm)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        """Offer one of the two, as the product is archived or not."""
        product = self.get_object(request, object_id)
        unfit = "archive" if product is not None and product.archived else "restore"
        offered = super().get_actions_detail(request, object_id)
        return [each for each in offered if each.action_name != f"products_product_{unfit}"]
