"""Programs that try to get out, to stay, to spoil or to forge; and honest ones. All are ours.

`{port}`, `{name}` and `{package}` are filled in: a TCP port and an abstract socket of the machine
on which someone listens, and the folder of this library.
"""

from typing import NamedTuple


class Program(NamedTuple):
    """A program of the self-test.

    Attributes:
        name: what it tries.
        text: what it is.
        expected: its status, or status and detail.
        says: what it must have written; None: anything.
        mode: as of a job; the test of "two" is that `f(1)` is 42.
        then: a program that comes after it in the same server and must end, writing `says`.
        cpu, wall: its own limits; 0: the self-test's.
    """

    name: str
    text: str
    expected: str
    says: str | None = None
    mode: str = "run"
    then: str = ""
    cpu: float = 0.0
    wall: float = 0.0


TESTS = "assert f(1) == 42\nassert isinstance(f(1), int)\n"
WRONG = "\ndef f(x):\n    return 41\n"
RIGHT = "\ndef f(x):\n    return 41 + x\n"
FORGED = "failed AssertionError"
REFUSALS = """
import ctypes, errno, platform
libc = ctypes.CDLL(None, use_errno=True)
def call(x86, arm, *words):
    ctypes.set_errno(0)
    done = libc.syscall(x86 if platform.machine() == "x86_64" else arm, *words)
    return "done" if done >= 0 else errno.errorcode[ctypes.get_errno()]
"""

TIME = (
    Program("endless loop", "while True: pass", "timeout_cpu"),
    Program(
        "loop that eats every exception",
        "while True:\n try:\n  while True: pass\n except BaseException: pass",
        "timeout_cpu",
    ),
    Program(
        "loop that ignores every signal",
        "import signal\nfor s in range(1, 65):\n try: signal.signal(s, signal.SIG_IGN)\n"
        " except (OSError, ValueError): pass\nsignal.setitimer(signal.ITIMER_REAL, 0)\n"
        "while True: pass",
        "timeout_cpu",
    ),
    Program("sleep for years", "import time\ntime.sleep(1e9)", "timeout_wall", wall=0.4),
    Program("stop itself", "import os\nos.kill(os.getpid(), 19)", "timeout_wall", wall=0.4),
    Program("wait for input", "input()", "failed EOFError"),
    Program("a number of 10^8 digits", "x = 10 ** 10 ** 8", "timeout_cpu"),
    Program(
        "regular expression that backtracks",
        "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')",
        "timeout_cpu",
    ),
    Program(
        "error whose text never ends",
        "class E(Exception):\n def __str__(self):\n  while True: pass\nraise E",
        "timeout_cpu",
        mode="two",
    ),
    Program(
        "fault whose handler returns to it",
        "import ctypes, signal\nsignal.signal(signal.SIGSEGV, lambda *_:"
        " None)\nctypes.string_at(0)",
        "timeout_cpu",
    ),
    Program(
        "__del__ that never ends",
        "class A:\n def __del__(self):\n  while True: pass\na = A()",
        "ended 0",
    ),
    Program(
        "exit hook that never ends",
        "import atexit\ndef hang():\n while True: pass\natexit.register(hang)",
        "timeout_cpu",
    ),
    Program(
        "slow but within its limit", "import time\ntime.sleep(0.2)" + RIGHT, "passed", mode="two"
    ),
)

MANY = (
    Program(
        "fork bomb",
        "import os, time\nwhile True:\n try: os.fork()\n except OSError: time.sleep(0.01)",
        "timeout_wall",
        cpu=30.0,
        wall=0.8,
    ),
    Program(
        "fork until refused",
        "import os, time\nn = 0\nwhile n < 500:\n try: pid = os.fork()\n except OSError: break\n"
        " if pid == 0: time.sleep(1e9)\n n += 1\nprint(n < 40)",
        "ended 0",
        "True\n",
    ),
    Program(
        "daemon by double fork",
        "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0: time.sleep(1e9)\n"
        " os._exit(0)\nos.wait()",
        "ended 0",
    ),
    Program(
        "daemon by posix_spawn",
        "import os, sys\nos.posix_spawn(sys.executable, [sys.executable, '-c',"
        " 'import time; time.sleep(1e9)'], os.environ)",
        "ended 0",
    ),
    Program(
        "child that keeps the pipes open",
        "import os, time\nif os.fork() == 0: time.sleep(1e9)",
        "ended 0",
    ),
    Program(
        "zombies",
        "import os, time\nfor _ in range(10):\n if os.fork() == 0: os._exit(0)\ntime.sleep(0.05)",
        "ended 0",
    ),
    Program(
        "threads without number",
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(1e9,),"
        " daemon=True).start()",
        "failed RuntimeError",
    ),
    Program(
        "right, with a thread left behind",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1e9,)).start()" + RIGHT,
        "passed",
        mode="two",
    ),
    Program(
        "memory, bit by bit", "x = []\nwhile True: x.append(bytearray(10 ** 6))", "oom", cpu=9.0
    ),
    Program("memory, at once", "x = 'a' * 10 ** 12", "oom MemoryError"),
    Program(
        "memory, by many children",
        "import os, time\nfor _ in range(10):\n if os.fork() == 0:\n  x = bytearray(b'1')"
        " * (80 << 20)\n"
        "  time.sleep(1e9)\nos.wait()",
        "oom",
        cpu=5.0,
        wall=60.0,
    ),
    Program("recursion", "def f(): f()\nf()", "failed RecursionError"),
    Program("print without end", "while True: print('a' * 99)", "output_limit"),
    Program(
        "write to both outputs without end",
        "import os\nwhile True:\n os.write(1, b'a' * 999); os.write(2, b'b' * 999)",
        "output_limit",
    ),
    Program(
        "an answer of 20 MB",
        "def f(x): return 'a' * (20 << 20)",
        "failed Answer",
        mode="two",
        cpu=9.0,
    ),
    Program(
        "fill the folder",
        "for n in range(10 ** 6): open(f'/tmp/{n}', 'wb').write(b'a' * 65536)",
        "failed OSError",
    ),
    Program(
        "a million empty files", "for n in range(10 ** 6): open(f'/tmp/{n}', 'w')", "failed OSError"
    ),
    Program(
        "one file of a terabyte",
        "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "open('/tmp/a', 'wb').truncate(1 << 40)",
        "failed OSError",
    ),
)

FILES = (
    Program(
        "write where it must not",
        "import os, sys, sysconfig\nn = 0\n"
        "for d in ('/', '/usr', '/dev', '/lib64', '/proc', '/sys', '/etc',"
        " sysconfig.get_path('stdlib'),"
        " os.path.dirname(sys.executable)):\n"
        " for act in (lambda: open(f'{d}/sensorium-selftest', 'w'), lambda: os.mkdir(f'{d}/x'),"
        " lambda: os.symlink('/', f'{d}/y')):\n"
        "  try: act(); n += 1\n  except OSError: pass\n"
        "for p in (sys.executable, '/dev/null'):\n"
        " for act in (lambda: os.chmod(p, os.stat(p).st_mode & 0o777), lambda: os.utime(p),"
        " lambda: os.setxattr(p, 'user.x', b'')):\n"
        "  try: act(); n += 1\n  except OSError: pass\nprint(n)",
        "ended 0",
        "0\n",
    ),
    Program(
        "read what is not its own",
        "import os\nn = 0\nfor p in ('/etc/passwd', '/etc/shadow', '/proc/1/environ',"
        " '/proc/self/maps', '/proc/self/mem', '/proc/1/cmdline', '/sys/kernel', '/home', '/var',"
        " '/root/.ssh', '/run', '/dev/mem', '/dev/kmsg', '/dev/tty', '{package}'):\n"
        " n += os.path.exists(p)\nprint(n)",
        "ended 0",
        "0\n",
    ),
    Program(
        "links out of the folder",
        "import os\nfor p in ('/etc/passwd', '/proc/1/root/etc/passwd',"
        " '../../../../etc/passwd'):\n"
        " os.symlink(p, '/tmp/l')\n try: open('/tmp/l').read(); print('read')\n"
        " except OSError: os.unlink('/tmp/l')\n"
        "try: os.mknod('/tmp/d', 0o60600, 0x800); print('made')\nexcept PermissionError: pass",
        "ended 0",
        "",
    ),
    Program(
        "files for the next program",
        "for n in ('sitecustomize.py', 'usercustomize.py', 'json.py', 'a.pth'):\n"
        " open('/tmp/' + n, 'w').write('raise SystemExit(9)')",
        "ended 0",
        "[]\n",
        then="import json, os\nprint(os.listdir('/tmp'))",
    ),
    Program(
        "state for the next program",
        "import decimal, os, random, sys, warnings\nrandom.seed(0)\nos.chdir('/')\n"
        "os.environ['LEFT'] = '1'\ndecimal.getcontext().prec = 1\nsys.path.insert(0, '/tmp')\n"
        "os.umask(0)\nos.nice(5)",
        "ended 0",
        "/tmp None 28 2\n",
        then="import decimal, os\n"
        "print(os.getcwd(), os.environ.get('LEFT'), decimal.getcontext().prec, len('ab'))",
    ),
    Program("close all descriptors", "import os\nos.closerange(0, 3)\nx = 6 * 7", "ended 0"),
    Program(
        "inherited descriptors",
        "import os\nn = 0\nfor f in range(5, 64):\n try: os.fstat(f); n += 1\n"
        " except OSError: pass\nprint(n)",
        "ended 0",
        "0\n",
    ),
    Program(
        "a program in memory",
        "import os\nos.memfd_create('x')",
        "failed PermissionError",
    ),
)

NETWORK = (
    Program(
        "connect to the machine",
        "import socket\ntry: socket.create_connection(('127.0.0.1', {port}), 1); print('in')\n"
        "except OSError: print('out')",
        "ended 0",
        "out\n",
    ),
    Program(
        "connect to the world",
        "import socket\nfor act in (lambda: socket.create_connection(('192.0.2.1', 80), 1),"
        " lambda: socket.getaddrinfo('example.invalid', 80)):\n"
        " try: act(); print('in')\n except OSError: print('out')",
        "ended 0",
        "out\nout\n",
    ),
    Program(
        "abstract socket of the machine",
        "import socket\ns = socket.socket(socket.AF_UNIX)\n"
        "try: s.connect('\\0{name}'); print('in')\nexcept OSError: print('out')",
        "ended 0",
        "out\n",
    ),
    Program(
        "abstract socket for the next program",
        "import os, socket, time\ns ="
        " socket.socket(socket.AF_UNIX)\ns.bind('\\0left')\ns.listen()\n"
        "if os.fork() == 0: time.sleep(1e9)",
        "ended 0",
        "bound\n",
        then="import socket\ns = socket.socket(socket.AF_UNIX)\ns.bind('\\0left')\nprint('bound')",
    ),
    Program(
        "sockets of other kinds",
        "import socket\nn = 0\nfor f, k in ((16, 3), (17, 3), (40, 1), (38, 5), (2, 3), (31, 3)):\n"
        " try: socket.socket(f, k); n += 1\n except PermissionError: pass\nprint(n)",
        "ended 0",
        "0\n",
    ),
)
