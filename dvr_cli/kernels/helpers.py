"""Threads that take slices of a launch without the interpreter's lock.

A thread that sleeps takes up to a tenth of a millisecond to wake, and once awake it waits for the interpreter's lock
while another thread has it: together longer than many a launch. So helpers wait for work in native code, looking at
memory again and again. When nothing has come for a while they look less often, and rest in between: the thread whose
work they wait for may be waiting for their core. Then they sleep.

Whoever launches writes a job into a slot. That thread and all helpers that are awake take one slice of the job after
the other until none is left. Nobody waits for a helper that sleeps: one that comes late finds nothing to do.
"""

import array
import ctypes
import itertools
import threading
import time
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue

import torch
import warp as wp

from dvr_cli.kernels.commands import Command, Prepared

wp.set_module_options({"enable_backward": False})

SLOTS = 8
"""As many jobs can be shared at a time; each part of a step has one at a time."""
STRIDE = 32
"""Words of a slot, in cache lines of eight: its next slice, the number of slices done, the job, and whether it is over.
"""
OVER = 24
"""Where in a slot it stands whether its job is over."""
LARGEST = 4096
"""Bytes of a kernel's arguments, at most."""
PATIENCE = 10_000
"""Looks, some 30 nanoseconds each, after which a helper rests and one who waits for helpers asks less often."""
REST = 5e-5
"""Seconds between askings then, and of a helper's rest."""
RESTS = 20
"""After so many of them without work a helper sleeps."""

_COMMON = f"""
    using word = long long;
    auto look_away = []() {{
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }};
    auto call = [](word function, void* bounds, void* arguments) {{
        ((void (*)(void*, void*))function)(bounds, arguments);
    }};
    auto take = [&](word* slot) {{
        bool found = false;
        while (true) {{
            // The job's number and, in the lower half, its next slice. While another job is being written that is more
            // than any job has; and who has seen the number of the former one fails to exchange it.
            word next = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
            word slice = next & 0xffffffff, slices = __atomic_load_n(slot + 16, __ATOMIC_ACQUIRE);
            if (slice >= slices)
                return found;
            if (!__atomic_compare_exchange_n(slot, &next, next + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
                continue;
            // From here on the job stays as it is until this slice counts as done.
            found = true;
            word function = slot[17], extent = slot[20];
            if (function == 0) {{
                const word* table = (const word*)slot[18];
                for (word task = table[slice]; task < table[slice + 1]; task += 3)
                    call(table[task], (void*)table[task + 1], (void*)table[task + 2]);
            }} else {{
                word first = extent * slice / slices, count = extent * (slice + 1) / slices - first;
                alignas(16) char arguments[{LARGEST}];
                for (word byte = 0; byte < slot[19]; ++byte)
                    arguments[byte] = ((const char*)slot[18])[byte];
                *(int*)arguments = (int)first;
                wp::launch_bounds_t<1> bounds;
                bounds.shape[0] = (unsigned)count;
                bounds.size = count;
                bounds.coord_mult = 1;
                call(function, &bounds, arguments);
            }}
            __atomic_fetch_add(slot + 8, 1, __ATOMIC_RELEASE);
        }}
    }};
"""

_SERVE = f"""
#if !defined(__CUDA_ARCH__)
    {_COMMON}
    int looks = 0, rests = 0;
    while (rests < {RESTS}) {{
        bool found = false;
        for (int slot = 0; slot < {SLOTS}; ++slot)
            found |= take((word*)slots.data + {STRIDE} * slot);
        if (found) {{
            looks = rests = 0;
        }} else if (++looks < patience) {{
            look_away();
        }} else {{
            ((void (*)(unsigned))usleep)({round(REST * 1e6)});
            ++rests;
        }}
    }}
#endif
"""

_SHARE = f"""
#if !defined(__CUDA_ARCH__)
    {_COMMON}
    word* words = (word*)slots.data + {STRIDE} * slot;
    if (slices > 0) {{
        word job = ((__atomic_load_n(words, __ATOMIC_RELAXED) >> 32) + 1) & 0x7fffffff;
        __atomic_store_n(words, job << 32 | 0x7fffffff, __ATOMIC_RELAXED);
        // Who sees anything of the new job must see that the former one is over.
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        __atomic_store_n(words + 8, 0, __ATOMIC_RELAXED);
        __atomic_store_n(words + 16, slices, __ATOMIC_RELAXED);
        words[17] = function;
        words[18] = arguments;
        words[19] = size;
        words[20] = extent;
        words[{OVER}] = 0;
        __atomic_store_n(words, job << 32, __ATOMIC_RELEASE);
        take(words);
    }}
    for (int looks = 0; looks < patience; ++looks) {{
        if (__atomic_load_n(words + 8, __ATOMIC_ACQUIRE) == words[16]) {{
            words[{OVER}] = 1;
            return;
        }}
        look_away();
    }}
#endif
"""


@wp.func_native(_SERVE)
def serve(slots: wp.array(dtype=wp.int64), patience: int, usleep: wp.int64):
    """Take slices until none has been there for `patience` looks and some rests; `usleep` is where that function is."""


@wp.func_native(_SHARE)
def share(
    slots: wp.array(dtype=wp.int64),
    slot: int,
    slices: wp.int64,
    function: wp.int64,
    arguments: wp.int64,
    size: wp.int64,
    extent: wp.int64,
    patience: int,
):
    """Write a job into a slot, take slices of it, and wait `patience` looks for the others; without slices just wait.

    A job is a function with `size` bytes of arguments, for `extent` items; or, with function 0, a table at `arguments`:
    where the tasks of each slice begin, where the last ones end, and then (function, bounds, arguments) of the tasks.
    """


@wp.kernel
def serve_kernel(first: int, slots: wp.array(dtype=wp.int64), patience: int, usleep: wp.int64):
    serve(slots, patience, usleep)


@wp.kernel
def share_kernel(
    first: int,
    slots: wp.array(dtype=wp.int64),
    slot: int,
    slices: wp.int64,
    function: wp.int64,
    arguments: wp.int64,
    size: wp.int64,
    extent: wp.int64,
    patience: int,
):
    share(slots, slot, slices, function, arguments, size, extent, patience)


def _address_of_usleep() -> int:
    """Of the C library's function; compiled kernels are linked with nothing."""
    return ctypes.cast(ctypes.CDLL(None).usleep, ctypes.c_void_p).value or 0


class _Helper:
    """A thread that sleeps until it is called, then serves until nothing comes any more."""

    def __init__(self, slots: torch.Tensor) -> None:
        self.asleep = True
        self._called = False
        self._inputs: list[object] = [slots, PATIENCE, _address_of_usleep()]
        self._command = Command(serve_kernel, (0,), self._inputs, slots.device)
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._live, name="dvr-helper", daemon=True)
        self._thread.start()

    def call(self) -> None:
        """Wake it, or let it look again before it sleeps."""
        if not self._called:
            self._called = True
            self._calls.put(True)

    def end(self) -> None:
        """Let it end; nobody may call it any more."""
        self._calls.put(False)

    def join(self) -> None:
        """Wait for that."""
        self._thread.join()

    def _live(self) -> None:
        while self._calls.get():
            # From here on another call is another look: nothing that comes is missed.
            self._called = self.asleep = False
            self._command.run((0,), self._inputs, 1)
            self.asleep = True


class Helpers:
    """So many threads beside those that launch. They begin with the first job that is shared."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._slots = torch.zeros(SLOTS * STRIDE, dtype=torch.int64)
        self._over = [self._slots[STRIDE * slot + OVER :].numpy() for slot in range(SLOTS)]
        self._free = deque(range(SLOTS))
        self._helpers: list[_Helper] = []
        self._beginning = threading.Lock()
        self._own = threading.local()

    def share(self, prepared: Prepared, extent: int, slices: int, most: int) -> bool:
        """Run a launch for `extent` items in slices, with the helpers that are awake and up to `most` woken.

        Its first argument is the first item of a slice. False where it cannot be shared; then nothing has been done.
        """
        function, _, arguments = prepared.native
        size = ctypes.sizeof(prepared.arguments)
        return size <= LARGEST and self._run([slices, function, arguments, size, extent], most)

    def share_groups(self, groups: Sequence[Sequence[Prepared]], most: int) -> bool:
        """Likewise whole launches: each group by one thread, in its order."""
        tasks = [word for group in groups for task in group for word in task.native]
        lengths = itertools.accumulate((3 * len(group) for group in groups), initial=len(groups) + 1)
        table = array.array("q", [*lengths, *tasks])
        return self._run([len(groups), 0, table.buffer_info()[0], 0, 0], most)

    def end(self) -> None:
        """Let all helpers end."""
        for helper in self._helpers:
            helper.end()
        for helper in self._helpers:
            helper.join()
        self._helpers = []

    def _run(self, job: list[int], most: int) -> bool:
        try:
            slot = self._free.pop()
        except IndexError:
            return False
        try:
            self._begin()
            self._call(most)
            self._share(slot, job)
        finally:
            self._free.append(slot)
        return True

    def _call(self, most: int) -> None:
        """Wake so many. Those that look awake may have looked for the last time and wait for the lock to say so."""
        for helper in self._helpers:
            if not helper.asleep:
                helper.call()
            elif most > 0:
                most -= 1
                helper.call()

    def _begin(self) -> None:
        if not self._helpers:
            with self._beginning:
                if not self._helpers:
                    self._helpers = [_Helper(self._slots) for _ in range(self._count)]

    def _share(self, slot: int, job: list[int]) -> None:
        inputs = [self._slots, slot, *job, PATIENCE]
        command = getattr(self._own, "command", None)
        if command is None:
            command = self._own.command = Command(share_kernel, (0,), inputs, self._slots.device)
        try:
            command.run((0,), inputs, 1)
        finally:
            # After an interrupt too: helpers may still be working on what the caller is about to throw away.
            waiting = [self._slots, slot, *(0 for _ in job), PATIENCE]
            while not self._over[slot][0]:
                time.sleep(REST)
                command.run((0,), waiting, 1)
