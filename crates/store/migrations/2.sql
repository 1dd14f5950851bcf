-- Who changed what, when. `number` is that of the change in the feed; `before` and `after` are JSON without secrets.
CREATE TABLE audit (
    number BIGINT PRIMARY KEY,
    -- Seconds since 1970.
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    kind TEXT NOT NULL,
    id BYTEA NOT NULL,
    before TEXT,
    after TEXT
);
CREATE INDEX audit_of_entity ON audit (kind, id, number);
CREATE INDEX audit_by_time ON audit (at);
