"""Tables, constraints, and querysets for reading.

Only `products.stock` changes stock. The constraints are a safety net: a violation is a bug in the
code above.
"""

from products.models.access import (
    MAX_IDEMPOTENCY_KEY_LENGTH,
    MIN_CLAIM_HOURS,
    TRUSTED_SECONDS,
    USE_RECORDED_SECONDS,
    ApiKey,
    IdempotencyKey,
    Role,
    ThrottleBucket,
)
from products.models.events import (
    MAX_ACTOR_LENGTH,
    MAX_REQUEST_ID_LENGTH,
    REPAIR_ACTOR,
    DailyTotal,
    DailyTotalsCursor,
    LowStockCursor,
    StockEvent,
)
from products.models.fields import MomentField, SkuField, TermsField, WordsField
from products.models.files import BulkRefusal, BulkRun, ImportedFile, PendingImport
from products.models.products import (
    AVAILABLE,
    NAME_ORDER,
    SURPLUS,
    TO_ORDER,
    Levels,
    PastLevel,
    Product,
)
from products.models.reservations import (
    Reservation,
    ReservationLine,
    ReservationLineQuerySet,
    ReservationQuerySet,
)
from products.models.search import terms_of
from products.models.subscriptions import (
    ATTEMPTS_KEPT,
    MAX_ANSWER_LENGTH,
    MAX_CURSOR_LENGTH,
    MAX_URL_LENGTH,
    OLD_SECRET_HOURS,
    DeliveryAttempt,
    Subscription,
    SubscriptionQuerySet,
    new_secret,
)

__all__ = [
    "ATTEMPTS_KEPT",
    "AVAILABLE",
    "MAX_ACTOR_LENGTH",
    "MAX_ANSWER_LENGTH",
    "MAX_CURSOR_LENGTH",
    "MAX_IDEMPOTENCY_KEY_LENGTH",
    "MAX_REQUEST_ID_LENGTH",
    "MAX_URL_LENGTH",
    "MIN_CLAIM_HOURS",
    "NAME_ORDER",
    "OLD_SECRET_HOURS",
    "REPAIR_ACTOR",
    "SURPLUS",
    "TO_ORDER",
    "TRUSTED_SECONDS",
    "USE_RECORDED_SECONDS",
    "ApiKey",
    "BulkRefusal",
    "BulkRun",
    "DailyTotal",
    "DailyTotalsCursor",
    "DeliveryAttempt",
    "IdempotencyKey",
    "ImportedFile",
    "Levels",
    "LowStockCursor",
    "MomentField",
    "PastLevel",
    "PendingImport",
    "Product",
    "Reservation",
    "ReservationLine",
    "ReservationLineQuerySet",
    "ReservationQuerySet",
    "Role",
    "SkuField",
    "StockEvent",
    "Subscription",
    "SubscriptionQuerySet",
    "TermsField",
    "ThrottleBucket",
    "WordsField",
    "new_secret",
    "terms_of",
]
