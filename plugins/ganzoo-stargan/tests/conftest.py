"""One thread and no plugin but those needed here, so that results do not depend on the machine."""

import os

import torch

os.environ["GANZOO_LOAD_PLUGINS"] = "ganzoo-stargan,ganzoo-conditional,ganzoo-images,ganzoo-divergences,ganzoo-flows"
torch.set_num_threads(1)
