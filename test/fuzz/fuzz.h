/*
 * fuzz.h
 *		What a fuzz target is made of, and a driver for it without libFuzzer.
 *
 * A target defines LLVMFuzzerTestOneInput, which takes any bytes and calls
 * FUZZ_CHECK on what must hold. With clang's -fsanitize=fuzzer the driver is
 * libFuzzer's; compiled with -DFUZZ_STANDALONE it is the one below, which
 * knows the same two arguments:
 *
 *	target [-max_total_time=SECONDS] [-seed=N] SEEDS...
 *
 * SEEDS are files or folders of files, run once and then changed at random.
 */
#ifndef RECSYS_FUZZ_H
#define RECSYS_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition)                                                  \
	do                                                                         \
	{                                                                          \
		if (!(condition))                                                      \
		{                                                                      \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);    \
			abort();                                                           \
		}                                                                      \
	} while (0)

#ifdef FUZZ_STANDALONE

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "math/rng.h"

#define FUZZ_MAX_SEEDS 1000
#define FUZZ_MAX_SIZE 8192

typedef struct FuzzInput
{
	uint8_t data[FUZZ_MAX_SIZE];
	size_t size;
} FuzzInput;

static FuzzInput *fuzz_seeds[FUZZ_MAX_SEEDS];
static int fuzz_n_seeds;
static FuzzInput fuzz_now; /* what is being run, for a report */

static void
fuzz_report(int signal_number)
{
	FILE *file = fopen("crash-input", "wb");

	if (file != NULL)
	{
		fwrite(fuzz_now.data, 1, fuzz_now.size, file);
		fclose(file);
	}
	fprintf(stderr, "signal %d; the input is in crash-input\n", signal_number);
	_exit(1);
}

static void
fuzz_add_file(const char *path)
{
	FuzzInput *seed;
	FILE *file = fopen(path, "rb");

	if (file == NULL || fuzz_n_seeds == FUZZ_MAX_SEEDS)
		return;
	seed = calloc(1, sizeof(FuzzInput));
	seed->size = fread(seed->data, 1, FUZZ_MAX_SIZE, file);
	fclose(file);
	fuzz_seeds[fuzz_n_seeds++] = seed;
}

static void
fuzz_add(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);

	if (dir == NULL)
	{
		fuzz_add_file(path);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
	{
		char name[4096];
		struct stat st;

		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (stat(name, &st) == 0 && S_ISREG(st.st_mode))
			fuzz_add_file(name);
	}
	closedir(dir);
}

/* size bytes of another seed, or of the input itself, go in at a place */
static void
fuzz_insert(FuzzInput *input, const FuzzInput *from, Rng *rng)
{
	size_t start = rng_below(rng, from->size + 1);
	size_t n = rng_below(rng, from->size - start + 1);
	size_t at = rng_below(rng, input->size + 1);
	uint8_t piece[FUZZ_MAX_SIZE];

	if (n > FUZZ_MAX_SIZE - input->size)
		n = FUZZ_MAX_SIZE - input->size;
	memcpy(piece, from->data + start, n);
	memmove(input->data + at + n, input->data + at, input->size - at);
	memcpy(input->data + at, piece, n);
	input->size += n;
}

static void
fuzz_mutate(FuzzInput *input, Rng *rng)
{
	static const char common[] = "[], \t+-.eExX0123456789aAnNfFiI\n\0\377\200";
	size_t at = input->size > 0 ? rng_below(rng, input->size) : 0;

	switch (rng_below(rng, 7))
	{
		case 0:
			if (input->size > 0)
				input->data[at] ^= (uint8_t) (1 << rng_below(rng, 8));
			break;
		case 1:
			if (input->size > 0)
				input->data[at] = (uint8_t) rng_below(rng, 256);
			break;
		case 2:
			if (input->size > 0)
				input->data[at] =
					(uint8_t) common[rng_below(rng, sizeof(common))];
			break;
		case 3: /* the end goes */
			input->size = at;
			break;
		case 4: /* a piece goes */
			if (input->size > 0)
			{
				size_t n = 1 + rng_below(rng, input->size - at);

				memmove(input->data + at, input->data + at + n,
						input->size - at - n);
				input->size -= n;
			}
			break;
		case 5:
			fuzz_insert(input, input, rng);
			break;
		default:
			fuzz_insert(input,
						fuzz_seeds[rng_below(rng, (uint64_t) fuzz_n_seeds)],
						rng);
	}
}

static void
fuzz_run(const FuzzInput *input)
{
	/* exactly as long as the input, so that a sanitizer sees its end */
	uint8_t *copy = malloc(input->size > 0 ? input->size : 1);

	memcpy(copy, input->data, input->size);
	LLVMFuzzerTestOneInput(copy, input->size);
	free(copy);
}

int
main(int argc, char **argv)
{
	int seconds = 5;
	unsigned long seed = 1, runs = 0;
	time_t end;
	Rng rng;

	for (int i = 1; i < argc; i++)
		if (sscanf(argv[i], "-max_total_time=%d", &seconds) != 1 &&
			sscanf(argv[i], "-seed=%lu", &seed) != 1 && argv[i][0] != '-')
			fuzz_add(argv[i]);
	if (fuzz_n_seeds == 0)
		fuzz_seeds[fuzz_n_seeds++] = calloc(1, sizeof(FuzzInput));
	signal(SIGABRT, fuzz_report);
	signal(SIGSEGV, fuzz_report);
	rng_init(&rng, seed, 0);
	end = time(NULL) + seconds;
	for (; runs < (unsigned long) fuzz_n_seeds || time(NULL) < end; runs++)
	{
		fuzz_now = runs < (unsigned long) fuzz_n_seeds
					   ? *fuzz_seeds[runs]
					   : *fuzz_seeds[rng_below(&rng, (uint64_t) fuzz_n_seeds)];
		if (runs >= (unsigned long) fuzz_n_seeds)
			for (uint64_t n = 1 + rng_below(&rng, 6); n > 0; n--)
				fuzz_mutate(&fuzz_now, &rng);
		fuzz_run(&fuzz_now);
	}
	printf("%lu inputs\n", runs);
	return 0;
}

#endif
#endif
