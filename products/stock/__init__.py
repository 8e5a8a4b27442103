"""Every change of stock is a call of one of these functions (ADR 1).

Each function checks all lines and collects all errors. It applies the whole request or nothing, and
records one event for each change. All numbers are units.

`by` is the actor to record. `once` makes a change safe to repeat: the first call applies it, and
every call returns the same `StoredResponse`. `if_match` holds the product versions that the caller
accepts.

Every function raises a subclass of `StockError` if it cannot meet the request, and `Invalid` if a
value breaks the rules of `products.validators`.
"""

from products.ledger.posting import Actor, LevelChange
from products.models import REPAIR_ACTOR
from products.stock.audit import differences, reconcile
from products.stock.catalogue import SavePossible, create, edit, save_products
from products.stock.errors import (
    AlreadyUndone,
    BelowReserved,
    CannotReconcile,
    CannotUndo,
    CountedAgain,
    DuplicateSku,
    InsufficientFulfilled,
    InsufficientReserved,
    InsufficientStock,
    Invalid,
    KeyReused,
    PreconditionFailed,
    ProductArchived,
    ProductChanged,
    ProductNotFound,
    QuantityChanged,
    RepeatedCount,
    ReservationClosed,
    ReservationExpired,
    ReservationNotFound,
    StockError,
    StockLimitExceeded,
)
from products.stock.expiry import expire, expire_overdue, reserve_again
from products.stock.levels import (
    ApplyPossible,
    add,
    adjust,
    apply,
    preview,
    remove,
    undo,
    undo_all,
)
from products.stock.once import Once, StoredResponse
from products.stock.requests import (
    UNDOABLE,
    Add,
    Adjust,
    Edit,
    Line,
    NewProduct,
    Operation,
    Remove,
    Undo,
    faults_of,
    why_not_undone,
)
from products.stock.reservations import (
    extend,
    fulfill,
    release,
    release_product,
    reserve,
    reserve_lines,
)
from products.stock.returns import return_lines, returned_units
from products.stock.runner import Outcomes, Verb, run_batches

__all__ = [
    "REPAIR_ACTOR",
    "UNDOABLE",
    "Actor",
    "Add",
    "Adjust",
    "AlreadyUndone",
    "ApplyPossible",
    "BelowReserved",
    "CannotReconcile",
    "CannotUndo",
    "CountedAgain",
    "DuplicateSku",
    "Edit",
    "InsufficientFulfilled",
    "InsufficientReserved",
    "InsufficientStock",
    "Invalid",
    "KeyReused",
    "LevelChange",
    "Line",
    "NewProduct",
    "Once",
    "Operation",
    "Outcomes",
    "PreconditionFailed",
    "ProductArchived",
    "ProductChanged",
    "ProductNotFound",
    "QuantityChanged",
    "Remove",
    "RepeatedCount",
    "ReservationClosed",
    "ReservationExpired",
    "ReservationNotFound",
    "SavePossible",
    "StockError",
    "StockLimitExceeded",
    "StoredResponse",
    "Undo",
    "Verb",
    "add",
    "adjust",
    "apply",
    "create",
    "differences",
    "edit",
    "expire",
    "expire_overdue",
    "extend",
    "faults_of",
    "fulfill",
    "preview",
    "reconcile",
    "release",
    "release_product",
    "remove",
    "reserve",
    "reserve_again",
    "reserve_lines",
    "return_lines",
    "returned_units",
    "run_batches",
    "save_products",
    "undo",
    "undo_all",
    "why_not_undone",
]
