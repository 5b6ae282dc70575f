"""Where everything here comes from."""

from __future__ import annotations

from typing import Final

from ganzoo.registry import Paper

NEURIPS: Final = "Advances in Neural Information Processing Systems"
ICLR: Final = "International Conference on Learning Representations"
ICML: Final = "International Conference on Machine Learning"

NOWOZIN: Final = Paper(
    "f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization",
    "Sebastian Nowozin and Botond Cseke and Ryota Tomioka",
    2016,
    f"{NEURIPS} 29",
    "https://arxiv.org/abs/1606.00709",
)
ARJOVSKY: Final = Paper(
    "Wasserstein Generative Adversarial Networks",
    "Martin Arjovsky and Soumith Chintala and Léon Bottou",
    2017,
    ICML,
    "https://arxiv.org/abs/1701.07875",
)
GULRAJANI: Final = Paper(
    "Improved Training of Wasserstein GANs",
    "Ishaan Gulrajani and Faruk Ahmed and Martin Arjovsky and Vincent Dumoulin and Aaron Courville",
    2017,
    f"{NEURIPS} 30",
    "https://arxiv.org/abs/1704.00028",
)
PETZKA: Final = Paper(
    "On the regularization of Wasserstein GANs",
    "Henning Petzka and Asja Fischer and Denis Lukovnikov",
    2018,
    ICLR,
    "https://arxiv.org/abs/1709.08894",
)
MAO: Final = Paper(
    "Least Squares Generative Adversarial Networks",
    "Xudong Mao and Qing Li and Haoran Xie and Raymond Y. K. Lau and Zhen Wang and Stephen Paul Smolley",
    2017,
    "IEEE International Conference on Computer Vision",
    "https://arxiv.org/abs/1611.04076",
)
LIM: Final = Paper("Geometric GAN", "Jae Hyun Lim and Jong Chul Ye", 2017, "arXiv", "https://arxiv.org/abs/1705.02894")
KODALI: Final = Paper(
    "On Convergence and Stability of GANs",
    "Naveen Kodali and Jacob Abernethy and James Hays and Zsolt Kira",
    2017,
    "arXiv",
    "https://arxiv.org/abs/1705.07215",
)
MESCHEDER: Final = Paper(
    "Which Training Methods for GANs do actually Converge?",
    "Lars Mescheder and Andreas Geiger and Sebastian Nowozin",
    2018,
    ICML,
    "https://arxiv.org/abs/1801.04406",
)
JOLICOEUR: Final = Paper(
    "The relativistic discriminator: a key element missing from standard GAN",
    "Alexia Jolicoeur-Martineau",
    2018,
    ICLR,
    "https://arxiv.org/abs/1807.00734",
)
HUANG: Final = Paper(
    "The GAN is dead; long live the GAN! A Modern GAN Baseline",
    "Nick Huang and Aaron Gokaslan and Volodymyr Kuleshov and James Tompkin",
    2024,
    f"{NEURIPS} 37",
    "https://arxiv.org/abs/2501.05441",
)
GRETTON: Final = Paper(
    "A Kernel Two-Sample Test",
    "Arthur Gretton and Karsten M. Borgwardt and Malte J. Rasch and Bernhard Schölkopf and Alexander Smola",
    2012,
    "Journal of Machine Learning Research 13",
    "https://jmlr.org/papers/v13/gretton12a.html",
)
SZEKELY: Final = Paper(
    "Energy statistics: A class of statistics based on distances",
    "Gábor J. Székely and Maria L. Rizzo",
    2013,
    "Journal of Statistical Planning and Inference 143",
    "https://doi.org/10.1016/j.jspi.2013.03.018",
)
FEYDY: Final = Paper(
    "Interpolating between Optimal Transport and MMD using Sinkhorn Divergences",
    "Jean Feydy and Thibault Séjourné and François-Xavier Vialard and Shun-ichi Amari and Alain Trouvé"
    " and Gabriel Peyré",
    2019,
    "International Conference on Artificial Intelligence and Statistics",
    "https://arxiv.org/abs/1810.08278",
)
LI: Final = Paper(
    "Generative Moment Matching Networks",
    "Yujia Li and Kevin Swersky and Richard Zemel",
    2015,
    ICML,
    "https://arxiv.org/abs/1502.02761",
)
MIYATO: Final = Paper(
    "Spectral Normalization for Generative Adversarial Networks",
    "Takeru Miyato and Toshiki Kataoka and Masanori Koyama and Yuichi Yoshida",
    2018,
    ICLR,
    "https://arxiv.org/abs/1802.05957",
)
LIN: Final = Paper(
    "PacGAN: The power of two samples in generative adversarial networks",
    "Zinan Lin and Ashish Khetan and Giulia Fanti and Sewoong Oh",
    2018,
    f"{NEURIPS} 31",
    "https://arxiv.org/abs/1712.04086",
)
BINKOWSKI: Final = Paper(
    "Demystifying MMD GANs",
    "Mikołaj Bińkowski and Danica J. Sutherland and Michael Arbel and Arthur Gretton",
    2018,
    ICLR,
    "https://arxiv.org/abs/1801.01401",
)
SONDERBY: Final = Paper(
    "Amortised MAP Inference for Image Super-resolution",
    "Casper Kaae Sønderby and Jose Caballero and Lucas Theis and Wenzhe Shi and Ferenc Huszár",
    2017,
    ICLR,
    "https://arxiv.org/abs/1610.04490",
)
METZ: Final = Paper(
    "Unrolled Generative Adversarial Networks",
    "Luke Metz and Ben Poole and David Pfau and Jascha Sohl-Dickstein",
    2017,
    ICLR,
    "https://arxiv.org/abs/1611.02163",
)
ZHAO: Final = Paper(
    "Improved Consistency Regularization for GANs",
    "Zhengli Zhao and Sameer Singh and Honglak Lee and Zizhao Zhang and Augustus Odena and Han Zhang",
    2021,
    "AAAI Conference on Artificial Intelligence",
    "https://arxiv.org/abs/2002.04724",
)
