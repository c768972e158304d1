"""The HTTP interface to who is told what: endpoints, and deliveries to them."""

from fastapi import APIRouter

from services.invoicer.notifying.delivery import routes as delivery_routes
from services.invoicer.notifying.endpoints import routes as endpoint_routes

router = APIRouter(tags=["notices"])
router.include_router(endpoint_routes.router, prefix="/v1/webhooks")
router.include_router(delivery_routes.router, prefix="/v1/webhooks")
