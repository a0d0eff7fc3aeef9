-- Statements stand two empty lines apart, for each is sent by itself. A file that was released is never changed:
-- what comes after it stands in a new one, run by a new revision.
--
-- A collection's row is its owner's, as the collection is: who may create schemas can create collections, and who owns
-- one can drop it, without rights on anybody else's rows. The row of a table that is gone may be forgotten by anybody.
ALTER TABLE vecstore.collection_registry ENABLE ROW LEVEL SECURITY;


ALTER TABLE vecstore.alias_registry ENABLE ROW LEVEL SECURITY;


CREATE POLICY read_by_all ON vecstore.collection_registry FOR SELECT USING (true);


CREATE POLICY read_by_all ON vecstore.alias_registry FOR SELECT USING (true);


CREATE POLICY written_by_owner ON vecstore.collection_registry
    USING (NOT EXISTS (SELECT FROM pg_catalog.pg_class c
                       WHERE c.oid = entities AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')))
    WITH CHECK (EXISTS (SELECT FROM pg_catalog.pg_class c
                        WHERE c.oid = entities AND pg_catalog.pg_has_role(c.relowner, 'USAGE')));


CREATE POLICY written_by_owner ON vecstore.alias_registry
    USING (NOT EXISTS (SELECT FROM pg_catalog.pg_class c
                       WHERE c.oid = view AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')))
    WITH CHECK (EXISTS (SELECT FROM pg_catalog.pg_class c
                        WHERE c.oid = view AND pg_catalog.pg_has_role(c.relowner, 'USAGE')));


GRANT INSERT, UPDATE, DELETE ON vecstore.collection_registry, vecstore.alias_registry TO PUBLIC;


COMMENT ON COLUMN vecstore.collection_registry.created_at IS 'When the collection was created';


COMMENT ON COLUMN vecstore.alias_registry.view IS 'The view that shows the collection';


COMMENT ON COLUMN vecstore.alias_registry.created_at IS 'When the alias was made, or its view made anew';


COMMENT ON TABLE vecstore.alembic_version IS 'The revision of schema vecstore that this database is at';


COMMENT ON COLUMN vecstore.alembic_version.version_num IS 'The name of the revision';
