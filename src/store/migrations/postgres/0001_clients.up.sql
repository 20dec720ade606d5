-- Clients with limits of their own. An ID that is an address or a network stands for that as well.
CREATE TABLE clients (
    client_id    TEXT             NOT NULL PRIMARY KEY CHECK (length(client_id) BETWEEN 1 AND 128),
    capacity     BIGINT           NOT NULL CHECK (capacity BETWEEN 1 AND 1000000000),
    rate_per_sec DOUBLE PRECISION NOT NULL CHECK (rate_per_sec >= 0.000001 AND rate_per_sec <= 10000000),
    -- Rises with each change; the ETag of the API.
    version      BIGINT           NOT NULL DEFAULT 1
);

-- Addresses and networks of clients, such as 10.0.0.1 and 10.0.0.0/8.
CREATE TABLE client_networks (
    network   TEXT NOT NULL PRIMARY KEY CHECK (length(network) BETWEEN 2 AND 64 AND network::inet IS NOT NULL),
    client_id TEXT NOT NULL REFERENCES clients (client_id) ON DELETE CASCADE
);
CREATE INDEX client_networks_by_client ON client_networks (client_id);

-- API keys: the public part, and the SHA-256 of the whole.
CREATE TABLE client_keys (
    key_id     TEXT   NOT NULL PRIMARY KEY CHECK (length(key_id) BETWEEN 1 AND 64),
    client_id  TEXT   NOT NULL REFERENCES clients (client_id) ON DELETE CASCADE,
    sha256     BYTEA  NOT NULL CHECK (length(sha256) = 32),
    created_ms BIGINT NOT NULL
);
CREATE INDEX client_keys_by_client ON client_keys (client_id);

-- Who changed what. Never updated.
CREATE TABLE audit (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms     BIGINT NOT NULL,
    actor     TEXT   NOT NULL,
    address   TEXT   NOT NULL,
    action    TEXT   NOT NULL,
    subject   TEXT   NOT NULL,
    old_value TEXT,
    new_value TEXT
);
CREATE INDEX audit_by_subject ON audit (subject, id);

-- Weights and states of backends that were changed while a process ran, each with the file's value.
CREATE TABLE backend_overrides (
    upstream    TEXT NOT NULL,
    backend     TEXT NOT NULL,
    weight      BIGINT CHECK (weight BETWEEN 1 AND 1000),
    file_weight BIGINT CHECK (file_weight BETWEEN 1 AND 1000),
    state       TEXT CHECK (state IN ('enabled', 'draining', 'disabled')),
    file_state  TEXT CHECK (file_state IN ('enabled', 'draining', 'disabled')),
    -- When the file's values return, in milliseconds since 1970.
    until_ms    BIGINT,
    PRIMARY KEY (upstream, backend)
);

-- The oldest version of Weir's schema that a program must know to use this database.
CREATE TABLE weir_schema (min_reader BIGINT NOT NULL);
INSERT INTO weir_schema VALUES (1);

CREATE FUNCTION weir_next_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.version = OLD.version THEN
        NEW.version := OLD.version + 1;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER clients_version BEFORE UPDATE ON clients
    FOR EACH ROW EXECUTE FUNCTION weir_next_version();

-- One notification for a statement, whatever the number of its rows.
CREATE FUNCTION weir_clients_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('weir_clients', '');
    RETURN NULL;
END $$;
CREATE TRIGGER clients_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON clients
    FOR EACH STATEMENT EXECUTE FUNCTION weir_clients_changed();
CREATE TRIGGER client_networks_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON client_networks
    FOR EACH STATEMENT EXECUTE FUNCTION weir_clients_changed();
CREATE TRIGGER client_keys_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON client_keys
    FOR EACH STATEMENT EXECUTE FUNCTION weir_clients_changed();
CREATE TRIGGER backend_overrides_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON backend_overrides
    FOR EACH STATEMENT EXECUTE FUNCTION weir_clients_changed();
