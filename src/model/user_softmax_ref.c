/*
 * user_softmax_ref.c
 *		The loss of user_softmax and its gradients, plain: for unit tests.
 */
#include "model/user_softmax_int.h"

double
user_softmax_reference(const DatasetSide *data, int dim, float temperature,
					   const float *users, const float *items,
					   const int32_t *negatives, int n_neg, float *user_grad,
					   float *item_grad)
{
	double loss = 0;
	float u[1024];
	float v[1024];

	for (int32_t r = 0; r < data->n_rows; r++)
	{
		float lu = user_softmax_unit(u, users + (size_t) r * (size_t) dim, dim);
		double n = (double) (data->end[r] - data->ptr[r]);
		double z = 0;
		double g[1024] = {0};

		for (int j = 0; j < n_neg; j++)
		{
			user_softmax_unit(v, items + (size_t) negatives[j] * (size_t) dim,
							  dim);
			z += exp(vec_dot(u, v, dim) / temperature);
		}
		loss += n * log(z / n_neg);
		/* the negatives with weight n * softmax, the positives with -1 */
		for (int64_t k = 0; k < n_neg + (data->end[r] - data->ptr[r]); k++)
		{
			int32_t i = k < n_neg ? negatives[k]
								  : data->index[data->ptr[r] + k - n_neg];
			float *gi = item_grad + (size_t) i * (size_t) dim;
			float li =
				user_softmax_unit(v, items + (size_t) i * (size_t) dim, dim);
			double s = vec_dot(u, v, dim);
			double w = k < n_neg ? n * exp(s / temperature) / z : -1;

			if (k >= n_neg)
				loss -= s / temperature;
			w /= temperature;
			for (int c = 0; c < dim; c++)
			{
				g[c] += w * v[c];
				gi[c] += (float) (w * (u[c] - s * v[c]) / li);
			}
		}
		for (int c = 0; c < dim; c++)
		{
			double along = 0;

			for (int k = 0; k < dim; k++)
				along += g[k] * u[k];
			user_grad[(size_t) r * (size_t) dim + c] +=
				(float) ((g[c] - along * u[c]) / lu);
		}
	}
	return loss;
}
