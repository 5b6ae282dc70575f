"""What nearly every job imports. The server that jobs are forked from loads it once, and runs nothing of it."""

# ruff: noqa: F401

import matplotlib.backends.backend_agg
import matplotlib.figure
import sklearn.cluster
import sklearn.datasets
import sklearn.model_selection
import sklearn.neighbors
import torch._dynamo  # which the first optimiser imports: more than a second

import ganzoo.zoo.datasets
import ganzoo.zoo.discriminators
import ganzoo.zoo.divergences
import ganzoo.zoo.generators
import ganzoo.zoo.metrics
import ganzoo.zoo.updates
