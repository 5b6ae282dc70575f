"""A checkpoint is whole or it is named and passed over, whatever happened to its files."""

import json
import random
from pathlib import Path

import pytest
import torch

from ganzoo import checkpoint
from ganzoo.errors import CheckpointError
from ganzoo.files import atomic_write, sha256

META = {"seed": 0, "numbers": [1, 2.5, None], "words": "é"}


def tensors(step: int) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(step)
    return {
        "network.weight": torch.randn(3, 4, generator=rng),
        "rng.noise": rng.get_state(),
        "step": torch.tensor(float(step)),
        "empty": torch.zeros(0, 2),
        "whole": torch.arange(6).view(2, 3).T,  # not contiguous
    }


@pytest.fixture
def folder(tmp_path):
    """Two checkpoints, of steps 10 and 20."""
    for step in (10, 20):
        checkpoint.save(tmp_path, step, tensors(step), META)
    return tmp_path


def loaded(folder: Path) -> checkpoint.Checkpoint:
    found = checkpoint.load(folder)
    assert found is not None
    return found


def assert_is_step(found: checkpoint.Checkpoint, step: int) -> None:
    assert found.step == step
    assert found.meta == META
    wanted = tensors(step)
    assert found.tensors.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor)


def seal(path: Path, body: dict) -> None:
    """Write a body with a checksum that fits it, as one who means harm would."""
    path.write_text(json.dumps({**body, "sha256": checkpoint._sum(body)}))


def body(path: Path) -> dict:
    return {key: value for key, value in json.loads(path.read_text()).items() if key != "sha256"}


def test_what_is_saved_is_loaded(folder):
    found = loaded(folder)
    assert_is_step(found, 20)
    assert found.damaged == ()


def test_a_folder_without_checkpoints_has_none(tmp_path):
    assert checkpoint.load(tmp_path) is None
    assert checkpoint.load(tmp_path / "missing") is None


def test_the_last_two_are_kept(folder):
    for step in (30, 40, 50):
        checkpoint.save(folder, step, tensors(step), META)
    names = [f"step-{step:09d}.{kind}" for step in (40, 50) for kind in ("json", "safetensors")]
    assert sorted(path.name for path in folder.iterdir()) == names


def test_the_order_is_that_of_numbers(tmp_path):
    for step in (9, 10, 1_000_000):
        checkpoint.save(tmp_path, step, tensors(step), META)
    assert loaded(tmp_path).step == 1_000_000


def test_a_checkpoint_saved_again_replaces_itself(folder):
    checkpoint.save(folder, 20, tensors(7), META)
    assert torch.equal(loaded(folder).tensors["network.weight"], tensors(7)["network.weight"])
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("kind", ["json", "safetensors"])
@pytest.mark.parametrize("left", [0, 1, 7, 0.5, -1])
def test_a_truncated_checkpoint_is_named_and_the_previous_one_used(folder, kind, left):
    path = folder / f"step-000000020.{kind}"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * left) if isinstance(left, float) else left])
    found = loaded(folder)
    assert_is_step(found, 10)
    assert len(found.damaged) == 1
    assert "step-000000020" in found.damaged[0]


@pytest.mark.parametrize("kind", ["json", "safetensors"])
def test_no_flipped_bit_goes_unseen(folder, kind):
    path = folder / f"step-000000020.{kind}"
    data = path.read_bytes()
    rng = random.Random(0)
    places = {0, 7, 8, 9, len(data) - 1, *(rng.randrange(len(data)) for _ in range(200))}
    for place in sorted(places):
        bit = 1 << rng.randrange(8)
        path.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
        found = loaded(folder)
        # Between two values of JSON a space may become another one: then nothing was lost.
        assert found.step == 10 or (kind == "json" and json.loads(path.read_bytes()) == json.loads(data)), place
    path.write_bytes(data)
    assert_is_step(loaded(folder), 20)


def test_a_byte_too_many_is_seen(folder):
    path = folder / "step-000000020.safetensors"
    path.write_bytes(path.read_bytes() + b"\0")
    assert "truncated or corrupt" in loaded(folder).damaged[0]


def test_a_missing_half_is_named(folder):
    (folder / "step-000000020.safetensors").unlink()
    found = loaded(folder)
    assert found.step == 10
    assert "step-000000020" in found.damaged[0]


def test_another_steps_tensors_are_not_taken(folder):
    (folder / "step-000000020.safetensors").write_bytes((folder / "step-000000010.safetensors").read_bytes())
    assert loaded(folder).step == 10


def test_a_renamed_checkpoint_is_not_taken_for_a_later_one(folder):
    (folder / "step-000000030.json").write_bytes((folder / "step-000000010.json").read_bytes())
    (folder / "step-000000030.safetensors").write_bytes((folder / "step-000000010.safetensors").read_bytes())
    found = loaded(folder)
    assert found.step == 20
    assert "step-000000030" in found.damaged[0]


def test_when_all_are_damaged_the_error_names_them_all(folder):
    for path in folder.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=r"step-000000020.*step-000000010"):
        checkpoint.load(folder)


def test_tensors_without_json_and_leftovers_do_not_count(folder):
    (folder / "step-000000030.safetensors").write_bytes(b"half")
    (folder / ".step-000000040.json.123.tmp").write_bytes(b"{")
    (folder / "notes.json").write_text("{}")
    found = loaded(folder)
    assert_is_step(found, 20)
    assert found.damaged == ()


def test_leftover_tensors_are_cleared_away_by_the_next_save(folder):
    (folder / "step-000000015.safetensors").write_bytes(b"half")
    checkpoint.save(folder, 30, tensors(30), META)
    assert not (folder / "step-000000015.safetensors").exists()


def test_a_damaged_later_checkpoint_does_not_push_out_a_good_one(folder):
    checkpoint.save(folder, 30, tensors(30), META)
    (folder / "step-000000030.safetensors").write_bytes(b"damaged")
    assert loaded(folder).step == 20
    checkpoint.save(folder, 25, tensors(25), META)
    (folder / "step-000000025.safetensors").write_bytes(b"damaged too")
    assert_is_step(loaded(folder), 20)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "1",
        '"step"',
        "[]",
        "[1]",
        "{}",
        '{"sha256": 1}',
        '{"sha256": null, "format": 1}',
        "\xff\xfe",
        "NaN",
        '{"step": 1e999}',
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_hostile_json_is_named_and_passed_over(folder, text):
    (folder / "step-000000020.json").write_text(text, encoding="latin-1")
    found = loaded(folder)
    assert_is_step(found, 10)
    assert len(found.damaged) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"format": checkpoint.FORMAT + 1},
        {"format": None},
        {"tensors": None},
        {"tensors": ["x"]},
        {"step": None},
        {"step": "20"},
        {"step": -1},
        {"step": 10},
        {"meta": None},
        {"meta": [1]},
    ],
)
def test_a_sealed_body_with_wrong_fields_is_passed_over(folder, change):
    path = folder / "step-000000020.json"
    seal(path, {**body(path), **change})
    found = loaded(folder)
    assert found.step == 10
    assert len(found.damaged) == 1


@pytest.mark.parametrize("gone", ["format", "tensors", "step", "meta"])
def test_a_sealed_body_without_a_field_is_passed_over(folder, gone):
    path = folder / "step-000000020.json"
    seal(path, {key: value for key, value in body(path).items() if key != gone})
    found = loaded(folder)
    assert found.step == 10
    assert gone in found.damaged[0]


@pytest.mark.parametrize("data", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}x", b"\x80\x04}q\0."])
def test_a_sealed_file_that_is_no_safetensors_is_passed_over(folder, data):
    path = folder / "step-000000020.json"
    path.with_suffix(".safetensors").write_bytes(data)
    seal(path, {**body(path), "tensors": sha256(data)})
    found = loaded(folder)
    assert found.step == 10
    assert len(found.damaged) == 1


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    atomic_write(path, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
