from rest_framework.routers import SimpleRouter

from products.api.views import (
    EventViewSet,
    OperationViewSet,
    ProductViewSet,
    ReservationViewSet,
    WebhookViewSet,
)

router = SimpleRouter(trailing_slash=False)
router.register("products", ProductViewSet, basename="product")
router.register("events", EventViewSet, basename="event")
router.register("operations", OperationViewSet, basename="operation")
router.register("reservations", ReservationViewSet, basename="reservation")
router.register("webhooks", WebhookViewSet, basename="webhook")

urlpatterns = router.urls
