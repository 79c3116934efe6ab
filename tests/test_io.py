"""Files written by the libraries themselves, read back; and every way a file can be bad."""

import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from losscope.errors import InputError
from losscope.io import Batch, open_source


def write_npz(folder, z, y):
    np.savez(folder / "a.npz", z=z.numpy(), y=y.numpy())
    return {"path": folder / "a.npz"}


def write_npz_compressed(folder, z, y):
    np.savez_compressed(folder / "a.npz", outputs=z.numpy(), targets=y.numpy(), unused=np.zeros(3))
    return {"path": folder / "a.npz"}


def write_npy(folder, z, y):
    np.save(folder / "train_z.npy", z.numpy())
    np.save(folder / "train_y.npy", y.numpy())
    return {"path": folder / "train_z.npy", "target_path": folder / "train_y.npy"}


def write_npy_folder(folder, z, y):
    np.save(folder / "logits.npy", np.asfortranarray(z.numpy()))
    np.save(folder / "labels.npy", y.numpy().astype(">i4"))
    return {"path": folder}


def write_safetensors(folder, z, y):
    save_file({"logits": z, "labels": y}, folder / "a.safetensors")
    return {"path": folder / "a.safetensors"}


def write_pt(folder, z, y):
    torch.save({"output": z, "target": y, "epoch": 3}, folder / "a.pt")
    return {"path": folder / "a.pt"}


def write_old_pt(folder, z, y):
    torch.save((z.clone().requires_grad_(), y), folder / "a.pth", _use_new_zipfile_serialization=False)
    return {"path": folder / "a.pth", "outputs": "0", "targets": "1"}


def columns(z, y, prefix="z_"):
    wide = {f"{prefix}{h}": z[:, h].numpy() for h in range(z.shape[1])} if z.ndim == 2 else {"z": z.numpy()}
    return wide | {"y": y.numpy()}


def write_csv(folder, z, y):
    pd.DataFrame(columns(z, y)).to_csv(folder / "a.csv", index=False, float_format="%.9g", na_rep="nan")
    return {"path": folder / "a.csv"}


def write_tsv(folder, z, y):
    frame = pd.DataFrame(columns(z, y, "logit"))
    frame.to_csv(folder / "a.tsv", sep="\t", index=False, float_format="%.9g", na_rep="nan")
    return {"path": folder / "a.tsv", "outputs": "logit" if z.ndim == 2 else "z"}


def write_parquet(folder, z, y):
    pq.write_table(pa.table(columns(z, y)), folder / "a.parquet", row_group_size=7)
    return {"path": folder / "a.parquet"}


def list_table(z, y):
    return pa.table({"scores": pa.array(list(z.numpy()), pa.list_(pa.float32())), "label": y.numpy()})


def write_parquet_lists(folder, z, y):
    pq.write_table(list_table(z, y) if z.ndim == 2 else pa.table(columns(z, y)), folder / "a.parquet")
    return {"path": folder / "a.parquet"}


def write_parquet_folder(folder, z, y):
    for part, rows in enumerate(torch.arange(len(y)).tensor_split(3)):
        (folder / f"split={part}").mkdir()
        table = pa.table(columns(z[rows], y[rows], "output_"))
        pq.write_table(table, folder / f"split={part}" / "part.parquet", row_group_size=4)
    return {"path": folder}


WRITERS = [value for name, value in list(globals().items()) if name.startswith("write_")]
every_format = pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__.removeprefix("write_"))


def sample(rows=20, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(rows, classes, generator=generator)
    return z, torch.randint(0, classes, (rows,), generator=generator)


def assert_same(batch, z, y):
    torch.testing.assert_close(batch.outputs, z, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(batch.targets, y, rtol=0, atol=0)


def joined(batches):
    return Batch(*map(torch.cat, zip(*batches, strict=True)))


def refusal(**kwargs):
    """The text with which a source refuses to open or to be read."""
    with pytest.raises(InputError) as caught:
        open_source(**kwargs).read()
    return str(caught.value)


class TestEveryFormat:
    @every_format
    def test_what_was_written_is_read(self, write, tmp_path):
        z, y = sample()
        source = open_source(**write(tmp_path, z, y))
        assert len(source) == 20
        assert_same(source.read(), z, y)

    @every_format
    def test_batches_are_the_rows_in_order(self, write, tmp_path):
        z, y = sample()
        batches = list(open_source(**write(tmp_path, z, y)).batches(6))
        assert [len(batch.targets) for batch in batches] == [6, 6, 6, 2]
        assert_same(joined(batches), z, y)

    @every_format
    def test_ranks_share_the_rows(self, write, tmp_path):
        z, y = sample()
        source = open_source(**write(tmp_path, z, y))
        shares = [joined(source.batches(3, start, stop)) for start, stop in [(0, 5), (5, 17), (17, 20)]]
        assert_same(joined(shares), z, y)
        assert list(source.batches(3, 5, 5)) == []

    @every_format
    def test_reading_twice_gives_the_same(self, write, tmp_path):
        z, y = sample()
        source = open_source(**write(tmp_path, z, y))
        source.read().outputs.zero_()
        assert_same(source.read(), z, y)

    @every_format
    def test_one_output_for_each_row(self, write, tmp_path):
        z, y = sample(classes=2)
        assert_same(open_source(**write(tmp_path, z[:, 0].contiguous(), y)).read(), z[:, 0], y)

    @every_format
    @settings(max_examples=30)
    @given(
        rows=st.integers(1, 30),
        classes=st.integers(1, 5),
        size=st.integers(1, 40),
        odd=st.sampled_from([0.0, float("inf"), float("-inf"), float("nan"), 1e-45, 3.4e38]),
        seed=st.integers(0, 2**32),
    )
    def test_round_trip(self, write, tmp_path_factory, rows, classes, size, odd, seed):
        z, y = sample(rows, classes, seed)
        z[seed % rows, seed % classes] = odd
        folder = tmp_path_factory.mktemp("io")
        source = open_source(**write(folder, z, y))
        assert source.outputs.shape == (rows, classes)
        assert_same(joined(source.batches(size)), z, y)

    @every_format
    def test_description_says_what_was_found(self, write, tmp_path):
        where = write(tmp_path, *sample())
        outputs, targets = open_source(**where).describe().splitlines()
        assert outputs.startswith("outputs: '")
        assert "float32 (20, 4)" in outputs
        assert targets.startswith("targets: '")
        assert "int64 (20,)" in targets
        assert str(where["path"]) in outputs


class TestDtypes:
    @pytest.mark.parametrize("write", [write_safetensors, write_pt])
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    def test_tensors_keep_their_dtype(self, write, dtype, tmp_path):
        z, y = sample()
        source = open_source(**write(tmp_path, z.to(dtype), y))
        assert source.outputs.dtype == dtype
        assert_same(joined(source.batches(3)), z.to(dtype), y)

    @pytest.mark.parametrize("write", [write_npz, write_npy, write_parquet])
    @pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
    def test_arrays_keep_their_dtype(self, write, dtype, tmp_path):
        z, y = sample()
        assert_same(open_source(**write(tmp_path, z.to(dtype), y)).read(), z.to(dtype), y)

    @pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.uint64, ">u2"])
    def test_integer_targets_are_int64(self, dtype, tmp_path):
        z, y = sample()
        np.savez(tmp_path / "a.npz", z=z, y=y.numpy().astype(dtype))
        assert_same(open_source(tmp_path / "a.npz").read(), z, y)

    def test_an_index_int64_cannot_hold(self, tmp_path):
        np.savez(tmp_path / "a.npz", z=np.zeros(1), y=np.array([2**63], dtype=np.uint64))
        assert "int64" in refusal(path=tmp_path / "a.npz")

    def test_boolean_and_float_targets_stay(self, tmp_path):
        z, _ = sample()
        for targets in (z > 0, z.softmax(1)):
            np.savez(tmp_path / "a.npz", z=z, t=targets)
            assert_same(open_source(tmp_path / "a.npz").read(), z, targets)

    def test_whole_numbers_in_a_table_are_logits(self, tmp_path):
        (tmp_path / "a.csv").write_text("z_0, z_1, y\n1, 10, 1\n2, -2, 0\n")
        assert_same(
            open_source(tmp_path / "a.csv").read(), torch.tensor([[1.0, 10.0], [2.0, -2.0]]), torch.tensor([1, 0])
        )

    def test_whole_numbers_alone_may_be_decisions_and_stay(self, tmp_path):
        (tmp_path / "a.csv").write_text("output,y\n1,1\n0,2\n")
        assert open_source(tmp_path / "a.csv").read().outputs.dtype == torch.int64

    def test_more_dimensions(self, tmp_path):
        z, y = torch.randn(3, 4, 5, 6), torch.randint(0, 4, (3, 5, 6))
        for write in (write_npz, write_npy, write_safetensors, write_pt):
            assert_same(joined(open_source(**write(tmp_path, z, y)).batches(2)), z, y)


class TestNames:
    @pytest.mark.parametrize("outputs", ["outputs", "output", "logits", "logit", "z", "scores", "Logits"])
    @pytest.mark.parametrize("targets", ["targets", "target", "labels", "label", "y", "Y", "y_true"])
    def test_usual_names(self, outputs, targets, tmp_path):
        z, y = sample()
        np.savez(tmp_path / "a.npz", **{"other": np.zeros(2), outputs: z, targets: y})
        assert_same(open_source(tmp_path / "a.npz").read(), z, y)

    def test_names_of_ones_own(self, tmp_path):
        z, y = sample()
        np.savez(tmp_path / "a.npz", z, y)
        assert_same(open_source(tmp_path / "a.npz", outputs="arr_0", targets="arr_1").read(), z, y)

    def test_missing_names_list_what_there_is(self, tmp_path):
        np.savez(tmp_path / "a.npz", *sample())
        text = refusal(path=tmp_path / "a.npz")
        assert "'arr_0', 'arr_1'" in text
        assert "--outputs NAME" in text
        assert "'arr_0', 'arr_1'" in refusal(path=tmp_path / "a.npz", outputs="z")

    def test_two_that_fit_are_not_guessed(self, tmp_path):
        z, y = sample()
        np.savez(tmp_path / "a.npz", z=z, scores=z.exp(), y=y)
        text = refusal(path=tmp_path / "a.npz")
        assert "more than one: 'z', 'scores'" in text
        assert_same(open_source(tmp_path / "a.npz", outputs="scores").read(), z.exp(), y)

    def test_groups_are_in_the_order_of_their_numbers(self, tmp_path):
        z, y = sample(classes=12)
        frame = pd.DataFrame(columns(z, y))
        frame[sorted(frame.columns)].to_parquet(tmp_path / "a.parquet")
        assert_same(open_source(tmp_path / "a.parquet").read(), z, y)

    def test_multi_hot_columns(self, tmp_path):
        z, _ = sample()
        m = (z > 0).to(torch.int64)
        multi_hot = {f"m_{h}": m[:, h].numpy() for h in range(4)}
        pq.write_table(pa.table(multi_hot | columns(z, m[:, 0])).drop("y"), tmp_path / "a.parquet")
        assert_same(open_source(tmp_path / "a.parquet").read(), z, m)

    def test_classes_by_their_names(self, tmp_path):
        z, y = sample(classes=3)
        table = {"dog": z[:, 1].numpy(), "cat": z[:, 0].numpy(), "cow": z[:, 2].numpy(), "y": y.numpy()}
        pq.write_table(pa.table(table), tmp_path / "a.parquet")
        assert_same(open_source(tmp_path / "a.parquet", outputs="cat, dog,cow").read(), z, y)

    def test_a_class_without_a_column(self, tmp_path):
        (tmp_path / "a.csv").write_text("z_0,z_2,y\n1.5,2.5,0\n")
        assert "without a gap; got z_0, z_2" in refusal(path=tmp_path / "a.csv")

    def test_classes_counted_from_one(self, tmp_path):
        (tmp_path / "a.csv").write_text("z1,z2,y\n1.5,2.5,0\n")
        assert "from 0 without a gap; got z1, z2" in refusal(path=tmp_path / "a.csv")

    def test_a_name_twice(self, tmp_path):
        (tmp_path / "a.csv").write_text("z,z,y\n1.5,2.5,0\n")
        assert "twice ['z']" in refusal(path=tmp_path / "a.csv")

    def test_a_long_list_is_cut(self, tmp_path):
        np.savez(tmp_path / "a.npz", **{f"array_{i}": np.zeros(1) for i in range(30)})
        assert "and 10 more" in refusal(path=tmp_path / "a.npz")

    def test_two_files_of_two_formats(self, tmp_path):
        z, y = sample()
        save_file({"head.out": z}, tmp_path / "z.safetensors")
        pd.DataFrame({"answer": y.numpy()}).to_csv(tmp_path / "y.csv", index=False)
        source = open_source(tmp_path / "z.safetensors", target_path=tmp_path / "y.csv")
        assert_same(joined(source.batches(7)), z, y)

    def test_one_npy_alone(self, tmp_path):
        np.save(tmp_path / "z.npy", np.zeros((2, 2)))
        assert "as a file of their own" in refusal(path=tmp_path / "z.npy")


class TestNotAFileToRead:
    def test_missing(self, tmp_path):
        assert "nothing at this path" in refusal(path=tmp_path / "a.npz")
        write_npy(tmp_path, *sample())
        assert "nothing at this path" in refusal(path=tmp_path / "train_z.npy", target_path=tmp_path / "no.npy")
        assert "nothing at this path" in refusal(path=tmp_path / ("a" * 300 + ".npz"))

    @pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".csv", ".parquet", ".pt"])
    def test_empty(self, suffix, tmp_path):
        (tmp_path / f"a{suffix}").touch()
        assert "an empty file (0 bytes)" in refusal(path=tmp_path / f"a{suffix}")

    @pytest.mark.parametrize("name", ["a.pkl", "a.joblib", "outputs", "a.jsonl"])
    def test_another_format(self, name, tmp_path):
        (tmp_path / name).write_bytes(pickle.dumps([1]))
        assert ".safetensors" in refusal(path=tmp_path / name)

    def test_folders(self, tmp_path):
        assert "neither" in refusal(path=tmp_path)
        write_npy(tmp_path, *sample())
        write_parquet(tmp_path, *sample())
        assert "both" in refusal(path=tmp_path)

    @pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".parquet", ".pt", ".csv"])
    def test_something_else_inside(self, suffix, tmp_path):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(bytes(range(256)) * 8)
        assert str(path) in refusal(path=path)


class RunsCode:
    """A pickle that leaves a mark when it is opened."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


class TestNeverUnpickles:
    def files(self, folder):
        evil = RunsCode(folder / "mark")
        objects = np.array([evil, evil], dtype=object)
        np.save(folder / "object.npy", objects, allow_pickle=True)
        np.savez(folder / "object.npz", z=objects, y=np.zeros(2))
        torch.save({"z": evil, "y": torch.zeros(2)}, folder / "a.pt")
        torch.save(evil, folder / "old.pt", _use_new_zipfile_serialization=False)
        for name in ("raw.npy", "raw.npz", "raw.pt", "raw.safetensors", "raw.parquet", "raw.csv"):
            (folder / name).write_bytes(pickle.dumps(evil))

    def test_no_code_runs(self, tmp_path):
        self.files(tmp_path)
        files = [path for path in tmp_path.iterdir() if path.name != "mark"]
        assert len(files) == 10
        for path in files:
            text = refusal(path=path, target_path=path)
            assert str(path) in text
            for advice in ("weights_only=False", "allow_pickle=True", "allow_pickle="):
                assert advice not in text
        assert not (tmp_path / "mark").exists()
        pickle.loads((tmp_path / "raw.pt").read_bytes())
        assert (tmp_path / "mark").exists()  # so the mark is one that opening leaves

    def test_the_text_says_pickle(self, tmp_path):
        self.files(tmp_path)
        for name in ("object.npy", "object.npz", "a.pt"):
            assert "pickle" in refusal(path=tmp_path / name, target_path=tmp_path / name)


BINARY = [write for write in WRITERS if "csv" not in write.__name__ and "tsv" not in write.__name__]


def largest_file(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


class TestDamage:
    @pytest.mark.parametrize("write", BINARY, ids=lambda write: write.__name__.removeprefix("write_"))
    @pytest.mark.parametrize("left", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0])
    def test_truncated(self, write, left, tmp_path):
        where = write(tmp_path, *sample())
        file = largest_file(tmp_path)
        whole = file.read_bytes()
        file.write_bytes(whole[: min(int(left * len(whole)), len(whole) - 1)])
        assert str(file) in refusal(**where)

    def test_a_line_cut_short(self, tmp_path):
        where = write_csv(tmp_path, *sample())
        whole = where["path"].read_text()
        where["path"].write_text(whole[: whole.rindex(",")])
        assert "Expected 5 columns, got 4" in refusal(**where)

    def test_the_row_group_is_named(self, tmp_path):
        z, y = sample(rows=300)
        path = tmp_path / "part.parquet"
        pq.write_table(pa.table(columns(z, y)), path, row_group_size=100, write_page_checksum=True)
        second = pq.read_metadata(path).row_group(1).column(2)
        damaged = bytearray(path.read_bytes())
        damaged[second.data_page_offset + second.total_compressed_size - 5] ^= 0xFF
        path.write_bytes(damaged)
        source = open_source(path)
        assert_same(joined(source.batches(50, 0, 100)), z[:100], y[:100])
        with pytest.raises(InputError, match=r"part\.parquet, row group 1: expected a whole \.parquet file"):
            list(source.batches(50))

    # Always the same: pyarrow itself crashes on one of some 3,000 such files whose columns are lists.
    @every_format
    @settings(max_examples=30, derandomize=True)
    @given(data=st.data())
    def test_flipped_bytes_are_an_input_error_or_not_seen(self, write, tmp_path_factory, data):
        folder = tmp_path_factory.mktemp("io")
        where = write(folder, *sample(8, 3))
        file = largest_file(folder)
        damaged = bytearray(file.read_bytes())
        for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4)):
            damaged[at] = data.draw(st.integers(0, 255))
        file.write_bytes(damaged)
        with suppress(InputError):
            source = open_source(**where)
            assert sum(len(batch.targets) for batch in source.batches(3)) == len(source)


class TestNotNumbers:
    def test_different_lengths(self, tmp_path):
        np.savez(tmp_path / "a.npz", z=np.zeros((5, 2)), y=np.zeros(4))
        assert "5 rows of 'z' and 4 of 'y'" in refusal(path=tmp_path / "a.npz")

    @pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
    def test_no_rows(self, suffix, tmp_path):
        write = {".npz": write_npz, ".safetensors": write_safetensors, ".pt": write_pt}[suffix]
        assert "with none" in refusal(**write(tmp_path, torch.zeros(0, 3), torch.zeros(0)))

    def test_only_a_header(self, tmp_path):
        (tmp_path / "a.csv").write_text("z_0,z_1,y\n")
        assert "with none" in refusal(path=tmp_path / "a.csv")

    def test_a_single_value(self, tmp_path):
        np.savez(tmp_path / "a.npz", z=np.float32(3), y=np.zeros(1))
        assert "'z' with a single value" in refusal(path=tmp_path / "a.npz")

    @pytest.mark.parametrize(
        "array", [np.array(["a", "b"]), np.zeros(2, complex), np.zeros(2, "M8[s]"), np.zeros(2, [("a", "f4")])]
    )
    def test_arrays_of_something_else(self, array, tmp_path):
        np.savez(tmp_path / "a.npz", z=array, y=np.zeros(2))
        assert f"dtype {array.dtype}" in refusal(path=tmp_path / "a.npz")

    def test_tensors_of_something_else(self, tmp_path):
        for tensor in (torch.zeros(2, 2).to_sparse(), torch.zeros(2, dtype=torch.complex64)):
            torch.save({"z": tensor, "y": torch.zeros(2)}, tmp_path / "a.pt")
            assert "dense tensors of real numbers" in refusal(path=tmp_path / "a.pt")
        save_file({"z": torch.zeros(2, 2).to(torch.float8_e4m3fn), "y": torch.zeros(2)}, tmp_path / "a.safetensors")
        assert "at least 16 bits" in refusal(path=tmp_path / "a.safetensors")

    def test_no_tensors(self, tmp_path):
        torch.save("words", tmp_path / "a.pt")
        assert "a str" in refusal(path=tmp_path / "a.pt")

    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_names_of_classes(self, suffix, tmp_path):
        frame = pd.DataFrame({"z_0": [0.5, 1.5], "z_1": [1.0, 2.0], "label": ["cat", "dog"]})
        getattr(frame, f"to_{suffix}")(tmp_path / f"a.{suffix}", index=False)
        text = refusal(path=tmp_path / f"a.{suffix}")
        assert "column 'label'" in text
        assert "'cat' in row 0" in text
        assert "its index" in text

    def test_a_word_among_the_numbers(self, tmp_path):
        (tmp_path / "a.csv").write_text("z,y\n0.5,1\nhigh,0\n")
        assert "numbers in column 'z'; got string" in refusal(path=tmp_path / "a.csv")

    def test_a_hole_in_a_text(self, tmp_path):
        (tmp_path / "a.csv").write_text("z_0,z_1,y\n0.5,1,1\n0.25,,1\n")
        assert "row of column 'z_1'; got none in row 1" in refusal(path=tmp_path / "a.csv")

    def test_nan_in_a_text_is_no_hole(self, tmp_path):
        (tmp_path / "a.csv").write_text("z,y\nnan,1\n-inf,1\ninf,0\n")
        infinity = float("inf")
        z = torch.tensor([float("nan"), -infinity, infinity])
        assert_same(open_source(tmp_path / "a.csv").read(), z, torch.tensor([1, 1, 0]))

    def test_a_null_says_its_row_in_its_file(self, tmp_path):
        for part in range(2):
            targets = [0, 1, 0, 1, None if part else 0, 0]
            table = pa.table({"z": pa.array([0.5] * 6), "y": pa.array(targets, pa.int64())})
            pq.write_table(table, tmp_path / f"{part}.parquet", row_group_size=4)
        for rows in (1, 3, 12):
            with pytest.raises(InputError, match=r"1\.parquet: .*'y'; got none in row 4"):
                list(open_source(tmp_path).batches(rows))

    @pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.large_list(pa.float64())])
    def test_nulls_in_lists(self, kind, tmp_path):
        for hole in (None, [0.5, None]):
            table = pa.table({"z": pa.array([[1.0, 2.0], [1.0, 3.0], hole], kind), "y": [0, 1, 1]})
            pq.write_table(table, tmp_path / "a.parquet")
            assert "column 'z'; got none in row 2" in refusal(path=tmp_path / "a.parquet")

    def test_ragged_lists(self, tmp_path):
        table = pa.table({"z": [[1.0, 2.0], [1.0, 3.0], [1.0], [1.0, 2.0]], "y": [0, 1, 1, 0]})
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
        for rows in (1, 2, 4):
            with pytest.raises(InputError, match="2 as in the first row; got 1 in row 2"):
                list(open_source(tmp_path / "a.parquet").batches(rows))

    def test_lists_of_words(self, tmp_path):
        pq.write_table(pa.table({"z": [["a", "b"]], "y": [0]}), tmp_path / "a.parquet")
        assert "numbers in column 'z'; got string" in refusal(path=tmp_path / "a.parquet")

    def test_files_of_a_folder_that_differ(self, tmp_path):
        pq.write_table(pa.table({"z": [0.5], "y": [1]}), tmp_path / "0.parquet")
        pq.write_table(pa.table({"z": [0.5], "y": [1.0]}), tmp_path / "1.parquet")
        text = refusal(path=tmp_path)
        assert "1.parquet: expected column 'y' of type int64 as in 0.parquet; got double" in text
        pq.write_table(pa.table({"z": [0.5]}), tmp_path / "1.parquet")
        assert "got no such column" in refusal(path=tmp_path)


@pytest.mark.parametrize(("rows", "start", "stop"), [(0, 0, None), (-1, 0, None), (3, -1, 5), (3, 5, 4), (3, 0, 21)])
def test_rows_that_are_not_there(rows, start, stop, tmp_path):
    source = open_source(**write_npz(tmp_path, *sample()))
    with pytest.raises(InputError, match="ask for rows that are there"):
        source.batches(rows, start, stop)


GROWTH = """
import re, sys
from losscope.io import open_source

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

before = peak()
source = open_source(sys.argv[1], target_path=sys.argv[2])
rows = sum(len(batch.targets) for batch in source.batches(1 << 13))
assert rows == len(source) == 1 << 20
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux' /proc")
@pytest.mark.parametrize("suffix", ["npy", "safetensors", "parquet"])
def test_streams_in_constant_memory(suffix, tmp_path):
    """256 MiB of outputs, in one row group where there are such, must not be in memory at once."""
    z = np.random.default_rng(0).standard_normal((1 << 20, 64), np.float32)
    path = tmp_path / f"z.{suffix}"
    if suffix == "npy":
        np.save(path, z)
    if suffix == "safetensors":
        save_file({"z": torch.from_numpy(z)}, path)
    if suffix == "parquet":
        lists = pa.FixedSizeListArray.from_arrays(z.reshape(-1), 64)
        pq.write_table(pa.table({"z": lists}), path, row_group_size=len(z), use_dictionary=False)
    np.save(tmp_path / "y.npy", np.zeros(len(z), np.int64))
    command = [sys.executable, "-c", GROWTH, path, tmp_path / "y.npy"]
    growth = float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert growth < 200


def test_whole_and_other_numbers_side_by_side(tmp_path):
    """A column of whole numbers is a column of integers, and the others keep their fractions beside it."""
    (tmp_path / "x.csv").write_text("z_0,z_1,y\n1,2.5,0\n-3,0.25,1\n")
    assert open_source(tmp_path / "x.csv").read().outputs.tolist() == [[1, 2.5], [-3, 0.25]]


@pytest.mark.parametrize("name", ["x.CSV", "x.TSV", "x.NPZ"])
def test_endings_in_capitals(name, tmp_path):
    z, y = torch.tensor([[0.5, 1.5]]), torch.tensor([1])
    if name == "x.NPZ":
        with open(tmp_path / name, "wb") as file:
            np.savez(file, outputs=z.numpy(), targets=y.numpy())
    else:
        (tmp_path / name).write_text("z_0,z_1,y\n0.5,1.5,1\n".replace(",", "," if name == "x.CSV" else "\t"))
    assert torch.equal(open_source(tmp_path / name).read().outputs, z)


def test_names_with_capitals_and_spaces(tmp_path):
    (tmp_path / "x.csv").write_text(" Logit , Label\n0.5,1\n")
    found = open_source(tmp_path / "x.csv")
    assert (found.outputs.name, found.targets.name) == ("Logit", "Label")


@pytest.mark.parametrize("hole", ["NA", "N/A", "null", "NULL", "None"])
def test_what_stands_for_nothing_in_a_text(hole, tmp_path):
    (tmp_path / "x.csv").write_text(f"z_0,z_1,y\n0.5,1.5,1\n0.5,{hole},0\n")
    with pytest.raises(InputError, match="none in row 1"):
        open_source(tmp_path / "x.csv").read()


def test_parquet_in_folders_of_a_folder(tmp_path):
    (tmp_path / "day=1").mkdir()
    pq.write_table(pa.table({"z_0": [0.5], "z_1": [1.5], "y": [1]}), tmp_path / "day=1" / "part.parquet")
    assert len(open_source(tmp_path)) == 1


def test_a_folder_of_both_is_not_guessed(tmp_path):
    pq.write_table(pa.table({"z_0": [0.5], "z_1": [1.5], "y": [1]}), tmp_path / "part.parquet")
    np.save(tmp_path / "y.npy", np.array([1]))
    with pytest.raises(InputError, match="both"):
        open_source(tmp_path)


def test_checksums_of_pages_are_compared(tmp_path):
    path = tmp_path / "x.parquet"
    table = pa.table({"z_0": np.arange(99.0), "z_1": np.arange(99.0), "y": np.zeros(99, np.int64)})
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    content = path.read_bytes()
    at = content.index(np.float64(50).tobytes())
    path.write_bytes(content[:at] + np.float64(51).tobytes() + content[at + 8 :])
    with pytest.raises(InputError, match=r"whole \.parquet file"):
        open_source(path).read()
