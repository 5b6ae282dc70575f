"""One thread and no other plugin, so that results do not depend on the machine."""

import os

import torch

os.environ["GANZOO_LOAD_PLUGINS"] = "ganzoo-divergences"
torch.set_num_threads(1)
