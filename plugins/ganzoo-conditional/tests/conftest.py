"""One thread and no plugin but those needed here, so that results do not depend on the machine."""

import os

import torch

os.environ["GANZOO_LOAD_PLUGINS"] = "ganzoo-conditional,ganzoo-divergences"
torch.set_num_threads(1)
