-- The tables of the whole path. Each has one owner service that alone writes it;
-- the GRANTs at the end let Postgres enforce that.

CREATE EXTENSION IF NOT EXISTS btree_gist;

DO $$
DECLARE service text;
BEGIN
    FOREACH service IN ARRAY ARRAY['tallybook_ingest', 'tallybook_rater', 'tallybook_invoicer'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = service) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', service);
        END IF;
        EXECUTE format('GRANT %I TO CURRENT_USER', service);
        EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', service);
    END LOOP;
END $$;

CREATE DOMAIN billing_period AS text CHECK (VALUE ~ '^[0-9]{4}-(0[1-9]|1[0-2])$');

-- ingest ---------------------------------------------------------------------------------

CREATE TABLE api_keys (
    id text PRIMARY KEY,
    secret_sha256 bytea NOT NULL UNIQUE,
    scopes text[] NOT NULL,
    sources text[] NOT NULL DEFAULT '{}',
    customers text[] NOT NULL DEFAULT '{}',
    event_types text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    events_per_second integer CHECK (events_per_second > 0),
    last_used_at timestamptz
);
COMMENT ON COLUMN api_keys.secret_sha256 IS 'the key itself is shown once and kept nowhere';
COMMENT ON COLUMN api_keys.sources IS 'the only event sources the key is for; empty: any';
COMMENT ON COLUMN api_keys.customers IS 'the only customers it is for; empty: any';
COMMENT ON COLUMN api_keys.event_types IS 'the only event types it may send; empty: any';
COMMENT ON COLUMN api_keys.last_used_at IS 'right to within a few seconds';
COMMENT ON COLUMN api_keys.events_per_second IS 'most events a second, to one ingest process; null: as set for all keys';

CREATE TABLE rejections (
    source text NOT NULL,
    code text NOT NULL,
    hour timestamptz NOT NULL,
    events bigint NOT NULL CHECK (events > 0),
    PRIMARY KEY (source, code, hour)
);
COMMENT ON TABLE rejections IS 'events that ingest did not take, counted; source empty: not named';

-- rater: catalogue, customers, contracts --------------------------------------------------

CREATE TABLE meters (
    code text PRIMARY KEY,
    definition jsonb NOT NULL,
    applied_at timestamptz NOT NULL
);

CREATE TABLE plan_versions (
    id text PRIMARY KEY,
    plan text NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    currency text NOT NULL,
    definition jsonb NOT NULL,
    applied_at timestamptz NOT NULL,
    UNIQUE (plan, version)
);

CREATE TABLE discount_schedules (
    id text PRIMARY KEY,
    schedule text NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    definition jsonb NOT NULL,
    applied_at timestamptz NOT NULL,
    UNIQUE (schedule, version)
);

CREATE TABLE model_prices (
    model text NOT NULL,
    effective_from timestamptz NOT NULL,
    input_per_million numeric NOT NULL CHECK (input_per_million >= 0),
    output_per_million numeric NOT NULL CHECK (output_per_million >= 0),
    currency text NOT NULL,
    PRIMARY KEY (model, effective_from)
);

CREATE TABLE customers (
    id text PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL,
    currency text NOT NULL,
    purchase_order text,
    tax_id text,
    created_at timestamptz NOT NULL
);

CREATE TABLE contracts (
    id text PRIMARY KEY,
    customer_id text NOT NULL REFERENCES customers,
    plan_version_id text NOT NULL REFERENCES plan_versions,
    discount_schedule_id text REFERENCES discount_schedules,
    overrides jsonb,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz,
    created_at timestamptz NOT NULL,
    CHECK (ends_at IS NULL OR ends_at > starts_at),
    CONSTRAINT contracts_do_not_overlap
        EXCLUDE USING gist (customer_id WITH =, tstzrange(starts_at, ends_at) WITH &&)
);

COMMENT ON COLUMN contracts.overrides IS 'charges that stand in the place of the plan''s, by code';

-- What the rater's memory of customers, contracts and catalogue is worth: raised, under the
-- posting lock, by every change of them.
CREATE TABLE rating_rules (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    revision bigint NOT NULL
);
INSERT INTO rating_rules (revision) VALUES (1);

-- rater: what came from the log -----------------------------------------------------------

CREATE TABLE offsets (
    topic text NOT NULL,
    partition integer NOT NULL,
    next bigint NOT NULL CHECK (next >= 0),
    moved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
);
COMMENT ON COLUMN offsets.next IS 'the first offset not yet handled; moved by compare-and-set';

CREATE SEQUENCE batch_ids;

CREATE TABLE batches (
    batch_id bigint NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    first_offset bigint NOT NULL,
    next_offset bigint NOT NULL,
    records integer NOT NULL,
    stored integer NOT NULL,
    duplicates integer NOT NULL,
    conflicts integer NOT NULL,
    dead_letters integer NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, first_offset),
    CHECK (next_offset > first_offset),
    CHECK (records BETWEEN 0 AND next_offset - first_offset),  -- fewer where the log has gaps
    -- `stored` is what is left of the records: a count too many elsewhere takes it below zero.
    CHECK (least(stored, duplicates, conflicts, dead_letters) >= 0),
    CHECK (records = stored + duplicates + conflicts + dead_letters)
);
COMMENT ON TABLE batches IS 'what became of each range of offsets, one row a transaction and partition';

CREATE TABLE events (
    source text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    customer_id text NOT NULL,
    time timestamptz NOT NULL,
    data jsonb NOT NULL,
    digest bytea NOT NULL,
    partition integer NOT NULL,
    log_offset bigint NOT NULL,
    received_at timestamptz NOT NULL,
    batch_id bigint NOT NULL,
    contract_id text,
    voided boolean NOT NULL DEFAULT false,
    PRIMARY KEY (source, id)
);
COMMENT ON COLUMN events.digest IS 'BLAKE2b of the content: same id, other digest is a conflict';
COMMENT ON COLUMN events.received_at IS 'the time stamp of the Kafka record';
COMMENT ON COLUMN events.batch_id IS 'the posting that rated it: joins line_items.batch_id';
COMMENT ON COLUMN events.contract_id IS 'null: waits for a customer or contract (unpriced)';
COMMENT ON COLUMN events.voided IS 'taken back: it counts for nothing; see voids';
CREATE INDEX events_unpriced ON events (customer_id, time) WHERE contract_id IS NULL;
-- Small and cheap to keep: events come nearly in the order of their time.
CREATE INDEX events_time ON events USING brin (time) WITH (autosummarize = on);

CREATE TABLE voids (
    source text NOT NULL,
    event_id text NOT NULL,
    reason text NOT NULL,
    voided_by text NOT NULL,
    voided_at timestamptz NOT NULL,
    batch_id bigint NOT NULL,
    PRIMARY KEY (source, event_id),
    FOREIGN KEY (source, event_id) REFERENCES events
);
COMMENT ON TABLE voids IS 'events that were taken back: who, when, why';
COMMENT ON COLUMN voids.batch_id IS 'the posting that undid it: joins line_items.batch_id';

CREATE TABLE conflicts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    event_id text NOT NULL,
    customer_id text NOT NULL,
    type text NOT NULL,
    time timestamptz NOT NULL,
    data jsonb NOT NULL,
    digest bytea NOT NULL,
    partition integer NOT NULL,
    log_offset bigint NOT NULL,
    received_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'kept', 'taken')),
    resolved_at timestamptz,
    resolved_by text,
    why text,
    CHECK ((state = 'open') = (resolved_at IS NULL))
);
COMMENT ON TABLE conflicts IS 'versions of an event that differ from the stored one; never billed';
COMMENT ON COLUMN conflicts.state IS
    'kept: the stored version stands; taken: the two versions have changed places';
CREATE INDEX conflicts_event ON conflicts (source, event_id);

-- The only way in which the content of a stored event can change: the two versions of an open
-- conflict change places, each with its place on the log, so that neither is lost.
CREATE FUNCTION take_conflict(conflict bigint) RETURNS void LANGUAGE sql
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH stored AS (
        UPDATE events e SET type = c.type, customer_id = c.customer_id, time = c.time,
            data = c.data, digest = c.digest, partition = c.partition,
            log_offset = c.log_offset, received_at = c.received_at
        FROM conflicts c
        WHERE c.id = conflict AND c.state = 'open' AND e.source = c.source AND e.id = c.event_id
    )
    UPDATE conflicts c SET type = e.type, customer_id = e.customer_id, time = e.time,
        data = e.data, digest = e.digest, partition = e.partition,
        log_offset = e.log_offset, received_at = e.received_at
    FROM events e
    WHERE c.id = conflict AND c.state = 'open' AND e.source = c.source AND e.id = c.event_id
$$;

CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    partition integer NOT NULL,
    log_offset bigint NOT NULL,
    key bytea,
    payload bytea,
    headers jsonb NOT NULL DEFAULT '[]',
    code text NOT NULL,
    detail text NOT NULL,
    pointer text,
    source text,
    event_id text,
    received_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded')),
    closed_at timestamptz,
    closed_by text,
    why text
);
COMMENT ON COLUMN dead_letters.payload IS 'null where it held a secret';
COMMENT ON COLUMN dead_letters.source IS 'the event that it names, where that can be read';
CREATE INDEX dead_letters_event ON dead_letters (source, event_id);

CREATE TABLE usage_totals (
    contract_id text NOT NULL REFERENCES contracts,
    usage_period billing_period NOT NULL,
    meter text NOT NULL,
    dimension text NOT NULL DEFAULT '',
    value text NOT NULL DEFAULT '',
    quantity numeric NOT NULL,
    PRIMARY KEY (contract_id, usage_period, meter, dimension, value)
) WITH (fillfactor = 60);  -- room for each row's next version on its page: no index is touched
COMMENT ON COLUMN usage_totals.dimension IS 'empty: the whole; otherwise split by this property';

CREATE TABLE usage_members (
    contract_id text NOT NULL REFERENCES contracts,
    usage_period billing_period NOT NULL,
    meter text NOT NULL,
    dimension text NOT NULL DEFAULT '',
    value text NOT NULL DEFAULT '',
    member text NOT NULL,
    PRIMARY KEY (contract_id, usage_period, meter, dimension, value, member)
);
COMMENT ON TABLE usage_members IS 'the different values that a unique count has counted';

CREATE TABLE contract_months (
    contract_id text NOT NULL REFERENCES contracts,
    period billing_period NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (contract_id, period)
);
COMMENT ON TABLE contract_months IS 'months for which what is due without usage has been posted';

-- invoicer: periods (before line items, which look at them) ------------------------------

CREATE TABLE periods (
    period billing_period PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('closing', 'closed')),
    end_offsets jsonb,
    closing_at timestamptz NOT NULL,
    closed_at timestamptz,
    alerts_looked_at timestamptz,
    CHECK ((state = 'closed') = (closed_at IS NOT NULL)),
    CHECK (state = 'closed' OR alerts_looked_at IS NULL)
);
COMMENT ON TABLE periods IS 'a period without a row is open';
COMMENT ON COLUMN periods.alerts_looked_at IS 'when alerts were first looked at after the close';

CREATE TABLE line_items (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id bigint NOT NULL,
    customer_id text NOT NULL REFERENCES customers,
    contract_id text NOT NULL REFERENCES contracts,
    charge text NOT NULL,
    band text NOT NULL,
    quantity numeric NOT NULL,
    unit_price numeric NOT NULL,
    amount numeric NOT NULL,
    currency text NOT NULL,
    usage_period billing_period NOT NULL,
    posting_period billing_period NOT NULL,
    kind text NOT NULL CHECK (kind IN ('usage', 'recurring', 'adjustment')),
    corrects bigint REFERENCES line_items,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (posting_period >= usage_period)
);
COMMENT ON TABLE line_items IS 'append-only; amounts are exact, in the major unit of the currency';
CREATE INDEX line_items_posting ON line_items (posting_period, customer_id);
CREATE INDEX line_items_charge ON line_items (contract_id, usage_period, charge);
CREATE INDEX line_items_batch ON line_items (batch_id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER line_items_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON line_items
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION refuse_closed_period() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM posted JOIN periods ON period >= posting_period AND state = 'closed') THEN
        RAISE EXCEPTION 'a closed period gains no line item' USING ERRCODE = 'TB001';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER line_items_open_period AFTER INSERT ON line_items
    REFERENCING NEW TABLE AS posted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed_period();

-- invoicer: runs, invoices, Stripe ---------------------------------------------------------

CREATE TABLE invoice_runs (
    id text PRIMARY KEY,
    period billing_period NOT NULL,
    state text NOT NULL CHECK (state IN ('planned', 'approved', 'sending', 'paused', 'done',
        'failed')),
    payload_sha256 text NOT NULL,
    started_by text NOT NULL,
    created_at timestamptz NOT NULL,
    approved_by text,
    approved_at timestamptz,
    paused_because text,
    finished_at timestamptz,
    CHECK ((approved_by IS NULL) = (approved_at IS NULL)),
    CHECK ((state = 'paused') = (paused_because IS NOT NULL))
);
COMMENT ON COLUMN invoice_runs.payload_sha256 IS
    'over the payload hashes of all its invoices: what is approved, and what is sent';

CREATE TABLE invoices (
    id text PRIMARY KEY,
    run_id text NOT NULL REFERENCES invoice_runs,
    customer_id text NOT NULL REFERENCES customers,
    period billing_period NOT NULL,
    currency text NOT NULL,
    kind text NOT NULL DEFAULT 'monthly',
    revision integer NOT NULL DEFAULT 1,
    billing_key text NOT NULL UNIQUE,
    state text NOT NULL CHECK (state IN ('planned', 'frozen', 'creating', 'lines_adding',
        'verified', 'finalized', 'sent', 'paid', 'overdue', 'void', 'uncollectible',
        'skipped_zero', 'carried_forward', 'needs_review', 'failed_retryable')),
    total_minor bigint NOT NULL,
    payload_sha256 text NOT NULL,
    custom_fields jsonb NOT NULL DEFAULT '[]',
    footer text,
    token_costs jsonb NOT NULL DEFAULT '[]',
    detail_sha256 text,
    note text,
    stripe_invoice_id text UNIQUE,
    due_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    UNIQUE (customer_id, period, currency, kind, revision)
);
COMMENT ON COLUMN invoices.due_at IS 'as Stripe says, once it is final there';
CREATE UNIQUE INDEX invoices_one_live ON invoices (customer_id, period, currency, kind)
    WHERE state <> 'void';
COMMENT ON INDEX invoices_one_live IS 'revisions follow one another: all but the last are void';
CREATE INDEX invoices_due ON invoices (due_at) WHERE state IN ('finalized', 'sent');

CREATE FUNCTION refuse_unvoiding() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'invoice % is void, and stays so', OLD.id;
END $$;
CREATE TRIGGER invoices_void_is_final BEFORE UPDATE OF state ON invoices
    FOR EACH ROW WHEN (OLD.state = 'void' AND NEW.state <> 'void')
    EXECUTE FUNCTION refuse_unvoiding();
CREATE INDEX invoices_of_run ON invoices (run_id, customer_id);

CREATE TABLE invoice_lines (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_id text NOT NULL REFERENCES invoices,
    position integer NOT NULL,
    contract_id text NOT NULL,
    charge text NOT NULL,
    band text NOT NULL,
    kind text NOT NULL,
    usage_period billing_period NOT NULL,
    quantity numeric NOT NULL,
    unit_price numeric NOT NULL,
    exact_amount numeric NOT NULL,
    amount_minor bigint NOT NULL,
    description text NOT NULL,
    UNIQUE (invoice_id, position)
);

CREATE TABLE invoice_line_items (
    line_item_id bigint PRIMARY KEY REFERENCES line_items,
    invoice_id text NOT NULL REFERENCES invoices,
    position integer,
    FOREIGN KEY (invoice_id, position) REFERENCES invoice_lines (invoice_id, position)
);
COMMENT ON TABLE invoice_line_items IS
    'a line item is on one invoice at most; position null: its line came to nothing and is not shown';
CREATE INDEX invoice_line_items_invoice ON invoice_line_items (invoice_id, position);

CREATE TABLE credit_notes (
    id text PRIMARY KEY,
    invoice_id text NOT NULL REFERENCES invoices,
    reference text NOT NULL,
    position integer NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    why text NOT NULL,
    state text NOT NULL CHECK (state IN ('intended', 'issued', 'refused')),
    stripe_credit_note_id text UNIQUE,
    last_error text,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    UNIQUE (invoice_id, reference),
    FOREIGN KEY (invoice_id, position) REFERENCES invoice_lines (invoice_id, position),
    CHECK (state <> 'issued' OR stripe_credit_note_id IS NOT NULL)
);
COMMENT ON TABLE credit_notes IS 'what is given back of an invoice''s lines, never more than a line';

CREATE TABLE invoice_carries (
    source_id text PRIMARY KEY REFERENCES invoices,
    invoice_id text NOT NULL REFERENCES invoices ON DELETE CASCADE,
    position integer NOT NULL,
    FOREIGN KEY (invoice_id, position) REFERENCES invoice_lines (invoice_id, position)
        ON DELETE CASCADE
);
COMMENT ON TABLE invoice_carries IS
    'the line that takes up the total of an invoice that was carried forward: one at most';
CREATE INDEX invoice_carries_invoice ON invoice_carries (invoice_id, position);

CREATE TABLE stripe_customers (
    customer_id text PRIMARY KEY REFERENCES customers,
    stripe_customer_id text NOT NULL UNIQUE,
    name text NOT NULL,
    email text NOT NULL,
    told_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL
);
COMMENT ON COLUMN stripe_customers.told_at IS 'when name and address were last told to Stripe';

CREATE TABLE stripe_intents (
    idempotency_key text PRIMARY KEY,
    subject text NOT NULL,
    step text NOT NULL,
    params_sha256 text NOT NULL,
    first_sent_at timestamptz NOT NULL,
    refused_at timestamptz
);
COMMENT ON TABLE stripe_intents IS 'written before each call that changes Stripe (write-ahead)';
COMMENT ON COLUMN stripe_intents.refused_at IS
    'Stripe answered with an error, which it repeats for this key: the next try takes another';
CREATE INDEX stripe_intents_subject ON stripe_intents (subject, step);

CREATE TABLE stripe_events (
    id text PRIMARY KEY,
    type text NOT NULL,
    object_id text NOT NULL,
    stripe_invoice_id text,
    created_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    listed_at timestamptz,
    applied_at timestamptz
);
COMMENT ON COLUMN stripe_events.listed_at IS 'seen in Stripe''s list: listing goes on from there';
COMMENT ON COLUMN stripe_events.applied_at IS
    'when its invoice was read after it; null: it waits for an invoice of ours to be final';
CREATE INDEX stripe_events_waiting ON stripe_events (stripe_invoice_id) WHERE applied_at IS NULL;
CREATE INDEX stripe_events_listed ON stripe_events (created_at) WHERE listed_at IS NOT NULL;

-- The invoicer may delete no invoice; a run of which nothing was sent it may withdraw whole.
CREATE FUNCTION withdraw_run(named text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    withdrawn bigint;
BEGIN
    PERFORM FROM invoice_runs WHERE id = named AND state IN ('planned', 'approved') FOR UPDATE;
    IF NOT FOUND OR EXISTS (SELECT FROM invoices i WHERE run_id = named AND (attempts > 0
        OR stripe_invoice_id IS NOT NULL
        OR EXISTS (SELECT FROM stripe_intents s WHERE s.subject = i.id))) THEN
        RETURN NULL;
    END IF;
    DELETE FROM invoice_line_items USING invoices i
        WHERE i.id = invoice_line_items.invoice_id AND i.run_id = named;
    DELETE FROM invoice_lines USING invoices i
        WHERE i.id = invoice_lines.invoice_id AND i.run_id = named;
    DELETE FROM invoices WHERE run_id = named;
    GET DIAGNOSTICS withdrawn = ROW_COUNT;
    DELETE FROM invoice_runs WHERE id = named;
    RETURN withdrawn;
END $$;
COMMENT ON FUNCTION withdraw_run IS 'how many invoices it had; null: something of it was sent';

CREATE TABLE sending_leases (
    customer_id text PRIMARY KEY REFERENCES customers,
    number bigint NOT NULL DEFAULT 0,
    holder bigint,
    leased_until timestamptz
);
COMMENT ON TABLE sending_leases IS 'who is at work on which customer''s invoices, and until when';
COMMENT ON COLUMN sending_leases.number IS
    'goes up with each lease: who holds an earlier one can commit nothing (fencing)';
COMMENT ON COLUMN sending_leases.holder IS
    'an advisory lock of this number is held for as long as the holder''s connection stands';

-- invoicer: alerts ---------------------------------------------------------------------------

CREATE TABLE alerts (
    id text PRIMARY KEY,
    customer_id text REFERENCES customers,
    meter text REFERENCES meters,
    currency text,
    budget numeric CHECK (budget > 0),
    thresholds numeric[] NOT NULL CHECK (cardinality(thresholds) > 0 AND 0 < ALL (thresholds)),
    since billing_period NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    removed_at timestamptz,
    CHECK ((meter IS NULL) <> (currency IS NULL))
);
COMMENT ON TABLE alerts IS 'rules on what a customer''s month comes to; they never change';
COMMENT ON COLUMN alerts.customer_id IS 'null: every customer, also those to come';
COMMENT ON COLUMN alerts.meter IS 'on this meter''s quantity; null: on what is due in the currency';
COMMENT ON COLUMN alerts.thresholds IS 'percents where there is a budget; amounts or quantities else';
COMMENT ON COLUMN alerts.since IS 'the first month that it looks at';
CREATE UNIQUE INDEX alerts_alike ON alerts (customer_id, meter, currency, budget, thresholds)
    NULLS NOT DISTINCT WHERE removed_at IS NULL;

CREATE TABLE alerts_raised (
    alert_id text NOT NULL REFERENCES alerts,
    customer_id text NOT NULL REFERENCES customers,
    period billing_period NOT NULL,
    threshold numeric NOT NULL,
    reached numeric NOT NULL,
    raised_at timestamptz NOT NULL,
    PRIMARY KEY (alert_id, customer_id, period, threshold)
);
COMMENT ON TABLE alerts_raised IS 'one row a threshold, customer and month, whatever comes after';
COMMENT ON COLUMN alerts_raised.reached IS 'what the month came to when it was raised';
CREATE INDEX alerts_raised_period ON alerts_raised (period, customer_id);

CREATE TABLE silences_raised (
    source text NOT NULL,
    since timestamptz NOT NULL,
    raised_at timestamptz NOT NULL,
    PRIMARY KEY (source, since)
);
COMMENT ON COLUMN silences_raised.since IS 'when its last event came, to the second';

-- invoicer: notices --------------------------------------------------------------------------

CREATE TABLE outbox (
    id text PRIMARY KEY,
    type text NOT NULL CHECK (type IN ('invoice.previewed', 'invoice.finalized', 'invoice.paid',
        'invoice.void', 'usage.threshold_reached', 'source.silent')),
    key text NOT NULL,
    subject text NOT NULL,
    occurred_at timestamptz NOT NULL,
    data jsonb NOT NULL,
    put_at timestamptz NOT NULL DEFAULT now(),
    fanned_out_at timestamptz,
    UNIQUE (type, key)
);
COMMENT ON TABLE outbox IS 'notices, put in the transaction of what they tell of';
COMMENT ON COLUMN outbox.key IS 'makes the same notice the same: with the type, one row';
COMMENT ON COLUMN outbox.fanned_out_at IS 'when deliveries were made of it; null: not yet';
CREATE INDEX outbox_waiting ON outbox (put_at) WHERE fanned_out_at IS NULL;
CREATE INDEX outbox_told ON outbox (fanned_out_at) WHERE fanned_out_at IS NOT NULL;

CREATE TABLE notice_endpoints (
    id text PRIMARY KEY,
    url text NOT NULL,
    types text[] NOT NULL,
    description text NOT NULL DEFAULT '',
    state text NOT NULL CHECK (state IN ('enabled', 'disabled', 'removed')),
    disabled_because text,
    secret text,
    former_secret text,
    former_until timestamptz,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    CHECK ((state = 'disabled') = (disabled_because IS NOT NULL)),
    CHECK (state <> 'removed' OR (secret IS NULL AND former_secret IS NULL)),
    CHECK ((former_secret IS NULL) = (former_until IS NULL))
);
COMMENT ON COLUMN notice_endpoints.types IS 'the types of notices that it is told; empty: all';
COMMENT ON COLUMN notice_endpoints.secret IS
    'signs its messages, so that it has to be kept as it is; null for e-mail';
COMMENT ON COLUMN notice_endpoints.former_secret IS 'signs beside it until `former_until`';

CREATE TABLE notice_deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    notice_id text NOT NULL REFERENCES outbox,
    endpoint_id text NOT NULL REFERENCES notice_endpoints,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    last_answer text,
    created_at timestamptz NOT NULL,
    delivered_at timestamptz,
    UNIQUE (notice_id, endpoint_id),
    CHECK ((state = 'delivered') = (delivered_at IS NOT NULL))
);
COMMENT ON COLUMN notice_deliveries.next_attempt_at IS
    'an attempt under way has moved it on: only if nothing is heard of it is it due again';
CREATE INDEX notice_deliveries_due ON notice_deliveries (endpoint_id, next_attempt_at)
    WHERE state = 'waiting';
CREATE INDEX notice_deliveries_dead ON notice_deliveries (endpoint_id) WHERE state = 'dead';

-- The invoicer may take no notice back; those that all their receivers have it may delete.
CREATE FUNCTION prune_notices(told_before timestamptz, most integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    pruned bigint;
BEGIN
    WITH old AS (
        SELECT o.id FROM outbox o WHERE o.fanned_out_at < told_before AND NOT EXISTS
            (SELECT FROM notice_deliveries d WHERE d.notice_id = o.id
                AND (d.state <> 'delivered' OR d.delivered_at >= told_before))
        ORDER BY o.fanned_out_at LIMIT most FOR UPDATE SKIP LOCKED),
    deliveries AS (DELETE FROM notice_deliveries d USING old WHERE d.notice_id = old.id)
    DELETE FROM outbox o USING old WHERE o.id = old.id;
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END $$;
COMMENT ON FUNCTION prune_notices IS 'how many went, with their deliveries; at most so many';

-- everyone -----------------------------------------------------------------------------------

CREATE TABLE audit_entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    act text NOT NULL,
    subject text NOT NULL,
    before jsonb,
    after jsonb
);
CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The audit's chain: the hash of each entry is over the hash before it and the entry itself, so that
-- none can be changed, removed or put in unseen. It is made as the act is committed, so that acts
-- wait for one another no longer than that; no service may write it.
CREATE TABLE audit_chain (
    position bigint PRIMARY KEY,
    entry_id bigint NOT NULL UNIQUE,
    hash bytea NOT NULL
);
COMMENT ON COLUMN audit_chain.entry_id IS
    'no foreign key: a link outlives its entry, so that the removal is seen';
CREATE TRIGGER audit_chain_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_chain
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE audit_head (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    position bigint NOT NULL,
    hash bytea NOT NULL
);
COMMENT ON TABLE audit_head IS 'the last link of the audit''s chain';
INSERT INTO audit_head (position, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

CREATE FUNCTION chain_audit_entry() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    content text;
BEGIN
    -- Each field with its length in bytes, as shared/audit_chain.py writes it too.
    SELECT string_agg(octet_length(convert_to(field, 'UTF8')) || ':' || field, ',' ORDER BY place)
    INTO content
    FROM unnest(ARRAY[NEW.id::text, (extract(epoch FROM NEW.at) * 1000000)::bigint::text,
        NEW.actor, NEW.act, NEW.subject, coalesce(NEW.before::text, ''),
        coalesce(NEW.after::text, '')]) WITH ORDINALITY AS fields (field, place);
    WITH moved AS (
        UPDATE audit_head SET position = position + 1,
            hash = sha256(hash || convert_to(content, 'UTF8'))
        RETURNING position, hash
    )
    INSERT INTO audit_chain (position, entry_id, hash) SELECT position, NEW.id, hash FROM moved;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER audit_entries_chained AFTER INSERT ON audit_entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION chain_audit_entry();

-- who may do what --------------------------------------------------------------------------

GRANT SELECT ON ALL TABLES IN SCHEMA public
    TO tallybook_ingest, tallybook_rater, tallybook_invoicer;
GRANT INSERT ON audit_entries TO tallybook_ingest, tallybook_rater, tallybook_invoicer;

GRANT INSERT, UPDATE ON api_keys, rejections TO tallybook_ingest;
GRANT UPDATE (last_used_at) ON api_keys TO tallybook_rater, tallybook_invoicer;

GRANT INSERT ON meters, plan_versions, discount_schedules, model_prices, batches, events,
    conflicts, dead_letters, line_items, contract_months, voids TO tallybook_rater;
GRANT INSERT, UPDATE ON customers, contracts, offsets TO tallybook_rater;
GRANT INSERT, UPDATE, DELETE ON usage_totals, usage_members TO tallybook_rater;
GRANT UPDATE ON rating_rules TO tallybook_rater;
GRANT UPDATE ON meters TO tallybook_rater;
GRANT UPDATE (batch_id, contract_id, voided) ON events TO tallybook_rater;
GRANT UPDATE (state, closed_at, closed_by, why) ON dead_letters TO tallybook_rater;
GRANT UPDATE (state, resolved_at, resolved_by, why) ON conflicts TO tallybook_rater;
REVOKE EXECUTE ON FUNCTION take_conflict FROM PUBLIC;
GRANT EXECUTE ON FUNCTION take_conflict TO tallybook_rater;
GRANT USAGE ON SEQUENCE batch_ids TO tallybook_rater;

GRANT INSERT, UPDATE, DELETE ON periods TO tallybook_invoicer;
GRANT INSERT, UPDATE ON invoice_runs, invoices, stripe_customers, stripe_intents, stripe_events,
    credit_notes, sending_leases TO tallybook_invoicer;
GRANT INSERT ON invoice_lines, invoice_line_items, invoice_carries TO tallybook_invoicer;
-- What is on a void invoice goes over to the one that is issued in its place.
GRANT UPDATE (invoice_id) ON invoice_line_items, invoice_carries TO tallybook_invoicer;
REVOKE EXECUTE ON FUNCTION withdraw_run FROM PUBLIC;
GRANT EXECUTE ON FUNCTION withdraw_run TO tallybook_invoicer;
GRANT INSERT ON alerts, alerts_raised, silences_raised TO tallybook_invoicer;
GRANT UPDATE (removed_at) ON alerts TO tallybook_invoicer;

GRANT INSERT ON outbox TO tallybook_invoicer;
GRANT UPDATE (fanned_out_at) ON outbox TO tallybook_invoicer;
GRANT INSERT, UPDATE ON notice_endpoints, notice_deliveries TO tallybook_invoicer;
REVOKE EXECUTE ON FUNCTION prune_notices FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prune_notices TO tallybook_invoicer;
REVOKE SELECT ON notice_endpoints FROM tallybook_ingest, tallybook_rater;  -- it holds secrets
