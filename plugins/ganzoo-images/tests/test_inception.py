"""FID, KID and IS against torchmetrics called directly, and weights that are missing, wrong or harmful.

The network has the true architecture and random weights in a file; nothing is fetched but from this machine.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from image_files import build
from torch import Tensor

from ganzoo.dataset import Batch
from ganzoo.errors import DataError
from ganzoo.evaluate import metrics
from ganzoo.metric import Evidence
from ganzoo_images import inception
from ganzoo_images.inception import FID, IS, KID, SHA256, URL, Inception, levels

NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def missing() -> str:
    """Why the libraries cannot be used here; empty where they can."""
    for name in ("torchmetrics", "torch_fidelity"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed: pip install 'ganzoo-images[fid]'"
    try:
        import_module("torchvision")
    except RuntimeError:  # torchvision of PyPI does not load its operators beside torch for the CPU alone
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", NMS)
    try:
        import_module("torch_fidelity")
    except (ImportError, RuntimeError) as error:
        return f"torch-fidelity cannot be loaded: {error}"
    return ""


MISSING = missing()
needs_libraries = pytest.mark.skipif(bool(MISSING), reason=MISSING)
pytestmark = [
    pytest.mark.filterwarnings("ignore:Metric `:UserWarning"),
    pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANZOO_INCEPTION", raising=False)
    return tmp_path / "cache"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random ones of the true architecture, as large as keeps what it sees alive from layer to layer."""
    network_of = import_module("torch_fidelity").FeatureExtractorInceptionV3

    class Made(network_of):
        def load_state_dict(self, state_dict: Any, *args: Any, **options: Any) -> Any:
            """It loads weights when it is made, and there are none yet."""

    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save({}, path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Made("inception-v3-compat", ["2048"], path)
        for name, weight in made.state_dict().items():
            if weight.ndim > 1:
                torch.nn.init.kaiming_normal_(weight)
            elif name.endswith("bn.bias"):
                torch.nn.init.normal_(weight, std=0.1)
    torch.save(made.state_dict(), path)
    return path


@pytest.fixture
def extractor(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Inception:
    monkeypatch.setenv("GANZOO_INCEPTION", str(weights))
    return Inception(sha256=sha256(weights))


def evidence(n: int = 12, m: int = 14) -> Evidence:
    """Shapes, and shapes with less contrast passed off as generated."""
    data = build("shapes")
    fake, real = data.part("validation").take(slice(n)), data.part("held-out").take(slice(m))
    return Evidence(data, Batch(fake.x * 0.7), real, seed=5)


@pytest.fixture(scope="module")
def case() -> Evidence:
    """The same samples for all tests: their features are computed once."""
    return evidence()


# Images


@pytest.mark.parametrize("options", [{}, {"channels": 3}, {"logit": 0.05}, {"logit": 1e-6}], ids=str)
def test_levels_are_those_that_the_samples_were_made_of(options: dict[str, Any]):
    data = build("shapes", **options)
    kept, x = data.stored("held-out").x[:100], data.part("held-out").x[:100]
    found = levels(data.described(), x)
    assert found.dtype == torch.uint8
    assert found.shape == (100, 3, 16, 16)
    wrong = (found != kept.expand(-1, 3, -1, -1)).float().mean()
    assert float(wrong) < (1e-3 if options.get("logit") == 1e-6 else 1e-4), "but for what float32 rounds up"


def test_what_is_no_image_has_no_such_features():
    ring, shapes = build("ring"), build("shapes")
    assert Inception().applies(shapes)
    assert not Inception().applies(ring)
    x = Batch(torch.zeros(4, 2))
    assert not FID().applies(Evidence(ring, x, x))


def test_they_are_measured_on_request():
    assert not {"fid", "kid", "is"} & set(metrics())
    assert set(metrics(["fid", "kid", "is"])) == {"fid", "kid", "is"}
    assert {metric.samples for metric in metrics(["fid", "kid", "is"]).values()} == {50_000}


# Numbers


def images(x: Tensor) -> Tensor:
    return ((x + 1) * 128).floor().clamp(0, 255).to(torch.uint8).repeat(1, 3, 1, 1)


@needs_libraries
def test_fid_is_that_of_torchmetrics(case: Evidence, extractor: Inception, weights: Path):
    metric = import_module("torchmetrics.image.fid").FrechetInceptionDistance(
        feature=2048, feature_extractor_weights_path=str(weights), antialias=False
    )
    metric.update(images(case.real.x), real=True)
    metric.update(images(case.fake.x), real=False)
    ours = FID(extractor)(case)
    assert ours.value == pytest.approx(float(metric.compute()), rel=1e-4)
    assert ours.value > 0.1


@needs_libraries
def test_kid_and_is_are_those_of_torchmetrics(case: Evidence, extractor: Inception, weights: Path):
    make, given = import_module("torchmetrics.image.fid").NoTrainInceptionV3, torch.nn.Identity()
    network = make("inception-v3-compat", ["2048", "logits_unbiased"], str(weights), antialias=False)
    with torch.no_grad():
        (real, _), (fake, logits) = (network._torch_fidelity_forward(images(part.x)) for part in (case.real, case.fake))
    kid = import_module("torchmetrics.image.kid").KernelInceptionDistance(given, subsets=100, subset_size=9)
    score = import_module("torchmetrics.image.inception").InceptionScore(given)
    kid.update(real, real=True)
    kid.update(fake, real=False)
    score.update(logits)
    for mine, theirs in ((KID(extractor, size=9), kid), (IS(extractor), score)):
        torch.manual_seed(case.seed)
        mean, std = theirs.compute()
        found = mine(case)
        assert found.value == pytest.approx(float(mean), rel=1e-4)
        assert found.detail["std"] == pytest.approx(float(std), rel=1e-3)


@needs_libraries
def test_a_set_is_at_no_distance_from_itself(case: Evidence, extractor: Inception):
    same = Evidence(case.dataset, case.real, case.real)
    spread = extractor.on(case.dataset)(case.real.x)[0].var(0).sum()
    found = FID(extractor)(same)
    assert abs(found.value) < 1e-3 * float(spread)
    assert found.detail["generated"] == found.detail["held-out"] == 14
    assert KID(extractor)(same).value <= 0, "unbiased: what is shared makes it negative"
    assert IS(extractor)(same).value >= 1


@needs_libraries
def test_how_says_what_makes_numbers_differ(case: Evidence, extractor: Inception, weights: Path):
    inception._network.cache_clear()
    before = torch.random.get_rng_state()
    found = KID(extractor)(case)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert found.detail["subset size"] == 12, "as many as there are"
    for words in ("12 generated, 14 held-out", "torchmetrics", f"inception {sha256(weights)[:8]}", "ImageNet", "299"):
        assert words in found.how
    assert KID(extractor)(case) == found
    assert found.detail["sha256"] == sha256(weights)
    assert KID(extractor, samples=5)(case).detail["generated"] == 5


@needs_libraries
def test_features_are_computed_once_for_all(extractor: Inception, monkeypatch: pytest.MonkeyPatch):
    case, seen = evidence(2, 3), []
    of = inception.levels
    monkeypatch.setattr(inception, "levels", lambda data, x: seen.append(len(x)) or of(data, x))
    for metric in (KID(extractor), IS(extractor), KID(extractor, subsets=2)):
        metric(case)
    assert seen == [3, 2]


# Weights that are not as they should be


class Bomb:
    """Code that runs where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def refused(extractor: Inception) -> str:
    with pytest.raises(DataError) as caught:
        extractor.on(build("shapes"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@needs_libraries
def test_what_has_another_hash_is_not_read(weights: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANZOO_INCEPTION", str(weights))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    said = refused(Inception())
    for words in (str(weights), sha256(weights), SHA256, "nothing was read", URL, "unset it"):
        assert words in said


@needs_libraries
@pytest.mark.parametrize("how", [torch.save, lambda bomb, path: path.write_bytes(pickle.dumps(bomb))])
def test_a_pickle_that_would_run_code_is_refused(how: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Even where its hash is the one that is asked for."""
    path = tmp_path / "bomb.pth"
    how({"fc.weight": Bomb(tmp_path / "ran")}, path)
    monkeypatch.setenv("GANZOO_INCEPTION", str(path))
    assert f"{path} holds no weights of Inception" in refused(Inception(sha256=sha256(path)))
    assert not (tmp_path / "ran").exists()


@needs_libraries
def test_weights_of_another_network_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    monkeypatch.setenv("GANZOO_INCEPTION", str(tmp_path / "other.pth"))
    assert "holds no weights of Inception" in refused(Inception(sha256=sha256(tmp_path / "other.pth")))


@needs_libraries
def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANZOO_INCEPTION", str(tmp_path / "gone.pth"))
    said = refused(Inception())
    assert "gone.pth cannot be read: No such file" in said
    assert "unset it" in said


def test_without_the_libraries(monkeypatch: pytest.MonkeyPatch, cache: Path):
    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name.split('.')[0]!r}")

    monkeypatch.setattr(inception, "import_module", absent)
    said = refused(Inception())
    assert "No module named 'torchmetrics'" in said
    assert "pip install 'ganzoo-images[fid]'" in said
    assert not cache.exists(), "nothing was fetched"


# Fetching


@contextmanager
def served(content: bytes, announced: int | None = None, status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """The address of a file on this machine, and what was asked for; with status 0 the connection is closed at once."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if not status:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(content) if announced is None else announced))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/weights.pth", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@needs_libraries
def test_weights_are_fetched_once(weights: Path, cache: Path, capsys: pytest.CaptureFixture[str]):
    with served(weights.read_bytes()) as (url, asked):
        made = Inception(url, sha256(weights))
        first = made.on(build("shapes"))
        inception._network.cache_clear()
        assert made.on(build("shapes")).sha256 == first.sha256
    assert asked == ["/weights.pth"]
    kept = cache / "inception" / f"{sha256(weights)}.pth"
    assert kept.read_bytes() == weights.read_bytes()
    assert [path.name for path in kept.parent.iterdir() if path.suffix != ".lock"] == [kept.name]
    assert capsys.readouterr().err.count("fetching") == 1
    kept.write_bytes(b"damaged")
    inception._network.cache_clear()
    assert "take" in (said := refused(made))
    assert "fetched again" in said


CUT = b"half of it"


@needs_libraries
@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"content": b"", "status": 404}, "HTTP Error 404"),
        ({"content": b"", "status": 0}, "Remote end closed connection without response"),
        ({"content": CUT, "announced": 100}, "gave 10 bytes"),
        ({"content": b"<html>log in</html>"}, "gave 19 bytes with the sha256"),
    ],
    ids=["not there", "closed", "cut off", "something else"],
)
def test_what_cannot_be_fetched_leaves_nothing(server: dict[str, Any], said: str, cache: Path):
    with served(**server) as (url, _):
        found = refused(Inception(url))
    path = cache / "inception" / f"{SHA256}.pth"
    for words in (said, url, str(path), "GANZOO_INCEPTION"):
        assert words in found
    assert [each.suffix for each in path.parent.iterdir()] == [".lock"], "nothing half is left"


@needs_libraries
def test_without_a_network(cache: Path):
    with socket.socket() as held:  # bound and not listening: it refuses
        held.bind(("127.0.0.1", 0))
        said = refused(Inception(f"http://127.0.0.1:{held.getsockname()[1]}/weights.pth"))
    assert "Connection refused" in said
    assert "fetch it on another machine" in said


@needs_libraries
def test_the_evaluation_says_why_there_is_no_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from ganzoo.evaluate import measure

    monkeypatch.setenv("GANZOO_INCEPTION", str(tmp_path / "gone.pth"))
    found = measure(metrics(["fid"]), build("shapes"), evidence().fake, evidence().real)["fid"]
    assert math.isnan(found.value)
    assert "GANZOO_INCEPTION" in found.how


WITHOUT = """
import sys
from ganzoo.cli import main
sys.modules["torchmetrics"] = None
for sys.argv[1:] in (
    ["train", "dcgan.shapes", "--steps", "1", "--out", "run", *sys.argv[1:], "--metric", "fid"],
    ["evaluate", "run/seed-0/model", "--metric", "fid"],
):
    try:
        main()
    except SystemExit as end:
        print("code", end.code)
"""


def test_tables_show_the_cure_with_its_brackets(tmp_path: Path):
    """A terminal's library takes ``[fid]`` for a style."""
    env = {**os.environ, "COLUMNS": "400", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WITHOUT, "-o", "generator.width=4", "-o", "discriminator.width=4"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.count("pip install 'ganzoo-images[fid]'") == 2, done.stderr
    assert done.stdout.splitlines()[-1] == "code 1"
