-- Clients with limits of their own. An ID that is an address or a network stands for that as well.
CREATE TABLE clients (
    client_id    TEXT    NOT NULL PRIMARY KEY CHECK (length(client_id) BETWEEN 1 AND 128),
    capacity     INTEGER NOT NULL CHECK (capacity BETWEEN 1 AND 1000000000),
    rate_per_sec REAL    NOT NULL CHECK (rate_per_sec >= 0.000001 AND rate_per_sec <= 10000000),
    -- Rises with each change; the ETag of the API.
    version      INTEGER NOT NULL DEFAULT 1
) STRICT;

-- Addresses and networks of clients, such as 10.0.0.1 and 10.0.0.0/8.
CREATE TABLE client_networks (
    network   TEXT NOT NULL PRIMARY KEY CHECK (length(network) BETWEEN 2 AND 64),
    client_id TEXT NOT NULL REFERENCES clients (client_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX client_networks_by_client ON client_networks (client_id);

-- API keys: the public part, and the SHA-256 of the whole.
CREATE TABLE client_keys (
    key_id     TEXT    NOT NULL PRIMARY KEY CHECK (length(key_id) BETWEEN 1 AND 64),
    client_id  TEXT    NOT NULL REFERENCES clients (client_id) ON DELETE CASCADE,
    sha256     BLOB    NOT NULL CHECK (length(sha256) = 32),
    created_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX client_keys_by_client ON client_keys (client_id);

-- Who changed what. Never updated.
CREATE TABLE audit (
    id        INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at_ms     INTEGER NOT NULL,
    actor     TEXT    NOT NULL,
    address   TEXT    NOT NULL,
    action    TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    old_value TEXT,
    new_value TEXT
) STRICT;
CREATE INDEX audit_by_subject ON audit (subject, id);

-- Weights and states of backends that were changed while a process ran, each with the file's value.
CREATE TABLE backend_overrides (
    upstream    TEXT NOT NULL,
    backend     TEXT NOT NULL,
    weight      INTEGER CHECK (weight BETWEEN 1 AND 1000),
    file_weight INTEGER CHECK (file_weight BETWEEN 1 AND 1000),
    state       TEXT CHECK (state IN ('enabled', 'draining', 'disabled')),
    file_state  TEXT CHECK (file_state IN ('enabled', 'draining', 'disabled')),
    -- When the file's values return, in milliseconds since 1970.
    until_ms    INTEGER,
    PRIMARY KEY (upstream, backend)
) STRICT;

-- The oldest version of Weir's schema that a program must know to use this database.
CREATE TABLE weir_schema (min_reader INTEGER NOT NULL) STRICT;
INSERT INTO weir_schema VALUES (1);

CREATE TRIGGER clients_version AFTER UPDATE ON clients WHEN NEW.version = OLD.version
BEGIN
    UPDATE clients SET version = OLD.version + 1 WHERE client_id = NEW.client_id;
END;
