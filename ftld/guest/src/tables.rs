//! What of the kernel's tables about the machine is hidden in a sandbox that an engine makes.
//!
//! Owns the paths, which whoever makes the sandbox asks for and process 1 looks for. Must not know engines.

/// What is hidden, beside what engines hide by themselves.
pub const HIDDEN: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/config.gz",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/modules",
    "/proc/mtrr",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/slabinfo",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
    "/sys",
];

/// Parts of `/proc` that configure the kernel, and may at most be read.
pub const READ_ONLY: &[&str] =
    &["/proc/bus", "/proc/driver", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/proc/tty"];
