-- The settings that Sessiongraph cannot set through PgBouncer. Run it once, as the owner of the database.
alter database sessiongraph set timezone = 'UTC';
alter database sessiongraph set default_transaction_isolation = 'read committed';
alter database sessiongraph set jit = off;
alter database sessiongraph set work_mem = '32MB';
alter database sessiongraph set idle_in_transaction_session_timeout = '30s';
