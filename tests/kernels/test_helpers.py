"""Threads that take slices of launches: nothing is done twice, nothing is left out, whoever comes when."""

import subprocess
import sys
import threading
import time

import pytest
import torch

from dvr_cli.kernels import helpers as helpers_module
from dvr_cli.kernels import launch, lookup, scatter
from dvr_cli.kernels.commands import Command
from dvr_cli.kernels.helpers import SLOTS, Helpers
from dvr_cli.processors import available_threads

CPU = torch.device("cpu")
GRID = torch.rand(8, 8, 8, generator=torch.Generator().manual_seed(0))
POINTS = 2 * torch.rand(4000, 3, generator=torch.Generator().manual_seed(1)) - 1


@pytest.fixture(params=[1, 3])
def helpers(request):
    made = Helpers(request.param)
    yield made
    made.end()


def looked_up(points=POINTS):
    return lookup.grid_value(GRID, points)


def prepared(out, points=POINTS):
    """A launch does not keep its tensors alive."""
    inputs = [GRID, 8, points, out]
    return Command(lookup.value_kernel, (0,), inputs, CPU).prepare((0,), inputs, len(points))


def alive():
    return [thread for thread in threading.enumerate() if thread.name == "dvr-helper"]


@pytest.mark.parametrize("slices", [1, 2, 7, 4000])
@pytest.mark.parametrize("pause", [0, 0.02], ids=["awake", "asleep"])
def test_every_item_is_done(helpers, slices, pause):
    for _ in range(20):
        out = torch.full((len(POINTS),), -1.0)
        assert helpers.share(prepared(out), len(POINTS), slices, most=3)
        assert torch.equal(out, looked_up())
        time.sleep(pause)


def test_nothing_is_done_twice(helpers):
    """A scatter adds: a slice that two threads took would count twice."""
    values = torch.ones(len(POINTS))
    once = torch.zeros(8, 8, 8)
    scatter.scatter(once, POINTS, values)
    command = Command(scatter.scatter_kernel, (0, 8), [once.reshape(-1), 8, 1, POINTS, values], CPU)
    for _ in range(200):
        grids = [torch.zeros(8, 8, 8) for _ in range(5)]
        launches = [
            command.prepare((0, 8), [grid.reshape(-1), 8, 1, POINTS, values], len(POINTS)).led_by(0, 8)
            for grid in grids
        ]
        assert helpers.share_groups([[one] for one in launches], most=3)
        assert all(torch.equal(grid, once) for grid in grids)


def test_launches_of_a_group_follow_each_other(helpers):
    """The second looks up at places that the first writes."""
    count = len(POINTS) // 3
    places, out = torch.zeros(3 * count), torch.zeros(count)
    first, second = [GRID, 8, POINTS[: 3 * count], places], [GRID, 8, places.view(-1, 3), out]
    group = [
        Command(lookup.value_kernel, (0,), first, CPU).prepare((0,), first, 3 * count),
        Command(lookup.value_kernel, (0,), second, CPU).prepare((0,), second, count),
    ]
    expected = looked_up(looked_up(POINTS[: 3 * count]).view(-1, 3))
    for _ in range(50):
        places.zero_()
        out.zero_()
        assert helpers.share_groups([group, []], most=3)
        assert torch.equal(out, expected)


def test_many_threads_share_at_once(helpers):
    """More of them than slots: those that get none are told so."""
    wrong, refused = [], []

    def work(number):
        own = (POINTS + 0.05 * number).clamp(-1, 1)
        expected = looked_up(own)
        for _ in range(100):
            out = torch.full((len(own),), -1.0)
            if not helpers.share(prepared(out, own), len(own), 8, most=3):
                refused.append(number)
            elif not torch.equal(out, expected):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(SLOTS + 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(refused) < 100 * len(threads)


def busy_seconds(thread):
    """CPU time that a thread has taken."""
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def keep_the_lock(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_who_waits_for_the_lock_to_go_to_sleep_is_woken():
    """A helper that has found nothing for a while needs the interpreter's lock to say so, which takes until the next
    launch when Python is busy in between: it must not sleep through that one."""
    many = POINTS.repeat(500, 1)
    out, shares, interval = torch.empty(len(many)), [], sys.getswitchinterval()
    before, helpers, short, long = alive(), Helpers(1), prepared(out[: len(POINTS)]), prepared(out, many)
    # Python gives the lock away in native code only.
    sys.setswitchinterval(10)
    try:
        for _ in range(5):
            helpers.share(short, len(POINTS), 4, most=1)
            keep_the_lock(0.01)
            (helper,) = set(alive()) - set(before)
            busy = busy_seconds(helper), time.thread_time()
            helpers.share(long, len(many), 64, most=1)
            shares.append((busy_seconds(helper) - busy[0]) / (time.thread_time() - busy[1]))
    finally:
        sys.setswitchinterval(interval)
        helpers.end()
    assert torch.equal(out[: len(POINTS)], looked_up())
    assert min(shares) > 0.2


def test_too_many_arguments_are_not_shared(helpers, monkeypatch):
    monkeypatch.setattr(helpers_module, "LARGEST", 16)
    out = torch.full((len(POINTS),), -1.0)
    assert not helpers.share(prepared(out), len(POINTS), 4, most=3)
    assert (out == -1).all()


def test_an_interrupt_waits_for_the_helpers(helpers, monkeypatch):
    """What is thrown away after it is not written to any more, and the slot is free again."""
    out = torch.full((len(POINTS),), -1.0)
    job, run, interrupted = prepared(out), Command.run, []

    def run_and_interrupt(command, leading, inputs, dim):
        run(command, leading, inputs, dim)
        if threading.current_thread() is threading.main_thread() and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt

    monkeypatch.setattr(Command, "run", run_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        helpers.share(job, len(POINTS), 8, most=3)
    assert torch.equal(out, looked_up())
    for _ in range(2 * SLOTS):
        assert helpers.share(job, len(POINTS), 8, most=3)


def test_helpers_end(helpers):
    before, out = len(alive()), torch.zeros(len(POINTS))
    helpers.share(prepared(out), len(POINTS), 4, most=3)
    assert len(alive()) > before
    helpers.end()
    assert len(alive()) == before


def test_another_number_of_threads_ends_the_helpers_of_the_former():
    launch.set_threads(4)
    looked_up()
    assert len(alive()) == min(4, available_threads()) - 1
    launch.set_threads(1)
    assert alive() == []


FIRST_LAUNCHES = """
import torch
from dvr_cli.kernels import launch, lookup, march, scatter
from tests.kernels.tiny_views import ball_sdf, rays_at_ball

def part(index):
    t, hit, *_ = march.march(sdf, origins, directions)
    return lookup.grid_value(sdf, origins + t[:, None] * directions)[hit].abs().max()

sdf, (origins, directions) = ball_sdf(32), rays_at_ball(3000)
launch.set_threads(4)
found = launch.in_parts(part, 4)
assert max(found) < 0.01 and len(set(map(float, found))) == 1, found
"""


def test_kernels_may_be_met_by_many_threads_at_once():
    """In a fresh process, which ends while helpers are awake."""
    done = subprocess.run([sys.executable, "-c", FIRST_LAUNCHES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
