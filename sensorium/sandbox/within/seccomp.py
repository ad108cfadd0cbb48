"""The filter of system calls, assembled here as classic BPF and loaded through prctl.

Refused with EPERM is what a program has no use for and what has broken out of containers before:
tracing others, mounts, namespaces, keys, BPF, io_uring, kernel modules, clocks, System V memory,
and memory files, whose size no limit of a process counts. Calls newer than the list do not exist
(ENOSYS). See seccomp(2).
"""

import ctypes
import errno
import platform
import struct

from sensorium.sandbox.within.kernel import control

SET_SECCOMP, MODE_FILTER = 22, 2
LOAD, EQUAL, AT_LEAST, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
KILL, ALLOW, REFUSE = 0x80000000, 0x7FFF0000, 0x00050000
NUMBER, MACHINE, FIRST, SECOND = 0, 4, 16, 24  # places in struct seccomp_data
NEW = 0x7E020000  # clone flags that make namespaces
KNOWN = 450  # system calls from here on are newer than this list
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SPECIAL = {  # calls that are judged by what they are asked
    "x86_64": {
        "setpriority": 141,
        "clone": 56,
        "clone3": 435,
        "socket": 41,
        "socketpair": 53,
        "ioctl": 16,
    },
    "aarch64": {
        "setpriority": 140,
        "clone": 220,
        "clone3": 435,
        "socket": 198,
        "socketpair": 199,
        "ioctl": 29,
    },
}
OF_ITSELF = {  # their first word is a process; only 0, the caller, may be named
    "x86_64": (302, 203, 144, 142, 314),  # prlimit64, sched_set-affinity, -scheduler, -param, -attr
    "aarch64": (261, 122, 119, 118, 274),
}
FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6; vsock ignores network namespaces
RAW = 3
FAKED_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX

# name, number on x86_64, number on aarch64 (-: there is none)
TABLE = """
ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272,
pidfd_send_signal 424 424, pidfd_open 434 434, pidfd_getfd 438 438, process_madvise 440 440,
process_mrelease 448 448, unshare 272 97, setns 308 268, mount 165 40, umount2 166 39,
pivot_root 155 41, chroot 161 51, open_tree 428 428, move_mount 429 429, fsopen 430 430,
fsconfig 431 431, fsmount 432 432, fspick 433 433, mount_setattr 442 442,
name_to_handle_at 303 264, open_by_handle_at 304 265, fanotify_init 300 262, quotactl 179 60,
quotactl_fd 443 443, bpf 321 280, perf_event_open 298 241, userfaultfd 323 282,
io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427, add_key 248 217,
request_key 249 218, keyctl 250 219, shmget 29 194, shmat 30 196, shmctl 31 195, shmdt 67 197,
semget 64 190, semop 65 193, semctl 66 191, semtimedop 220 192, msgget 68 186, msgsnd 69 189,
msgrcv 70 188, msgctl 71 187, mq_open 240 180, mq_unlink 241 181, init_module 175 105,
finit_module 313 273, delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294,
reboot 169 142, swapon 167 224, swapoff 168 225, syslog 103 116, acct 163 89,
settimeofday 164 170, clock_settime 227 112, adjtimex 159 171, clock_adjtime 305 266,
personality 135 92, vhangup 153 58, iopl 172 -, ioperm 173 -, modify_ldt 154 -, uselib 134 -,
ustat 136 -, sysfs 139 -, _sysctl 156 -, sethostname 170 161, setdomainname 171 162,
lookup_dcookie 212 18, memfd_create 319 279, memfd_secret 447 447, nfsservctl 180 42,
move_pages 279 239, migrate_pages 256 238, mbind 237 235, set_mempolicy 238 237, ioprio_set 251 30
"""
REFUSED = {
    name: {"x86_64": x86, "aarch64": arm}
    for name, x86, arm in (one.split() for one in TABLE.replace("\n", " ").split(","))
}

Step = tuple[int, int, int, int]


def program(machine: str) -> list[Step]:
    """The filter for a machine: (operation, jump if true, jump if false, operand) each step.

    KeyError: the machine is neither x86_64 nor aarch64.
    """
    own, stop = SPECIAL[machine], REFUSE | errno.EPERM
    gone = (RETURN, 0, 0, REFUSE | errno.ENOSYS)
    steps: list[Step] = [
        (LOAD, 0, 0, MACHINE),
        (EQUAL, 1, 0, AUDIT[machine]),
        (RETURN, 0, 0, KILL),  # calls of another machine have other numbers
        (LOAD, 0, 0, NUMBER),
    ]
    if machine == "x86_64":
        steps += [(AT_LEAST, 0, 1, 0x40000000), (RETURN, 0, 0, KILL)]  # x32
    steps += [(AT_LEAST, 0, 1, KNOWN), gone]
    steps += [(EQUAL, 0, 1, own["clone3"]), gone]  # its flags lie in memory; libc then uses clone
    for numbers in REFUSED.values():
        if numbers[machine] != "-":
            steps += [(EQUAL, 0, 1, int(numbers[machine])), (RETURN, 0, 0, stop)]
    steps += [(EQUAL, 0, 4, own["clone"]), (LOAD, 0, 0, FIRST), (ANY_BIT, 0, 1, NEW)]
    steps += [(RETURN, 0, 0, stop), (RETURN, 0, 0, ALLOW)]
    for number in OF_ITSELF[machine]:
        steps += [(EQUAL, 0, 4, number), (LOAD, 0, 0, FIRST), (EQUAL, 1, 0, 0)]
        steps += [(RETURN, 0, 0, stop), (RETURN, 0, 0, ALLOW)]
    steps += [(EQUAL, 0, 6, own["setpriority"]), (LOAD, 0, 0, FIRST), (EQUAL, 0, 2, 0)]
    steps += [(LOAD, 0, 0, SECOND), (EQUAL, 1, 0, 0), (RETURN, 0, 0, stop), (RETURN, 0, 0, ALLOW)]
    for call in ("socket", "socketpair"):
        steps += [(EQUAL, 0, 9, own[call]), (LOAD, 0, 0, SECOND), (AND, 0, 0, 0xF)]
        steps += [(EQUAL, 4, 0, RAW), (LOAD, 0, 0, FIRST)]
        steps += [(EQUAL, 3 - place, 0, family) for place, family in enumerate(FAMILIES)]
        steps += [(RETURN, 0, 0, stop), (RETURN, 0, 0, ALLOW)]
    steps += [(EQUAL, 0, 4, own["ioctl"]), (LOAD, 0, 0, SECOND)]
    steps += [(EQUAL, 1, 0, FAKED_INPUT[0]), (EQUAL, 0, 1, FAKED_INPUT[1])]
    steps += [(RETURN, 0, 0, stop), (RETURN, 0, 0, ALLOW)]
    return steps


def encoded(steps: list[Step]) -> bytes:
    """The filter as the kernel reads it (struct sock_filter)."""
    return b"".join(struct.pack("HBBI", *step) for step in steps)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def made() -> ctypes.Structure:
    """The filter for this machine, ready to load."""
    steps = program(platform.machine())
    return _Program(len(steps), encoded(steps))


def load(filter_: ctypes.Structure) -> None:
    """Puts this process and all its children under the filter, for good."""
    control(SET_SECCOMP, MODE_FILTER, ctypes.byref(filter_))
