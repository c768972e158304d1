"""Which parameters each operation takes. Pure.

Like Stripe, the sandbox refuses what it does not know, instead of passing it over. Stripe's
own set is larger; what is here is what Tallybook sends.
"""

from infra.stripe_sandbox.reading import (
    Fields,
    boolean,
    choice,
    clearable,
    currency,
    either,
    group,
    integer,
    listed,
    metadata,
    nothing,
    optional_text,
    text,
)

MOST_LINES_A_CALL = 100
"""How many lines one call of add_lines takes."""

_METHOD = choice("charge_automatically", "send_invoice")
_PAGE: Fields = {"limit": integer(1, 100), "starting_after": text(), "ending_before": text()}
_CREATED = either(
    integer(), group({"gt": integer(), "gte": integer(), "lt": integer(), "lte": integer()})
)
_ADDRESS: Fields = {
    name: optional_text() for name in ("city", "country", "line1", "line2", "postal_code", "state")
}

NONE: Fields = {}
CUSTOMER: Fields = {
    "address": group(_ADDRESS),
    "description": optional_text(),
    "email": optional_text(512),
    "metadata": metadata,
    "name": optional_text(256),
    "phone": optional_text(20),
}
LIST_CUSTOMERS: Fields = {**_PAGE, "created": _CREATED, "email": text(512)}

UPDATE_INVOICE: Fields = {
    "auto_advance": boolean,
    "automatic_tax": group({"enabled": boolean}, ("enabled",)),
    "collection_method": _METHOD,
    "custom_fields": clearable(
        listed(group({"name": text(40), "value": text(140)}, ("name", "value")), 4)
    ),
    "days_until_due": integer(0, 3650),
    "description": optional_text(1500),
    "discounts": nothing,
    "footer": optional_text(),
    "metadata": metadata,
}
CREATE_INVOICE: Fields = {
    **UPDATE_INVOICE,
    "currency": currency,
    "customer": text(),
    "pending_invoice_items_behavior": choice("exclude"),
}
LIST_INVOICES: Fields = {
    **_PAGE,
    "collection_method": _METHOD,
    "created": _CREATED,
    "customer": text(),
    "status": choice("draft", "open", "paid", "uncollectible", "void"),
}

_LINE: Fields = {
    "amount": integer(),
    "description": optional_text(),
    "discountable": boolean,
    "metadata": metadata,
    "period": group({"start": integer(), "end": integer()}, ("start", "end")),
    "quantity": integer(0),
}
ADD_LINES: Fields = {
    "invoice_metadata": metadata,
    "lines": listed(group(_LINE), MOST_LINES_A_CALL),
}
LIST_LINES: Fields = _PAGE
FINALIZE: Fields = {"auto_advance": boolean}
LIST_EVENTS: Fields = {
    **_PAGE,
    "created": _CREATED,
    "type": text(),
    "types": listed(text(), 20),
}
ENDPOINT: Fields = {
    "api_version": text(),
    "description": optional_text(),
    "enabled_events": listed(text(), 100),
    "metadata": metadata,
    "url": text(),
}
LIST_ENDPOINTS: Fields = _PAGE
CREDIT_NOTE: Fields = {
    "credit_amount": integer(0),
    "invoice": text(),
    "lines": listed(
        group(
            {
                "amount": integer(),
                "invoice_line_item": text(),
                "type": choice("invoice_line_item"),
            },
            ("amount", "invoice_line_item", "type"),
        ),
        MOST_LINES_A_CALL,
    ),
    "memo": optional_text(),
    "metadata": metadata,
    "out_of_band_amount": integer(0),
    "reason": choice("duplicate", "fraudulent", "order_change", "product_unsatisfactory"),
}
LIST_CREDIT_NOTES: Fields = {
    **_PAGE,
    "created": _CREATED,
    "customer": text(),
    "invoice": text(),
}
UPDATE_CREDIT_NOTE: Fields = {"metadata": metadata}
PAY: Fields = {"paid_out_of_band": boolean}
