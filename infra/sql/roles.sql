-- Roles and logins of Strongroom, made by: strongroom db roles --iam
-- To be run once in the vault's own database, before the first `strongroom db upgrade`, by a
-- superuser or by the owner of the database with CREATEROLE (on RDS: the master user). Harmless
-- where it ran before. What a role may do with which table is granted by the migrations.
BEGIN;

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'strongroom_owner') THEN
        CREATE ROLE strongroom_owner NOLOGIN;
    END IF;
END $$;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'strongroom_service') THEN
        CREATE ROLE strongroom_service NOLOGIN;
    END IF;
END $$;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'strongroom_sealer') THEN
        CREATE ROLE strongroom_sealer NOLOGIN;
    END IF;
END $$;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'strongroom_auditor') THEN
        CREATE ROLE strongroom_auditor NOLOGIN;
    END IF;
END $$;

-- strongroom db upgrade, strongroom audit archive
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'strongroom_migrator') THEN
        CREATE ROLE strongroom_migrator LOGIN NOINHERIT;
    END IF;
END $$;
GRANT strongroom_owner, strongroom_service, strongroom_sealer, strongroom_auditor TO strongroom_migrator;

-- STRONGROOM_DATABASE_URL of the service
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'strongroom_app') THEN
        CREATE ROLE strongroom_app LOGIN NOINHERIT;
    END IF;
END $$;
GRANT strongroom_service TO strongroom_app;

-- STRONGROOM_SEALER_DATABASE_URL of the service
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'strongroom_seal') THEN
        CREATE ROLE strongroom_seal LOGIN NOINHERIT;
    END IF;
END $$;
GRANT strongroom_sealer, strongroom_auditor TO strongroom_seal;

-- auditors, with psql
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'strongroom_audit') THEN
        CREATE ROLE strongroom_audit LOGIN NOINHERIT;
    END IF;
END $$;
GRANT strongroom_auditor TO strongroom_audit;

GRANT rds_iam TO strongroom_migrator, strongroom_app, strongroom_seal, strongroom_audit;

-- Every role may connect, make temporary tables and use the schema public, until that is
-- taken away.
DO $$ BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO strongroom_migrator, strongroom_app, strongroom_seal, strongroom_audit', current_database());
    EXECUTE format('GRANT CREATE ON DATABASE %I TO strongroom_owner', current_database());
END $$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
COMMIT;
