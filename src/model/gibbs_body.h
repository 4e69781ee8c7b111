/*
 * gibbs_body.h
 *		The kernels of gibbs_kernels.h, included by gibbs_kernels.c once a
 *		processor level.
 *
 * The includer defines VL (floats in a vector) and FN(name) (suffix). Sixteen
 * lanes are S vectors, which stay in registers: a compiler that is given one
 * vector of sixteen floats for a processor that has eight takes it through
 * memory, six times as slow.
 */

typedef float FN(vf)
	__attribute__((vector_size(4 * VL), aligned(4), may_alias));
/* for vectors of 8 floats */
#if VL > 8
typedef float FN(v8) __attribute__((vector_size(32), aligned(4), may_alias));
#define V8 FN(v8)
#else
#define V8 FN(vf)
#endif
#define VF FN(vf)
#define S (LANES / VL)
#define EACH _Pragma("GCC unroll 4") for (int p = 0; p < S; p++)

static inline VF *
FN(at)(Lanes *x, size_t i)
{
	return (VF *) (x + i);
}

static inline const VF *
FN(of)(const Lanes *x, size_t i)
{
	return (const VF *) (x + i);
}

static void
FN(cholesky)(int d, Lanes *x)
{
	for (int j = 0; j < d; j++)
	{
		VF *row_j = FN(at)(x, lanes_at(j, 0));
		VF pivot[S];
		Lanes root;
		Lanes inverse;

		EACH pivot[p] = row_j[j * S + p];
		for (int k = 0; k < j; k++)
			EACH pivot[p] -= row_j[k * S + p] * row_j[k * S + p];
		EACH FN(at)(&root, 0)[p] = pivot[p];
		for (int l = 0; l < LANES; l++)
		{
			float r = sqrtf(root.of[l] > 0 ? root.of[l] : 0);

			root.of[l] = r;
			inverse.of[l] = r > 1e-10f ? 1 / r : 0;
		}
		EACH row_j[j * S + p] = FN(at)(&root, 0)[p];
		for (int i = j + 1; i < d; i++)
		{
			VF *row_i = FN(at)(x, lanes_at(i, 0));
			VF s[S];

			EACH s[p] = row_i[j * S + p];
			for (int k = 0; k < j; k++)
				EACH s[p] -= row_i[k * S + p] * row_j[k * S + p];
			EACH row_i[j * S + p] = s[p] * FN(at)(&inverse, 0)[p];
		}
	}
}

static void
FN(solve_lower)(int d, const Lanes *l, Lanes *b)
{
	VF *x = FN(at)(b, 0);

	for (int i = 0; i < d; i++)
	{
		const VF *row = FN(of)(l, lanes_at(i, 0));
		VF s[S];

		EACH s[p] = x[i * S + p];
		for (int k = 0; k < i; k++)
			EACH s[p] -= row[k * S + p] * x[k * S + p];
		EACH x[i * S + p] = s[p] / row[i * S + p];
	}
}

static void
FN(solve_upper)(int d, const Lanes *l, Lanes *b)
{
	VF *x = FN(at)(b, 0);

	for (int i = d - 1; i >= 0; i--)
	{
		const VF *row = FN(of)(l, lanes_at(i, 0));
		VF s[S];

		EACH s[p] = x[i * S + p] / row[i * S + p];
		EACH x[i * S + p] = s[p];
		for (int k = 0; k < i; k++)
			EACH x[k * S + p] -= row[k * S + p] * s[p];
	}
}

static void
FN(inverse)(int d, const Lanes *l, Lanes *out, Lanes *scratch)
{
	/* scratch = L^-1, row by row */
	for (int i = 0; i < d; i++)
	{
		const VF *row = FN(of)(l, lanes_at(i, 0));
		VF *to = FN(at)(scratch, lanes_at(i, 0));
		VF one[S];

		EACH one[p] = 1 / row[i * S + p];
		for (int j = 0; j < i; j++)
		{
			const VF *own = FN(of)(scratch, lanes_at(j, j));
			VF s[S];

			EACH s[p] = row[j * S + p] * own[p];
			for (int k = j + 1; k < i; k++)
			{
				const VF *other = FN(of)(scratch, lanes_at(k, j));

				EACH s[p] += row[k * S + p] * other[p];
			}
			EACH to[j * S + p] = -s[p] * one[p];
		}
		EACH to[i * S + p] = one[p];
	}
	/* out = L^-T L^-1 */
	memset(out, 0, lanes_triangle(d) * sizeof(Lanes));
	for (int k = 0; k < d; k++)
	{
		const VF *row = FN(of)(scratch, lanes_at(k, 0));

		for (int i = 0; i <= k; i++)
		{
			VF *to = FN(at)(out, lanes_at(i, 0));
			VF x[S];

			EACH x[p] = row[i * S + p];
			for (int j = 0; j <= i; j++)
				EACH to[j * S + p] += x[p] * row[j * S + p];
		}
	}
}

static void
FN(symmetric_times)(int d, const Lanes *s, const Lanes *x, Lanes *y)
{
	const VF *from = FN(of)(x, 0);
	VF *to = FN(at)(y, 0);

	for (int i = 0; i < d; i++)
	{
		const VF *row = FN(of)(s, lanes_at(i, 0));
		VF own[S];
		VF sum[S];

		EACH own[p] = from[i * S + p];
		EACH sum[p] = row[i * S + p] * own[p];
		for (int j = 0; j < i; j++)
		{
			EACH sum[p] += row[j * S + p] * from[j * S + p];
			EACH to[j * S + p] += row[j * S + p] * own[p];
		}
		EACH to[i * S + p] = sum[p];
	}
}

static void
FN(add_lower_times)(int d, const Lanes *l, const Lanes *x, Lanes *y)
{
	const VF *from = FN(of)(x, 0);
	VF *to = FN(at)(y, 0);

	for (int i = 0; i < d; i++)
	{
		const VF *row = FN(of)(l, lanes_at(i, 0));
		VF sum[S];

		EACH sum[p] = to[i * S + p];
		for (int j = 0; j <= i; j++)
			EACH sum[p] += row[j * S + p] * from[j * S + p];
		EACH to[i * S + p] = sum[p];
	}
}

/*
 * (out) n vectors vt = sum over e in [from, to) of value times n vectors at
 * base + w id[e], in two sums.
 */
#define GATHER(vt, n, id, from, to, value, base, w, out)                       \
	do                                                                         \
	{                                                                          \
		vt one[n] = {{0}};                                                     \
		vt two[n] = {{0}};                                                     \
		int64_t e = from;                                                      \
		for (; e + 1 < (to); e += 2)                                           \
		{                                                                      \
			const vt *a = (const vt *) ((base) + (size_t) (id)[e] * (w));      \
			const vt *b = (const vt *) ((base) + (size_t) (id)[e + 1] * (w));  \
			float va = value(e);                                               \
			float vb = value(e + 1);                                           \
			_Pragma("GCC unroll 4") for (int p = 0; p < (n); p++)              \
			{                                                                  \
				one[p] += a[p] * va;                                           \
				two[p] += b[p] * vb;                                           \
			}                                                                  \
		}                                                                      \
		if (e < (to))                                                          \
		{                                                                      \
			const vt *a = (const vt *) ((base) + (size_t) (id)[e] * (w));      \
			float va = value(e);                                               \
			_Pragma("GCC unroll 4") for (int p = 0; p < (n); p++) one[p] +=    \
				a[p] * va;                                                     \
		}                                                                      \
		_Pragma("GCC unroll 4") for (int p = 0; p < (n); p++)(out)[p] =        \
			one[p] + two[p];                                                   \
	} while (0)

/* out (w) = X[r] b, vectors vt, n of them at a time */
#define ROW_TIMES(vt, n)                                                       \
	for (size_t f = 0; f < w; f += (n) * sizeof(vt) / 4)                       \
	{                                                                          \
		vt total[n] = {{0}};                                                   \
		for (int k = 0; k < s->n_blocks; k++)                                  \
		{                                                                      \
			const GibbsBlock *x = &s->blocks[k];                               \
			const float *base = b + (size_t) x->first * w + f;                 \
			float scale = x->row_scale != NULL ? x->row_scale[r] : 1;          \
			vt sum[n];                                                         \
			GATHER(vt, n, x->col, x->ptr[r], x->end[r], ROW_VALUE, base, w,    \
				   sum);                                                       \
			_Pragma("GCC unroll 4") for (int p = 0; p < (n); p++) total[p] +=  \
				sum[p] * scale;                                                \
		}                                                                      \
		_Pragma("GCC unroll 4") for (int p = 0; p < (n);                       \
									 p++)((vt *) (out + f))[p] = total[p];     \
	}
#define ROW_VALUE(e) (x->val != NULL ? x->val[e] : 1)

static inline __attribute__((always_inline)) void
FN(row_times)(const GibbsSide *s, int32_t r, const float *b, size_t w,
			  float *out)
{
	if (w == 8)
		ROW_TIMES(V8, 8 * 4 / sizeof(V8))
	else
		ROW_TIMES(VF, 16 / VL)
}

static void
FN(rows)(const GibbsSide *s, int32_t from, int32_t to, const float *b, int w,
		 float *out)
{
	for (int32_t r = from; r < to; r++, out += w)
		if (w == 16)
			FN(row_times)(s, r, b, 16, out);
		else if (w == 32)
			FN(row_times)(s, r, b, 32, out);
		else
			FN(row_times)(s, r, b, (size_t) w, out);
}

static inline float
FN(column_value)(const GibbsBlock *x, int64_t e, bool squared)
{
	float v = (x->row_scale != NULL ? x->row_scale[x->row[e]] : 1) *
			  (x->col_val != NULL ? x->col_val[e] : 1);

	return squared ? v * v : v;
}

#define COLUMN_TIMES(vt, n)                                                    \
	for (size_t f = 0; f < w; f += (n) * sizeof(vt) / 4)                       \
	GATHER(vt, n, x->row, x->col_ptr[c], x->col_end[c], COLUMN_VALUE, y + f,   \
		   w, (vt *) (out + f))
#define COLUMN_VALUE(e) FN(column_value)(x, e, squared)

static inline __attribute__((always_inline)) void
FN(column_times)(const GibbsBlock *x, int32_t c, const float *y, size_t w,
				 bool squared, float *out)
{
	if (w == 8)
		COLUMN_TIMES(V8, 8 * 4 / sizeof(V8));
	else
		COLUMN_TIMES(VF, 16 / VL);
}

static void
FN(columns)(const GibbsBlock *x, int32_t from, int32_t to, const float *y,
			int w, bool squared, float *out)
{
	for (int32_t c = from; c < to; c++, out += w)
		if (w == 16)
			FN(column_times)(x, c, y, 16, squared, out);
		else if (w == 32)
			FN(column_times)(x, c, y, 32, squared, out);
		else
			FN(column_times)(x, c, y, (size_t) w, squared, out);
}

static const GibbsOps FN(ops) = {
	FN(cholesky),        FN(solve_lower),     FN(solve_upper), FN(inverse),
	FN(symmetric_times), FN(add_lower_times), FN(rows),        FN(columns)};

#undef VF
#undef V8
#undef S
#undef EACH
#undef GATHER
#undef ROW_TIMES
#undef ROW_VALUE
#undef COLUMN_TIMES
#undef COLUMN_VALUE
