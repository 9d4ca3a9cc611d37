CREATE TABLE counters (name text NOT NULL PRIMARY KEY, value bigint NOT NULL CHECK (value < 1000000));
CREATE TABLE things (
    id      bigint NOT NULL PRIMARY KEY,
    counter text REFERENCES counters (name) DEFERRABLE INITIALLY DEFERRED,
    real    double precision,
    flag    boolean,
    text    text,
    bytes   bytea,
    uuid    uuid,
    day     date,
    millis  bigint,
    moment  timestamptz,
    json    jsonb
);
