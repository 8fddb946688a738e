import math


def fused_rate(rates):
    values = list(rates.values())
    if len(values) == 1:
        return values[0]
    if not values:
        return 1.0
    p = sum(-math.log(v) for v in values)
    return min(1.0, math.exp(-p) * sum(p**k / math.factorial(k) for k in range(len(values))))


def fused_rates(rates, traits):
    import numpy as np

    return np.array([fused_rate({t: v for t, v in zip(traits, row) if v == v}) for row in rates])
