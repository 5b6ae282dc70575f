"""Images for ganzoo. This module is light: it declares entries and imports nothing that they point to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from ganzoo import Entry, Option, Paper, Part, hookimpl
from ganzoo_images.suites import ganzoo_recipes, ganzoo_suites  # noqa: F401

RADFORD: Final = Paper(
    "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
    "Alec Radford and Luke Metz and Soumith Chintala",
    2016,
    "International Conference on Learning Representations",
    "https://arxiv.org/abs/1511.06434",
)
ODENA: Final = Paper(
    "Deconvolution and Checkerboard Artifacts",
    "Augustus Odena and Vincent Dumoulin and Chris Olah",
    2016,
    "Distill",
    "https://doi.org/10.23915/distill.00003",
)
MIYATO: Final = Paper(
    "Spectral Normalization for Generative Adversarial Networks",
    "Takeru Miyato and Toshiki Kataoka and Masanori Koyama and Yuichi Yoshida",
    2018,
    "International Conference on Learning Representations",
    "https://arxiv.org/abs/1802.05957",
)

LECUN: Final = Paper(
    "Gradient-Based Learning Applied to Document Recognition",
    "Yann LeCun and Léon Bottou and Yoshua Bengio and Patrick Haffner",
    1998,
    "Proceedings of the IEEE",
    "https://doi.org/10.1109/5.726791",
)
XIAO: Final = Paper(
    "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
    "Han Xiao and Kashif Rasul and Roland Vollgraf",
    2017,
    "arXiv",
    "https://arxiv.org/abs/1708.07747",
)
CLANUWAT: Final = Paper(
    "Deep Learning for Classical Japanese Literature",
    "Tarin Clanuwat and Mikel Bober-Irizar and Asanobu Kitamoto and Alex Lamb and Kazuaki Yamamoto and David Ha",
    2018,
    "arXiv",
    "https://arxiv.org/abs/1812.01718",
)
KRIZHEVSKY: Final = Paper(
    "Learning Multiple Layers of Features from Tiny Images",
    "Alex Krizhevsky",
    2009,
    "University of Toronto",
    "https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf",
)
LIU: Final = Paper(
    "Deep Learning Face Attributes in the Wild",
    "Ziwei Liu and Ping Luo and Xiaogang Wang and Xiaoou Tang",
    2015,
    "International Conference on Computer Vision",
    "https://arxiv.org/abs/1411.7766",
)
KARRAS: Final = Paper(
    "A Style-Based Generator Architecture for Generative Adversarial Networks",
    "Tero Karras and Samuli Laine and Timo Aila",
    2019,
    "Conference on Computer Vision and Pattern Recognition",
    "https://arxiv.org/abs/1812.04948",
)
METZ: Final = Paper(
    "Unrolled Generative Adversarial Networks",
    "Luke Metz and Ben Poole and David Pfau and Jascha Sohl-Dickstein",
    2017,
    "International Conference on Learning Representations",
    "https://arxiv.org/abs/1611.02163",
)
HUANG: Final = Paper(
    "The GAN is dead; long live the GAN! A Modern GAN Baseline",
    "Yiwen Huang and Aaron Gokaslan and Volodymyr Kuleshov and James Tompkin",
    2024,
    "Advances in Neural Information Processing Systems 37",
    "https://arxiv.org/abs/2501.05441",
)
STYLEGAN2: Final = Paper(
    "Analyzing and Improving the Image Quality of StyleGAN",
    "Tero Karras and Samuli Laine and Miika Aittala and Janne Hellsten and Jaakko Lehtinen and Timo Aila",
    2020,
    "Conference on Computer Vision and Pattern Recognition",
    "https://arxiv.org/abs/1912.04958",
)
ZHAO: Final = Paper(
    "Differentiable Augmentation for Data-Efficient GAN Training",
    "Shengyu Zhao and Zhijian Liu and Ji Lin and Jun-Yan Zhu and Song Han",
    2020,
    "Advances in Neural Information Processing Systems 33",
    "https://arxiv.org/abs/2006.10738",
)
HEUSEL: Final = Paper(
    "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
    "Martin Heusel and Hubert Ramsauer and Thomas Unterthiner and Bernhard Nessler and Sepp Hochreiter",
    2017,
    "Advances in Neural Information Processing Systems 30",
    "https://arxiv.org/abs/1706.08500",
)
BINKOWSKI: Final = Paper(
    "Demystifying MMD GANs",
    "Mikołaj Bińkowski and Danica J. Sutherland and Michael Arbel and Arthur Gretton",
    2018,
    "International Conference on Learning Representations",
    "https://arxiv.org/abs/1801.01401",
)
SALIMANS: Final = Paper(
    "Improved Techniques for Training GANs",
    "Tim Salimans and Ian Goodfellow and Wojciech Zaremba and Vicki Cheung and Alec Radford and Xi Chen",
    2016,
    "Advances in Neural Information Processing Systems 29",
    "https://arxiv.org/abs/1606.03498",
)
SZEGEDY: Final = Paper(
    "Rethinking the Inception Architecture for Computer Vision",
    "Christian Szegedy and Vincent Vanhoucke and Sergey Ioffe and Jonathon Shlens and Zbigniew Wojna",
    2016,
    "Conference on Computer Vision and Pattern Recognition",
    "https://arxiv.org/abs/1512.00567",
)

GOODFELLOW: Final = Paper(
    "Generative Adversarial Nets",
    "Ian Goodfellow and Jean Pouget-Abadie and Mehdi Mirza and Bing Xu and David Warde-Farley and Sherjil Ozair"
    " and Aaron Courville and Yoshua Bengio",
    2014,
    "Advances in Neural Information Processing Systems 27",
    "https://arxiv.org/abs/1406.2661",
)
KYNKAANNIEMI: Final = Paper(
    "Improved Precision and Recall Metric for Assessing Generative Models",
    "Tuomas Kynkäänniemi and Tero Karras and Samuli Laine and Jaakko Lehtinen and Timo Aila",
    2019,
    "Advances in Neural Information Processing Systems 32",
    "https://arxiv.org/abs/1904.06991",
)
NAEEM: Final = Paper(
    "Reliable Fidelity and Diversity Metrics for Generative Models",
    "Muhammad Ferjad Naeem and Seong Joon Oh and Youngjung Uh and Yunjey Choi and Jaejun Yoo",
    2020,
    "International Conference on Machine Learning",
    "https://arxiv.org/abs/2002.09797",
)
LIN: Final = Paper(
    "PacGAN: The power of two samples in generative adversarial networks",
    "Zinan Lin and Ashish Khetan and Giulia Fanti and Sewoong Oh",
    2018,
    "Advances in Neural Information Processing Systems 31",
    "https://arxiv.org/abs/1712.04086",
)
MEEHAN: Final = Paper(
    "A Non-Parametric Test to Detect Data-Copying in Generative Models",
    "Casey Meehan and Kamalika Chaudhuri and Sanjoy Dasgupta",
    2020,
    "International Conference on Artificial Intelligence and Statistics",
    "https://arxiv.org/abs/2004.05675",
)

SHAPE: Final = Option("shape", int, low=1, high=4096, many=True, fit="shape", help="of one image: channels, side, side")
WIDTH: Final = Option("width", int, 64, low=1, high=4096, help="channels of the largest map, doubled at each halving")
CHANNELS: Final = Option("width", int, 256, low=1, high=4096, help="channels of every map")
DEPTH: Final = Option(
    "depth", int, None, low=1, high=12, optional=True, help="how often the side doubles or halves; default: as it fits"
)
NOISE: Final = Option("noise", int, 100, low=1, high=65_536, help="dimensions of the noise")
LAW: Final = Option("law", str, "uniform", choices=("uniform", "normal"), help="of the noise: on (-1, 1), or N(0, I)")
SCHEDULE: Final = Option("schedule", "schedule", None, optional=True, help="of both players' learning rates")
CLASSES: Final = Option(
    "classes",
    int,
    0,
    low=0,
    high=100_000,
    optional=True,
    fit="classes",
    help="labels that the network reads; 0: it ignores them; none: as many as the data have",
)
HEAD: Final = Option(
    "head",
    str,
    "score",
    choices=("score", "projection", "classify"),
    help="how labels are read: as maps beside the image; as ⟨e(y), φ(x)⟩ in the score; not, but told by class logits",
)
#: What a differentiable augmentation is made of.
POLICY: Final = ("color", "translation", "cutout")
AUGMENT: Final = Option(
    "augment", str, None, many=True, choices=POLICY, optional=True, help="what D judges is changed: translation,cutout"
)


#: The module of what takes the network Inception.
INCEPTION: Final = "ganzoo_images.inception"

SEED: Final = Option("seed", int, 0, low=0, help="of what is random about the data, not of the run")
FLIP: Final = Option("flip", bool, False, help="train on images mirrored at random, left to right")
LOGIT: Final = Option(
    "logit", float, 0.0, low=0, high=0.4, help="λ of logit(λ + (1 − 2λ)(k + u)/256); 0: (k + u)/128 − 1"
)
SIZE: Final = Option(
    "size", int, None, low=1, high=4096, optional=True, help="side to resize to; default: as published"
)
PRESET: Final = (SIZE, FLIP, LOGIT, SEED)
IMAGES: Final = (
    Option(
        "source", str, None, optional=True, help="hf:ORG/NAME[@REVISION], a folder, .zip, .npz, .parquet, idx, mosaic"
    ),
    Option("split", str, None, optional=True, help="to train on; default: train, or the only one"),
    Option("test_split", str, None, optional=True, help="default: test, or a tenth of the images"),
    Option("validation_split", str, None, optional=True, help="default: validation, or a tenth of the images"),
    Option("image_column", str, None, optional=True, help="default: the one that holds images"),
    Option("label_column", str, "auto", optional=True, help="several are attributes: Smiling,Young; none: no labels"),
    Option("label_file", str, None, optional=True, help="CSV with the labels of a folder's images: file, label, …"),
    Option("config", str, None, optional=True, help="configuration of a dataset on the Hub"),
    Option("level", int, None, low=1, high=16, optional=True, help="folders that a label is made of; default: all"),
    replace(SIZE, help="side to resize to; default: as they are"),
    Option("crop", int, None, low=0, high=65_536, optional=True, help="side of the central square to take; 0: largest"),
    Option("channels", int, None, choices=(1, 3), optional=True, help="1 grey, 3 RGB; default: as they are"),
    FLIP,
    LOGIT,
    SEED,
)


@hookimpl
def ganzoo_datasets() -> list[Entry]:
    here, made = "ganzoo_images.data.presets", "ganzoo_images.data.made"
    published = (
        ("mnist", "mnist", "70,000 handwritten digits, 1 × 28 × 28", LECUN),
        ("fashion-mnist", "fashion_mnist", "70,000 articles of clothing, 1 × 28 × 28", XIAO),
        ("kmnist", "kmnist", "70,000 handwritten Japanese characters, 1 × 28 × 28", CLANUWAT),
        ("cifar10", "cifar10", "60,000 photographs of ten things, 3 × 32 × 32", KRIZHEVSKY),
        ("ffhq-64", "ffhq_64", "70,000 faces, 3 × 64 × 64", KARRAS),
    )
    attribute = Option(
        "attribute", str, None, optional=True, help="Smiling, or several: Smiling,Male; default: no label"
    )
    train = Option("train", int, 128_000, low=1_000, high=10_000_000, help="samples of the train part")
    padded = replace(SIZE, default=28, choices=(28, 32), optional=False, help="32 with a black border")
    drawn = (
        replace(SIZE, default=16, low=8, high=256, optional=False, help="of a side"),
        Option("channels", int, 1, choices=(1, 3)),
    )
    return [
        Entry("images", "ganzoo_images.data.images:images", "images in a folder, a file or on the Hub", IMAGES),
        *(Entry(name, f"{here}:{target}", summary, PRESET, paper) for name, target, summary, paper in published),
        Entry("celeba", f"{here}:celeba", "202,599 faces, 3 × 64 × 64", (attribute, *PRESET), LIU),
        Entry(
            "stacked-mnist",
            f"{made}:stacked_mnist",
            "three digits as channels: 1,000 modes",
            (train, padded, FLIP, LOGIT, SEED),
            METZ,
        ),
        Entry("shapes", f"{made}:shapes", "3,000 drawings of six shapes, from nothing", (*drawn, FLIP, LOGIT, SEED)),
    ]


@hookimpl
def ganzoo_generators() -> list[Entry]:
    norm = Option("class_norm", bool, False, help="labels choose gains and biases of maps; else a code beside z")
    here, options = "ganzoo_images.generators", (SHAPE, NOISE, LAW, WIDTH, DEPTH, CLASSES, norm)
    residual = (SHAPE, replace(NOISE, default=128), replace(LAW, default="normal"), CHANNELS, DEPTH, CLASSES)
    return [
        Entry("dcgan", f"{here}:dcgan", "transposed convolutions and batch normalisation", options, RADFORD),
        Entry(
            "dcgan-upsample",
            f"{here}:dcgan_upsample",
            "the same with nearest upsampling and convolution",
            options,
            ODENA,
        ),
        Entry("sngan-resnet", f"{here}:sngan_resnet", "residual blocks that upsample", residual, MIYATO),
        Entry(
            "r3gan",
            "ganzoo_images.r3gan:R3GANGenerator",
            "grouped residual blocks without normalisation",
            (SHAPE, replace(NOISE, default=64), *_blocks()),
            HUANG,
        ),
        Entry(
            "stylegan2",
            "ganzoo_images.stylegan:StyleGenerator",
            "a learned constant, grown by convolutions that a style modulates",
            (
                SHAPE,
                replace(NOISE, default=128, help="dimensions of the noise and of the style"),
                *_style(),
                Option("mapping", int, 2, low=1, high=32, help="layers from the noise to the style"),
                CLASSES,
            ),
            STYLEGAN2,
        ),
    ]


@hookimpl
def ganzoo_discriminators() -> list[Entry]:
    here = "ganzoo_images.discriminators"
    norm = Option("batch_norm", bool, True, help="as published; penalties on input gradients need false")
    labels, pack = (CLASSES, HEAD), Option("pack", int, 2, low=1, high=64, help="images that are judged together")
    normed = "strided convolutions of spectral norm 1"
    residual = (SHAPE, replace(CHANNELS, default=128), DEPTH, *labels)
    return [
        Entry("dcgan", f"{here}:dcgan", "strided convolutions", (SHAPE, WIDTH, norm, DEPTH, *labels), RADFORD),
        Entry(
            "packed-dcgan",
            f"{here}:packed_dcgan",
            "the same on packs of images",
            (SHAPE, WIDTH, norm, DEPTH, pack),
            LIN,
        ),
        Entry("sn-dcgan", f"{here}:sn_dcgan", normed, (SHAPE, WIDTH, DEPTH, *labels), MIYATO),
        Entry("sngan-resnet", f"{here}:sngan_resnet", "residual blocks of spectral norm 1", residual, MIYATO),
        Entry(
            "r3gan",
            "ganzoo_images.r3gan:R3GANDiscriminator",
            "grouped residual blocks without normalisation",
            (SHAPE, *_blocks()),
            HUANG,
        ),
        Entry(
            "stylegan2",
            "ganzoo_images.stylegan:StyleDiscriminator",
            "residual blocks that halve, without normalisation",
            (SHAPE, *_style(), CLASSES),
            STYLEGAN2,
        ),
    ]


def _blocks() -> tuple[Option, ...]:
    return (
        Option("width", int, 128, low=1, high=4096, help="channels of maps of up to 32 pixels a side; then it halves"),
        DEPTH,
        Option("blocks", int, 2, low=1, high=64, help="of each map"),
        Option("cardinality", int, None, low=1, optional=True, help="groups at full width; default: of 16 channels"),
        Option("expansion", int, 2, low=1, high=64, help="how much wider a block is inside"),
        CLASSES,
    )


def _style() -> tuple[Option, ...]:
    width = replace(WIDTH, default=32, help="channels of the largest map, doubled at each halving up to 512")
    return width, DEPTH


@hookimpl
def ganzoo_terms() -> list[Entry]:
    term = Option("term", "term", Part("term", "criticise", {"divergence": "gan"}), help="that asks a discriminator")
    summary = "a term whose discriminator judges augmented images"
    return [Entry("augmented", "ganzoo_images.augment:Augmented", summary, (term, _policy()), ZHAO)]


@hookimpl
def ganzoo_penalties() -> list[Entry]:
    penalty, summary = Option("penalty", "penalty", "r1"), "a penalty on a discriminator of augmented images"
    return [Entry("augmented", "ganzoo_images.augment:AugmentedPenalty", summary, (penalty, _policy()), ZHAO)]


def _policy() -> Option:
    return Option("policy", str, POLICY, many=True, choices=POLICY, help="what is done, in this order")


@hookimpl
def ganzoo_schedules() -> list[Entry]:
    options = (
        Option("start", float, 1.0, low=0, help="the factor at the start"),
        Option("end", float, 0.0, low=0, help="the factor at the end"),
    )
    summary = "from one factor to another along half a cosine"
    return [Entry("half-cosine", "ganzoo_images.updates:HalfCosine", summary, options)]


@hookimpl
def ganzoo_extractors() -> list[Entry]:
    return [Entry("inception", f"{INCEPTION}:Inception", "the network of FID, fitted on ImageNet", paper=SZEGEDY)]


@hookimpl
def ganzoo_metrics() -> list[Entry]:
    return [
        Entry("fid", f"{INCEPTION}:FID", "Fréchet distance of Gaussians fitted to Inception's features", paper=HEUSEL),
        Entry("kid", f"{INCEPTION}:KID", "squared MMD of Inception's features, cubic kernel", paper=BINKOWSKI),
        Entry("is", f"{INCEPTION}:IS", "how sure of how many classes Inception is", paper=SALIMANS),
        *_of_features(),
        Entry("parzen", "ganzoo_images.metrics.parzen:Parzen", "log-likelihood in Parzen windows", paper=GOODFELLOW),
    ]


def _of_features() -> Iterator[Entry]:
    features, stacked = "ganzoo_images.metrics.features", "ganzoo_images.metrics.stacked"
    options = (Option("extractor", "extractor", "reference", help="where features come from"),)
    for name, target, summary, paper in (
        ("fd", f"{features}:FrechetDistance", "Fréchet distance of Gaussians fitted to features", HEUSEL),
        ("precision", f"{features}:Precision", "generated samples that lie among real ones", KYNKAANNIEMI),
        ("recall", f"{features}:Recall", "real samples that lie among generated ones", KYNKAANNIEMI),
        ("density", f"{features}:Density", "how densely real samples lie around generated ones", NAEEM),
        ("coverage", f"{features}:Coverage", "real samples with a generated one near", NAEEM),
        ("kd", f"{features}:KernelDistance", "squared MMD of standardised features, cubic kernel", BINKOWSKI),
        ("cs", f"{features}:ClassifierScore", "how sure of how many classes a classifier is", SALIMANS),
        ("memorisation", "ganzoo_images.metrics.neighbours:Memorisation", "nearness to the train part", MEEHAN),
        ("stacked-modes", f"{stacked}:StackedModes", "modes of StackedMNIST with a sample", METZ),
        ("stacked-kl", f"{stacked}:StackedKL", "KL of the modes of StackedMNIST to an even share", METZ),
    ):
        yield Entry(name, target, summary, options, paper)


@hookimpl
def ganzoo_methods() -> list[Entry]:
    here = "ganzoo_images.methods"
    return [
        Entry(
            "dcgan",
            f"{here}:dcgan",
            "the original GAN, non-saturating, between convolutional networks",
            (Option("divergence", "divergence", "gan"), _k(1), _adam(0.5, 0.999), SCHEDULE, AUGMENT),
            RADFORD,
        ),
        Entry(
            "sngan-resnet",
            f"{here}:sngan_resnet",
            "the hinge loss between residual networks, spectral norm 1 in the discriminator",
            (Option("divergence", "divergence", "hinge"), _k(5), _adam(0.0, 0.9), SCHEDULE, AUGMENT),
            MIYATO,
        ),
        Entry(
            "r3gan-resnet",
            f"{here}:r3gan_resnet",
            "relativistic pairs with R1 and R2 between networks without normalisation",
            (
                Option("divergence", "divergence", "rpgan"),
                Option("gamma", float, 0.05, low=0, help="twice the weight of R1 and of R2, at the start"),
                Option("decay", float, 0.1, low=0, help="what of gamma is left at the end"),
                _k(1),
                _adam(0.0, 0.99),
                replace(SCHEDULE, default=Part("schedule", "cosine", {"end": 0.25})),
                AUGMENT,
            ),
            HUANG,
        ),
        Entry(
            "stylegan2",
            f"{here}:stylegan2",
            "the original GAN, non-saturating, with R1 at every 16th step",
            (
                Option("gamma", float, 0.01, low=0, help="twice the weight of R1"),
                Option(
                    "every", int, 16, low=1, high=1_000, help="steps from one R1 to the next, which is as many times"
                ),
                _k(1),
                _adam(0.0, 0.99, 2.5e-3),
                SCHEDULE,
                AUGMENT,
            ),
            STYLEGAN2,
        ),
    ]


def _k(default: int) -> Option:
    return Option("k", int, default, low=1, high=1_000, help="steps of the discriminator for one of the generator")


def _adam(beta1: float, beta2: float, lr: float = 2e-4) -> Option:
    return Option("optimizer", "optimizer", Part("optimizer", "adam", {"lr": lr, "beta1": beta1, "beta2": beta2}))
