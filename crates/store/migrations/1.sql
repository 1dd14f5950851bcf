-- Both engines read this text: SQLite takes BYTEA and BIGINT for what they are in PostgreSQL.

-- What is known of the database itself, such as the key of keyed hashes (sealed).
CREATE TABLE facts (name TEXT PRIMARY KEY, value BYTEA NOT NULL);

-- Entities of every kind. `body` is JSON: 0 and the text, or 1 and the text sealed.
CREATE TABLE entities (
    kind TEXT NOT NULL,
    id BYTEA NOT NULL,
    body BYTEA NOT NULL,
    -- Seconds since 1970, for what is given for a time only.
    expires_at BIGINT,
    PRIMARY KEY (kind, id)
);
CREATE INDEX entities_by_end ON entities (expires_at) WHERE expires_at IS NOT NULL;

-- What an entity alone may have: fields (with commas between) and their values. Secrets are keyed hashes.
CREATE TABLE claims (
    kind TEXT NOT NULL,
    fields TEXT NOT NULL,
    value TEXT NOT NULL,
    id BYTEA NOT NULL,
    PRIMARY KEY (kind, fields, value)
);
CREATE INDEX claims_of_entity ON claims (kind, id);

-- Which entity refers to which.
CREATE TABLE links (
    kind TEXT NOT NULL,
    id BYTEA NOT NULL,
    field TEXT NOT NULL,
    parent_kind TEXT NOT NULL,
    parent_id BYTEA NOT NULL,
    PRIMARY KEY (kind, id, field)
);
CREATE INDEX links_to_parent ON links (parent_kind, parent_id, kind, field, id);

CREATE TABLE tags (kind TEXT NOT NULL, id BYTEA NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (kind, id, tag));
CREATE INDEX tags_by_tag ON tags (tag, kind, id);

-- The feed: which entities were changed, in the order in which the changes came into force.
CREATE TABLE changes (
    number BIGINT PRIMARY KEY,
    kind TEXT NOT NULL,
    id BYTEA NOT NULL,
    -- Seconds since 1970.
    at BIGINT NOT NULL
);
CREATE TABLE last_change (one BIGINT PRIMARY KEY, number BIGINT NOT NULL);
INSERT INTO last_change (one, number) VALUES (1, 0);
