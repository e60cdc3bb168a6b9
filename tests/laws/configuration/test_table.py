"""Tables of runs and the official baseline: columns, units, refusals, published counts."""

import gzip

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.laws.chinchilla_size import ChinchillaSize, SizeTable
from thalweg.laws.configuration import OFFICIAL, ConfigTable, fit_baseline, parse_config, read_configurations
from thalweg.laws.configuration.coupled import Coupled, fit_coupled

TEXT = """optimizer,params [M],tokens [B],lr,batch,weight_decay,loss,run_name,ncpl_split
adamw,134.217728,2.684,0.008,128,0.1,3.5,a,train
muon,134.217728,2.684,0.016,128,,3.4,b,in_val
adamw,536.870912,10.7,0.004,256,0.2,3.1,c,ood_val
"""


def write(tmp_path, text=TEXT):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    return path


def test_units_aliases_and_splits(tmp_path):
    table = read_configurations(write(tmp_path))
    assert table.numbers["params"].tolist() == [134217728.0, 134217728.0, 536870912.0]
    assert table.numbers["tokens"][0] == pytest.approx(2.684e9)
    assert table.config(1) == {
        "optimizer": "muon",
        "params": 134217728.0,
        "tokens": pytest.approx(2.684e9),
        "learning_rate": 0.016,
        "batch_size": 128.0,
    }
    assert [len(table.part(name)) for name in ("train", "in_val", "ood_val")] == [1, 1, 1]
    assert table.flops[2] == pytest.approx(6 * 536870912 * 10.7e9)
    packed = tmp_path / "runs.csv.gz"
    packed.write_bytes(gzip.compress(TEXT.replace("loss", "loss [bits]").encode()))
    assert read_configurations(packed).losses == pytest.approx(table.losses * np.log(2))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("weight_decay", "weight_decy", "did you mean 'weight_decay'"),
        ("[B]", "[Gt]", "unit 'Gt'"),
        ("lr,", "loss [nats],", "two columns for 'loss'"),
        ("0.016", "fast", "learning_rate is 'fast', no number"),
        ("0.016", "-1", "learning_rate of row 1 is -1"),
        ("3.4,", ",", "give a loss > 0"),
        ("params [M]", "hidden", "no column 'params'"),
        ("in_val", "val", "did you mean 'in_val'"),
        (",c,", ",", "row 4 has 8 cells"),
        (",loss,", ",gamma,", "0 columns of losses"),
    ],
)
def test_refused(tmp_path, old, new, said):
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        read_configurations(write(tmp_path, TEXT.replace(old, new)))


def test_unknown_columns_may_be_ignored(tmp_path):
    path = write(tmp_path, TEXT.replace("weight_decay", "luck"))
    with pytest.raises(InputError, match="or ignore it"):
        read_configurations(path)
    assert "weight_decay" not in read_configurations(path, ignore=["luck"]).numbers


def test_absent_and_empty(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_configurations(tmp_path / "none.csv")
    with pytest.raises(InputError, match="no rows"):
        read_configurations(write(tmp_path, TEXT.splitlines()[0]))


def test_configurations_from_words():
    found = parse_config("optimizer=adamw, params=520M, tokens=10B, lr=4e-3, nesterov=True")
    assert found == {"optimizer": "adamw", "params": 520e6, "tokens": 1e10, "learning_rate": 4e-3, "nesterov": 1.0}
    assert ConfigTable.of([found]).numbers["learning_rate"].tolist() == [4e-3]
    for text, said in (("lr", "not name=value"), ("lrr=1", "did you mean 'lr'"), ("lr=x", "no number")):
        with pytest.raises(InputError, match=said):
            parse_config(text)


def test_official_constants_on_hand_values():
    """The specification's own: N = 134.218 million, D = 2.684 billion gives 3.440 nats for marin."""
    assert OFFICIAL["marin"].predict(np.array(134.218e6), np.array(2.684e9)) == pytest.approx(3.440, abs=5e-4)
    n, d = 429.26, 50.0
    by_hand = 1.85240120191131 * n**-0.12576480455477607 + 0.7308261081070557 * d**-0.3337389553968635
    found = OFFICIAL["steplaw"].predict(np.array(n * 1e6), np.array(d * 1e9))
    assert found == pytest.approx(by_hand + 1.2122888212135527, abs=1e-12)


def test_the_baseline_finds_a_law_through_the_middle():
    """Three sizes on an exact law whose exponents are the prior's, with a few runs far above it."""
    rng = np.random.default_rng(0)
    n, d = (part.ravel() for part in np.meshgrid([1e8, 3e8, 9e8], np.geomspace(2e9, 5e10, 8)))
    truth = ChinchillaSize(E=1.8, A=300.0, alpha=0.34, B=400.0, beta=0.28)
    losses = truth.predict(n, d)
    losses[rng.permutation(len(losses))[:4]] += 0.5
    found = fit_baseline(SizeTable(n, d, losses))
    far = np.array(2e9), np.array(1e11)
    assert found.predict(*far) == pytest.approx(truth.predict(*far), abs=5e-3)
    with pytest.raises(InputError, match="at least 6"):
        fit_baseline(SizeTable(n[:5], d[:5], losses[:5]))


def test_published_counts(shared_data):
    folder = shared_data / "pretraining-logs"
    steplaw = read_configurations(folder / "steplaw_dense.csv.gz", target="smooth_loss")
    marin = read_configurations(folder / "marin_optimizer_sweep.csv.gz")
    parts = [[len(table.part(name)) for name in ("train", "in_val", "ood_val")] for table in (steplaw, marin)]
    assert parts == [[930, 288, 296], [893, 205, 275]]
    for table in (steplaw, marin):
        largest = table.part("train").numbers["params"].max()
        assert (table.part("ood_val").numbers["params"] > largest).all()


def test_the_coupled_law_is_found_and_contains_the_chinchilla_law():
    n, d = (part.ravel() for part in np.meshgrid([1e8, 3e8, 9e8], np.geomspace(2e9, 5e10, 8)))
    truth = Coupled(E=1.7, A=600.0, alpha=0.34, B=600.0, beta=0.3, gamma=0.6)
    found = fit_coupled(SizeTable(n, d, truth.predict(n, d)))
    far = np.array(2e9), np.array(1e11)
    assert found.predict(*far) == pytest.approx(truth.predict(*far), abs=5e-3)
    plain = ChinchillaSize(E=1.7, A=300.0, alpha=0.34, B=400.0, beta=0.28)
    same = Coupled(1.7, 300.0, 0.34, 400.0, 0.28, 1.0)
    assert same.predict(n, d) == pytest.approx(plain.predict(n, d))
    with pytest.raises(InputError, match="at least 6"):
        fit_coupled(SizeTable(n[:5], d[:5], truth.predict(n, d)[:5]))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lr=1e-3,learning_rate=2e-3", "learning_rate is given twice"),
        ("lr=nan", "learning_rate is nan in the configuration: give a finite number"),
        ("lr=inf", "give a finite number"),
    ],
)
def test_a_configuration_of_doubtful_meaning_is_refused(text, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_config(text)
