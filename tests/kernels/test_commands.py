"""A launch that was prepared once does what a fresh one does, whatever it is given later."""

import gc
import threading
import weakref

import pytest
import torch
import warp as wp

from dvr_cli.kernels import lookup
from dvr_cli.kernels.commands import Command, can_be_recorded, dtypes
from dvr_cli.kernels.launch import launch
from dvr_cli.kernels.rows import rows

CPU = torch.device("cpu")


def grid_and_points(n, count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, n, n, generator=generator), 2 * torch.rand(count, 3, generator=generator) - 1


def fresh(grid, points):
    """What Warp finds when it packs every argument anew."""
    out = torch.zeros(len(points))
    arguments = [wp.from_torch(grid.reshape(-1)), len(grid), wp.from_torch(points, dtype=wp.vec3), wp.from_torch(out)]
    wp.launch(lookup.value_kernel, dim=len(points), inputs=[0, *arguments], device="cpu")
    return out


@pytest.fixture
def command():
    grid, points = grid_and_points(4, 3, 0)
    return Command(lookup.value_kernel, (0,), [grid, 4, points, torch.zeros(3)], CPU)


def test_other_tensors_and_numbers(command):
    for n, count, seed in ((5, 100, 1), (9, 7, 2), (4, 1, 3), (5, 100, 4)):
        grid, points = grid_and_points(n, count, seed)
        out = torch.zeros(count)
        command.run((0,), [grid, n, points, out], count)
        assert torch.equal(out, fresh(grid, points))
        assert out.any()


def test_the_stride_of_a_single_item_is_not_that_of_others():
    grid, points = grid_and_points(6, 20, 10)
    single = points[::5][:1]
    assert single.is_contiguous() and single.stride() == (15, 1)
    command, out = Command(lookup.value_kernel, (0,), [grid, 6, single, torch.zeros(1)], CPU), torch.zeros(20)
    command.run((0,), [grid, 6, points, out], 20)
    assert torch.equal(out, fresh(grid, points))


def test_the_leading_number_is_that_of_the_launch(command):
    grid, points = grid_and_points(6, 20, 5)
    out = torch.zeros(20)
    command.run((12,), [grid, 6, points, out], 8)
    assert not out[:12].any()
    assert torch.equal(out[12:], fresh(grid, points)[12:])


@pytest.mark.parametrize(
    ("index", "change"),
    [(0, torch.Tensor.double), (2, torch.Tensor.half), (2, lambda points: points[:, :2].contiguous())],
    ids=["grid", "points", "shape"],
)
def test_what_does_not_fit_is_refused(command, index, change):
    grid, points = grid_and_points(6, 20, 6)
    arguments = [grid, 6, points, torch.zeros(20)]
    arguments[index] = change(arguments[index])
    with pytest.raises(RuntimeError, match=r"Cannot convert.*value_kernel takes items of torch.float32"):
        command.run((0,), arguments, 20)


def test_a_tensor_elsewhere_is_refused(command):
    grid, points = grid_and_points(6, 20, 6)
    with pytest.raises(ValueError, match="value_kernel runs on cpu and got a tensor on meta"):
        command.run((0,), [grid, 6, points.to("meta"), torch.zeros(20)], 20)


def test_nothing_is_kept_alive(command):
    grid, points = grid_and_points(6, 20, 7)
    out = torch.zeros(20)
    kept = [weakref.ref(tensor) for tensor in (grid, points, out)]
    Command(lookup.value_kernel, (0,), [grid, 6, points, out], CPU).run((0,), [grid, 6, points, out], 20)
    command.run((0,), [grid, 6, points, out], 20)
    del grid, points, out
    gc.collect()
    assert [reference() for reference in kept] == [None] * 3


def test_what_does_not_lie_in_one_piece_is_launched_without():
    grid, points = grid_and_points(6, 20, 8)
    strided = torch.stack([points, points], dim=1)[:, 0]
    assert not can_be_recorded([grid, 6, strided])
    out = torch.zeros(20)
    launch(lookup.value_kernel, 20, [grid, 6, strided, out], CPU)
    assert torch.equal(out, fresh(grid, points))


def test_threads_do_not_share_commands():
    """Each of them launches the same kernel with its own tensors, again and again."""
    grid, points = grid_and_points(8, 50, 9)
    wrong = []

    def work(thread):
        own = (points + 0.1 * thread).clamp(-1, 1)
        expected = fresh(grid, own)
        for _ in range(200):
            out = torch.zeros(50)
            launch(lookup.value_kernel, 50, [grid, 8, own, out], CPU, least=50)
            if not torch.equal(out, expected):
                wrong.append(thread)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_types_are_those_of_the_signature():
    assert dtypes(lookup.value_kernel) == [int, wp.float32, int, wp.vec3, wp.float32]


@pytest.mark.parametrize("values", [torch.rand(9), torch.rand(9, 3), torch.rand(9, 3, 3).double()])
def test_rows(values):
    index = torch.tensor([3, 0, 3, 8])
    assert torch.equal(rows(values, index), values[index])
    assert torch.equal(rows(values, index.int()), values[index])
