from rest_framework.routers import SimpleRouter

from products.api.views import ProductViewSet, ReservationViewSet

router = SimpleRouter(trailing_slash=False)
router.register("products", ProductViewSet, basename="product")
router.register("reservations", ReservationViewSet, basename="reservation")

urlpatterns = router.urls
