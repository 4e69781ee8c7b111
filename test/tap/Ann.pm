package Ann;

# Ann.pm: what the TAP tests of the index share: a table with an index of
# each operator, pgbench scripts that change it, and the comparison of index
# scans with sorts.

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(make_rows make_indexes differences write_script check_all
  ordered_answers full_answer);

my @operators = ([ ip => '<#>' ], [ l2 => '<->' ], [ cosine => '<=>' ]);

# A random vector of `dim` coordinates, as SQL. Mentions `seed`, so that it
# is drawn anew for each row.
sub random_vector
{
	my ($dim, $seed) = @_;

	return "(SELECT array_agg(random() * 2 - 0.7 + 0 * (g + $seed))
		FROM generate_series(1, $dim) g)::vector";
}

# Table items (id, keep, e) with rows 1 .. n.
sub make_rows
{
	my ($node, $n, $dim) = @_;

	$node->safe_psql('postgres', qq{
		CREATE TABLE items (id int PRIMARY KEY, keep int, e vector($dim));
		INSERT INTO items SELECT i, i % 100, @{[ random_vector($dim, 'i') ]}
		FROM generate_series(1, $n) i;
		CREATE SEQUENCE new_id START 1000000;
		ALTER TABLE items SET (autovacuum_enabled = off);
	});
	return;
}

sub make_indexes
{
	my ($node) = @_;

	for my $o (@operators)
	{
		$node->safe_psql('postgres',
			"CREATE INDEX items_$o->[0] ON items USING ann (e vector_$o->[0]_ops)"
		);
	}
	$node->safe_psql('postgres', 'ANALYZE items');
	return;
}

# A query that ends in a division by zero unless the first 20 rows for a vector
# come: as many as match, each once, in order (which a scan that is read to its
# end need not keep).
sub full_answer
{
	my ($vector, $where) = @_;
	my $matching = $where ? "least(20, (SELECT count(*) FROM items WHERE $where))" : 20;

	$where //= 'true';
	return "SELECT 1 / (count(*) = $matching AND count(DISTINCT id) = count(*)
			AND (count(*) < 20 OR bool_and(before <= d)))::int
		FROM (SELECT id, d, coalesce(lag(d) OVER (), d) AS before FROM (SELECT id,
			e <#> $vector AS d FROM items WHERE $where ORDER BY 2 LIMIT 20) r) x;";
}

# A pgbench script of one kind of change; its name for --file.
sub write_script
{
	my ($node, $kind, $dim) = @_;
	my %sql = (
		insert => "INSERT INTO items VALUES (nextval('new_id'), :r, "
		  . random_vector($dim, ':r') . ');',
		update => 'UPDATE items SET e = '
		  . random_vector($dim, ':r') . ' WHERE id = :id;',
		hot => 'UPDATE items SET keep = keep + 1 WHERE id = :id;',
		delete => 'DELETE FROM items WHERE id = :id;',
		select => "SET enable_seqscan = off;\n"
		  . full_answer(random_vector($dim, ':r')) . "\n"
		  . full_answer(random_vector($dim, ':r'), 'keep = :r'),
		vacuum => 'VACUUM items;');
	my $file = $node->basedir . "/$kind.sql";

	append_to_file($file,
		"\\set r random(0, 99)\n\\set id random(1, 3000)\n$sql{$kind}\n");
	return $file;
}

# How many of the first k distances differ between index scan and sort, over
# some queries and each operator.
sub differences
{
	my ($node, $k, $where) = @_;
	my $sum = 0;

	$where //= 'true';
	for my $o (@operators)
	{
		my $op = $o->[1];
		my $part = "(SELECT array_agg(d) FROM (SELECT e $op q.e AS d
			FROM items WHERE $where ORDER BY e $op q.e LIMIT $k) r)";
		my @answers;

		for my $off ('enable_seqscan = off; SET enable_sort = off;',
			'enable_indexscan = off;')
		{
			push @answers,
			  $node->safe_psql('postgres', "SET $off
				SET recsys.target_recall = 1;
				SELECT $part FROM (SELECT e FROM items ORDER BY id LIMIT 15) q");
		}
		my @a = split /[,\n]/, $answers[0];
		my @b = split /[,\n]/, $answers[1];

		return -1 if @a != @b;
		$sum += grep { $a[$_] ne $b[$_] } 0 .. $#a;
	}
	return $sum;
}

# recsys_index_check of each index, every row of the table included.
sub check_all
{
	my ($node, $name) = @_;

	for my $o (@operators)
	{
		my ($status, $out, $err) = $node->psql('postgres',
			"SELECT recsys_index_check('items_$o->[0]', true)");

		is($status, 0, "$name: check of items_$o->[0]") || diag($err);
	}
	return;
}

# Ids in the order of the index, for some fixed queries.
sub ordered_answers
{
	my ($node, $dim) = @_;
	my $all = '';

	for my $o (@operators)
	{
		$all .= $node->safe_psql('postgres', "SET enable_seqscan = off;
			SET enable_sort = off;
			SELECT n, (SELECT array_agg(id) FROM (SELECT id FROM items
				ORDER BY e $o->[1] (SELECT array_agg((hashint4(n * 99 + g)
					% 1000) / 500.0) FROM generate_series(1, $dim) g)::vector
				LIMIT 20) r) FROM generate_series(1, 20) n");
	}
	return $all;
}

1;
