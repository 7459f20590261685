"""The error function: ``x + x P(x²)`` below 1, ``1 - exp(-Q(|x|))`` above.

The second form (as in N. Juffa's single-precision erf) needs no division: ``-log(erfc)`` is so
smooth that one polynomial covers it to where erf is 1. Its error counts only as much as erfc.
"""

from __future__ import annotations

from ..body import Body, Value
from .exponential import exp_bounded
from .parts import Coefficients, at_most, magnitude, polynomial, shift, with_sign

#: erf(x)/x - 1 in x² for |x| < 1; error below 2^-29.2 and 2^-55.8.
NEAR: Coefficients = {
    "float": (
        0.12837917, -0.37612626, 0.112835765, -0.026853153, 0.0051866076, -0.00079914095,
        7.7806944e-05,
    ),
    "double": (
        0.12837916709551256, -0.3761263890318355, 0.11283791670949658, -0.026866170644304684,
        0.005223977617129932, -0.0008548326482077989, 0.00012055310321690602,
        -1.4925032503782914e-05, 1.6451026373963217e-06, -1.6235556177441096e-07,
        1.3834591744419283e-08, -8.004567413660948e-10,
    ),
}  # fmt: skip

#: -log(erfc(x)) from 1 to `END`; times erfc(x) the error is below 2^-30.6 and 2^-55.6.
FAR: Coefficients = {
    "float": (
        -3.4141704e-05, 1.1288916, 0.6345023, 0.107122146, -0.024443053, 0.0039412454,
        -0.00039248128, 1.7919332e-05,
    ),
    "double": (
        2.690474735883893e-07, 1.1283765911556052, 0.6366311628058962, 0.10274188340212817,
        -0.01907244737162629, -0.00028083640368763813, 0.0017593829029775567,
        -0.0006228625647068223, 2.4246526024189862e-05, 8.687413945200112e-05,
        -5.508288735996103e-05, 2.127299906317112e-05, -6.1018623105065704e-06,
        1.372831411515824e-06, -2.464290990336906e-07, 3.5310925658927414e-08,
        -3.996997887524761e-09, 3.499235833265707e-10, -2.2864120958166924e-11,
        1.0496088350230627e-12, -3.0193244622649703e-14, 4.093769253106636e-16,
    ),
}  # fmt: skip

#: From here on erf is 1 to all digits.
END: Coefficients = {"float": (3.95,), "double": (5.93,)}


def erf(b: Body, x: Value) -> Value:
    a = magnitude(b, x)
    z = a * a
    near = b.madd(a, polynomial(b, z, NEAR), a)
    k, p = exp_bounded(b, -polynomial(b, at_most(a, END[x.kind.element][0]), FAR))
    far = 1.0 - shift(p, k)
    return with_sign(b, a.ge(1.0).select(far, near), x)
