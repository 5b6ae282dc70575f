"""One thread, so that what is measured does not depend on the machine."""

import torch

torch.set_num_threads(1)
