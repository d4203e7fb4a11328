-- The web archive's own role: it reads all, and writes logins and ledger entries alone.
-- As PostgreSQL's superuser, in the gateway's database, after `environet init` or `upgrade`:
--
--   psql -v owner=environet -v role=environet_web -f web-role.sql environet
--
-- owner: the role of database.url, whose tables they are. role: that of web.database_url; its
-- password is set by \password environet_web. Harmless when it is run again.
\set ON_ERROR_STOP on
BEGIN;
SELECT format('CREATE ROLE %I LOGIN NOINHERIT', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;

-- Nothing of what everybody may do by default: new tables, temporary ones, large objects.
SELECT format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SELECT format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), :'owner') \gexec
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', oid::regprocedure)
  FROM pg_proc
 WHERE pronamespace = 'pg_catalog'::regnamespace AND (proname LIKE 'lo\_%' OR proname = 'lowrite')
 \gexec

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM :"role";
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM :"role";
GRANT USAGE ON SCHEMA public TO :"role";
GRANT USAGE, CREATE ON SCHEMA public TO :"owner";
GRANT SELECT ON ALL TABLES IN SCHEMA public TO :"role";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT SELECT ON TABLES TO :"role";

GRANT INSERT, UPDATE ON login_request, web_session TO :"role";
GRANT USAGE ON SEQUENCE login_request_id_seq, web_session_id_seq TO :"role";
GRANT INSERT ON ledger TO :"role";
GRANT UPDATE ON ledger_head TO :"role";
COMMIT;
