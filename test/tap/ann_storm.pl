# Inserts, updates, deletes, scans, VACUUM and index builds at once: no
# error, and sound pages afterwards.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Ann;
use Recsys;

my $seconds = $ENV{ANN_STORM_SECONDS} // 12;
my $node = new_node('storm', conf => "fsync = off\nautovacuum = off\n");

make_rows($node, 3000, 8);
make_indexes($node);
my @weights = (insert => 4, update => 4, delete => 1, hot => 3, select => 6);
my @files;
while (my ($kind, $weight) = splice @weights, 0, 2)
{
	push @files, '-f', write_script($node, $kind, 8) . "\@$weight";
}
my $vacuum = write_script($node, 'vacuum', 8);
my $reindex = $node->basedir . '/reindex.sql';
append_to_file($reindex, "REINDEX INDEX CONCURRENTLY items_ip;\n");

my @jobs;
for my $args ([ '-c', 6, @files ], [ '-c', 1, '-f', $vacuum ],
	[ '-c', 1, '-f', $reindex ])
{
	my %job = (out => '', err => '');

	$job{run} = IPC::Run::start(
		[ 'pgbench', '-n', '-T', $seconds, @$args, $node->connstr('postgres') ],
		'<', \undef, '>', \$job{out}, '2>', \$job{err});
	push @jobs, \%job;
}
for my $job (@jobs)
{
	$job->{run}->finish;
	is($job->{err} =~ /(ERROR|FATAL|aborted)[^\n]*/ ? $& : '', '',
		'no error in the storm')
	  || diag($job->{err});
}
check_all($node, 'storm');
is(differences($node, 40), 0, 'answers like the heap');
is(differences($node, 40, 'keep % 5 = 1'), 0, 'and with a filter');
$node->stop;
done_testing();
