/*
 * job.h
 *		A whole training as pure C: interactions in, embeddings out.
 *
 * The leader (src/train) reads the rating table, gives users and items dense
 * numbers in the order of their keys, and puts the arrays of JobInput into
 * one shared block. Every compute worker then calls job_run with the same
 * block and its own rank. What comes out lies in the same block and is
 * described by JobOutput; the leader writes it into the model's tables.
 *
 *	block:	JobShared | input arrays | arena of job_run (results inside)
 *
 * Addresses differ between processes, so everything in JobShared that points
 * into the block is a byte offset from the start of JobShared; 0 means "not
 * there". job_at turns an offset into a pointer.
 */
#ifndef RECSYS_JOB_H
#define RECSYS_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "math/status.h"
#include "math/team.h"

#define JOB_MAGIC 0x72656373
#define JOB_MAX_HIDDEN 8
#define JOB_MAX_CROSS 8
#define JOB_MAX_HISTORY 1000
#define JOB_MAX_PARAMS 80 /* of both stages with the most layers: 73 */
#define JOB_MAX_METRICS 32
#define JOB_MAX_LOG 1024
#define JOB_MAX_FEATURE_GROUPS 64

typedef enum JobPreset
{
	PRESET_DEFAULT, /* the best that we know for the data at hand */
	PRESET_TFRS,    /* the tutorial to the letter, learning.md A */
	PRESET_BEST     /* quality before time */
} JobPreset;

typedef enum JobOptimizer
{
	OPTIMIZER_AUTO,
	OPTIMIZER_SGD,
	OPTIMIZER_ADAGRAD,
	OPTIMIZER_ADAM
} JobOptimizer;

typedef enum JobLoss
{
	LOSS_AUTO,
	LOSS_SOFTMAX, /* retrieval: in-batch or sampled softmax */
	LOSS_IALS,    /* retrieval: implicit ALS, closed form */
	LOSS_MSE,     /* ranking: MLP */
	LOSS_BINARY,  /* ranking: MLP, clicks */
	LOSS_GIBBS,   /* ranking: Bayesian factorization machine */
	LOSS_ORDINAL, /* ranking: the same with ordinal probit */
	LOSS_SGD      /* ranking: biased matrix factorization */
} JobLoss;

typedef enum JobSplit
{
	SPLIT_RANDOM, /* uniformly among interactions, by the seed */
	SPLIT_TIME,   /* the newest interactions */
	SPLIT_LAST    /* each user's newest interaction */
} JobSplit;

/* how a rating is compared to tell interest; all rows are of interest by 0 */
typedef enum JobPositive
{
	POSITIVE_ALL,
	POSITIVE_GE,
	POSITIVE_GT,
	POSITIVE_LE,
	POSITIVE_LT,
	POSITIVE_EQ,
	POSITIVE_NE
} JobPositive;

static inline bool
job_is_positive(JobPositive kind, float value, float rating)
{
	switch (kind)
	{
		case POSITIVE_GE:
			return rating >= value;
		case POSITIVE_GT:
			return rating > value;
		case POSITIVE_LE:
			return rating <= value;
		case POSITIVE_LT:
			return rating < value;
		case POSITIVE_EQ:
			return rating == value;
		case POSITIVE_NE:
			return rating != value;
		default:
			return true;
	}
}

extern const char *const job_comparisons[7]; /* by JobPositive */

/*
 * Hyperparameters. Zero (NAN for floats, AUTO for enums) means: chosen by
 * the preset and the data. Checked by the leader before it gets here.
 */
typedef struct JobConfig
{
	bool retrieval;
	bool ranking;
	JobPreset preset;
	JobLoss loss;           /* retrieval learner */
	JobLoss ranking_loss;   /* ranking learner */
	JobOptimizer optimizer; /* for the learners by gradient */
	int dim;                /* of the embeddings */
	int n_hidden;           /* -1: by preset; 0: none */
	int hidden[JOB_MAX_HIDDEN];
	int cross_layers; /* of the rating network, before the hidden ones */
	int history;    /* towers with hidden layers: last items of a user that are
				  * pooled as a feature of his; 0, -1: none */
	int epochs;     /* of gradient or ALS learners; sweeps of Gibbs */
	int batch_size; /* interactions */
	int negatives;  /* sampled for each batch, beside in-batch; -1: auto */
	int hard_negatives; /* only so many of the hardest count; -1: all */
	int patience;       /* epochs without improvement before stopping; 0: never
				   * stop early; -1: auto */
	uint64_t seed;
	JobSplit split;
	float valid_fraction; /* held out for metrics and stopping; NAN: auto */
	float learning_rate;
	float temperature;    /* of the softmax; NAN: auto, 1: none */
	float regularization; /* lambda */
	float alpha0;         /* iALS: weight of unobserved pairs */
	float min_rating;     /* clamp of predictions; NAN: from the data */
	float max_rating;
	int logq;       /* 1: logQ correction, 0: not, -1: auto */
	int accidental; /* 1: remove accidental hits, 0: not, -1: auto */
	int normalize;  /* 1: cosine towers, 0: not, -1: auto */
	int refit;      /* 1: after validation train on all rows; -1: auto */
	int implicit;   /* Gibbs: 1: what a user rated is a feature of him, and who
				   * rated an item one of it; 0: not; -1: where there are enough */
	JobPositive positive_kind; /* rows of interest: how the rating */
	float positive_value;      /* compares with this one */
	double max_seconds;        /* wall clock bound, 0: none */
} JobConfig;

/*
 * Which of the options that only some learners take. An option that asks for
 * what a learner does anyway counts as taken.
 */
enum
{
	JOB_TAKES_RATE = 1 << 0, /* learning_rate */
	JOB_TAKES_BATCH = 1 << 1,
	JOB_TAKES_OPTIMIZER = 1 << 2,
	JOB_TAKES_TEMPERATURE = 1 << 3,
	JOB_TAKES_NEGATIVES = 1 << 4,
	JOB_TAKES_HARD = 1 << 5,
	JOB_TAKES_LOGQ = 1 << 6,
	JOB_TAKES_ACCIDENTAL = 1 << 7,
	JOB_TAKES_NORMALIZE = 1 << 8,
	JOB_TAKES_RIDGE = 1 << 9, /* regularization */
	JOB_TAKES_ALPHA0 = 1 << 10,
	JOB_TAKES_IMPLICIT = 1 << 11,
	JOB_TAKES_HIDDEN = 1 << 12,
	JOB_TAKES_CROSS = 1 << 13,
	JOB_TAKES_PATIENCE = 1 << 14,
	JOB_TAKES_REFIT = 1 << 15,
	JOB_TAKES_CLAMP = 1 << 16 /* min_rating, max_rating */
};

/* stages whose learner knows nothing of the features that there are */
enum
{
	JOB_BLIND_RETRIEVAL = 1,
	JOB_BLIND_RANKING = 2
};

/*
 * '>= 4', '4' ("at least"): a comparison of the rating with a number, into
 * positive_kind and positive_value
 */
extern bool job_positive_read(const char *text, JobConfig *config);

/*
 * Is the rating network to be trained in the ranking stage? By ranking_loss
 * "mse" and the preset of the tutorial, by cross layers, by hidden layers where
 * there are no towers; with ranking_loss "binary" by any hidden layers, optimizer,
 * learning rate or batch size.
 */
extern bool job_wants_network(const JobConfig *config);

/* the label of a click: what counts as interest, else what is above zero */
static inline bool
job_label(const JobConfig *config, float rating)
{
	if (config->positive_kind == POSITIVE_ALL)
		return rating > 0;
	return job_is_positive(config->positive_kind, config->positive_value,
						   rating);
}

/*
 * Features of users or items: a CSR matrix of encoded columns. A categorical
 * feature gives one column a value (val 1), a multi-valued one a column an
 * element, a numeric one buckets or one standardised column, a vector one
 * column a coordinate. Columns of one SQL feature form a group.
 */
typedef struct JobFeatures
{
	int32_t n_rows; /* users, items or interactions; 0: no features */
	int32_t n_cols;
	int32_t n_groups;
	int32_t group_start[JOB_MAX_FEATURE_GROUPS + 1]; /* first column of each */
	int64_t nnz;                                     /* stored values */
	size_t ptr;                                      /* int64 (n_rows + 1) */
	size_t col;                                      /* int32 (nnz) */
	size_t val;                                      /* float (nnz) */
} JobFeatures;

/*
 * Interactions as read, in any order; duplicates of (user, item) may occur.
 * The result must not depend on the order of the rows, except that "last"
 * among rows of equal time means last read. job_run may overwrite user.
 */
typedef struct JobInput
{
	int64_t n;
	int64_t n_pairs; /* distinct ones of user and item, about; 0: n */
	int32_t n_users;
	int32_t n_items;
	size_t user;   /* int32 (n) */
	size_t item;   /* int32 (n) */
	size_t rating; /* float (n), finite; 0: implicit feedback */
	size_t time;   /* double (n), seconds since 1970; 0: no time column */
	JobFeatures users;
	JobFeatures items;
	JobFeatures context; /* of each interaction */
} JobInput;

/* in a log of events pairs occur many times, and learners see them once */
static inline int64_t
job_pairs(const JobInput *in)
{
	return in->n_pairs > 0 ? in->n_pairs : in->n;
}

/* how predictions come out of stored ranking vectors */
typedef enum JobRanking
{
	RANKING_NONE = 0,
	RANKING_FACTOR, /* link(<user vector, item vector>) */
	RANKING_MLP     /* layers over the concatenated vectors */
} JobRanking;

/*
 * A named parameter array, float32, row-major. For RANKING_MLP: "kernel_0"
 * (in, out), "bias_0" (out), "kernel_1" and so on, relu between layers.
 * For RANKING_FACTOR: "clamp" (2) = least and greatest rating; "cutpoints"
 * (levels - 1), "levels" (levels) and "variance" (1) when the link is
 * ordinal: E[r] = levels[0] + sum_j (levels[j+1] - levels[j]) *
 * Phi((score - cutpoints[j]) / sqrt(1 + variance)); without them the link is
 * the identity. "noise" (1) = 1: the last coordinate of both vectors is no
 * part of the score; the product of the two takes the place of the 1 beside
 * variance. "logistic" (1) = 1 when the answer is a probability. Both
 * kinds: "user_mean" and "item_mean", the vectors to take for an unknown user
 * or item. RANKING_MLP with cross layers (x <- x0 * (x W + b) + x) before the
 * others: "cross_kernel_0" (d, d), "cross_bias_0" (d) and so on.
 * Of the retrieval stage: "ials" = lambda, alpha0, the number of models whose
 * vectors lie side by side and so on (fold_in.h), for solving for a new user.
 * predict.h evaluates all of this.
 */
typedef struct JobParam
{
	char name[32];
	int ndim;
	int shape[4];
	size_t data; /* float (product of shape) */
} JobParam;

typedef struct JobMetric
{
	char name[24]; /* recall, ndcg, accuracy, precision, mrr, rmse, mae ... */
	int k;         /* 0 when the metric has none */
	double value;
	double baseline; /* most popular, or damped user + item bias */
} JobMetric;

typedef struct JobLog
{
	char stage[12]; /* retrieval, ranking */
	int epoch;      /* from 1 */
	double train_loss;
	char metric[24]; /* validation metric watched, "" when none */
	double value;
	double seconds; /* since the job began */
} JobLog;

/* live figures, written by rank 0 without locks; readers may see a mix */
typedef struct JobProgress
{
	char phase[16]; /* waiting, building, retrieval, ranking, evaluating ... */
	int epoch;
	int epochs;
	int64_t batch;
	int64_t batches;
	double loss;
	double rate; /* interactions a second */
} JobProgress;

typedef struct JobOutput
{
	int64_t n_interactions; /* after removal of duplicates */
	int64_t n_duplicates;
	int epochs;           /* done, of the stage that matters most */
	int retrieval_epochs; /* that its vectors have had */

	int dim;            /* of the retrieval vectors, bias folded in; 0: none */
	size_t user_vector; /* float (n_users, dim) */
	size_t item_vector; /* float (n_items, dim): <u, i> is the score */
	size_t item_count;  /* int32 (n_items): interactions, for popularity */
	size_t user_count;  /* int32 (n_users) */

	/*
	 * What features say of somebody without interactions: his vector is the
	 * last row and the value of each encoded column times its row. 0: the
	 * learner knows no features of that side.
	 */
	size_t user_map; /* float (columns of the users' features + 1, dim) */
	size_t item_map;

	JobRanking ranking;
	int user_ranking_dim;
	int item_ranking_dim;
	size_t user_ranking;     /* float (n_users, user_ranking_dim) */
	size_t item_ranking;     /* float (n_items, item_ranking_dim) */
	size_t user_ranking_map; /* as user_map, of the ranking vectors */
	size_t item_ranking_map;

	/*
	 * What an encoded column of the context adds, times its value: to a
	 * user's vector (with hidden: to the input of the users' tower), to a
	 * user's and to an item's ranking vector. 0: the learner knows none.
	 */
	size_t context_map;      /* float (columns of the context, dim) */
	size_t context_user_map; /* float (columns, user_ranking_dim) */
	size_t context_item_map; /* float (columns, item_ranking_dim) */

	int n_params;
	JobParam params[JOB_MAX_PARAMS];
	int n_metrics;
	JobMetric metrics[JOB_MAX_METRICS];
	int takes;        /* JOB_TAKES_..., of the learners that ran */
	int most_dim;     /* where dim was cut to it, else 0 */
	int blind;        /* JOB_BLIND_... */
	char choice[512]; /* what the default chose and why, one or two sentences */
	char problem[256]; /* why job_run failed, or a warning when it did not */
} JobOutput;

typedef struct JobShared
{
	uint32_t magic;
	int32_t workers;
	size_t size;  /* bytes of the whole block */
	size_t arena; /* where job_run may allocate from */
	TeamShared team;
	JobConfig config;
	JobInput input;
	JobProgress progress;
	JobOutput output;
	int32_t n_log;
	JobLog log[JOB_MAX_LOG];
} JobShared;

static inline void *
job_at(const JobShared *job, size_t offset)
{
	return offset == 0 ? NULL : (char *) job + offset;
}

static inline size_t
job_offset(const JobShared *job, const void *ptr)
{
	return ptr == NULL ? 0 : (size_t) ((const char *) ptr - (const char *) job);
}

/*
 * Bytes of arena that job_run will need at most for this config and input
 * (only the counts of input are read). SIZE_MAX when it would overflow.
 */
extern size_t job_arena_size(const JobConfig *config, const JobInput *input,
							 int workers);

/*
 * Whether a column of the input is read at all, given that there is one
 * (its offset is not 0). One that is not need not be in the block.
 */
extern bool job_reads_ratings(const JobConfig *config, const JobInput *input);
extern bool job_reads_times(const JobConfig *config, const JobInput *input);

/*
 * Train. Called by every member of the team with the same job. RS_OK, or the
 * reason why the whole team stopped, with output.problem set.
 */
extern RsStatus job_run(Team *team, JobShared *job);

/* append to the log; rank 0 only */
extern void job_log(JobShared *job, const char *stage, int epoch, double loss,
					const char *metric, double value, double seconds);

#endif
