"""What nearly every job imports. The server that jobs are forked from loads it once, and runs nothing of it."""

import ganzoo.zoo.datasets
import ganzoo.zoo.discriminators
import ganzoo.zoo.divergences
import ganzoo.zoo.generators
import ganzoo.zoo.metrics
import ganzoo.zoo.updates  # noqa: F401
