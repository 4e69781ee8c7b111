# Whatever ends a training early, its workers are gone within a second, the
# model before serves on, and nothing half-made remains.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Recsys;

my $node = new_node('main');
my $long = q{SELECT * FROM recsys_train('ratings', preset => 'tfrs',
	stages => '{retrieval}', epochs => 1000000)};

load_ratings($node, 'ratings', 1000, 600);
$node->safe_psql('postgres',
	q{SELECT * FROM recsys_train('ratings', epochs => 2)});
my $before = answers($node);
my $tables = q{SELECT string_agg(oid::regclass::text, ' ' ORDER BY oid)
	FROM pg_class WHERE relkind = 'r' AND oid > 16383};
my $tables_before = $node->safe_psql('postgres', $tables);
my $files = sub {
	return scalar(grep { !/^\./ } slurp_dir($node->data_dir . '/pg_dynshmem'));
};

# by NAME, by what, with the expected message
sub ends_early
{
	my ($name, $sql, $how, $message) = @_;
	my $job = start_training($node, $sql);
	my $pid = training_began($node);

	ok(compute_workers($node) > 0, "$name: workers compute");
	$how->($pid, $job);
	my $seconds = wait_until(sub { !compute_workers($node) }, 20);
	ok(defined $seconds && $seconds < ($name eq 'statement_timeout' ? 6 : 1),
		"$name: workers gone after "
		  . ($seconds // 'more than 20') . ' s');
	ok(finish($job) != 0, "$name: the call failed");
	like($job->{err}, $message, "$name: message");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM recsys_progress'),
		'0', "$name: no progress is left");
	is(answers($node), $before, "$name: the model before serves on");
	is($node->safe_psql('postgres', $tables), $tables_before,
		"$name: no tables are left");
	return;
}

ends_early('pg_cancel_backend', $long,
	sub { $node->safe_psql('postgres', "SELECT pg_cancel_backend($_[0])") },
	qr/cancel/);
ends_early('recsys_cancel', $long,
	sub {
		is($node->safe_psql('postgres', q{SELECT recsys_cancel('default')}),
			't', 'recsys_cancel found it');
	},
	qr/cancel/);
ends_early('pg_terminate_backend', $long,
	sub { $node->safe_psql('postgres', "SELECT pg_terminate_backend($_[0])") },
	qr/terminating connection|closed the connection/);
ends_early('statement_timeout', "SET statement_timeout = '3s'; $long",
	sub { }, qr/statement timeout/);

# A killed client is noticed when the server looks: it is told to.
my $job = start_training($node,
	"SET client_connection_check_interval = '200ms'; $long");
training_began($node);
$job->{run}->kill_kill(grace => 0);
my $seconds = wait_until(sub { !compute_workers($node) }, 20);
ok(defined $seconds && $seconds < 2, 'killed client: workers gone after '
	  . ($seconds // 'more than 20') . ' s');
is(answers($node), $before, 'killed client: the model before serves on');

# ROLLBACK leaves no trace
$node->safe_psql('postgres', q{BEGIN;
	SELECT * FROM recsys_train('ratings', epochs => 1, seed => 7);
	SELECT * FROM recsys_train('ratings', 'another', epochs => 1);
	ROLLBACK});
is(answers($node), $before, 'rollback: the model before serves on');
is($node->safe_psql('postgres', $tables), $tables_before,
	'rollback: no tables are left');
is($node->safe_psql('postgres', q{SELECT count(*) FROM recsys_models}), '1',
	'rollback: one model');
is(scalar(compute_workers($node, 'recsys')), 0, 'no process is left');
$node->stop;
done_testing();
