"""What nearly every job imports. The server that jobs are forked from loads it once, and runs nothing of it."""

import matplotlib.backends.backend_agg
import matplotlib.figure
import scipy.spatial
import sklearn.cluster
import sklearn.datasets
import sklearn.neighbors

import ganzoo.zoo.datasets
import ganzoo.zoo.discriminators
import ganzoo.zoo.divergences
import ganzoo.zoo.generators
import ganzoo.zoo.metrics
import ganzoo.zoo.updates  # noqa: F401
