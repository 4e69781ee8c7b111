# CREATE INDEX, REINDEX and DROP INDEX CONCURRENTLY beside writers, prepared
# transactions and scans: no row is missing from any index that was built.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Ann;
use Recsys;

my $seconds = $ENV{ANN_CONCURRENTLY_SECONDS} // 2;
my $node = new_node('concurrently', conf => q{
	fsync = off
	autovacuum = off
	max_prepared_transactions = 16
	lock_timeout = 60s
});

# few, so that an index is built in a moment
make_rows($node, 1500, 8);
make_indexes($node);
$node->safe_psql('postgres', q{
	CREATE SEQUENCE built; SELECT nextval('built');
	DROP INDEX items_l2});

sub script
{
	my ($name, $sql) = @_;
	my $file = $node->basedir . "/$name.sql";

	append_to_file($file, $sql);
	return $file;
}

sub random_row
{
	return q{(SELECT array_agg(random() * 2 - 0.7 + 0 * (g + :r))
		FROM generate_series(1, 8) g)::vector};
}

# whoever has the lock builds, the others write
sub builder
{
	my ($how) = @_;

	return qq{SELECT pg_try_advisory_lock(42)::int AS mine \\gset
\\if :mine
$how
SELECT recsys_index_check('items_ip', true);
SELECT recsys_index_check('items_cosine', true);
SELECT nextval('built');
SELECT pg_advisory_unlock(42);
\\endif
};
}

my $create = script('create', builder(q{DROP INDEX CONCURRENTLY items_ip;
CREATE INDEX CONCURRENTLY items_ip ON items USING ann (e vector_ip_ops);}));
my $reindex = script('reindex', builder(q{REINDEX INDEX CONCURRENTLY items_ip;
REINDEX INDEX CONCURRENTLY items_cosine;}));
my $write = script('write', q{\set r random(0, 99)
\set id random(1, 1500)
BEGIN;
INSERT INTO items VALUES (nextval('new_id'), :r, } . random_row() . q{);
UPDATE items SET e = } . random_row() . q{ WHERE id = :id;
COMMIT;
});
my $hot = script('hot', q{\set r random(1, 1500)
UPDATE items SET keep = keep + 1 WHERE id = :r;
DELETE FROM items WHERE id = 1501 - :r AND :r % 20 = 0;
DELETE FROM items WHERE id = (SELECT min(id) FROM items WHERE id >= 1000000);
DELETE FROM items WHERE id = (SELECT min(id) FROM items WHERE id >= 1000000);
});
my $prepare = script('prepare', q{\set r random(0, 99)
BEGIN;
INSERT INTO items VALUES (nextval('new_id'), :r, } . random_row() . q{);
PREPARE TRANSACTION 'c:client_id';
\sleep 2 ms
COMMIT PREPARED 'c:client_id';
});

# the indexes come and go under it; an answer that is short is an error
my $scan = script('scan', q{\set r random(0, 99)
} . full_answer(random_row()) . "\n");

sub storm
{
	my ($name, $time, @files) = @_;
	my $before = $node->safe_psql('postgres', 'SELECT last_value FROM built');

	$node->command_checks_all(
		[ 'pgbench', '-n', '-c', 5, '-T', $time,
			(map { ('-f', $_) } @files), $node->connstr('postgres') ],
		0, [qr/processed/], [qr/^((?!ERROR|FATAL|aborted).)*$/s], $name);
	my $count =
	  $node->safe_psql('postgres', 'SELECT last_value FROM built') - $before;
	cmp_ok($count, '>=', 10, "$name: $count times");
	return;
}

storm('CREATE INDEX CONCURRENTLY', $seconds, "$create\@2", "$write\@6", "$hot\@3",
	"$scan\@2");
storm('REINDEX INDEX CONCURRENTLY', $seconds, "$reindex\@2", "$write\@6", "$hot\@3",
	"$scan\@2");
# builds wait for these
storm('with prepared transactions', 2.5 * $seconds, "$create\@1", "$reindex\@1",
	"$write\@2", "$prepare\@3");

# a transaction that is prepared, and open all along the first scan
for my $sql ('DROP INDEX items_ip;
		CREATE INDEX CONCURRENTLY items_ip ON items USING ann (e vector_ip_ops)',
	'REINDEX INDEX CONCURRENTLY items_ip')
{
	my ($out, $err) = ('', '');
	my @statements = split /;/, $sql;

	$node->safe_psql('postgres', $statements[0]) if @statements > 1;
	$node->safe_psql('postgres', q{
		BEGIN;
		INSERT INTO items SELECT nextval('new_id'), 77, e FROM items LIMIT 20;
		PREPARE TRANSACTION 'open'});
	my $run = IPC::Run::start(
		[ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-c', $statements[-1] ],
		'<', \undef, '>', \$out, '2>', \$err);
	ok($node->poll_query_until('postgres', q{
		SELECT phase = 'waiting for writers before build'
		FROM pg_stat_progress_create_index}), 'waits for it');
	$node->safe_psql('postgres', q{COMMIT PREPARED 'open'});
	$run->finish;
	is($err, '', 'built');
	is($node->psql('postgres', q{SELECT recsys_index_check('items_ip', true)}),
		0, 'with the rows of the prepared transaction');
}

# DROP INDEX CONCURRENTLY under scans, planned anew and prepared
$node->safe_psql('postgres', 'VACUUM ANALYZE items');
like($node->safe_psql('postgres',
		'EXPLAIN ' . (slurp_file($scan) =~ s/^.*\n//r =~ s/:r/1/gr)),
	qr/Index Scan using items_ip/, 'the index is scanned');
my @jobs;
for my $mode (qw(simple prepared))
{
	my %job = (out => '', err => '');

	$job{run} = IPC::Run::start(
		[ 'pgbench', '-n', '-T', $seconds, '-c', 2, '-M', $mode, '-f', $scan,
			$node->connstr('postgres') ],
		'<', \undef, '>', \$job{out}, '2>', \$job{err});
	push @jobs, \%job;
}
for my $i (1 .. 10)
{
	$node->safe_psql('postgres', 'DROP INDEX CONCURRENTLY items_ip');
	$node->safe_psql('postgres', 'CREATE INDEX CONCURRENTLY items_ip ON items
		USING ann (e vector_ip_ops)');
}
for my $job (@jobs)
{
	$job->{run}->finish;
	is($job->{err} =~ /(ERROR|FATAL|aborted)[^\n]*/ ? $& : '', '',
		'no error of a scan');
}
$node->safe_psql('postgres',
	'CREATE INDEX CONCURRENTLY items_l2 ON items USING ann (e vector_l2_ops)');
check_all($node, 'afterwards');
is(differences($node, 40), 0, 'answers like the heap');
$node->stop;
done_testing();
