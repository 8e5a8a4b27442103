"""The page that takes back fulfilled units of a reservation."""

from django.template.defaultfilters import pluralize

from products import stock
from products.admin.dialogs import joined
from products.admin.ending_dialogs import EndDialog
from products.models import Reservation, ReservationLine


class ReturnForm(EndDialog):
    """Units that come back, with a field for each line. They are added once for each page."""

    title = submit = "Return"
    end = staticmethod(stock.return_lines)
    page = "return_units"
    max_lines = 1_000_000
    explanation = (
        "Enter the units that came back. They are added to the stock under the reference of the "
        "order."
    )
    column = "Came back"
    nothing = "No units of this reservation were fulfilled."

    def offered(self, line: ReservationLine) -> None:
        return None

    def units_of(self, line: ReservationLine) -> str:
        before = self.returned.get(line.product_id, 0)
        fulfilled = f"{line.fulfilled:,} fulfilled"
        return f"{fulfilled}, {before:,} returned before" if before else fulfilled

    def _shown_lines(self) -> list[ReservationLine]:
        self.returned = stock.returned_units(self.reservation)
        return [line for line in self.reservation.loaded_lines if line.fulfilled]

    def full_reason(self) -> str:
        return joined("return", self.cleaned_data["note"])

    def message(self, reservation: Reservation) -> str:
        units = sum(self.chosen().values())
        return f"Returned {units:,} unit{pluralize(units)} of reservation {reservation}."


def has_fulfilled(reservation: Reservation) -> bool:
    """Return whether units of a reservation can come back."""
    return reservation.lines.filter(fulfilled__gt=0).exists()
