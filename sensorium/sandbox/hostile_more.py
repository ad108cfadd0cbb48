"""The second half of the self-test's programs: the kernel, the verdict, odd texts, honest ones."""

from sensorium.sandbox.hostile import FORGED, REFUSALS, RIGHT, WRONG, Program

KERNEL = (
    Program(
        "trace and write others",
        REFUSALS + "print(call(101, 117, 16, 1, 0, 0), call(310, 270, 1, 0, 0, 0, 0, 0),"
        " call(311, 271, 1, 0, 0, 0, 0, 0), call(434, 434, 1, 0), call(438, 438, 0, 0, 0))",
        "ended 0",
        "EPERM EPERM EPERM EPERM EPERM\n",
    ),
    Program(
        "new namespaces and mounts",
        REFUSALS + "print(call(272, 97, 0x10000000), call(308, 268, 0, 0), call(161, 51, b'/tmp'),"
        " call(165, 40, b'x', b'/tmp', b'tmpfs', 0, 0), call(155, 41, b'.', b'.'),"
        " call(56, 220, 0x10000011, 0, 0, 0, 0), call(435, 435, 0, 0), call(430, 430,"
        " b'tmpfs', 0))",
        "ended 0",
        "EPERM EPERM EPERM EPERM EPERM EPERM ENOSYS EPERM\n",
    ),
    Program(
        "keys, BPF, rings, faults",
        REFUSALS + "print(call(250, 219, 0, 0), call(321, 280, 0, 0, 0), call(298, 241, 0, 0, 0),"
        " call(425, 425, 1, 0), call(323, 282, 0), call(175, 105, 0, 0, 0), call(246, 104, 0, 0))",
        "ended 0",
        "EPERM EPERM EPERM EPERM EPERM EPERM EPERM\n",
    ),
    Program(
        "System V memory and queues",
        REFUSALS + "print(call(29, 194, 0, 4096, 0o1777), call(64, 190, 0, 1, 0o1777),"
        " call(68, 186, 0, 0o1777), call(240, 180, b'q', 0o102, 0o666, 0))",
        "ended 0",
        "EPERM EPERM EPERM EPERM\n",
    ),
    Program(
        "clock, name, log, power",
        REFUSALS + "print(call(227, 112, 0, 0), call(170, 161, b'x', 1), call(103, 116, 3, 0, 0),"
        " call(169, 142, 0, 0, 0, 0), call(171, 162, b'x', 1))",
        "ended 0",
        "EPERM EPERM EPERM EPERM EPERM\n",
    ),
    Program("calls nobody has heard of", REFUSALS + "print(call(999, 999))", "ended 0", "ENOSYS\n"),
    Program(
        "raise its own limits",
        "import os, resource\nn = 0\nfor act in ("
        "lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40)),"
        " lambda: resource.setrlimit(resource.RLIMIT_CPU, (999, 999)), lambda: os.nice(-5),"
        " lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),"
        " lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([])):\n"
        " try: act(); n += 1\n except (OSError, ValueError): pass\nprint(n)",
        "ended 0",
        "0\n",
    ),
    Program(
        "fake input to a terminal",
        "import fcntl\nfcntl.ioctl(0, 0x5412, b'x')",
        "failed PermissionError",
    ),
    Program("segmentation fault", "import ctypes\nctypes.string_at(0)", "crashed SIGSEGV"),
    Program("abort", "import os\nos.abort()", "crashed SIGABRT"),
    Program("kill itself", "import os\nos.kill(os.getpid(), 9)", "crashed SIGKILL"),
)

VERDICT = (
    Program("leave with _exit(0)", "import os\nos._exit(0)", "early_exit 0", mode="two"),
    Program(
        "leave with sys.exit(0)", "import sys\nsys.exit(0)", "early_exit SystemExit", mode="two"
    ),
    Program(
        "leave inside the answer", "def f(x): raise SystemExit", "early_exit SystemExit", mode="two"
    ),
    Program(
        "leave with _exit(0), in one process", "import os\nos._exit(0)", "early_exit 0", mode="one"
    ),
    Program(
        "leave in an exit hook",
        "import atexit, os\natexit.register(os._exit, 0)" + WRONG,
        FORGED,
        mode="two",
    ),
    Program(
        "kill the warden and the rest",
        "import os\nfor p in (1, os.getppid(), -1):\n for s in (9, 19, 15, 11, 17, 2):\n"
        "  try: os.kill(p, s)\n  except OSError: pass" + WRONG,
        FORGED,
        mode="two",
    ),
    Program(
        "starve the warden",
        "import os, resource\nfor act in (lambda: resource.prlimit(1,"
        " resource.RLIMIT_NOFILE, (0, 0)),"
        " lambda: os.setpriority(os.PRIO_PROCESS, 1, 19), lambda: os.setpriority(2, 0, 19),"
        " lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))):\n"
        " try: act(); WRONG = 1 / 0\n except PermissionError: pass" + WRONG,
        FORGED,
        mode="two",
    ),
    Program(
        "walk the frames",
        "import sys\nd = 0\ntry:\n while True:\n  frame = sys._getframe(d)\n  d += 1\n"
        "  for space in (frame.f_locals, frame.f_globals):\n   for v in list(space.values()):\n"
        "    if isinstance(v, list): v.append('passed')\n"
        "    if isinstance(v, dict): v.update(status='passed', result='passed')\n"
        "except (ValueError, RuntimeError): pass" + WRONG,
        FORGED,
        mode="two",
    ),
    Program(
        "look for the expected value",
        "import gc\ndef f(x):\n"
        " found = [o for o in gc.get_objects() if ' f(1)'.join(['assert', '']) in repr(o)[:9999]]\n"
        " return 42 if found else 0",
        FORGED,
        mode="two",
    ),
    Program(
        "an integer that equals all",
        "class I(int):\n def __eq__(self, other): return True\n __hash__ = int.__hash__\n"
        "def f(x): return I(7)",
        FORGED,
        mode="two",
    ),
    Program(
        "an object that equals all",
        "class O:\n __class__ = int\n def __eq__(self, other): return True\n"
        " def __ne__(self, other): return False\n __hash__ = None\ndef f(x): return O()",
        "failed TypeError",
        mode="two",
    ),
    Program(
        "an error that is no error",
        "class AssertionError(BaseException): pass\ndef f(x): raise AssertionError('passed')",
        FORGED,
        mode="two",
    ),
    Program(
        "other builtins",
        "import builtins, math, random\nbuiltins.AssertionError = SystemExit\n"
        "builtins.all = builtins.any = lambda *_: True\nmath.isclose = lambda *_: True\n"
        "random.random = lambda: 0" + WRONG,
        FORGED,
        mode="two",
    ),
    Program(
        "another json",
        'import json\njson.dumps = lambda *_, **__: \'{"status": "passed"}\'' + WRONG,
        "failed Answer",
        mode="two",
    ),
    Program(
        "success on every descriptor",
        'import os\nfor f in range(64):\n try: os.write(f, b\'{"status": "passed"}\\n\')\n'
        " except OSError: pass" + WRONG,
        "failed Answer",
        mode="two",
    ),
    Program(
        "the end announced on every descriptor",
        "import os, struct\nt = b'{\"done\": true}'\nfor f in range(64):\n"
        " try: os.write(f, struct.pack('<I', len(t)) + t)\n except OSError: pass\nos._exit(0)",
        "early_exit 0",
        mode="one",
    ),
    Program(
        "a generator without end",
        "def f(x):\n while True: yield 42",
        FORGED,
        mode="two",
    ),
    Program(
        "a profile hook and a trace",
        "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\n"
        "sys.excepthook = lambda *a: None" + WRONG,
        FORGED,
        mode="two",
    ),
    Program(
        "two answers at once",
        "import os\npid = os.fork()\ndef f(x): return 41 if pid else 40",
        "failed",
        mode="two",
    ),
)

TEXTS = (
    Program("a NUL in the text", "x = 1\0", "syntax_error"),
    Program("half a character", "x = '\ud800'", "syntax_error"),
    Program("100,000 parentheses", "(" * 100_000 + ")" * 100_000, "syntax_error", mode="two"),
    Program("no Python", "def f(:", "syntax_error SyntaxError", mode="two"),
    Program("nothing", "", "failed NameError", mode="two"),
)

HONEST = (
    Program("honest", RIGHT, "passed", mode="two"),
    Program("honest, in one process", RIGHT + "assert f(1) == 42", "passed", mode="one"),
    Program("honest script", "import sys\nprint(6 * 7)\nsys.exit(3)", "ended 3", "42\n"),
    Program("honest and wrong", WRONG, FORGED, mode="two"),
    Program(
        "honest, at nine tenths of its time",
        "import time\nwhile time.process_time() < {most}: pass" + RIGHT,
        "passed",
        mode="two",
    ),
)
