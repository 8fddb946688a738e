"""The arithmetic of comparing two sets of cylinder codes; :mod:`biometrik.fingerprint.matchers.cylinders` explains it.

One comparison (:mod:`.comparison`) runs through stages, each a function that fills the caller's scratch and allocates
nothing: pairs of minutiae with like codes (:mod:`.pairing`), how well any two pairs agree and the support of each pair
by the others (:mod:`.support`), registration of one print on the other (:mod:`.registration`), and what it is all worth
(:mod:`.evidence`). :mod:`.screening` is the quick guess before it, :mod:`.glancing` the quicker one before that;
:mod:`.fetching` asks for the next template. Kernels trust their input.

Sums run in the order in which they are written, lane by lane (:mod:`.lanes`): no ``fastmath``, and similarities are the
same to the last bit whatever the machine's registers. Constants are float32, else everything would become float64.
"""

from biometrik.fingerprint.kernels.comparison import compare_many, takes_second_part
from biometrik.fingerprint.kernels.glancing import GLANCED, glance_many
from biometrik.fingerprint.kernels.lanes import LANES
from biometrik.fingerprint.kernels.layout import CERTAINTY, MAX_PAIRS, NOWHERE_PX, Packed, Scratch, scratch
from biometrik.fingerprint.kernels.screening import SCREENED, screen_many

__all__ = [
    "CERTAINTY",
    "GLANCED",
    "LANES",
    "MAX_PAIRS",
    "NOWHERE_PX",
    "SCREENED",
    "Packed",
    "Scratch",
    "compare_many",
    "glance_many",
    "scratch",
    "screen_many",
    "takes_second_part",
]
