# Flipped bytes in the file of an index: a query, an insert, VACUUM, check and
# statistics report them with XX001 or XX002, the block and the hint REINDEX,
# or do their work; never a crash, never a hang. And what the check of all rows
# does not find, in codes and bounds of rows above all, changes no exact answer.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use File::Path qw(rmtree);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;

use Ann;
use Recsys;

my $tables = 30; # each with an index that is damaged anew in every round
my $rounds = $ENV{ANN_CORRUPT_ROUNDS} // 4;
my $node = new_node('corrupt',
	unchecked => 1,
	conf => "fsync = off\nautovacuum = off\n");
my @operators = ([ ip => '<#>' ], [ l2 => '<->' ], [ cosine => '<=>' ]);

# Rows in cells, in the log, and rows without bounds; some dead, some slots
# free; half of the indexes have gone through a new structure.
sub make_table
{
	my ($i) = @_;
	my $kind = $operators[ $i % 3 ][0];
	my $before = $i % 2 ? 450 : 20;

	return qq{
		CREATE TABLE t$i (id int, e vector(8)) WITH (autovacuum_enabled = off);
		INSERT INTO t$i SELECT i, v FROM made WHERE i <= $before;
		CREATE INDEX x$i ON t$i USING ann (e vector_${kind}_ops);
		INSERT INTO t$i SELECT i, v FROM made WHERE i > $before;
		INSERT INTO t$i SELECT 5000 + g, array_fill(-20.0 * g, '{8}')::vector
			FROM generate_series(1, 20) g;
		INSERT INTO t$i VALUES (6000, array_fill(0, '{8}')::vector),
			(6001, array_fill(3e15, '{8}')::vector);
		DELETE FROM t$i WHERE id % 9 = $i % 9;
		VACUUM t$i;
		INSERT INTO t$i SELECT i, v FROM made WHERE i % 13 = 0;
	};
}

$node->safe_psql('postgres', q{
	CREATE TABLE made AS SELECT i, (SELECT array_agg(random() * 2 - 0.7
		+ 0 * (g + i)) FROM generate_series(1, 8) g)::vector AS v
	FROM generate_series(1, 900) i});
my (@path, @good);
for my $i (1 .. $tables)
{
	# VACUUM stands alone
	for my $sql (split /;\s*\n/, make_table($i))
	{
		$node->safe_psql('postgres', $sql) if $sql =~ /\S/;
	}
}
$node->safe_psql('postgres', 'CHECKPOINT');
for my $i (1 .. $tables)
{
	push @path, $node->data_dir . '/'
	  . $node->safe_psql('postgres', "SELECT pg_relation_filepath('x$i')");
}
$node->stop;
@good = map { slurp_file($_) } @path;
my $copy = $node->basedir . '/good';
PostgreSQL::Test::RecursiveCopy::copypath($node->data_dir, $copy);

# All files as they were before the first damage.
sub restore
{
	my $log = slurp_file($node->logfile);

	die 'a crash' if $log =~ /terminated by signal/;
	rmtree($node->data_dir);
	PostgreSQL::Test::RecursiveCopy::copypath($copy, $node->data_dir);
	chmod(0700, $node->data_dir);
	return;
}

# Damage 1 to 4 bytes: headers of pages more often than codes; in one file
# of ten a whole page of noise, or a page in another's place.
sub damage
{
	my ($bytes, $n) = @_;
	my $pages = length($bytes) / 8192;
	my $page = int(rand($pages)) * 8192;

	if ($n % 10 == 3)
	{
		substr($bytes, $page, 8192) =
		  join '', map { chr(int(rand(256))) } 1 .. 8192;
		return $bytes;
	}
	if ($n % 10 == 7)
	{
		substr($bytes, $page, 8192) =
		  substr($bytes, int(rand($pages)) * 8192, 8192);
		return $bytes;
	}
	for (1 .. 1 + $n % 4)
	{
		my $at = $page + (rand() < 0.6 ? int(rand(160)) : int(rand(8192)));

		$at = $page + 8192 - 1 - int(rand(8)) if rand() < 0.1;
		substr($bytes, $at, 1) = chr(int(rand(256)));
		$page = int(rand($pages)) * 8192;
	}
	return $bytes;
}

my (%seen, %without);
my ($bad, $files) = (0, 0);

sub judge
{
	my ($name, $sql, $err) = @_;

	for my $one (split /(?=^.*ERROR:)/m, $err)
	{
		next unless $one =~ /ERROR:\s+(\w{5}):/;
		my $code = $1;

		$seen{$code}++;
		# 55000: the byte made another format version of the metapage
		if ($code !~ /^(XX001|XX002|55000)$/)
		{
			$bad++;
			diag("$name: $sql: $one");
		}
		elsif ($code eq 'XX002' &&
			!($one =~ /block \d+/ && $one =~ /HINT:.*REINDEX/) &&
			$one !~ /lacks \d+ rows/)
		{
			$without{$one}++;
		}
	}
	if ($err =~ /server closed|FATAL|PANIC|could not connect/)
	{
		$bad++;
		diag("$name: $sql: $err");
	}
	return;
}

srand($ENV{ANN_CORRUPT_SEED} // 7);
for my $round (1 .. $rounds)
{
	restore();
	for my $i (0 .. $tables - 1)
	{
		open(my $f, '+<:raw', $path[$i]) || die;
		print $f damage($good[$i], $files++);
		close($f);
	}
	$node->start;
	for my $i (1 .. $tables)
	{
		my $op = $operators[ $i % 3 ][1];
		my $q = '[1,1,1,1,0,0,0,0.5]';

		for my $sql (
			"SELECT count(*) FROM (SELECT id FROM t$i ORDER BY e $op '$q' LIMIT 30) r",
			"SELECT count(*) FROM (SELECT id FROM t$i ORDER BY e $op '$q') r",
			"SELECT recsys_index_check('x$i', true)",
			"SELECT rows FROM recsys_index_stats('x$i')",
			"INSERT INTO t$i SELECT 7000 + i, v FROM made WHERE i % 7 = 0",
			"DELETE FROM t$i WHERE id % 4 = 0",
			"VACUUM t$i",
			"INSERT INTO t$i SELECT 8000 + i, v FROM made WHERE i % 5 = 0",
			"SELECT count(*) FROM (SELECT id FROM t$i ORDER BY e $op '$q') r")
		{
			my ($status, $out, $err) = $node->psql('postgres',
				"\\set VERBOSITY verbose\nSET statement_timeout = '20s';
				SET enable_seqscan = off; SET enable_sort = off;\n$sql;",
				on_error_stop => 0);

			judge("round $round, x$i", $sql, $err);
		}
	}
	$node->stop('fast', fail_ok => 1);
}
is($bad, 0, "$files damaged files: clear errors or work done");
is(join('', sort keys %without), '', 'each names a block and says REINDEX');
cmp_ok($seen{XX002} // 0, '>', $files / 2, 'many were noticed');
note(join ', ', map { "$_ $seen{$_}" } sort keys %seen);
unlike(slurp_file($node->logfile), qr/terminated by signal/, 'no crash');

$node->start;
for my $i (1 .. 6)
{
	$node->safe_psql('postgres', "REINDEX TABLE t$i");
	$node->safe_psql('postgres', "SELECT recsys_index_check('x$i', true)");
}
pass('sound after REINDEX');

# One changed byte in each of many indexes: some in each part of what is stored
# of a row, some in the metapage, and others anywhere.
my @parts = ('level 1', 'level 2', 'error', 'tail norm', 'level-1 scale',
	'level-2 scale', 'row pointer', 'square', 'end of page', 'factors',
	'log tail', 'metric', 'head', 'whether signs');
my $anywhere = $ENV{ANN_CORRUPT_ANYWHERE} // 120;
my (@aimed, @file);

# the byte of a part, of the row in slot 3 of a leaf if it is a row's, and what
# to change
sub byte_of
{
	my ($bytes, $part) = @_;
	my $page = 0;

	# as ann.h has it, for 32 dimensions, 16 of them in level 1
	$page += 8192
	  until unpack('v', substr($bytes, $page + 8188, 2)) == 3
	  && unpack('v', substr($bytes, $page + 32, 2)) > 16;
	my $row = 8192 * unpack('V', substr($bytes, $page + 36, 4)) + 36 + 3 * 30;
	my $floats = $page + 64 + 16 * 16 + 3 * 4;

	return ($page + 64 + 3 * 4 + 1, 16) if $part eq 'level 1';
	return ($row + 14 + 5, 16) if $part eq 'level 2';
	return ($row + 4 + 2, 32) if $part eq 'error';
	return ($floats + 64 + 2, 32) if $part eq 'tail norm';
	return ($floats + 2, 32) if $part eq 'level-1 scale';
	return ($row + 2, 32) if $part eq 'level-2 scale';
	return ($row + 8 + 4, 1) if $part eq 'row pointer';
	return ($floats + 128 + 2, 32) if $part eq 'square';
	# of a wide row: behind the codes, as many as the metapage says
	return ($page + 64 + 16 * unpack('V', substr($bytes, 24 + 12, 4)) + 3, 1)
	  if $part eq 'signs';
	return ($page + 12, 1) if $part eq 'end of page';
	return (24 + 104 + 3, 64) if $part eq 'factors';
	return (24 + 12, 4) if $part eq 'head';
	return (24 + 32, 1) if $part eq 'whether signs';
	return (24 + 52, 1) if $part eq 'log tail';
	return (24 + 16, 2);
}

$node->safe_psql('postgres', q{
	CREATE TABLE rows AS SELECT i AS id, (SELECT array_agg(random() * 2 - 0.7
		+ 0 * (g + i)) FROM generate_series(1, 32) g)::vector(32) AS e
	FROM generate_series(1, 700) i;
	CREATE FUNCTION distances(name text, op text, by_index bool) RETURNS text
	LANGUAGE plpgsql AS $$
	DECLARE
		answer text;
	BEGIN
		PERFORM set_config('enable_seqscan', CASE WHEN by_index THEN 'off' ELSE 'on' END, true),
			set_config('enable_sort', CASE WHEN by_index THEN 'off' ELSE 'on' END, true),
			set_config('enable_indexscan', CASE WHEN by_index THEN 'on' ELSE 'off' END, true),
			set_config('recsys.target_recall', '1', true);
		EXECUTE format('SELECT string_agg(md5(d::text), $s$ $s$) FROM (SELECT
			(SELECT array_agg(d) FROM (SELECT e %2$s q.e AS d FROM %1$s
				ORDER BY e %2$s q.e LIMIT k) r) AS d
			FROM (SELECT e FROM rows WHERE id <= 5) q,
				unnest(ARRAY[10, 100, 1000]) k) a', name, op) INTO answer;
		RETURN answer;
	END $$;
	CREATE FUNCTION verdict(name text, op text) RETURNS text
	LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM recsys_index_check(name || '_i', true);
		RETURN CASE WHEN distances(name, op, true) = distances(name, op, false)
			THEN 'right' ELSE 'wrong' END;
	EXCEPTION WHEN data_corrupted OR index_corrupted THEN
		RETURN 'found';
	END $$;});
for my $n (0 .. 3 * @parts - 1 + $anywhere)
{
	my $kind = $operators[ $n % 3 ][0];
	my $part = $parts[ int($n / 3) ] // 'anywhere';

	next if $part eq 'square' && $kind ne 'l2';
	push @aimed, [ "c$n", $operators[ $n % 3 ][1], $part, $kind ];
	$node->safe_psql('postgres', qq{
		CREATE TABLE c$n (LIKE rows) WITH (autovacuum_enabled = off);
		INSERT INTO c$n SELECT * FROM rows WHERE id <= 600;
		CREATE INDEX c${n}_i ON c$n USING ann (e vector_${kind}_ops);
		INSERT INTO c$n SELECT * FROM rows WHERE id > 600});
}
# wide rows whose energy is spread evenly: level 1 has signs
$node->safe_psql('postgres', q{
	CREATE TABLE wide AS SELECT i AS id, (SELECT array_agg(random() - 0.5
		+ 0 * (g + i)) FROM generate_series(1, 200) g)::vector(200) AS e
	FROM generate_series(1, 600) i;
	CREATE INDEX wide_i ON wide USING ann (e vector_ip_ops);
	SELECT recsys_index_check('wide_i', true)});
push @aimed, [ 'wide', '<#>', 'signs', 'ip' ];
$node->safe_psql('postgres', 'CHECKPOINT');
@file = split /\n/, $node->safe_psql('postgres', join ' UNION ALL ',
	map { "SELECT pg_relation_filepath('$_->[0]_i')" } @aimed);
$node->stop;
for my $n (0 .. $#aimed)
{
	my $name = $node->data_dir . "/$file[$n]";
	my $bytes = slurp_file($name);
	my ($at, $bit) = (0, 0);

	if ($aimed[$n][2] ne 'anywhere')
	{
		($at, $bit) = byte_of($bytes, $aimed[$n][2]);
	}
	else
	{
		$bit = 1 + int(rand(255));
		$at = int(rand(length($bytes)))
		  until ord(substr($bytes, $at, 1)) > 0;
	}
	substr($bytes, $at, 1) = chr(ord(substr($bytes, $at, 1)) ^ $bit);
	open(my $f, '+<:raw', $name) || die;
	print $f $bytes;
	close($f);
}
$node->start;
pop @aimed;
my (undef, undef, $told) =
  $node->psql('postgres', "SELECT recsys_index_check('wide_i')");
like($told, qr/"wide_i" is corrupted at block \d+\n.*A row's code is impossible/,
	'a sign that is not of its row is found');
my (%verdict, @missed);
for my $a (@aimed)
{
	my $is = $node->safe_psql('postgres', "SELECT verdict('$a->[0]', '$a->[1]')");

	$verdict{$is}++;
	push @missed, "$a->[2] of $a->[3]"
	  if $is eq 'wrong' || ($a->[2] ne 'anywhere' && $is ne 'found');
}
is(join(', ', @missed), '', 'what the check does not find changes no answer');
cmp_ok($verdict{right}, '>', 0, 'some bytes do not matter');
note(join ', ', map { "$_ $verdict{$_}" } sort keys %verdict);
my ($status, $out, $err) = $node->psql('postgres',
	"\\set VERBOSITY verbose\nSELECT recsys_index_check('c0_i', true)");
like($err,
	qr/XX002: .* at block \d+.*\n.*Slot 3, of row \(\d+,\d+\): Its code does not bound.*\n.*REINDEX/,
	'the row is named');
$node->stop;
done_testing();
