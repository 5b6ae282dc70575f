"""One thread, no plugin but those needed here, and no weights fetched, so that results do not depend on the machine."""

import os

import torch

os.environ["GANZOO_LOAD_PLUGINS"] = "ganzoo-images,ganzoo-divergences,ganzoo-flows"
os.environ.setdefault("GANZOO_INCEPTION", "/not/to/be/fetched.pth")
torch.set_num_threads(1)
