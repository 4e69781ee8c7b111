-- the extension as a whole: what it makes, where it goes, how it leaves
SELECT extversion, extrelocatable FROM pg_extension WHERE extname = 'recsys';
-- C functions are all of our library
SELECT count(*) FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid
 JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'recsys'
 WHERE p.probin IS NOT NULL AND p.probin <> '$libdir/recsys';
DROP EXTENSION recsys;
CREATE SCHEMA other;
CREATE EXTENSION recsys SCHEMA other;
SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
 WHERE extname = 'recsys';
DROP EXTENSION recsys;
DROP SCHEMA other;
CREATE EXTENSION recsys;
-- what \df+, \dv+ and \dt+ leave unsaid: nothing that users may call
SELECT pg_describe_object(classid, objid, 0) FROM pg_depend LEFT JOIN pg_proc p ON p.oid = objid AND classid = 'pg_proc'::regclass
 WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'recsys')
   AND obj_description(objid, classid::regclass::name) IS NULL
   AND (classid = 'pg_class'::regclass OR proname ~ '^(recsys|recommend|similar|predict|rank_items|user_emb|item_emb)'
        AND proname !~ '^recsys_ann(_metric|handler)');
