"""What is asked of surrogates by name: settings, specs, messages, own classes; and what each must keep."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from sciflow.errors import InvalidArgument
from sciflow.models.surrogates import SampleSpec, Surrogate, build, describe, names
from sciflow.models.surrogates.base import settings_of

FIELD = SampleSpec((2, 16, 16), (1, 16, 16))
VOLUME = SampleSpec((1, 8, 8, 8), (2, 8, 8, 8))
SMALL: dict[str, tuple[str, SampleSpec, dict[str, Any]]] = {
    "autophasenn": ("autophasenn", SampleSpec((1, 16, 16, 16)), {"width": 4, "levels": 2, "norm": "group"}),
    "cosmoflow": (
        "cosmoflow",
        SampleSpec((1, 16, 16, 16), (3,)),
        {"width": 2, "dense": [16, 8], "dropout": 0.0},
    ),
    "fno": ("fno", FIELD, {"modes": 4, "width": 6, "projection": 8}),
    "fno-3d": ("fno", VOLUME, {"modes": 2, "width": 4, "projection": 8, "padding": 2}),
    "ptychonn": ("ptychonn", SampleSpec((1, 16, 16), (2, 16, 16)), {"width": 4, "levels": 2}),
    "unet": ("unet", FIELD, {"width": 4, "depth": 2}),
    "unet-3d": ("unet", VOLUME, {"width": 4, "depth": 2, "padding": "periodic", "norm": "batch"}),
}
EACH = pytest.mark.parametrize("case", SMALL)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def made(case: str, **changes: Any) -> Surrogate:
    name, spec, settings = SMALL[case]
    torch.manual_seed(0)
    return build(name, spec, settings | changes)


def batch(surrogate: Surrogate, n: int = 4) -> tuple[Tensor, Tensor | None]:
    random = torch.Generator().manual_seed(1)
    x = torch.rand(n, *surrogate.spec.input, generator=random)
    wanted = surrogate.spec.target
    return x, None if wanted is None else torch.rand(n, *wanted, generator=random)


# ---------------------------------------------------------------- the seam


def test_names_load_no_torch() -> None:
    code = "import sys, sciflow.models.surrogates as s; s.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_name_is_described() -> None:
    assert names() == tuple(sorted({name for name, *_ in SMALL.values()}))
    for name, spec, settings in SMALL.values():
        about = describe(name, spec, settings)
        assert about.parameters == build(name, spec, settings).parameter_count()
        assert about.settings["width"] == settings["width"]
        assert about.supervised == (name != "autophasenn")
        assert describe(name).parameters is None


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("unett", {}, "found 'unett', expected one of autophasenn, .*, unet or 'package.module:Class'"),
        ("unet", {"dept": 2}, "unet: unknown setting 'dept'; known: width, depth"),
        ("unet", {"width": "wide"}, "unet: setting width: found 'wide', expected int"),
        ("unet", {"width": True}, "unet: setting width: found True, expected int"),
        ("unet", {"width": (3, 4)}, r"unet: setting width: found \(3, 4\), expected int"),
        ("unet", {"depth": 0}, "unet: found width 64 and depth 0, expected"),
        ("unet", {"padding": "reflect"}, "setting padding: found 'reflect', expected one of zero, periodic"),
        ("unet", {"loss": "hinge"}, "setting loss: found 'hinge', expected one of squared"),
        ("fno", {"modes": 2.0}, "setting modes: found 2.0, expected int or tuple"),
        ("fno", {"modes": []}, "setting modes: found"),
        ("fno", {"modes": [4, 0]}, "setting modes: found"),
        ("fno", {"layers": 0}, "expected width, layers and projection above 0"),
        ("cosmoflow", {"dropout": 1.0}, "expected numbers in"),
        ("cosmoflow", {"dense": [8, -1]}, "expected numbers above 0"),
        ("ptychonn", {"levels": 9}, "levels from 1 to 8"),
        ("autophasenn", {"threshold": 1}, "threshold in"),
        ("autophasenn", {"measured": "counts"}, "expected one of magnitude, intensity"),
        ("os.path:join", {}, "expected a subclass of"),
        ("no.such.module:Net", {}, "expected an importable"),
        ("sciflow.models.surrogates.unet:VNet", {}, "expected an importable"),
    ],
)
def test_names_and_settings_are_judged_in_one_line(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message) as caught:
        build(name, FIELD, settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        ("unet", SampleSpec((1, 24, 20), (1, 24, 20)), r"multiples of 16: .*; \(16, 16\) would fit"),
        ("unet", SampleSpec((1, 8, 8), (1, 8, 8)), r"\(16, 16\) would fit"),
        ("unet", SampleSpec((1, 16), (1, 16)), "with 2 or 3 axes"),
        ("unet", SampleSpec((1, 16, 16)), r"a target of shape None, expected \(channel, 16, 16\)"),
        ("unet", SampleSpec((1, 16, 16), (3,)), r"expected \(channel, 16, 16\)"),
        ("fno", SampleSpec((1, 16, 32), (1, 16, 32)), r"at most half the cells of each axis: \(8, 16\)"),
        ("fno", SampleSpec((1, 32, 32), (1, 32, 16)), r"expected \(channel, 32, 32\)"),
        ("ptychonn", SampleSpec((2, 16, 16), (2, 16, 16)), "found 2 channels in and 2 out"),
        ("ptychonn", SampleSpec((1, 16, 16), (1, 16, 16)), "found 1 channels in and 1 out"),
        ("ptychonn", SampleSpec((1, 8, 8, 8), (2, 8, 8, 8)), "with 2 axes"),
        ("autophasenn", SampleSpec((1, 16, 16)), r"expected \(1, z, y, x\)"),
        ("autophasenn", SampleSpec((1, 24, 24, 24)), r"\(16, 16, 16\) would fit"),
        ("autophasenn", SampleSpec((1, 16, 16, 16), (3,)), "expected none"),
        ("cosmoflow", SampleSpec((1, 64, 64), (3,)), "sides from 8 on"),
        ("cosmoflow", SampleSpec((1, 36, 36, 36), (3,)), r"\(32, 32, 32\) would fit"),
        ("cosmoflow", SampleSpec((1, 32, 32, 32), (1, 32, 32, 32)), r"expected \(parameter,\)"),
    ],
)
def test_a_spec_that_does_not_fit_says_what_would(name: str, spec: SampleSpec, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        build(name, spec)


@pytest.mark.parametrize("shape", [(4,), (1, 2, 3, 4, 5), (0, 4, 4), ()])
def test_a_spec_has_a_channel_and_one_to_three_axes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgument, match="input: found shape"):
        SampleSpec(shape)


def test_residual_needs_channels_that_match() -> None:
    with pytest.raises(InvalidArgument, match="2 channels in and 1 out"):
        build("unet", FIELD, {"residual": True, "depth": 2})


@dataclass(frozen=True, slots=True)
class OwnSettings:
    gain: float = 1.0


class Own(Surrogate):
    """A class of a user."""

    settings_class = OwnSettings
    about, paper, takes = "one factor", "none", "anything"

    def __init__(self, spec: SampleSpec, settings: OwnSettings) -> None:
        super().__init__(spec, settings)
        self.gain = nn.Parameter(torch.tensor(settings.gain))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x


def test_a_class_of_ones_own_goes_by_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "own_surrogates", sys.modules[__name__])
    own = build("own_surrogates:Own", SampleSpec((1, 4, 4), (1, 4, 4)), {"gain": 2})
    x = torch.ones(1, 1, 4, 4)
    assert float(own.loss(own(x), x, torch.zeros_like(x)).detach()) == 4.0
    assert describe("own_surrogates:Own").settings == {"gain": 1.0}


def test_settings_from_toml_compare_and_repeat() -> None:
    found = settings_of(OwnSettings, {"gain": 3}, "own")
    assert found == OwnSettings(3.0)
    assert type(found.gain) is float
    assert eval(repr(found), {"OwnSettings": OwnSettings}) == found


# ---------------------------------------------------------------- what each keeps


@EACH
def test_shapes(case: str) -> None:
    surrogate = made(case)
    x, _ = batch(surrogate, 3)
    found = surrogate(x)
    assert found.shape == (3, *(surrogate.spec.target or (2, *surrogate.spec.space)))
    assert found.dtype == torch.float32


@EACH
def test_a_gradient_reaches_every_parameter(case: str) -> None:
    surrogate = made(case)
    x, target = batch(surrogate)
    torch.autograd.backward(surrogate.loss(surrogate(x), x, target))
    silent = [n for n, p in surrogate.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@EACH
def test_a_loss_is_a_mean_over_the_batch(case: str) -> None:
    surrogate = made(case).eval()  # batch statistics, and they alone, tie samples to each other
    x, target = batch(surrogate, 4)

    def loss(part: slice) -> Tensor:
        return surrogate.loss(surrogate(x[part]), x[part], None if target is None else target[part])

    whole, halves = loss(slice(0, 4)), [loss(slice(0, 2)), loss(slice(2, 4))]
    assert whole.shape == ()
    assert not torch.isclose(halves[0], halves[1], rtol=1e-6)
    torch.testing.assert_close(whole, torch.stack(halves).mean(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", ["cosmoflow", "fno", "unet"])
@pytest.mark.parametrize("loss", ["squared", "absolute", "relative"])
def test_every_loss_is_zero_at_the_target_alone(case: str, loss: str) -> None:
    surrogate = made(case, loss=loss)
    x, target = batch(surrogate)
    assert target is not None
    assert float(surrogate.loss(target, x, target)) == 0
    assert float(surrogate.loss(target + 1, x, target)) > 0.5
    with pytest.raises(InvalidArgument, match="found target None"):
        surrogate.loss(target, x, None)


@EACH
def test_state_goes_round(case: str) -> None:
    one, other = made(case), build(*SMALL[case])
    x, _ = batch(one)
    assert not torch.equal(one.eval()(x), other.eval()(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))


@EACH
def test_the_same_seed_trains_the_same(case: str) -> None:
    def after_steps() -> list[Tensor]:
        surrogate = made(case)
        x, target = batch(surrogate)
        optimiser = torch.optim.Adam(surrogate.parameters(), 1e-3)
        for _ in range(2):
            optimiser.zero_grad()
            torch.autograd.backward(surrogate.loss(surrogate(x), x, target))
            optimiser.step()
        return list(surrogate.parameters())

    assert all(map(torch.equal, after_steps(), after_steps()))


@EACH
def test_bfloat16_stays_near(case: str) -> None:
    surrogate = made(case).eval()
    x, target = batch(surrogate)
    full = surrogate(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = surrogate(x)
        loss = surrogate.loss(half, x, target)
    torch.autograd.backward(loss)
    assert loss.dtype == torch.float32
    assert all(bool(p.grad.isfinite().all()) for p in surrogate.parameters() if p.grad is not None)
    spread = float(full.detach().std())
    assert float((half.float() - full).detach().square().mean().sqrt()) < 0.05 * max(spread, 0.1)


@EACH
def test_channels_last_changes_nothing(case: str) -> None:
    surrogate = made(case).double().eval()
    x = batch(surrogate)[0].double()
    wanted = surrogate(x)
    form: Any = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    nn.Module.to(surrogate, memory_format=form)  # type: ignore[call-overload]
    torch.testing.assert_close(surrogate(x.to(memory_format=form)), wanted, rtol=1e-9, atol=1e-9)


# ---------------------------------------------------------------- the page


def test_the_page_runs_and_knows_every_setting(repository: Path) -> None:
    page = (repository / "docs" / "surrogates.md").read_text(encoding="utf-8")
    namespace: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(compile(block, "docs/surrogates.md", "exec"), namespace)
    own = namespace["TwoLayers"](FIELD, namespace["Settings"]())
    assert own(torch.zeros(1, 2, 16, 16)).shape == (1, 1, 16, 16)
    for name in names():
        (row,) = re.findall(
            rf"^\| `{name}` \| (`.*) \| [^|]*\|$", page.partition("## Sizes")[0], re.MULTILINE
        )
        for setting, default in describe(name).settings.items():
            assert f"`{setting}={json.dumps(default)}`" in row
