/*
 * dense_body.h
 *		The kernels of dense.h, included by dense.c once a processor level.
 *
 * The includer defines VL (floats in a vector), FN(name) (suffix) and MR
 * (rows of the tile of a product that stays in registers).
 */

typedef float FN(vf) __attribute__((vector_size(VL * 4), aligned(4)));
typedef int32_t FN(vi) __attribute__((vector_size(VL * 4), aligned(4)));
#define VF FN(vf)
#define VI FN(vi)

static inline VF
FN(load)(const float *p)
{
	return *(const VF *) p;
}

static inline void
FN(store)(float *p, VF v)
{
	*(VF *) p = v;
}

static inline VF
FN(splat)(float x)
{
	return x - (VF){0};
}

static inline float
FN(sum)(VF v)
{
	float s[VL];
	int h = VL / 2;

	memcpy(s, &v, sizeof(s));
	for (; h > 0; h /= 2)
		for (int i = 0; i < h; i++)
			s[i] += s[i + h];
	return s[0];
}

static inline VF
FN(vmax)(VF a, VF b)
{
	VI m = a > b;

	return (VF) ((m & (VI) a) | (~m & (VI) b));
}

/*
 * exp for x <= 0: 2^n times a polynomial of the rest. Below -87 the answer
 * is about 1e-38, which is zero to every user of it.
 */
static inline VF
FN(vexp)(VF x)
{
	const VF magic = FN(splat)(12582912.0f); /* 1.5 * 2^23 */
	VF t;
	VF r;
	VF p;
	VI e;

	x = FN(vmax)(x, FN(splat)(-87.0f));
	t = x * 1.44269504f + magic;
	e = ((VI) t - (VI) magic) << 23;
	t = t - magic;
	r = x - t * 0.693359375f;
	r = r + t * 2.12194440e-4f;
	p = FN(splat)(1.9875691500e-4f);
	p = p * r + 1.3981999507e-3f;
	p = p * r + 8.3334519073e-3f;
	p = p * r + 4.1665795894e-2f;
	p = p * r + 1.6666665459e-1f;
	p = p * r + 5.0000001201e-1f;
	p = p * r * r + r + 1.0f;
	return (VF) ((VI) p + e);
}

static float
FN(softmax)(float *s, const float *w, int n, float *max)
{
	VF m = FN(splat)(-INFINITY);
	VF z = {0};
	float top;
	float tail = 0;
	float lane[VL];
	int j;

	for (j = 0; j + VL <= n; j += VL)
		m = FN(vmax)(FN(load)(s + j), m);
	memcpy(lane, &m, sizeof(lane));
	top = lane[0];
	for (int i = 1; i < VL; i++)
		top = lane[i] > top ? lane[i] : top;
	for (; j < n; j++)
		top = s[j] > top ? s[j] : top;
	*max = top;
	m = FN(splat)(top);
	for (j = 0; j + VL <= n; j += VL)
	{
		VF e = FN(vexp)(FN(load)(s + j) - m);

		if (w != NULL)
			e *= FN(load)(w + j);
		FN(store)(s + j, e);
		z += e;
	}
	for (; j < n; j++)
	{
		VF e = FN(vexp)(FN(splat)(s[j] - top));

		s[j] = e[0] * (w != NULL ? w[j] : 1);
		tail += s[j];
	}
	return FN(sum)(z) + tail;
}

static int
FN(rank)(const float *s, int n, float x, int at)
{
	VF v = FN(splat)(x);
	VI c = {0};
	int count = 0;
	int j;

	for (j = 0; j + VL <= n; j += VL)
		c -= FN(load)(s + j) > v;
	for (int i = 0; i < VL; i++)
		count += c[i];
	for (; j < n; j++)
		count += s[j] > x;
	c = (VI){0};
	for (j = 0; j + VL <= at; j += VL)
		c -= FN(load)(s + j) == v;
	for (int i = 0; i < VL; i++)
		count += c[i];
	for (; j < at; j++)
		count += s[j] == x;
	return count;
}

static float
FN(dot)(const float *a, const float *b, int n)
{
	VF s0 = {0};
	VF s1 = {0};
	float tail = 0;
	int j;

	for (j = 0; j + 2 * VL <= n; j += 2 * VL)
	{
		s0 += FN(load)(a + j) * FN(load)(b + j);
		s1 += FN(load)(a + j + VL) * FN(load)(b + j + VL);
	}
	for (; j + VL <= n; j += VL)
		s0 += FN(load)(a + j) * FN(load)(b + j);
	for (; j < n; j++)
		tail += a[j] * b[j];
	return FN(sum)(s0 + s1) + tail;
}

static void
FN(axpy)(float a, const float *x, float *y, int n)
{
	VF va = FN(splat)(a);
	int j;

	for (j = 0; j + VL <= n; j += VL)
		FN(store)(y + j, FN(load)(y + j) + va * FN(load)(x + j));
	for (; j < n; j++)
		y[j] += a * x[j];
}

static void
FN(scale)(float a, float *y, int n)
{
	for (int j = 0; j < n; j++)
		y[j] *= a;
}

/* G[i0 .. i0+MR-1, j0 .. j0+VL-1] += X^T X over n rows */
static inline void
FN(gram_tile)(const float *x, int n, int d, int i0, int rows, int j0, float *g,
			  int ldg)
{
	VF acc[MR];

	for (int i = 0; i < MR; i++)
		acc[i] = (VF){0};
	if (rows == MR)
		for (int k = 0; k < n; k++)
		{
			const float *row = x + (long) k * d;
			VF v = FN(load)(row + j0);

			for (int i = 0; i < MR; i++)
				acc[i] += row[i0 + i] * v;
		}
	else
		for (int k = 0; k < n; k++)
		{
			const float *row = x + (long) k * d;
			VF v = FN(load)(row + j0);

			for (int i = 0; i < rows; i++)
				acc[i] += row[i0 + i] * v;
		}
	for (int i = 0; i < rows; i++)
	{
		float *out = g + (long) (i0 + i) * ldg + j0;

		FN(store)(out, FN(load)(out) + acc[i]);
	}
}

static void
FN(gram)(const float *x, int n, int d, float *g, int ldg)
{
	for (int i0 = 0; i0 < d; i0 += MR)
	{
		int rows = d - i0 < MR ? d - i0 : MR;

		for (int j0 = 0; j0 < i0 + rows; j0 += VL)
			FN(gram_tile)(x, n, d, i0, rows, j0, g, ldg);
	}
}

/* four rows of K at a time: each loaded vector of X serves four dot products */
static void
FN(outer)(const float *x, int n, int d, float *k, int ldk)
{
	for (int i = 0; i < n; i += 4)
	{
		int rows = n - i < 4 ? n - i : 4;
		const float *a[4];

		for (int r = 0; r < 4; r++)
			a[r] = x + (long) (i + (r < rows ? r : 0)) * d;
		for (int j = 0; j < i + rows; j += 2)
		{
			int cols = j + 1 < n ? 2 : 1;
			const float *b0 = x + (long) j * d;
			const float *b1 = x + (long) (j + cols - 1) * d;
			VF s[8] = {{0}};

			for (int l = 0; l < d; l += VL)
			{
				VF v0 = FN(load)(b0 + l);
				VF v1 = FN(load)(b1 + l);

				for (int r = 0; r < 4; r++)
				{
					VF w = FN(load)(a[r] + l);

					s[2 * r] += w * v0;
					s[2 * r + 1] += w * v1;
				}
			}
			for (int r = 0; r < rows; r++)
			{
				k[(long) (i + r) * ldk + j] = FN(sum)(s[2 * r]);
				if (cols == 2)
					k[(long) (i + r) * ldk + j + 1] = FN(sum)(s[2 * r + 1]);
			}
		}
	}
}

static void
FN(adagrad)(float *w, float *a, const float *g, int n, float lr, float eps)
{
	for (int j = 0; j < n; j++)
	{
		a[j] += g[j] * g[j];
		w[j] -= lr * g[j] / sqrtf(a[j] + eps);
	}
}

static void
FN(adam)(float *w, float *m, float *v, const float *g, int n, float step,
		 float b1, float b2, float eps)
{
	for (int j = 0; j < n; j++)
	{
		m[j] = b1 * m[j] + (1 - b1) * g[j];
		v[j] = b2 * v[j] + (1 - b2) * g[j] * g[j];
		w[j] -= step * m[j] / (sqrtf(v[j]) + eps);
	}
}

/*
 * Cholesky by panels of CB columns, left-looking: the panel first takes the
 * products of all columns before it, then is factored within itself.
 */
#define CB 16

/* A[i, j0 .. j0+CB-1] -= sum over k < j0 of L[i, k] L[j0 .., k], i >= j0 */
static inline void
FN(chol_update)(float *a, int n, int lda, int j0, int cols, const float *lt)
{
	for (int i = j0; i < n; i += 4)
	{
		int rows = n - i < 4 ? n - i : 4;
		float *r[4];
		VF s[4][CB / VL];

		for (int t = 0; t < 4; t++)
			r[t] = a + (long) (i + (t < rows ? t : 0)) * lda;
		for (int t = 0; t < 4; t++)
			for (int c = 0; c < CB / VL; c++)
				s[t][c] = (VF){0};
		for (int k = 0; k < j0; k++)
			for (int c = 0; c < CB / VL; c++)
			{
				VF v = FN(load)(lt + (long) k * CB + c * VL);

				for (int t = 0; t < 4; t++)
					s[t][c] += r[t][k] * v;
			}
		for (int t = 0; t < rows; t++)
		{
			float out[CB];

			for (int c = 0; c < CB / VL; c++)
				memcpy(out + c * VL, &s[t][c], sizeof(VF));
			for (int c = 0; c < cols; c++)
				r[t][j0 + c] -= out[c];
		}
	}
}

/* factor the panel's own columns */
static inline bool
FN(chol_panel)(float *a, int n, int lda, int j0, int cols)
{
	for (int j = j0; j < j0 + cols; j++)
	{
		float *row = a + (long) j * lda;
		float diag = row[j];
		float inv;

		for (int k = j0; k < j; k++)
			diag -= row[k] * row[k];
		if (!(diag > 0) || isinf(diag))
			return false;
		diag = sqrtf(diag);
		row[j] = diag;
		inv = 1 / diag;
		for (int i = j + 1; i < n; i++)
		{
			float *r = a + (long) i * lda;
			float s = r[j];

			for (int k = j0; k < j; k++)
				s -= r[k] * row[k];
			r[j] = s * inv;
		}
	}
	return true;
}

static bool
FN(cholesky)(float *a, int n, int lda)
{
	float lt[DENSE_MAX * CB];

	for (int j0 = 0; j0 < n; j0 += CB)
	{
		int cols = n - j0 < CB ? n - j0 : CB;

		for (int c = 0; c < CB; c++)
			for (int k = 0; k < j0; k++)
				lt[k * CB + c] = c < cols ? a[(long) (j0 + c) * lda + k] : 0;
		if (j0 > 0)
			FN(chol_update)(a, n, lda, j0, cols, lt);
		if (!FN(chol_panel)(a, n, lda, j0, cols))
			return false;
	}
	return true;
}

static void
FN(solve)(const float *l, int n, int lda, float *b)
{
	for (int i = 0; i < n; i++)
	{
		const float *row = l + (long) i * lda;

		b[i] = (b[i] - FN(dot)(row, b, i)) / row[i];
	}
	for (int i = n - 1; i >= 0; i--)
	{
		const float *row = l + (long) i * lda;

		b[i] /= row[i];
		FN(axpy)(-b[i], row, b, i);
	}
}

static const DenseOps FN(ops) = {
	FN_NAME,  FN(softmax), FN(rank),     FN(dot),   FN(axpy),    FN(scale),
	FN(gram), FN(outer),   FN(cholesky), FN(solve), FN(adagrad), FN(adam)};

#undef CB
#undef VF
#undef VI
