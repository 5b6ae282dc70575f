"""A run that is killed at any moment and resumed ends with the same bits as one that was not: with real processes."""

from __future__ import annotations

import contextlib
import json
import random
import re
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from processes import Ended, Forked, Fresh, forked, wait_for

#: How each recipe is trained here: long enough to be killed in, short enough to be run several times.
QUICK = ("--device", "cpu", "--checkpoint-seconds", "0", "-o", "evaluations=3")
RING = ("train", "js-gan.ring", "--steps", "120", *QUICK)
MIXTURE = ("train", "mle-gmm.mixture-1d", "--steps", "400", *QUICK)


def records(folder: Path) -> list[dict[str, Any]]:
    """The log but for the clock."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "steps_per_second")} for line in lines]


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def result(folder: Path) -> dict[str, Any]:
    """What does not depend on the clock."""
    held = json.loads((folder / "result.json").read_text())
    return {k: held[k] for k in ("status", "step", "best_step", "best_validation", "metrics", "digest")}


def steps_kept(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in (folder / "checkpoints").glob("step-*.json"))


def assert_equal(folder: Path, whole: Path) -> None:
    """Two runs are the same run: weights, log, result, pictures."""
    assert weights(folder) == weights(whole)
    steps = [record["step"] for record in records(folder)]
    assert steps == sorted(set(steps)), "a step was logged twice, or out of order"
    assert records(folder) == records(whole)
    assert result(folder) == result(whole)
    pictures = {path.name: path.read_bytes() for path in (whole / "pictures").iterdir()}
    assert {path.name: path.read_bytes() for path in (folder / "pictures").iterdir()} == pictures
    assert not list(folder.rglob("*.tmp"))


def whole_run(arguments: tuple[str, ...], folder: Path) -> Path:
    ended = forked(*arguments, "--out", "whole", cwd=folder)
    assert ended.code == 0, ended.err
    return folder / "whole" / "seed-0"


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    """A run of `RING` that nobody disturbed."""
    return whole_run(RING, tmp_path_factory.mktemp("ring"))


def kill_after(arguments: tuple[str, ...], cwd: Path, seconds: float) -> None:
    with Forked(*arguments, cwd=cwd) as process:
        time.sleep(seconds)
        process.kill()


def kill_at(arguments: tuple[str, ...], cwd: Path, sign: Path, seconds: float = 0.0) -> None:
    """Kill once the file ``sign`` is there, and ``seconds`` more have gone by."""
    with Forked(*arguments, cwd=cwd) as process:
        wait_for(lambda: sign.exists() or process.poll() is not None)
        time.sleep(seconds)
        process.kill()


def finish(arguments: tuple[str, ...], cwd: Path) -> Ended:
    ended = forked(*arguments, cwd=cwd)
    assert ended.code == 0, ended.err
    return ended


def penalised(folder: Path) -> Path:
    """A recipe with two steps of the discriminator for one of the generator, and a lazy gradient penalty, in a file."""
    shown = forked("show", "js-gan.mixture-1d", "--json", "-o", "k=2", "-o", "generator.hidden=32", cwd=folder)
    recipe = json.loads(shown.out)
    penalty = {"term": {"kind": "penalty", "name": "gradient-penalty"}, "weight": 10, "every": 2}
    recipe["turns"][0]["losses"].append(penalty)
    path = folder / "penalised.json"
    path.write_text(json.dumps(recipe))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("case", ["js-gan", "mle-gmm", "penalised"])
def test_killed_anywhere_and_resumed_it_ends_with_the_same_bits(case, tmp_path):
    arguments = {"js-gan": RING, "mle-gmm": MIXTURE}.get(case)
    if arguments is None:
        arguments = ("train", str(penalised(tmp_path)), "-o", "steps=300", *QUICK)
    began = time.monotonic()
    whole = whole_run(arguments, tmp_path)
    took = time.monotonic() - began
    folder, again = tmp_path / "killed" / "seed-0", (*arguments, "--out", "killed", "--resume")
    rng = random.Random(case)

    kill_after(again, tmp_path, 0.05 * took)  # very early: often before anything was written
    seen = set()
    for _ in range(4):  # at random, wherever that is
        kill_after(again, tmp_path, rng.uniform(0.1, 0.6) * took)
        with contextlib.suppress(IndexError):
            seen.add(steps_kept(folder)[-1])
    last = folder / "checkpoints" / f"step-{result(whole)['step']:09d}.json"
    for _ in range(2):  # after the last step: while it draws, measures or exports
        kill_at(again, tmp_path, last, rng.uniform(0.0, 0.2) * took)
    kill_at(again, tmp_path, folder / "model" / "model.safetensors")
    finish(again, tmp_path)
    assert max(seen, default=0) > 0, "every kill came before the first checkpoint, or after the last step"
    assert_equal(folder, whole)


@pytest.mark.slow
def test_a_stack_killed_anywhere_and_resumed_ends_with_the_same_bits(tmp_path):
    """Also when its seeds were killed between the writing of two of their checkpoints, or of their results."""
    arguments = (*RING, "--seeds", "3", "--engine", "stack")
    began = time.monotonic()
    whole = whole_run(arguments, tmp_path).parent
    took = time.monotonic() - began
    folder, again = tmp_path / "killed", (*arguments, "--out", "killed", "--resume")
    rng = random.Random("stack")
    for _ in range(4):
        kill_after(again, tmp_path, rng.uniform(0.1, 0.6) * took)
    apart = [sorted((folder / f"seed-{seed}" / "checkpoints").glob("step-*")) for seed in range(3)]
    if all(
        len(paths) == 4 for paths in apart
    ):  # two checkpoints of two files each: the last seed's newest is not there
        for path in apart[2][2:]:
            path.unlink()
    kill_at(again, tmp_path, folder / "seed-1" / "model" / "model.safetensors")
    finish(again, tmp_path)
    for seed in range(3):
        assert_equal(folder / f"seed-{seed}", whole / f"seed-{seed}")
    ended = finish((*RING, "--seeds", "2", "--engine", "stack", "--out", "two"), tmp_path)
    assert "2 together, in one program (stack)" in ended.err
    for seed in range(2):  # how many they are does not matter
        assert_equal(tmp_path / "two" / f"seed-{seed}", whole / f"seed-{seed}")
    ended = forked(*RING, "--seeds", "2", "--out", "two", cwd=tmp_path)
    assert ended.code == 1
    assert ended.err.count("already holds this run") == 2
    assert "KeyError" not in ended.err


def test_a_fresh_process_killed_and_resumed_ends_with_the_same_bits(ring, tmp_path):
    arguments = (*RING, "--out", "killed")
    with Fresh(*arguments, cwd=tmp_path) as process:
        process.until(lambda: len(list(tmp_path.glob("killed/seed-0/checkpoints/step-*.json"))) > 1)
        process.kill()
    assert not (tmp_path / "killed" / "seed-0" / "result.json").exists()
    finish((*arguments, "--resume"), tmp_path)
    assert_equal(tmp_path / "killed" / "seed-0", ring)


def test_killed_while_drawing_and_resumed_it_ends_with_the_same_bits(ring, tmp_path):
    folder, again = tmp_path / "killed" / "seed-0", (*RING, "--out", "killed", "--resume")
    kill_at(again, tmp_path, folder / "pictures" / ".step-000000060.png.tmp")
    finish(again, tmp_path)
    assert_equal(folder, ring)


def test_how_often_checkpoints_are_written_does_not_change_the_result(ring, tmp_path):
    arguments = [*RING, "--out", "rare"]
    arguments[arguments.index("--checkpoint-seconds") + 1] = "1000"
    finish(tuple(arguments), tmp_path)
    assert steps_kept(tmp_path / "rare" / "seed-0") == [0, 120]
    assert_equal(tmp_path / "rare" / "seed-0", ring)


# Damage


@pytest.fixture
def stopped(tmp_path):
    """A run that was killed with two checkpoints: its folder, and the command that goes on."""
    arguments = (*RING, "--out", "stopped", "--resume")
    folder = tmp_path / "stopped" / "seed-0"
    with Forked(*arguments, cwd=tmp_path) as process:
        process.until(lambda: sum(steps_kept(folder)) > 3)
        process.kill()
    for path in folder.rglob("*.tmp"):
        path.unlink()
    return folder, arguments


def break_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(ring, stopped, tmp_path):
    folder, arguments = stopped
    before, newest = steps_kept(folder)[-2:]
    break_off(folder / "checkpoints" / f"step-{newest:09d}.safetensors")
    ended = finish(arguments, tmp_path)
    assert f"step-{newest:09d}" in ended.err
    assert f"going on from step {before}" in ended.err
    assert_equal(folder, ring)


def test_when_every_checkpoint_is_damaged_it_says_so_and_touches_nothing(stopped, tmp_path):
    folder, arguments = stopped
    for path in folder.glob("checkpoints/*.safetensors"):
        break_off(path)
    log = (folder / "log.jsonl").read_bytes()
    ended = forked(*arguments, cwd=tmp_path)
    assert ended.code == 1
    assert all(f"step-{step:09d}" in ended.err for step in steps_kept(folder))
    assert "Traceback" not in ended.err
    assert (folder / "log.jsonl").read_bytes() == log


def test_a_torn_log_and_the_lock_of_a_killed_process_are_in_nobodys_way(ring, stopped, tmp_path):
    folder, arguments = stopped
    assert (folder / ".lock").exists()
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 119, "los')
    finish(arguments, tmp_path)
    assert_equal(folder, ring)


def test_a_damaged_recipe_is_named(stopped, tmp_path):
    folder, arguments = stopped
    (folder / "recipe.json").write_text("{")
    ended = forked(*arguments, cwd=tmp_path)
    assert ended.code == 1
    assert re.search(r"ganzoo: .*recipe\.json", ended.err)
    assert "--debug" not in ended.err


def test_a_full_disk_loses_nothing_that_was_saved(ring, tmp_path):
    """A checkpoint of this run is 300 kB; no file gets beyond 100 kB, so that saving fails as on a full disk."""
    folder, arguments = tmp_path / "full" / "seed-0", (*RING, "--out", "full", "--resume")
    kill_at(arguments, tmp_path, folder / "checkpoints" / "step-000000010.json")
    held = {path.name: path.read_bytes() for path in (folder / "checkpoints").glob("step-*")}
    with Forked(*arguments, cwd=tmp_path, file_size=100_000) as process:
        ended = process.wait()
    assert ended.code == 1
    assert "File too large" in ended.err
    assert "Traceback" not in ended.err
    assert {path.name: path.read_bytes() for path in (folder / "checkpoints").glob("step-*")} == held
    assert not list(folder.rglob("*.tmp"))
    finish(arguments, tmp_path)
    assert_equal(folder, ring)


# Ctrl-C


def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(ring, tmp_path):
    folder = tmp_path / "stopped here" / "seed-0"
    rare = [word if word != "0" else "1000" for word in RING]  # so that only Ctrl-C can have written the checkpoint
    with Fresh(*rare, "--out", "stopped here", cwd=tmp_path) as process:
        process.until(lambda: (folder / "log.jsonl").exists() and (folder / "log.jsonl").stat().st_size)
        process.send(signal.SIGINT)
        ended = process.wait()
    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert steps_kept(folder)[-1] > 0
    assert re.search(r"interrupted at step \d+, with a checkpoint", ended.err)
    (line,) = re.findall(r"^Go on with: ganzoo (.*)$", ended.err, re.MULTILINE)
    assert "'stopped here'" in line
    finish(tuple(shlex.split(line)), tmp_path)
    assert_equal(folder, ring)


def test_a_polite_kill_keeps_a_checkpoint_too(tmp_path):
    folder = tmp_path / "stopped" / "seed-0"
    with Forked(*RING, "--out", "stopped", cwd=tmp_path) as process:
        process.until(lambda: (folder / "log.jsonl").exists() and (folder / "log.jsonl").stat().st_size)
        process.send(signal.SIGTERM)
        ended = process.wait()
    assert ended.code == 130
    assert "Go on with: ganzoo train" in ended.err
    assert steps_kept(folder)[-1] > 0


def test_a_second_ctrl_c_stops_at_once_and_still_says_how_to_go_on(tmp_path):
    # A step of this run takes long, and it ends with the second Ctrl-C long before the next record is due.
    slow = ("train", "js-gan.ring", "--steps", "120", "--device", "cpu", "-o", "k=1000", "-o", "batch_size=4096")
    folder = tmp_path / "slow" / "seed-0"
    with Forked(*slow, "--out", "slow", cwd=tmp_path) as process:
        process.until(lambda: (folder / "pictures" / "step-000000000.png").exists())
        time.sleep(0.1)
        process.send(signal.SIGINT)
        time.sleep(0.2)
        assert process.poll() is None
        process.send(signal.SIGINT)
        began = time.monotonic()
        ended = process.wait()
    assert time.monotonic() - began < 2
    assert ended.code == 130
    assert "Go on with: ganzoo train" in ended.err
    assert "Traceback" not in ended.err


def test_ctrl_c_after_the_last_step_says_how_to_go_on(ring, tmp_path):
    folder = tmp_path / "late" / "seed-0"
    with Forked(*RING, "--out", "late", cwd=tmp_path) as process:
        process.until(lambda: (folder / "pictures" / "step-000000120.png").exists())
        time.sleep(0.1)
        process.send(signal.SIGINT)
        ended = process.wait()
    if ended.code == 0:
        pytest.skip("it was faster than Ctrl-C")
    assert ended.code == 130
    assert "Traceback" not in ended.err
    (line,) = re.findall(r"^Go on with: ganzoo (.*)$", ended.err, re.MULTILINE)
    finish(tuple(shlex.split(line)), tmp_path)
    assert_equal(folder, ring)


# What is refused


def test_a_second_process_on_the_folder_is_refused(ring, tmp_path):
    folder, arguments = tmp_path / "one" / "seed-0", (*RING, "--out", "one", "--resume")
    with Forked(*arguments, cwd=tmp_path) as first:
        first.until(lambda: (folder / "pictures" / "step-000000000.png").exists())
        first.send(signal.SIGSTOP)
        second = forked(*arguments, cwd=tmp_path)
        first.send(signal.SIGCONT)
        assert second.code == 1
        assert second.err.strip().splitlines()[-1].startswith("ganzoo: another process is working in one/seed-0")
        assert first.wait().code == 0
    assert_equal(folder, ring)


@pytest.mark.parametrize("change", [("-o", "k=2"), ("-o", "generator.hidden=64"), ("-o", "dataset.std=0.02")])
def test_a_folder_of_another_definition_is_refused_saying_what_differs(ring, change):
    ended = forked(*RING, "--out", str(ring.parent), "--resume", *change, cwd=ring.parent)
    assert ended.code == 2
    assert "holds another run" in ended.err
    wanted = {"k=2": "repeats: 1 there, 2 here", "generator.hidden=64": "hidden: 128 there, 64 here"}
    assert wanted.get(change[1], "std: 0.01 there, 0.02 here") in ended.err
    assert "--out" in ended.err


def test_a_run_that_never_began_leaves_its_folder_to_others(tmp_path):
    said = json.dumps({"seed": 0, "digest": "another", "recipe": {"name": "js-gan.ring"}})
    for begun, code in ((False, 0), (True, 2)):
        folder = tmp_path / str(begun) / "seed-0"
        folder.mkdir(parents=True)
        (folder / "recipe.json").write_text(said)
        if begun:
            (folder / "log.jsonl").touch()
        ended = forked("train", "js-gan.ring", "--steps", "1", "--out", str(begun), cwd=tmp_path)
        assert (ended.code, "holds another run" in ended.err) == (code, begun), ended.err


def test_without_resume_a_folder_that_holds_the_run_is_refused(ring):
    before = {path: path.read_bytes() for path in ring.rglob("*") if path.is_file()}
    ended = forked(*RING, "--out", str(ring.parent), cwd=ring.parent)
    assert ended.code == 1
    assert "--resume" in ended.err
    assert {path: path.read_bytes() for path in ring.rglob("*") if path.is_file() and path in before} == before


def test_a_finished_run_resumed_is_only_reported(ring):
    before = (ring / "result.json").stat().st_mtime_ns
    ended = finish((*RING, "--out", str(ring.parent), "--resume"), ring.parent)
    assert (ring / "result.json").stat().st_mtime_ns == before
    assert "finished 120 steps" in ended.err
    assert "energy-distance" in ended.out


def test_more_seeds_go_on_from_those_that_are_there(tmp_path):
    quick = ("train", "mle-gaussian.mixture-1d", "--steps", "20", *QUICK, "--out", "seeds")
    finish((*quick, "--seeds", "1"), tmp_path)
    before = (tmp_path / "seeds" / "seed-0" / "result.json").stat().st_mtime_ns
    ended = finish((*quick, "--seeds", "2", "--resume"), tmp_path)
    assert (tmp_path / "seeds" / "seed-0" / "result.json").stat().st_mtime_ns == before
    assert weights(tmp_path / "seeds" / "seed-0") != weights(tmp_path / "seeds" / "seed-1")
    assert "2 seeds" in ended.out
