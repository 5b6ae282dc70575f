"""A model is a folder of data that is checked before it is used; what it gives is a function of its seed."""

from __future__ import annotations

import io
import json
import pickle
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from processes import forked

import ganzoo
from ganzoo.dataset import Batch, Description
from ganzoo.errors import GanzooError, IncompatibleError, ModelError, OptionError, UnknownNameError
from ganzoo.evaluate import CHUNK
from ganzoo.files import sha256
from ganzoo.model import FOLDED, export
from ganzoo.origin import CONFIG, WEIGHTS
from ganzoo.recipe import create_recipe
from ganzoo.sampling import write_samples
from ganzoo.zoo.datasets import Ring

NAMES = ("js-gan.ring", "mle-gaussian.mixture-1d", "mle-gmm.ring", "js-gan.digits")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Exported models whose generators were never trained, by recipe."""
    root = tmp_path_factory.mktemp("models")
    for name in NAMES:
        recipe = create_recipe(name, {"generator.hidden": 32} if "-gan." in name else {})
        torch.manual_seed(0)
        export(root / name, recipe, recipe.networks()["generator"], {"seed": 0, "step": 0})
    return root


@pytest.fixture
def folder(models, tmp_path):
    """A model to do harm to."""
    for path in (models / "js-gan.ring").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def rewrite(folder: Path, change: Any) -> None:
    """Change the config as someone who means harm would."""
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def replace_weights(folder: Path, data: bytes) -> None:
    """Other weights, with the checksum that fits them."""
    (folder / WEIGHTS).write_bytes(data)
    rewrite(folder, lambda config: config["sha256"].update({WEIGHTS: sha256(data)}))


# What a model gives


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_a_function_of_the_seed(models, name):
    model = ganzoo.load(models / name)
    assert model.name == name
    shape = model.dataset.shape
    a, b, c = (model.sample(7, seed=seed) for seed in (0, 0, 1))
    assert a.x.shape == (7, *shape)
    assert a.x.dtype == torch.float32
    assert torch.equal(a.x, b.x)
    assert not torch.equal(a.x, c.x)


def test_without_a_seed_samples_differ(models):
    model = ganzoo.load(models / "js-gan.ring")
    torch.manual_seed(0)
    first = model.sample(5).x
    torch.manual_seed(0)
    assert not torch.equal(first, model.sample(5).x)


@pytest.mark.parametrize("name", NAMES)
def test_loading_and_sampling_leave_the_global_random_state_alone(models, name):
    torch.manual_seed(3)
    state, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    model = ganzoo.load(models / name)
    model.sample(4, seed=0)
    model.sample(4)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numbers)


def test_many_samples_come_in_pieces_that_fit(models):
    x = ganzoo.load(models / "js-gan.ring").sample(25_000, seed=0).x
    assert x.shape == (25_000, 2)
    assert len(x.unique(dim=0)) == 25_000


def test_a_loaded_generator_is_frozen_and_in_eval(models):
    generator = ganzoo.load(models / "js-gan.ring").generator
    assert not generator.training
    assert not any(p.requires_grad for p in generator.parameters())


def test_the_weights_are_those_that_were_exported(models):
    recipe = create_recipe("js-gan.ring", {"generator.hidden": 32})
    torch.manual_seed(0)
    wanted = recipe.networks()["generator"].state_dict()
    found = ganzoo.load(models / "js-gan.ring").generator.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("name", ["mle-gaussian.mixture-1d", "mle-gmm.ring"])
def test_a_likelihood_is_that_of_the_generator(models, name):
    model = ganzoo.load(models / name)
    x = model.sample(50, seed=0).x
    log_p = model.log_prob(x)
    assert log_p.shape == (50,)
    assert torch.equal(log_p, model.generator.log_prob(x))


def test_what_has_no_likelihood_says_so(models):
    with pytest.raises(IncompatibleError, match=r"js-gan\.ring has no likelihood"):
        ganzoo.load(models / "js-gan.ring").log_prob(torch.zeros(1, 2))


def test_labels_can_be_asked_for_where_the_generator_reads_them(tmp_path):
    recipe = create_recipe("js-gan.ring", {"generator.classes": 8, "discriminator.classes": 8})
    export(tmp_path, recipe, recipe.networks()["generator"], {})
    model = ganzoo.load(tmp_path)
    drawn = model.sample(100, seed=0)
    assert drawn.label is not None
    assert len(drawn.label.unique()) > 4
    asked = model.sample(100, seed=0, label=3)
    assert asked.label is not None
    assert asked.label.unique().tolist() == [3]
    mixed = torch.arange(100) % 8
    given = model.sample(100, seed=0, label=mixed)
    assert given.label is not None
    assert torch.equal(given.label, mixed)
    for wrong in (8, -1, torch.arange(99) % 8):
        with pytest.raises(OptionError, match="0 to 7"):
            model.sample(100, seed=0, label=wrong)


def test_a_label_is_asked_for_by_its_name(tmp_path):
    recipe = create_recipe("js-gan.ring", {"generator.classes": None})
    export(tmp_path, recipe, recipe.networks()["generator"], {})
    config = json.loads((tmp_path / CONFIG).read_text())
    assert config["data"]["classes"] == 8
    config["data"]["labels"] = ["north", "North East", *"cdefA", "a"]
    (tmp_path / CONFIG).write_text(json.dumps(config))
    model = ganzoo.load(tmp_path)
    for asked, number in (("north", 0), ("NORTH EAST", 1), ("a", 7), ("A", 6), ("6", 6)):
        label = model.sample(5, seed=0, label=asked).label
        assert label is not None
        assert label.tolist() == [number] * 5
    for wrong, reason in (("south", "no label 'south'; did you mean north"), ("8", "0 to 7")):
        with pytest.raises(OptionError, match=reason):
            model.sample(5, label=wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"shape": []}, {"shape": ["x"]}, {"classes": 0}, {"labels": 3}, {"limits": [1, 0]}, {"limits": [0]}, {"unit": 1}],
    ids=str,
)
def test_a_description_that_is_none_is_refused(wrong):
    said = Ring().described().json()
    assert Description.parse(json.loads(json.dumps(said))) == Ring().described()
    if wrong != {"shape": []}:
        with pytest.raises(OptionError, match=next(iter(wrong))):
            Description.parse({**said, **wrong})


# What is refused


@pytest.mark.parametrize("missing", [CONFIG, WEIGHTS])
def test_a_missing_file_is_named(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=re.escape(missing)):
        ganzoo.load(folder)


@pytest.mark.parametrize("where", ["nowhere", "config.json"])
def test_what_is_no_folder_is_refused(folder, where):
    with pytest.raises(ModelError):
        ganzoo.load(folder / where)


def test_truncated_and_flipped_weights_are_refused(folder):
    data = (folder / WEIGHTS).read_bytes()
    for place in (0, 8, len(data) // 2, len(data) - 1):
        flipped = data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
        for broken in (flipped, data[:place]):
            (folder / WEIGHTS).write_bytes(broken)
            with pytest.raises(ModelError, match="damaged"):
                ganzoo.load(folder)


def test_a_pickle_is_no_model_and_is_never_opened(folder):
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.write_text, (folder / "exploded", "boom"))

    zipped = io.BytesIO()
    torch.save({"a": torch.ones(1)}, zipped)
    for data in (pickle.dumps(Bomb()), zipped.getvalue()):
        (folder / WEIGHTS).write_bytes(data)
        with pytest.raises(ModelError, match="damaged"):
            ganzoo.load(folder)
        replace_weights(folder, data)
        with pytest.raises(ModelError, match="no safetensors"):
            ganzoo.load(folder)
    assert not (folder / "exploded").exists()


def header(content: dict[str, Any], data: bytes = b"") -> bytes:
    """A safetensors file with this header."""
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        struct.pack("<Q", 2**63),
        header({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}, b"abcd"),
        header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**40]}}, b"abcd"),
        header({"x": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}, b"a"),
        header({"x": {"dtype": "WHAT", "shape": [1], "data_offsets": [0, 4]}}, b"abcd"),
        header({}),
    ],
)
def test_hostile_weights_are_refused(folder, data):
    replace_weights(folder, data)
    with pytest.raises(ModelError):
        ganzoo.load(folder)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load((folder / WEIGHTS).read_bytes())


def test_extra_missing_misshapen_and_mistyped_tensors_are_named(folder):
    good = tensors(folder)
    name = "body.0.weight"
    cases = {
        "surplus": {**good, "surplus": torch.ones(1)},
        name: {key: value for key, value in good.items() if key != name},
    }
    for odd, held in cases.items():
        replace_weights(folder, safetensors.torch.save(held))
        with pytest.raises(ModelError, match=re.escape(odd)):
            ganzoo.load(folder)
    for wrong in (good[name].double(), good[name].flatten(), good[name][:-1]):
        replace_weights(folder, safetensors.torch.save({**good, name: wrong.contiguous()}))
        with pytest.raises(ModelError, match=re.escape(name)):
            ganzoo.load(folder)


def generator(config: dict[str, Any]) -> dict[str, Any]:
    return config["generator"]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda c: generator(c)["options"].update(hidden=64), ModelError, "does not fit"),
        (lambda c: generator(c)["options"].update(shape=[3]), ModelError, "does not fit"),
        (lambda c: generator(c)["options"].update(shape=[4096] * 8), ModelError, "cannot be built"),
        (lambda c: generator(c)["options"].update(hidden=10**9), OptionError, "hidden"),
        (lambda c: generator(c)["options"].update(hiden=64), OptionError, "did you mean hidden"),
        (lambda c: generator(c).update(name="mpl"), UnknownNameError, "did you mean mlp"),
        (lambda c: generator(c).update(name="os:system"), UnknownNameError, "os:system"),
        (lambda c: generator(c).update(target="os:system"), OptionError, "unknown fields"),
        (lambda c: c.update(format=99), ModelError, "format"),
        (lambda c: c.pop("recipe"), ModelError, "recipe"),
        (lambda c: c.update(recipe=[]), ModelError, "recipe"),
        (lambda c: c["recipe"].update(dataset=None), ModelError, "dataset"),
        (lambda c: c["recipe"].update(name="../../etc"), ModelError, "name"),
        (lambda c: c.pop("generator"), GanzooError, "generator"),
        (lambda c: c.update(generator="mlp"), ModelError, "generator"),
        (lambda c: c.update(sha256=None), ModelError, "sha256"),
        (lambda c: c.update(sha256=["x"]), ModelError, "sha256"),
        (lambda c: c.update(sha256={}), ModelError, "checksum"),
    ],
)
def test_a_changed_config_is_refused(folder, change, error, says):
    rewrite(folder, change)
    with pytest.raises(error, match=says):
        ganzoo.load(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.update(surprise=1), "surprise"),
        (lambda c: c.update(players=[1]), ""),
        (lambda c: c.pop("turns"), "turns"),
        (lambda c: c.update(dataset={"kind": "dataset", "name": "rong"}), "did you mean ring"),
    ],
)
def test_a_changed_recipe_does_not_keep_a_model_from_sampling_but_is_refused(folder, change, says):
    rewrite(folder, lambda config: change(config["recipe"]))
    model = ganzoo.load(folder)
    assert model.sample(2, seed=0).x.shape == (2, 2)
    with pytest.raises(GanzooError, match=says or None):
        _ = model.recipe


@pytest.mark.parametrize("text", ["", "null", "[]", "3", "{", "\xff\xff", "[" * 100_000])
def test_a_config_that_is_none_is_refused(folder, text):
    (folder / CONFIG).write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match=re.escape(CONFIG)):
        ganzoo.load(folder)


HUGE = """
import json, resource, sys, time
from pathlib import Path
import ganzoo
from ganzoo.errors import ModelError
import ganzoo.zoo.generators, ganzoo.zoo.discriminators

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024

ganzoo.load(sys.argv[1])
path = Path(sys.argv[1]) / "config.json"
config = json.loads(path.read_text())
config["generator"]["options"].update(hidden=65536, depth=64)
path.write_text(json.dumps(config))
before, began = peak(), time.monotonic()
try:
    ganzoo.load(sys.argv[1])
except ModelError as error:
    print(json.dumps({"says": str(error), "mib": peak() - before, "seconds": time.monotonic() - began}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from /proc")
def test_a_huge_network_is_refused_before_it_is_allocated(folder):
    done = subprocess.run([sys.executable, "-c", HUGE, str(folder)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert "does not fit its config.json" in found["says"]
    assert found["mib"] < 50
    assert found["seconds"] < 5


# On the command line


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What `train` leaves behind."""
    folder = tmp_path_factory.mktemp("trained")
    ended = forked(
        *(
            "train",
            "mle-gaussian.mixture-1d",
            "--steps",
            "10",
            "-o",
            "evaluations=1",
            "--device",
            "cpu",
            "--out",
            "run",
        ),
        cwd=folder,
    )
    assert ended.code == 0, ended.err
    return folder / "run"


def test_a_run_a_seed_and_a_model_folder_give_the_same(trained, tmp_path):
    for number, path in enumerate((trained, trained / "seed-0", trained / "seed-0" / "model")):
        ended = forked("sample", path, "-n", 20, "--seed", 4, "--out", f"{number}.safetensors", cwd=tmp_path)
        assert ended.code == 0, ended.err
        assert "20 samples of mle-gaussian.mixture-1d" in ended.out
    files = [(tmp_path / f"{number}.safetensors").read_bytes() for number in range(3)]
    assert files[0] == files[1] == files[2]
    x = safetensors.torch.load(files[0])["x"]
    assert torch.equal(x, ganzoo.load(trained / "seed-0").sample(20, seed=4).x)


@pytest.mark.parametrize("name", ["js-gan.ring", "js-gan.digits", "mle-gaussian.mixture-1d"])
def test_samples_are_drawn_as_a_picture(models, tmp_path, name):
    ended = forked("sample", models / name, "--out", "deep/er/samples.png", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert (tmp_path / "deep/er/samples.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "deep/er").iterdir()] == ["samples.png"]


def test_samples_are_written_as_arrays(models, tmp_path):
    ended = forked("sample", models / "js-gan.digits", "-n", 5, "--out", "deep/samples.npz", cwd=tmp_path)
    assert ended.code == 0, ended.err
    with np.load(tmp_path / "deep/samples.npz") as held:
        assert held["x"].shape == (5, 1, 8, 8)


def test_many_samples_are_the_same_in_every_file_and_in_python(models, tmp_path):
    """More than are made at once, by a generator that is folded for them."""
    n = CHUNK + FOLDED
    for ending in ("npz", "safetensors"):
        ended = forked("sample", models / "js-gan.ring", "-n", n, "--seed", 5, "--out", f"x.{ending}", cwd=tmp_path)
        assert ended.code == 0, ended.err
        assert f"{n:,} samples of js-gan.ring (seed 5), shape ({n}, 2)" in ended.out
    wanted = ganzoo.load(models / "js-gan.ring").sample(n, seed=5).x
    assert torch.equal(wanted, safetensors.torch.load_file(tmp_path / "x.safetensors")["x"])
    with np.load(tmp_path / "x.npz") as held:
        assert list(held) == ["x"]
        assert np.array_equal(held["x"], wanted.numpy())


def test_labels_are_written_beside_their_samples(tmp_path):
    recipe = create_recipe("js-gan.digits", {"generator.classes": 10, "discriminator.classes": 10, "steps": 1})
    export(tmp_path / "model", recipe, recipe.networks()["generator"], {"seed": 0, "step": 1, "metrics": {}})
    wanted = ganzoo.load(tmp_path / "model").sample(300, seed=1)
    assert wanted.label is not None
    for ending in ("npz", "safetensors"):
        write_samples(str(tmp_path / "model"), 300, 1, None, "cpu", tmp_path / f"x.{ending}", lambda *_: None)
    held = safetensors.torch.load_file(tmp_path / "x.safetensors")
    assert torch.equal(held["x"], wanted.x)
    assert torch.equal(held["label"], wanted.label)
    with np.load(tmp_path / "x.npz") as arrays:
        assert np.array_equal(arrays["x"], wanted.x.numpy())
        assert np.array_equal(arrays["label"], wanted.label.numpy())


def test_samples_that_cannot_be_finished_leave_nothing(models, tmp_path, monkeypatch):
    def broken(self, n, **_):
        yield Batch(torch.zeros(3, 2))
        raise OSError("no space left")

    monkeypatch.setattr(ganzoo.Model, "samples", broken)
    for ending in ("npz", "safetensors"):
        with pytest.raises(OSError, match="no space"):
            write_samples(str(models / "js-gan.ring"), 6, 1, None, "cpu", tmp_path / f"x.{ending}", lambda *_: None)
    assert not list(tmp_path.iterdir())


def test_a_picture_of_more_than_it_can_show_is_refused(models, tmp_path):
    ended = forked("sample", models / "js-gan.ring", "-n", 1_000_000, "--out", "x.png", cwd=tmp_path)
    assert ended.code == 2
    assert "--out samples.npz takes all of them" in ended.err


def test_another_ending_is_refused_before_anything_is_made(models, tmp_path):
    ended = forked("sample", models / "js-gan.ring", "--out", "samples.jpeg", cwd=tmp_path)
    assert ended.code == 2
    assert ".png, .npz, .safetensors" in ended.err
    assert not (tmp_path / "samples.jpeg").exists()


def test_a_label_that_is_not_read_is_refused(models, tmp_path):
    ended = forked("sample", models / "js-gan.ring", "--label", 1, "--out", "x.npz", cwd=tmp_path)
    assert ended.code == 2, ended.err
    assert "label" in ended.err


def test_a_folder_that_holds_no_model_is_refused(tmp_path):
    ended = forked("sample", tmp_path, cwd=tmp_path)
    assert ended.code == 1
    assert "holds no model" in ended.err
    assert "Traceback" not in ended.err


def test_a_model_whose_plugin_is_missing_says_which(folder):
    def change(config):
        config["generator"]["name"] = "spiral-net"
        config["needs"] = {"ganzoo-spiral": "1.0"}

    rewrite(folder, change)
    with pytest.raises(UnknownNameError, match=r"made with ganzoo-spiral: `ganzoo install ganzoo-spiral`"):
        ganzoo.load(folder)
