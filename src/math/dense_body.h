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

static void
FN(scale)(float a, float *y, int n)
{
	for (int j = 0; j < n; j++)
		y[j] *= a;
}

/*
 * Swap bit s of a vector's number with bit s of the lane's. s is a constant
 * wherever this is called, so that the patterns are constants as well.
 */
static inline __attribute__((always_inline)) void
FN(swap_bits)(VF v[VL], int s)
{
	VI lo = {0};
	VI hi = {0};

#pragma GCC unroll 16
	for (int j = 0; j < VL; j++)
	{
		lo[j] = (j & s) == 0 ? j : VL + j - s;
		hi[j] = (j & s) == 0 ? j + s : VL + j;
	}
#pragma GCC unroll 16
	for (int i = 0; i < VL; i++)
		if ((i & s) == 0)
		{
			VF a = v[i];
			VF b = v[i + s];

			v[i] = __builtin_shuffle(a, b, lo);
			v[i + s] = __builtin_shuffle(a, b, hi);
		}
}

/* transpose VL vectors in place */
static inline __attribute__((always_inline)) void
FN(transpose)(VF v[VL])
{
	FN(swap_bits)(v, 1);
	FN(swap_bits)(v, 2);
	if (VL > 4)
		FN(swap_bits)(v, 4);
	if (VL > 8)
		FN(swap_bits)(v, 8);
}

/* XT[k, i] = H[rows[i], k] scale[k] weight[i]; columns up to ldx are zero */
static void
FN(pack_columns)(const float *h, int ldh, const int32_t *rows, int n, int d,
				 const float *scale, const float *weight, float *xt, int ldx)
{
	for (int i = 0; i < ldx; i += VL)
		for (int k = 0; k < d; k += VL)
		{
			VF s = FN(load)(scale + k);
			VF v[VL];

#pragma GCC unroll 16
			for (int r = 0; r < VL; r++)
			{
				v[r] = (VF){0};
				if (i + r < n)
					v[r] =
						FN(load)(h + (size_t) rows[i + r] * (size_t) ldh + k) *
						s;
				if (weight != NULL && i + r < n)
					v[r] *= weight[i + r];
			}
			FN(transpose)(v);
#pragma GCC unroll 16
			for (int r = 0; r < VL; r++)
				FN(store)(xt + (size_t) (k + r) * (size_t) ldx + i, v[r]);
		}
}

/* X[i, k] = H[rows[i], k] scale[k] weight[i] */
static void
FN(pack_rows)(const float *h, int ldh, const int32_t *rows, int n, int d,
			  const float *scale, const float *weight, float *x)
{
	for (int i = 0; i < n; i++)
	{
		const float *from = h + (size_t) rows[i] * (size_t) ldh;
		float *to = x + (size_t) i * (size_t) d;
		float w = weight != NULL ? weight[i] : 1;

		for (int k = 0; k < d; k += VL)
			FN(store)(to + k, FN(load)(from + k) * FN(load)(scale + k) * w);
	}
}

/* G[i0 .. i0+MR-1, j0 .. j0+VL-1] += X^T X over n rows */
static inline void
FN(gram_tile)(const float *x, int n, int ldx, int i0, int j0, float *g, int ldg)
{
	VF acc[MR];

#pragma GCC unroll 16
	for (int i = 0; i < MR; i++)
		acc[i] = (VF){0};
	for (int k = 0; k < n; k++)
	{
		const float *row = x + (size_t) k * (size_t) ldx;
		VF v = FN(load)(row + j0);

#pragma GCC unroll 16
		for (int i = 0; i < MR; i++)
			acc[i] += row[i0 + i] * v;
	}
#pragma GCC unroll 16
	for (int i = 0; i < MR; i++)
	{
		float *out = g + (size_t) (i0 + i) * (size_t) ldg + j0;

		FN(store)(out, FN(load)(out) + acc[i]);
	}
}

/* MR divides 16, so tiles never leave a matrix of 16-multiple size */
static void
FN(gram)(const float *x, int n, int d, float *g, int ldg)
{
	for (int i0 = 0; i0 < d; i0 += MR)
		for (int j0 = i0 / VL * VL; j0 < d; j0 += VL)
			FN(gram_tile)(x, n, d, i0, j0, g, ldg);
}

/*
 * Up to four pivot rows, from k0 on, within themselves: A = U^T D^-1 U, U with
 * the pivots D on its diagonal. inv: their reciprocals. No root is taken, and
 * the chain from pivot to pivot stays in registers: it is what takes the time
 * in small systems.
 */
static inline bool
FN(pivot_rows)(float *a, int k0, int rows, int width, int lda, float *inv)
{
	float u[4][4];
	float f[4][4];

	for (int i = 0; i < rows; i++)
		for (int j = i; j < rows; j++)
			u[i][j] = a[(size_t) (k0 + i) * (size_t) lda + (size_t) (k0 + j)];
	for (int k = 0; k < rows; k++)
	{
		if (!(u[k][k] > 0) || u[k][k] > 3e38f)
			return false;
		inv[k] = 1 / u[k][k];
		for (int i = k + 1; i < rows; i++)
		{
			f[k][i] = u[k][i] * inv[k];
			for (int j = i; j < rows; j++)
				u[i][j] -= f[k][i] * u[k][j];
		}
	}
	for (int j = k0 / VL * VL; j < width; j += VL)
	{
		float *at = a + (size_t) k0 * (size_t) lda + j;
		VF r[4];

		for (int i = 0; i < rows; i++)
		{
			r[i] = FN(load)(at + (size_t) i * (size_t) lda);
			for (int k = 0; k < i; k++)
				r[i] -= r[k] * f[k][i];
			if (i > 0)
				FN(store)(at + (size_t) i * (size_t) lda, r[i]);
		}
	}
	return true;
}

/* rows below four pivots lose the pivots' products, two rows at a time */
static inline void
FN(trail_rows)(float *a, int k0, int n, int width, int lda, const float *inv)
{
	const float *r0 = a + (size_t) k0 * (size_t) lda;
	const float *r1 = r0 + lda;
	const float *r2 = r1 + lda;
	const float *r3 = r2 + lda;

	for (int i = k0 + 4; i < n; i += 2)
	{
		float *out = a + (size_t) i * (size_t) lda;
		/* behind the last row it is itself once more */
		bool two = i + 1 < n;
		float *next = two ? out + lda : out;
		int i1 = two ? i + 1 : i;
		float f0 = r0[i] * inv[0], g0 = r0[i1] * inv[0];
		float f1 = r1[i] * inv[1], g1 = r1[i1] * inv[1];
		float f2 = r2[i] * inv[2], g2 = r2[i1] * inv[2];
		float f3 = r3[i] * inv[3], g3 = r3[i1] * inv[3];

		for (int j = i / VL * VL; j < width; j += VL)
		{
			VF v0 = FN(load)(r0 + j);
			VF v1 = FN(load)(r1 + j);
			VF v2 = FN(load)(r2 + j);
			VF v3 = FN(load)(r3 + j);
			VF a0 = FN(load)(out + j);
			VF a1 = FN(load)(next + j);

			a0 = a0 - v0 * f0 - v1 * f1 - v2 * f2 - v3 * f3;
			a1 = a1 - v0 * g0 - v1 * g1 - v2 * g2 - v3 * g3;
			FN(store)(out + j, a0);
			FN(store)(next + j, a1);
		}
	}
}

/*
 * U x = column n, the diagonal holding reciprocals: VL unknowns at a time,
 * which stay in a register while they are solved for.
 */
static void
FN(back)(const float *a, int n, int lda, float *x)
{
	VI lane;

	for (int i = 0; i < VL; i++)
		lane[i] = i;
	for (int i0 = (n - 1) / VL * VL; i0 >= 0; i0 -= VL)
	{
		int m = n - i0 < VL ? n - i0 : VL;
		VF t[VL];
		VF u[VL];
		float right[VL] = {0};
		float diagonal[VL] = {0};
		VF s;
		VF inv;

#pragma GCC unroll 16
		for (int r = 0; r < VL; r++)
		{
			const float *row = a + (size_t) (i0 + r) * (size_t) lda;

			t[r] = u[r] = (VF){0};
			if (r >= m)
				continue;
			for (int j = i0 + VL; j < n; j += VL)
				t[r] += FN(load)(row + j) * FN(load)(x + j);
			u[r] = FN(load)(row + i0);
			right[r] = row[n];
			diagonal[r] = row[i0 + r];
		}
		FN(transpose)(t);
		FN(transpose)(u);
		s = FN(load)(right);
#pragma GCC unroll 16
		for (int r = 0; r < VL; r++)
			s -= t[r];
		inv = FN(load)(diagonal);
		s *= inv;
		/* what lies below the diagonal of u is not part of it */
#pragma GCC unroll 16
		for (int k = VL - 1; k > 0; k--)
		{
			VF column = (VF) ((VI) (u[k] * inv) & (lane < k));

			s -= __builtin_shuffle(s, (VI){0} + k) * column;
		}
		FN(store)(x + i0, s);
	}
}

static bool
FN(solve)(float *a, int n, int lda, float *b)
{
	/* the right side is column n and is carried through the elimination */
	int width = (n + VL) / VL * VL;
	float inv[4];

	for (int i = 0; i < n; i++)
		a[(size_t) i * (size_t) lda + (size_t) n] = b[i];
	for (int k = 0; k < n; k += 4)
	{
		int rows = n - k < 4 ? n - k : 4;
		bool good = rows == 4 ? FN(pivot_rows)(a, k, 4, width, lda, inv)
							  : FN(pivot_rows)(a, k, rows, width, lda, inv);

		if (!good)
			return false;
		if (rows == 4)
			FN(trail_rows)(a, k, n, width, lda, inv);
		for (int i = 0; i < rows; i++)
			a[(size_t) (k + i) * (size_t) lda + (size_t) (k + i)] = inv[i];
	}
	FN(back)(a, n, lda, b);
	return true;
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

static const DenseOps FN(ops) = {
	FN_NAME,       FN(softmax), FN(rank),  FN(scale),   FN(pack_columns),
	FN(pack_rows), FN(gram),    FN(solve), FN(adagrad), FN(adam)};

#undef VF
#undef VI
