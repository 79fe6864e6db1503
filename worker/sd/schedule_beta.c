/* The beta distribution's quantile, by halving the interval around it: the cumulative
 * probability rises, and 60 halvings leave no bit to chance. Its value is the continued
 * fraction of Abramowitz and Stegun 26.5.8, evaluated by Lentz' method.
 */
#include <math.h>

#include "worker/sd/schedule.h"

/* The fraction, which converges fast for x below (a + 1) / (a + b + 2). */
static double fraction(double x, double a, double b)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1), value;
    d = 1 / (fabs(d) < tiny ? tiny : d);
    value = d;
    for (int m = 1; m < 300; m++) {
        const double terms[] = {
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        };
        double before = value;
        for (int i = 0; i < 2; i++) {
            d = 1 + terms[i] * d;
            c = 1 + terms[i] / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = fabs(c) < tiny ? tiny : c;
            value *= c * d;
        }
        if (fabs(value - before) < 1e-17 * value)
            break;
    }
    return value;
}

/* The regularised incomplete beta function. */
static double cumulative(double x, double a, double b)
{
    if (x <= 0 || x >= 1)
        return x <= 0 ? 0 : 1;
    double front =
        exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * fraction(x, a, b) / a
                                     : 1 - front * fraction(1 - x, b, a) / b;
}

double schedule_beta_quantile(double p, double a, double b)
{
    double low = 0, high = 1;
    if (p <= 0 || p >= 1)
        return p <= 0 ? 0 : 1;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        *(cumulative(middle, a, b) < p ? &low : &high) = middle;
    }
    return (low + high) / 2;
}
