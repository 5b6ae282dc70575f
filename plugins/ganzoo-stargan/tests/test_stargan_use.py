"""Pictures in and pictures out, by real processes, of characters that need no art; digits of scikit-learn in CI."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from characters import written
from PIL import Image

import ganzoo
from ganzoo import pictures

TINY = ("-o", "generator.width=4", "-o", "generator.blocks=1", "-o", "discriminator.width=4", "-o", "batch_size=4")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "ganzoo", *arguments]
    return subprocess.run(words, cwd=folder, env={**os.environ, "COLUMNS": "120"}, capture_output=True, text=True)


def trained(folder: Path) -> tuple[str, ...]:
    data = ("-o", f"dataset.source={folder / 'nouns'}", "-o", "dataset.labels=none", "-o", "dataset.train=200")
    return ("stargan.nouns", "--steps", "2", "--out", "run", *data, *TINY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a model that has hardly been trained."""
    made = tmp_path_factory.mktemp("use")
    written(made / "nouns")
    ended = run(made, "train", *trained(made))
    assert ended.returncode == 0, ended.stderr
    for metric in ("domain-error", "reconstruction", "true-distance", "changed-outside", "label-accuracy"):
        assert metric in ended.stdout
    model = ganzoo.load(made / "run")
    pictures.write(model.data, model.dataset.part("held-out").x[0], made / "picture.png")
    return made


def test_a_picture_is_translated_into_one_of_its_size(folder):
    ended = run(folder, "sample", "run", "--source", "picture.png", "--to", "glasses=blue", "--out", "out.png")
    assert ended.returncode == 0, ended.stderr
    assert "glasses=blue" in ended.stdout
    model = ganzoo.load(folder / "run")
    x = model.dataset.part("held-out").x[:1]
    level = ((x + 1) * 128).floor()  # the picture has no noise of dequantisation
    made = model.translate((level + 0.5) / 128 - 1, "blue")
    with Image.open(folder / "out.png") as image:
        assert image.size == (32, 32)
        shown = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert ((256 * model.data.shown(made[0])).floor() - shown).abs().max() <= 1


def test_several_pictures_and_labels_make_a_table(folder):
    sources = ("--source", "picture.png", "--source", "picture.png")
    ended = run(folder, "sample", "run", *sources, "--to", "red", "--to", "blue", "--out", "table.png")
    assert ended.returncode == 0, ended.stderr
    with Image.open(folder / "table.png") as image:
        assert image.width > 100
    ended = run(folder, "sample", "run", *sources, "--to", "red", "--to", "blue", "--out", "table.npz")
    with np.load(folder / "table.npz") as made:
        assert made["x"].shape == (4, 3, 32, 32)
        assert made["label"].tolist() == [0, 2, 0, 2]
        # One source twice: a kernel's last digits may depend on a row's place in its batch.
        assert np.allclose(made["x"][:2], made["x"][2:], atol=1e-3)
        assert not np.allclose(made["x"][0], made["x"][1], atol=1e-3)


@pytest.mark.parametrize(
    ("image", "arguments", "code", "said"),
    [
        (Image.new("RGB", (64, 64)), (), 1, "is 64 × 64 and in colour, and images here are 32 × 32 and in colour"),
        (Image.new("L", (32, 32)), (), 1, "is 32 × 32 and grey, and images here are 32 × 32 and in colour"),
        (Image.new("RGB", (32, 32)), ("--to", "glasses=round"), 2, "stargan.nouns has no label 'round'"),
        (Image.new("RGB", (32, 32)), ("--to", "hat=red"), 2, "labels are of glasses, not of 'hat'"),
    ],
)
def test_pictures_and_labels_that_do_not_fit_are_refused(folder, image, arguments, code, said):
    image.save(folder / "other.png")
    ended = run(folder, "sample", "run", "--source", "other.png", *(arguments or ("--to", "red")), "--out", "no.png")
    assert ended.returncode == code
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (folder / "no.png").exists()


def test_a_model_that_starts_from_noise_says_so_before_its_sources_are_read(folder):
    run(folder, "train", "js-gan.ring", "--steps", "2", "--out", "noise", "-o", "evaluations=1")
    ended = run(folder, "sample", "noise", "--source", "picture.png", "--to", "red", "--out", "no.png")
    assert ended.returncode != 0
    assert "js-gan.ring translates nothing: its MLPGenerator starts from noise" in ended.stderr


def test_metrics_are_named_in_full_where_it_is_narrow(folder):
    words = [sys.executable, "-m", "ganzoo", "train", *trained(folder), "--resume"]
    narrow = {**os.environ, "COLUMNS": "80"}
    ended = subprocess.run(words, cwd=folder, env=narrow, capture_output=True, text=True)
    assert "label-accuracy:reference" in ended.stdout, ended.stderr
    assert max(map(len, ended.stdout.splitlines())) <= 80
    assert "\nreconstruction: 2,000 cycles; the identity has 0" in ended.stdout  # below the table


def test_runs_and_benches_draw_sources_beside_their_translations(folder):
    drawn = sorted((folder / "run" / "seed-0" / "pictures").glob("step-*.png"))
    assert len(drawn) == 3
    with Image.open(drawn[-1]) as image:
        assert image.height > image.width  # eight sources below each other, four columns
    said = json.loads((folder / "run" / "seed-0" / "model" / "config.json").read_text())
    assert said["translates"] is True
    assert said["data"]["attribute"] == "glasses"
    assert said["data"]["labels"] == ["red", "green", "blue"]


@pytest.mark.slow
def test_points_in_the_plane_are_translated_into_any_mode(tmp_path):
    ended = run(tmp_path, "train", "stargan.ring", "--steps", "1000", "--out", "ring", "-o", "evaluations=1")
    assert ended.returncode == 0, ended.stderr
    result = json.loads((tmp_path / "ring" / "seed-0" / "result.json").read_text())
    found = {name: score["last"] for name, score in result["metrics"].items()}
    assert found["domain-error:reference"] < 5
    assert found["reconstruction"] < 0.1
    assert found["high-quality"] > 80


@pytest.mark.slow
def test_two_generators_take_one_moon_to_the_other_and_back(tmp_path):
    ended = run(tmp_path, "train", "cyclegan.two-moons", "--out", "moons", "-o", "evaluations=1")
    assert ended.returncode == 0, ended.stderr
    result = json.loads((tmp_path / "moons" / "seed-0" / "result.json").read_text())
    found = {name: score["last"] for name, score in result["metrics"].items()}
    assert found["domain-error:reference"] < 5
    assert found["reconstruction"] < 0.05
    assert found["energy-distance"] < 0.03


def test_two_generators_are_trained_on_pictures_and_used(folder):
    _, *options = trained(folder)
    ended = run(folder, "train", "cyclegan.nouns", *options, "--out", "pair", "-o", "evaluations=1")
    assert ended.returncode == 0, ended.stderr
    ended = run(folder, "sample", "pair", "--source", "picture.png", "--to", "blue", "--out", "pair.png")
    assert ended.returncode == 0, ended.stderr
    with Image.open(folder / "pair.png") as image:
        assert image.size == (32, 32)
    ended = run(folder, "evaluate", "pair", "--metric", "true-distance")
    assert (ended.returncode, "cyclegan.nouns" in ended.stdout) == (0, True), ended.stderr
    ended = run(folder, "train", "cyclegan.ring", "--out", "no")
    assert ended.returncode == 2
    assert "-o generator=point-cyclegan" in ended.stderr


def test_pictures_with_several_attributes_are_given_some_of_them(tmp_path):
    (tmp_path / "faces").mkdir()
    lines = ["file,Smiling,Young"]
    rng = np.random.default_rng(0)
    for i in range(60):
        smiling, young = i % 2, i // 2 % 2
        x = rng.integers(0, 60, (8, 8, 3), dtype=np.uint8)
        x[:4, :, 0] += 180 * smiling
        x[4:, :, 1] += 180 * young
        Image.fromarray(x.astype(np.uint8)).save(tmp_path / "faces" / f"{i}.png")
        lines.append(f"{i}.png,{2 * smiling - 1},{2 * young - 1}")
    (tmp_path / "faces.csv").write_text("\n".join(lines))
    options = (
        "-o",
        f"dataset.source={tmp_path / 'faces'}",
        "-o",
        f"dataset.label_file={tmp_path / 'faces.csv'}",
        *TINY,
    )
    ended = run(tmp_path, "train", "stargan.images", "--steps", "2", "--out", "run", *options)
    assert ended.returncode == 0, ended.stderr
    assert "domain-error" in ended.stdout
    assert "class-kl" not in ended.stdout
    picture = ("--source", "faces/0.png")
    ended = run(tmp_path, "sample", "run", *picture, "--to", "Smiling,Young=false", "--out", "out.png")
    assert ended.returncode == 0, ended.stderr
    ended = run(tmp_path, "sample", "run", *picture, "--to", "Smiling", "--to", "smiling,young", "--out", "out.npz")
    with np.load(tmp_path / "out.npz") as made:
        assert made["label"].tolist() == [[1, 0], [1, 1]]
    for wrong, said in (("Smling", "did you mean Smiling?"), ("Smiling=perhaps", "it takes bool")):
        ended = run(tmp_path, "sample", "run", *picture, "--to", wrong)
        assert (ended.returncode, said in ended.stderr) == (2, True), ended.stderr
