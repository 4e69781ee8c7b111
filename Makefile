# recsys: a recommender inside PostgreSQL.
#
#   make            build recsys.so (type, index, serving; no BLAS) and
#                   recsys_train.so (training, OpenBLAS; compute workers only)
#   make install    into the PostgreSQL of $(PG_CONFIG)
#   make installcheck   regression and isolation tests in a running server
#
# These three need no root and nothing installed before: they bring in what
# is missing and work on copies below .build (see test/README.md).
#
#   make demo       MovieLens-100K in a throw-away server; make demo-stop
#   make test       every test; make test T="unit sql/vector" some of them
#   make bench      speed and quality beside the peers; make bench B=tfrs

ifneq (,$(filter demo demo-stop test bench,$(MAKECMDGOALS)))

.PHONY: demo demo-stop test bench
demo:
	@test/demo/run
demo-stop:
	@test/demo/run stop
test:
	@test/run $(T)
bench:
	@test/bench/run $(B)

else

EXTENSION = recsys
DATA = recsys--1.0.sql
MODULE_big = recsys

# What only compute workers load.
TRAIN_ONLY = src/math/blas_openblas.o $(patsubst %.c,%.o,$(wildcard src/train/compute_*.c))
MATH = $(patsubst %.c,%.o,$(wildcard src/math/*.c))
MODEL = $(patsubst %.c,%.o,$(wildcard src/model/*.c))
GLUE = $(patsubst %.c,%.o,$(wildcard src/pg/*.c src/type/*.c src/index/*.c src/store/*.c src/train/*.c src/serve/*.c))

OBJS = $(filter-out $(TRAIN_ONLY),$(MATH) $(MODEL) $(GLUE))
TRAIN_OBJS = $(sort $(MATH) $(MODEL) $(TRAIN_ONLY))

PG_CPPFLAGS = -Isrc -I. -DPGDLLEXPORT='__attribute__((visibility("default")))'
PG_CFLAGS = -std=gnu11 -fno-math-errno -Wno-declaration-after-statement
SHLIB_LINK = -lm -Wl,--version-script=src/recsys.map
EXTRA_CLEAN = recsys_train.so $(TRAIN_ONLY) test/unit/bin

# One file a feature. The server of make installcheck needs the extension
# installed; the tests find it created in their database.
REGRESS = $(patsubst sql/%.sql,%,$(wildcard sql/*.sql))
REGRESS_OPTS = --load-extension=recsys
ISOLATION = $(patsubst test/isolation/specs/%.spec,%,$(wildcard test/isolation/specs/*.spec))
# Some need a build that stops at named points, see src/pg/pg_pause.h.
ifeq (,$(findstring RECSYS_PAUSES,$(COPT)))
ISOLATION := $(filter-out %_pause,$(ISOLATION))
endif
ISOLATION_OPTS = --load-extension=recsys --inputdir=test/isolation

PG_CONFIG ?= pg_config
# Bitcode would need clang; the mathematics is compiled for its speed already.
override with_llvm = no
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# A server built with a newer compiler records warnings that this one may not
# know.
override CFLAGS := $(filter-out -Wmissing-variable-declarations,$(CFLAGS))

# The mathematics wants the vectoriser; the server's objects keep its flags.
$(MATH) $(MODEL): override CFLAGS += -O3 -fno-trapping-math -fvisibility=hidden

all: recsys_train.so

recsys_train.so: $(TRAIN_OBJS)
	$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,--version-script=src/recsys.map -o $@ $(TRAIN_OBJS) -lopenblas -lm

install: install-train
uninstall: uninstall-train

.PHONY: install-train uninstall-train
install-train: recsys_train.so
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)'
	$(INSTALL_SHLIB) recsys_train.so '$(DESTDIR)$(pkglibdir)/recsys_train.so'
uninstall-train:
	rm -f '$(DESTDIR)$(pkglibdir)/recsys_train.so'

# Unit tests of the pure C: programs without a server.
test/unit/bin/%: test/unit/%.c $(MATH) $(MODEL)
	@$(MKDIR_P) test/unit/bin
	$(CC) $(CFLAGS) -Isrc -Itest/unit -o $@ $< $(MATH) $(MODEL) -lopenblas -lpthread -lm

# Every object sees every header: the project is small, and a stale object is
# worse than a second of compiling.
HEADERS = $(wildcard src/*/*.h)
$(MATH) $(MODEL) $(GLUE): $(HEADERS) Makefile

endif
