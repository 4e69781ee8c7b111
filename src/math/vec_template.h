/*
 * vec_template.h
 *		The kernels, once more for every width of vector registers.
 *
 * A file that includes this has defined
 *	VEC_OPS		the name of its table
 *	VEC_TITLE	what the table calls itself
 *	W			lanes of float32 in a register: 4, 8 or 16
 *	MR			queries of a tile of the product: 4 or 8
 *	NV			registers of rows of a tile: MR * NV accumulators
 * and has switched on the instruction set. Vectors are those of the
 * compiler, not of one processor: W = 4 is SSE2 or NEON.
 *
 * Everything is static: one object must not lend its functions to another
 * one that is compiled for a lesser processor.
 */
#include "math/vec.h"

#include <string.h>

typedef float Vec __attribute__((vector_size(4 * W)));
typedef int32_t VecInt __attribute__((vector_size(4 * W)));
typedef float Vec4 __attribute__((vector_size(16)));
typedef int32_t Vec4Int __attribute__((vector_size(16)));
/* in memory, where they need no alignment */
typedef float VecAt __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef float Vec4At __attribute__((vector_size(16), aligned(4), may_alias));
/* half as many lanes, twice as wide: the same register */
typedef float VecHalf __attribute__((vector_size(2 * W)));
typedef float VecHalfAt
	__attribute__((vector_size(2 * W), aligned(4), may_alias));
typedef double VecDouble __attribute__((vector_size(4 * W)));

#define INLINE static inline __attribute__((always_inline))

INLINE Vec
load(const float *p)
{
	return *(const VecAt *) p;
}

INLINE Vec4
load4(const float *p)
{
	return *(const Vec4At *) p;
}

INLINE Vec
absolute(Vec a)
{
	return (Vec) ((VecInt) a & 0x7FFFFFFF);
}

INLINE Vec4
absolute4(Vec4 a)
{
	return (Vec4) ((Vec4Int) a & 0x7FFFFFFF);
}

/* a register to four lanes by adding up its quarters or halves */
INLINE Vec4
fold(Vec a)
{
#if W == 16
	typedef float Vec8 __attribute__((vector_size(32)));
	Vec8 half = __builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7) +
				__builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15);

	return __builtin_shufflevector(half, half, 0, 1, 2, 3) +
		   __builtin_shufflevector(half, half, 4, 5, 6, 7);
#elif W == 8
	return __builtin_shufflevector(a, a, 0, 1, 2, 3) +
		   __builtin_shufflevector(a, a, 4, 5, 6, 7);
#else
	return a;
#endif
}

INLINE float
sum4(Vec4 a)
{
	return (a[0] + a[2]) + (a[1] + a[3]);
}

/* the columns of four rows of four */
INLINE void
transpose4(Vec4 *a, Vec4 *b, Vec4 *c, Vec4 *d)
{
	Vec4 ab_low = __builtin_shufflevector(*a, *b, 0, 4, 1, 5);
	Vec4 ab_high = __builtin_shufflevector(*a, *b, 2, 6, 3, 7);
	Vec4 cd_low = __builtin_shufflevector(*c, *d, 0, 4, 1, 5);
	Vec4 cd_high = __builtin_shufflevector(*c, *d, 2, 6, 3, 7);

	*a = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
	*b = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
	*c = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
	*d = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

/*
 * The sum over i of TERM(a[i], b[i]) with four registers of partial sums,
 * then one, then four lanes, then single floats.
 */
#define REDUCE(TERM, TERM4, TERM1)                                             \
	Vec s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};                                \
	Vec4 t;                                                                    \
	float s;                                                                   \
	int i = 0;                                                                 \
                                                                               \
	for (; i + 4 * W <= n; i += 4 * W)                                         \
	{                                                                          \
		s0 += TERM(load(a + i), load(b + i));                                  \
		s1 += TERM(load(a + i + W), load(b + i + W));                          \
		s2 += TERM(load(a + i + 2 * W), load(b + i + 2 * W));                  \
		s3 += TERM(load(a + i + 3 * W), load(b + i + 3 * W));                  \
	}                                                                          \
	for (; i + W <= n; i += W)                                                 \
		s0 += TERM(load(a + i), load(b + i));                                  \
	t = fold((s0 + s1) + (s2 + s3));                                           \
	for (; i + 4 <= n; i += 4)                                                 \
		t += TERM4(load4(a + i), load4(b + i));                                \
	s = sum4(t);                                                               \
	/* at most three are left: said so that no vector loop is made of it */    \
	for (int left = n & 3; left > 0; left--, i++)                              \
		s += TERM1(a[i], b[i]);                                                \
	return s

#define PRODUCT(x, y) ((x) * (y))
#define SQUARE(x, y) (((x) - (y)) * ((x) - (y)))
#define DISTANCE(x, y) absolute((x) - (y))
#define DISTANCE4(x, y) absolute4((x) - (y))
#define DISTANCE1(x, y) __builtin_fabsf((x) - (y))

static float
dot(const float *a, const float *b, int n)
{
	REDUCE(PRODUCT, PRODUCT, PRODUCT);
}

static float
l2_squared(const float *a, const float *b, int n)
{
	REDUCE(SQUARE, SQUARE, SQUARE);
}

static float
l1(const float *a, const float *b, int n)
{
	REDUCE(DISTANCE, DISTANCE4, DISTANCE1);
}

static void
cosine_sums(const float *a, const float *b, int n, float *ab, float *aa,
			float *bb)
{
	Vec sab = {0}, saa = {0}, sbb = {0};
	Vec sab2 = {0}, saa2 = {0}, sbb2 = {0};
	Vec4 tab, taa, tbb, none = {0};
	int i = 0;

	for (; i + 2 * W <= n; i += 2 * W)
	{
		Vec x = load(a + i), y = load(b + i);
		Vec x2 = load(a + i + W), y2 = load(b + i + W);

		sab += x * y;
		saa += x * x;
		sbb += y * y;
		sab2 += x2 * y2;
		saa2 += x2 * x2;
		sbb2 += y2 * y2;
	}
	for (; i + W <= n; i += W)
	{
		Vec x = load(a + i), y = load(b + i);

		sab += x * y;
		saa += x * x;
		sbb += y * y;
	}
	tab = fold(sab + sab2);
	taa = fold(saa + saa2);
	tbb = fold(sbb + sbb2);
	for (; i + 4 <= n; i += 4)
	{
		Vec4 x = load4(a + i), y = load4(b + i);

		tab += x * y;
		taa += x * x;
		tbb += y * y;
	}
	transpose4(&tab, &taa, &tbb, &none);
	tab = (tab + taa) + (tbb + none);
	*ab = tab[0];
	*aa = tab[1];
	*bb = tab[2];
	for (int left = n & 3; left > 0; left--, i++)
	{
		*ab += a[i] * b[i];
		*aa += a[i] * a[i];
		*bb += b[i] * b[i];
	}
}

/* four rows at once: one load of q for four products */
INLINE Vec4
dot_four(const float *q, const float *rows, int dim, size_t stride)
{
	const float *r0 = rows, *r1 = r0 + stride;
	const float *r2 = r1 + stride, *r3 = r2 + stride;
	Vec s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
	Vec4 t0, t1, t2, t3;
	int i = 0;

	for (; i + W <= dim; i += W)
	{
		Vec x = load(q + i);

		s0 += x * load(r0 + i);
		s1 += x * load(r1 + i);
		s2 += x * load(r2 + i);
		s3 += x * load(r3 + i);
	}
	t0 = fold(s0);
	t1 = fold(s1);
	t2 = fold(s2);
	t3 = fold(s3);
	for (; i + 4 <= dim; i += 4)
	{
		Vec4 x = load4(q + i);

		t0 += x * load4(r0 + i);
		t1 += x * load4(r1 + i);
		t2 += x * load4(r2 + i);
		t3 += x * load4(r3 + i);
	}
	transpose4(&t0, &t1, &t2, &t3);
	t0 = (t0 + t1) + (t2 + t3);
	for (int left = dim & 3; left > 0; left--, i++)
	{
		Vec4 column = {r0[i], r1[i], r2[i], r3[i]};

		t0 += q[i] * column;
	}
	return t0;
}

static void
dot_many(const float *q, const float *rows, int n_rows, int dim, int stride,
		 float *out)
{
	int r = 0;

	/* long rows come from memory faster one after the other */
	for (; dim < 128 && r + 4 <= n_rows; r += 4)
		*(Vec4At *) (out + r) =
			dot_four(q, rows + (size_t) r * stride, dim, (size_t) stride);
	for (; r < n_rows; r++)
		out[r] = dot(q, rows + (size_t) r * stride, dim);
}

/*
 * The product of blocks. Queries and rows are copied into panels in which
 * the coordinate is the slow index, so that a tile's loop reads both in
 * order:
 *
 *	query panel	[k][MR]			row panel	[k][NR]
 *
 * A block of queries stays packed (QUERY_PANEL floats, in the second level
 * of cache) while the rows go by, one panel (ROW_PANEL) at a time. Missing
 * queries and rows are zeros in the panels and are not stored.
 */
#define NR (NV * W)
#define KC 256 /* coordinates of a panel */
#define QUERY_PANEL (64 * KC)
#define ROW_PANEL (NR * KC)

/* n <= width rows of src, kc columns, into panel (kc, width); width % 4 = 0 */
static void
pack(const float *src, int n, int ld, int kc, int width, float *panel)
{
	static const float zero[KC];

	for (int r = 0; r < width; r += 4)
	{
		const float *p[4];
		float *to = panel + r;
		int k = 0;

		for (int i = 0; i < 4; i++)
			p[i] = r + i < n ? src + (size_t) (r + i) * ld : zero;
		for (; k + 4 <= kc; k += 4, to += 4 * width)
		{
			Vec4 a = load4(p[0] + k), b = load4(p[1] + k);
			Vec4 c = load4(p[2] + k), d = load4(p[3] + k);

			transpose4(&a, &b, &c, &d);
			*(Vec4At *) to = a;
			*(Vec4At *) (to + width) = b;
			*(Vec4At *) (to + 2 * width) = c;
			*(Vec4At *) (to + 3 * width) = d;
		}
		for (; k < kc; k++, to += width)
			for (int i = 0; i < 4; i++)
				to[i] = p[i][k];
	}
}

/* out (m, n) = a tile of which not all is wanted; added when add is set */
static void
store_part(const float *sums, float *out, int ldo, int m, int n, int add)
{
	for (int i = 0; i < m; i++, out += ldo, sums += NR)
		for (int j = 0; j < n; j++)
			out[j] = add ? out[j] + sums[j] : sums[j];
}

/* tile (m, n) of out += queries panel (kc, height) times rows panel (kc, NR) */
INLINE void
tile(const int height, int kc, const float *queries, const float *rows,
	 float *out, int ldo, int m, int n, int add)
{
	Vec sums[MR][NV];

	memset(sums, 0, sizeof(sums));
	for (int k = 0; k < kc; k++, queries += height, rows += NR)
	{
		Vec r[NV];

#pragma GCC unroll 4
		for (int v = 0; v < NV; v++)
			r[v] = load(rows + v * W);
#pragma GCC unroll 12
		for (int i = 0; i < height; i++)
#pragma GCC unroll 4
			for (int v = 0; v < NV; v++)
				sums[i][v] += r[v] * queries[i];
	}
	if (m < height || n < NR)
	{
		float whole[MR * NR];

#pragma GCC unroll 12
		for (int i = 0; i < height; i++)
#pragma GCC unroll 4
			for (int v = 0; v < NV; v++)
				*(VecAt *) (whole + i * NR + v * W) = sums[i][v];
		store_part(whole, out, ldo, m, n, add);
		return;
	}
#pragma GCC unroll 12
	for (int i = 0; i < height; i++, out += ldo)
#pragma GCC unroll 4
		for (int v = 0; v < NV; v++)
			*(VecAt *) (out + v * W) =
				add ? load(out + v * W) + sums[i][v] : sums[i][v];
}

static void
tile_tall(int kc, const float *queries, const float *rows, float *out, int ldo,
		  int m, int n, int add)
{
	tile(MR, kc, queries, rows, out, ldo, m, n, add);
}

static void
tile_low(int kc, const float *queries, const float *rows, float *out, int ldo,
		 int m, int n, int add)
{
	tile(4, kc, queries, rows, out, ldo, m, n, add);
}

/* queries left to the height of the next tile: MR while they last, then 4 */
INLINE int
tile_height(int left)
{
	return left > MR - 4 ? MR : 4;
}

/* a block of nq queries, packed, times all rows */
static void
gemm_block(const float *queries, int nq, int kc, const float *rows, int nr,
		   int ldr, float *out, int ldo, int add)
{
	float panel[ROW_PANEL] __attribute__((aligned(64)));

	for (int j = 0; j < nr; j += NR)
	{
		const float *q = queries;
		int n = nr - j < NR ? nr - j : NR;

		pack(rows + (size_t) j * ldr, n, ldr, kc, NR, panel);
		for (int i = 0; i < nq;)
		{
			int height = tile_height(nq - i);
			float *to = out + (size_t) i * ldo + j;
			int m = nq - i < height ? nq - i : height;

			if (height == MR)
				tile_tall(kc, q, panel, to, ldo, m, n, add);
			else
				tile_low(kc, q, panel, to, ldo, m, n, add);
			q += height * kc;
			i += height;
		}
	}
}

static void
gemm_nt(const float *q, int nq, int ldq, const float *rows, int nr, int ldr,
		int dim, float *out, int ldo)
{
	float panel[QUERY_PANEL] __attribute__((aligned(64)));
	int k = 0;

	if (nq < 4 || dim == 0)
	{
		for (int i = 0; i < nq; i++)
			dot_many(q + (size_t) i * ldq, rows, nr, dim, ldr,
					 out + (size_t) i * ldo);
		return;
	}
	for (; k < dim; k += KC)
	{
		int kc = dim - k < KC ? dim - k : KC;
		int block = QUERY_PANEL / kc / MR * MR;

		for (int i = 0; i < nq; i += block)
		{
			int n = nq - i < block ? nq - i : block;
			float *to = panel;

			for (int h, done = 0; done < n; done += h, to += h * kc)
			{
				h = tile_height(n - done);
				pack(q + (size_t) (i + done) * ldq + k,
					 n - done < h ? n - done : h, ldq, kc, h, to);
			}
			gemm_block(panel, n, kc, rows + k, nr, ldr, out + (size_t) i * ldo,
					   ldo, k > 0);
		}
	}
}

/*
 * exp by 2^n * e^r with |r| <= ln(2)/2: Taylor's series to r^7, whose rest
 * is below 6e-9. 2^n is made in the exponent's bits, halved so that 2^128
 * does not overflow too early.
 */
#define EXP_LOW (-86.9f)
#define EXP_HIGH 88.72283f

INLINE Vec
exponential(Vec x)
{
	const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds */
	Vec t = x * 1.44269504f + shift;
	Vec n = t - shift;
	Vec r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
	Vec y = r * (1.0f / 5040) + 1.0f / 720;
	VecInt scale = (((VecInt) t - 0x4B400000) + 126) << 23;

	y = y * r + 1.0f / 120;
	y = y * r + 1.0f / 24;
	y = y * r + 1.0f / 6;
	y = y * r + 0.5f;
	y = y * r + 1.0f;
	y = y * r + 1.0f;
	y = y * (Vec) scale * 2;
	/* lanes below the range become 0, above Infinity; NaN is neither */
	return (Vec) (((VecInt) y & ~((x < EXP_LOW) | (x > EXP_HIGH))) |
				  ((x > EXP_HIGH) & 0x7F800000));
}

static float
exp_sum(const float *x, int n, float max, float *out)
{
	Vec s = {0};
	float sum = 0;
	int i = 0;

	for (; i + W <= n; i += W)
	{
		Vec y = exponential(load(x + i) - max);

		*(VecAt *) (out + i) = y;
		s += y;
	}
	if (i < n)
	{
		Vec y = {0};

		memcpy(&y, x + i, sizeof(float) * (size_t) (n - i));
		y = exponential(y - max);
		memcpy(out + i, &y, sizeof(float) * (size_t) (n - i));
		for (int j = 0; j < n - i; j++)
			sum += y[j];
	}
	return sum + sum4(fold(s));
}

static void
axpy(float alpha, const float *x, float *y, int n)
{
	int i = 0;

	for (; i + W <= n; i += W)
		*(VecAt *) (y + i) = load(y + i) + alpha * load(x + i);
	for (; i < n; i++)
		y[i] += alpha * x[i];
}

INLINE double
sum_double(VecDouble a)
{
#if W == 16
	typedef double VecDouble4 __attribute__((vector_size(32)));
	VecDouble4 half = __builtin_shufflevector(a, a, 0, 1, 2, 3) +
					  __builtin_shufflevector(a, a, 4, 5, 6, 7);

	return (half[0] + half[2]) + (half[1] + half[3]);
#elif W == 8
	return (a[0] + a[2]) + (a[1] + a[3]);
#else
	return a[0] + a[1];
#endif
}

INLINE double
sum_products(const float *a, const float *b, int n)
{
	VecDouble s0 = {0}, s1 = {0};
	double s;
	int i = 0;

	for (; i + W <= n; i += W)
	{
		VecHalf a0 = *(const VecHalfAt *) (a + i);
		VecHalf b0 = *(const VecHalfAt *) (b + i);
		VecHalf a1 = *(const VecHalfAt *) (a + i + W / 2);
		VecHalf b1 = *(const VecHalfAt *) (b + i + W / 2);

		s0 += __builtin_convertvector(a0, VecDouble) *
			  __builtin_convertvector(b0, VecDouble);
		s1 += __builtin_convertvector(a1, VecDouble) *
			  __builtin_convertvector(b1, VecDouble);
	}
	s = sum_double(s0 + s1);
	for (; i < n; i++)
		s += (double) a[i] * b[i];
	return s;
}

static double
dot_double(const float *a, const float *b, int n)
{
	return sum_products(a, b, n);
}

static double
squares_double(const float *a, int n)
{
	return sum_products(a, a, n);
}

const VecOps VEC_OPS = {
	VEC_TITLE, dot,     l2_squared, l1,         cosine_sums,    dot_many,
	gemm_nt,   exp_sum, axpy,       dot_double, squares_double,
};
