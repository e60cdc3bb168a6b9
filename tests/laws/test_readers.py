from __future__ import annotations

import json

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.laws import read_curves

PLAIN = "step,loss,lr\n0,3.0,0.1\n5,2.5,0.1\n9,2.0,0.05\n"


def put(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def test_plain_csv_interpolates_and_says_so(tmp_path):
    curve = read_curves(put(tmp_path, "run.csv", PLAIN))["run"]
    np.testing.assert_array_equal(curve.steps, [0, 5, 9])
    np.testing.assert_allclose(curve.rates, np.interp(np.arange(10), [0, 5, 9], [0.1, 0.1, 0.05]))
    assert any("interpolated from 3 logged" in note for note in curve.notes)


def test_one_file_with_several_curves_and_toml(tmp_path):
    text = "schedule,step,loss\n" + "".join(f"{n},{s},{4 - s / 9}\n" for n in ("a", "b") for s in (1, 5, 9))
    toml = 'a = "cosine:peak=1e-3,warmup=2"\nb = {spec = "constant:peak=1e-3", steps = 12}\n'
    curves = read_curves(put(tmp_path, "all.csv", text), schedules=put(tmp_path, "s.toml", toml))
    assert list(curves) == ["a", "b"]
    assert curves["a"].warmup == 2
    assert len(curves["a"].rates) == 10
    assert any("gives no steps: 10" in note for note in curves["a"].notes)
    np.testing.assert_array_equal(curves["b"].rates, np.full(12, 1e-3))
    assert curves["b"].notes == ()


def test_csv_of_rates(tmp_path):
    rates = put(
        tmp_path, "r.csv", "schedule,step,lr\n" + "".join(f"run,{i},{0.1 if i < 6 else 0.05}\n" for i in range(10))
    )
    text = PLAIN.replace("9,2.0", "8,2.0")
    np.testing.assert_array_equal(
        read_curves(put(tmp_path, "run.csv", text), schedules=rates)["run"].rates, [0.1] * 6 + [0.05] * 4
    )


def test_json_lines_and_a_cut_last_line(tmp_path):
    lines = [{"step": s, "loss": 3 - s / 10, "lr": 0.1} for s in range(4)] + [{"step": 2, "grad_norm": 1.0}]
    text = "\n".join(map(json.dumps, lines)) + '\n{"step": 4, "lo'
    curve = read_curves(put(tmp_path, "log.jsonl", text))["log"]
    assert len(curve) == 4
    assert any("cut short" in note for note in curve.notes)
    with pytest.raises(InputError, match="line 2 is not JSON"):
        read_curves(put(tmp_path, "bad.jsonl", '{"step": 1, "loss": 2}\n{"st\n{"step": 2, "loss": 2}\n'))


def test_wandb_exports(tmp_path):
    text = (
        '"Step","run one - loss","run one - loss__MIN","run one - loss__MAX","two - loss","two - lr"\n'
        '"0","3.0","3.0","3.0","","0.1"\n"1","2.9","2.9","2.9","2.8","0.1"\n"2","","","","2.7","0.1"\n'
    )
    schedules = {"run one": np.full(3, 0.1), "two": np.full(3, 0.1)}
    curves = read_curves(put(tmp_path, "wandb.csv", text), schedules=schedules)
    np.testing.assert_array_equal(curves["run one"].steps, [0, 1])
    np.testing.assert_array_equal(curves["two"].losses, [2.8, 2.7])
    single = put(tmp_path, "single.csv", '"Step","loss"\n0,3.0\n1,2.0\n')
    assert list(read_curves(single, schedules={"single": [0.1, 0.1]})) == ["single"]


def test_tensorboard_exports_of_several_runs(tmp_path):
    files = [put(tmp_path, f"{n}.csv", "Wall time,Step,Value\n1.5,0,3.0\n2.5,10,2.0\n") for n in ("a", "b")]
    curves = read_curves(files, schedules={n: np.full(11, 0.1) for n in ("a", "b")})
    assert list(curves) == ["a", "b"]
    np.testing.assert_array_equal(curves["b"].steps, [0, 10])
    with pytest.raises(InputError, match="more than one file"):
        read_curves([files[0], files[0]])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("step,los\n1,2\n", "no column 'loss'; did you mean 'los'"),
        ("stp,loss\n1,2\n", "no column 'step'; did you mean 'stp'"),
        ("step,loss,lr\n0,nan,0.1\n", "loss at step 0 is nan"),
        ("step,loss,lr\n0,x,0.1\n", "line 2: loss is 'x'"),
        ("step,loss,lr\nnan,3,0.1\n", "step nan is no whole number"),
        ("step,loss,lr\n5,3,0.1\n4,2,0.1\n", "step 4 follows step 5"),
        ("step,loss,lr\n0,3,-0.1\n", "lr at step 0 is -0.1"),
        ("step,loss,lr\n0,3,0.1\n1,2,\n", "2 losses but 1 learning rates"),
        ("step,loss\n0,3\n", "no learning rates; add a column lr"),
        ("step,loss,lr\n0,3,0.1\n1\n", "line 3 has 1 cells"),
        ("step,loss\n0,\n", "holds no logged loss"),
    ],
)
def test_bad_tables(tmp_path, text, says):
    with pytest.raises(InputError, match=says):
        read_curves(put(tmp_path, "run.csv", text))


@pytest.mark.parametrize(
    ("schedules", "says"),
    [
        ({"run": "cosine:peek=1"}, "peak"),
        ({"run": "cosin:peak=1"}, "cosine"),
        ({"rum": "constant:peak=0.1"}, "no entry for curve 'run'; did you mean 'rum'"),
        ({"run": {"spec": "constant:peak=0.1", "stps": 10}}, "has the keys"),
        ({"run": {"spec": "constant:peak=0.1", "steps": 0}}, "steps = 0"),
        ({"run": 3}, "give a spec string"),
        ({"run": {"spec": "constant:peak=0.1", "steps": 8}}, "step 9 lies outside its 8 rates"),
        ({"run": "constant:peak=0.1"}, "at step 9 the file logs lr 0.05 but its schedule gives 0.1"),
    ],
)
def test_bad_schedules(tmp_path, schedules, says):
    with pytest.raises(InputError, match=says):
        read_curves(put(tmp_path, "run.csv", PLAIN), schedules=schedules)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("s.toml", "run = ", "no TOML"),
        ("s.csv", "schedule,step\nrun,0\n", "no column 'lr'"),
        ("s.csv", "schedule,step,lr\nrun,1,0.1\n", "jumps to step 1 where 0 is next"),
        ("s.csv", "schedule,step,lr\nrun,0,x\n", "line 2 hold a cell"),
    ],
)
def test_bad_schedule_files(tmp_path, name, text, says):
    with pytest.raises(InputError, match=says):
        read_curves(put(tmp_path, "run.csv", PLAIN), schedules=put(tmp_path, name, text))
    with pytest.raises(InputError, match="cannot be read"):
        read_curves(put(tmp_path, "run.csv", PLAIN), schedules=tmp_path / "none.toml")
    with pytest.raises(InputError, match="do not exist"):
        read_curves(tmp_path / "none.csv")


def test_separators_padded_headers_and_time_stamps(tmp_path):
    semicolons = tmp_path / "semicolons.csv"
    semicolons.write_text("step;loss;lr\n0;3.0;1e-3\n1;2.9;1e-3\n")
    assert read_curves(semicolons)["semicolons"].losses.tolist() == [3.0, 2.9]
    rates = tmp_path / "rates.csv"
    rates.write_text("schedule, step, lr\na,0,1e-3\na,1,1e-3\n")
    logged = tmp_path / "a.csv"
    logged.write_text("step,loss\n0,3.0\n1,2.9\n")
    assert read_curves(logged, schedules=rates)["a"].rates.tolist() == [1e-3, 1e-3]
    logged.write_text("step,loss,lr\n1700000000,3.0,1e-3\n1700000060,2.9,1e-3\n")
    with pytest.raises(InputError, match="time stamp"):
        read_curves(logged)
    logged.write_text("step,loss,lr\n0,1e300,1e-3\n1,2.9,1e-3\n")
    with pytest.raises(InputError, match="at most 1e"):
        read_curves(logged)
