# A build that is cancelled ends at once in whatever phase, by
# statement_timeout and by pg_cancel_backend, with and without workers.
# Nothing stays of it, and the index can be built afterwards.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use Ann;
use Recsys;

my $rows = $ENV{ANN_CANCEL_ROWS} // 20000;
my $steps = 5;
my $node = new_node('cancel', conf => q{
	fsync = off
	autovacuum = off
	dynamic_shared_memory_type = mmap
});
my @phases = ('sampling rows', 'finding cells', 'encoding rows',
	'sorting rows', 'writing pages', 'calibrating');

make_rows($node, $rows, 32);
$node->safe_psql('postgres', q{
	ALTER TABLE items SET (parallel_workers = 2);
	-- When a build in another session is in the phase, wait, cancel it; ms
	-- until it has ended. NULL: the phase was not seen, 0: over before.
	CREATE FUNCTION cancel_in(wanted text, wait float8) RETURNS float8
	LANGUAGE plpgsql AS $$
	DECLARE
		build record;
		began timestamptz;
		seen bool := false;
	BEGIN
		LOOP
			PERFORM pg_stat_clear_snapshot();
			SELECT pid, phase INTO build FROM pg_stat_progress_create_index;
			EXIT WHEN build.phase = 'building index: ' || wanted;
			seen := seen OR build.pid IS NOT NULL;
			IF build.pid IS NULL AND (seen OR
				clock_timestamp() > statement_timestamp() + interval '3 s')
			THEN
				RETURN NULL;
			END IF;
			PERFORM pg_sleep(0.0002);
		END LOOP;
		PERFORM pg_sleep(wait);
		began := clock_timestamp();
		PERFORM pg_cancel_backend(build.pid);
		LOOP
			PERFORM pg_stat_clear_snapshot();
			EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_progress_create_index);
			PERFORM pg_sleep(0.0002);
		END LOOP;
		RETURN 1000 * extract(epoch FROM clock_timestamp() - began);
	END $$;
	-- The phases of a build that waits at the start of each until it was seen.
	CREATE FUNCTION phases_seen() RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		seen text[] := '{}';
		one text;
	BEGIN
		PERFORM pg_advisory_lock(hashtext('ann_phase_' || n))
		FROM generate_series(2, 7) n;
		FOR n IN 2 .. 7 LOOP
			LOOP
				PERFORM pg_stat_clear_snapshot();
				SELECT phase INTO one FROM pg_stat_progress_create_index
				WHERE EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory'
					AND NOT granted
					AND objid = (hashtext('ann_phase_' || n)::bigint & 4294967295)::oid);
				EXIT WHEN one IS NOT NULL OR
					clock_timestamp() > statement_timestamp() + interval '60 s';
				PERFORM pg_sleep(0.001);
			END LOOP;
			seen := seen || coalesce(one, 'none');
			PERFORM pg_advisory_unlock(hashtext('ann_phase_' || n));
		END LOOP;
		RETURN array_to_string(seen, ', ');
	END $$;
	-- ms that a build spends in the phase
	CREATE FUNCTION length_of(wanted text) RETURNS float8
	LANGUAGE plpgsql AS $$
	DECLARE
		began timestamptz;
		now_in bool;
	BEGIN
		LOOP
			PERFORM pg_stat_clear_snapshot();
			now_in := EXISTS (SELECT FROM pg_stat_progress_create_index
				WHERE phase = 'building index: ' || wanted);
			EXIT WHEN began IS NOT NULL AND NOT now_in;
			IF clock_timestamp() > statement_timestamp() + interval '10 s' THEN
				RETURN 50;
			END IF;
			IF began IS NULL AND now_in THEN
				began := clock_timestamp();
			END IF;
			PERFORM pg_sleep(0.0005);
		END LOOP;
		RETURN 1000 * extract(epoch FROM clock_timestamp() - began);
	END $$;
});

my $create = 'CREATE INDEX items_new ON items USING ann (e vector_ip_ops)';
my %settings = (
	'one process' => 'SET max_parallel_maintenance_workers = 0;',
	'two workers' => 'SET max_parallel_maintenance_workers = 2;');

# psql with a statement, in the background
sub begin
{
	my ($sql) = @_;
	my %job = (out => '', err => '');

	$job{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose',
			'-d', $node->connstr('postgres'), '-c', $sql ],
		'<', \undef, '>', \$job{out}, '2>', \$job{err});
	return \%job;
}

# Files of the database, of sorts, and shared memory segments.
sub leftovers
{
	my $data = $node->data_dir;

	$node->safe_psql('postgres', 'CHECKPOINT');
	return $node->safe_psql('postgres', q{
		SELECT 'class', count(*) FROM pg_class UNION ALL
		SELECT 'files', count(*) FROM pg_database,
			pg_ls_dir('base/' || oid) WHERE datname = current_database()
		UNION ALL SELECT 'sorts', count(*)
			FROM pg_ls_dir('base/pgsql_tmp', true, false) UNION ALL
		SELECT 'segments', count(*) FROM pg_ls_dir('pg_dynshmem')
		UNION ALL SELECT 'workers', count(*) FROM pg_stat_activity
			WHERE backend_type = 'parallel worker'
		UNION ALL SELECT 'locks', count(*) FROM pg_locks
			WHERE relation = 'items'::regclass ORDER BY 1});
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return $sorted[ $#sorted / 2 ];
}

# the names of the phases, one after the other
for my $how (sort keys %settings)
{
	my $job = begin("DO \$\$ BEGIN
		WHILE (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') < 6 LOOP
			PERFORM pg_sleep(0.001);
		END LOOP; END \$\$; $settings{$how} $create");
	is($node->safe_psql('postgres', 'SELECT phases_seen()'),
		join(', ', map { "building index: $_" } @phases), "$how: its phases");
	$job->{run}->finish;
	is($job->{err}, '', "$how: built");
	$node->safe_psql('postgres', 'DROP INDEX items_new');
}

leftovers();
my $before = leftovers();
my %length;

for my $how (sort keys %settings)
{
	my (@took, @missed);

	# how long it takes
	my $began = time;
	my $job = begin("$settings{$how} $create");
	my $calibrating = $node->safe_psql('postgres',
		q{SELECT length_of('calibrating')});
	$job->{run}->finish;
	$length{$how} = time - $began;
	$node->safe_psql('postgres', 'DROP INDEX items_new');
	note(sprintf '%s: %.0f ms, of which calibration %.0f', $how,
		$length{$how} * 1000, $calibrating);

	my @when = map { [ $_, 0 ] } @phases;
	push @when, [ 'calibrating', $calibrating / 2000 ];
	# a phase may be over before it is cancelled: another try
	for my $w (map { ($_) x 4 } @when)
	{
		next if $w->[2];
		# little memory: a longer sort
		my $little = $w->[0] =~ /sort/ ? "SET maintenance_work_mem = '1MB';" : '';
		$job = begin("$settings{$how} $little $create");
		my $ms = $node->safe_psql('postgres',
			"SELECT cancel_in('$w->[0]', $w->[1])");
		$job->{run}->finish;
		if ($job->{err} =~ /57014/)
		{
			push @took, $ms;
			$w->[2] = 1;
		}
		else
		{
			$node->safe_psql('postgres', 'DROP INDEX items_new');
		}
	}
	@missed = map { $_->[0] } grep { !$_->[2] } @when;
	note(sprintf '%s: pg_cancel_backend: median %.0f ms, worst %.0f ms; missed: %s',
		$how, median(@took), (sort { $b <=> $a } @took)[0], "@missed");
	# on a busy machine some phases stay too short
	cmp_ok(scalar @missed, '<=', 2, "$how: cancelled in its phases");
	is(scalar(grep { $_ > 1000 } @took), 0, "$how: each within a second");

	# at any time
	my (@late, $wrong);
	$wrong = 0;
	for my $i (0 .. $steps - 1)
	{
		my $timeout = int($length{$how} * 1000 * ($i + .3) / $steps) + 1;

		$began = time;
		$job = begin("$settings{$how} SET statement_timeout = $timeout; $create");
		$job->{run}->finish;
		push @late, (time - $began) * 1000 - $timeout;
		if ($job->{err} eq '')
		{
			# this one was faster
			$node->safe_psql('postgres', 'DROP INDEX items_new');
			pop @late;
		}
		elsif ($job->{err} !~ /57014.*statement timeout/)
		{
			$wrong++;
			diag($job->{err});
		}
	}
	# with the start of psql
	note(sprintf '%s: statement_timeout: median %.0f ms, worst %.0f ms',
		$how, median(@late), (sort { $b <=> $a } @late)[0]);
	is(scalar(grep { $_ > 1000 } @late), 0, "$how: timeouts within a second");
	is($wrong, 0, "$how: 57014");
	cmp_ok(scalar @late, '>=', 1, "$how: some were in time");
	$node->poll_query_until('postgres',
		q{SELECT count(*) = 0 FROM pg_stat_activity
		WHERE backend_type = 'parallel worker'});
	is(leftovers(), $before, "$how: nothing stays");
}

# CONCURRENTLY leaves an index that is not valid; writers and vacuum go on
my $job = begin($create =~ s/INDEX/INDEX CONCURRENTLY/r);
my $ms = $node->safe_psql('postgres', q{SELECT cancel_in('encoding rows', 0)});
$job->{run}->finish;
like($job->{err}, qr/57014/, 'CONCURRENTLY cancelled');
cmp_ok($ms, '<=', 1000, 'within a second');
is($node->safe_psql('postgres', q{
	SELECT indisvalid FROM pg_index WHERE indexrelid = 'items_new'::regclass}),
	'f', 'it is not valid');
$node->safe_psql('postgres', q{
	INSERT INTO items SELECT nextval('new_id'), 1, e FROM items LIMIT 100;
	DELETE FROM items WHERE id % 100 = 7;
	VACUUM items;
	REINDEX INDEX items_new;
	DROP INDEX items_new});
make_indexes($node);
check_all($node, 'built afterwards');
is(differences($node, 40), 0, 'answers like the heap');
$node->stop;
done_testing();
