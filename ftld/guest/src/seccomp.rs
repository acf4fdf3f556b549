//! The system call filter.
//!
//! Owns which calls a sandbox is refused, and why. Must not know what programs do: the default is to
//! allow. Refused is what reaches into the kernel's least guarded parts, what would undo the sandbox if
//! it held privileges, and what nobody needs to build or test software. A refusal is an error to the
//! caller, so that programs with a fallback use it.

use std::collections::BTreeMap;

use ftl_guest::protocol::{Failure, Stage};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls that are refused whatever their arguments.
const REFUSED: &[libc::c_long] = &[
    // Mounts and roots. Process 1 has made them all.
    libc::SYS_chroot,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_umount2,
    libc::SYS_open_by_handle_at,
    // Namespaces: each new one opens parts of the kernel that were written for root.
    libc::SYS_setns,
    libc::SYS_unshare,
    // Other processes' memory and descriptors.
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    // Large interfaces with a long record of holes.
    libc::SYS_bpf,
    libc::SYS_fanotify_init,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    // Key rings are not divided by every namespace.
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    // The host as a whole.
    libc::SYS_acct,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
];

/// Newer than the C library's headers: `open_tree_attr`, the same number on every architecture.
const SYS_OPEN_TREE_ATTR: libc::c_long = 467;

/// Flags of `clone` that make a namespace.
const NAMESPACE_FLAGS: &[libc::c_int] = &[
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// Requests of `ioctl` that put words into a terminal's mouth or load kernel code for it.
const TERMINAL_REQUESTS: [u64; 4] = [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSETD, libc::TIOCCONS];

/// Installs the filter for this process and everything it starts.
pub(crate) fn install() -> Result<(), Failure> {
    let failed = |what: String| Failure { stage: Stage::Seccomp, errno: libc::EINVAL, what };
    for program in programs().map_err(|error| failed(format!("compiling the filter ({error})")))? {
        apply_filter(&program).map_err(|error| failed(format!("installing the filter ({error})")))?;
    }
    Ok(())
}

/// The filters; of several the strictest answer counts.
fn programs() -> Result<Vec<BpfProgram>, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = |rules, errno: libc::c_int| {
        let refuse = SeccompAction::Errno(errno.unsigned_abs());
        // Calls in another architecture's way (32 bits on x86_64, say) end the process.
        SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()
    };
    Ok(vec![
        // Its flags are in memory, where a filter cannot look; the C library then uses `clone`.
        filter(Rules::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)?,
        filter(rules()?, libc::EPERM)?,
        #[cfg(target_arch = "x86_64")]
        without_x32(),
    ])
}

fn rules() -> Result<Rules, BackendError> {
    let mut rules: Rules = REFUSED.iter().map(|number| (*number, Vec::new())).collect();
    rules.insert(SYS_OPEN_TREE_ATTR, Vec::new());
    rules.insert(
        libc::SYS_clone,
        NAMESPACE_FLAGS.iter().map(|flag| all(&[has(0, *flag as u64)])).collect::<Result<_, _>>()?,
    );
    rules.insert(
        libc::SYS_ioctl,
        TERMINAL_REQUESTS.iter().map(|request| all(&[is(1, *request)])).collect::<Result<_, _>>()?,
    );
    rules.insert(libc::SYS_socket, sockets()?);
    rules.insert(libc::SYS_socketpair, vec![all(&[is_not(0, libc::AF_UNIX as u64)])?]);
    // Asking for the personality and setting the usual one are harmless; the others weaken a process.
    rules.insert(libc::SYS_personality, vec![all(&[is_not(0, 0xffff_ffff), is_not(0, 0)])?]);
    // Whiteouts of an overlay are device nodes that need no privilege.
    let device = |argument| {
        [libc::S_IFBLK, libc::S_IFCHR]
            .map(|kind| all(&[(argument, SeccompCmpOp::MaskedEq(libc::S_IFMT.into()), kind.into())]))
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
    };
    rules.insert(libc::SYS_mknodat, device(2)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_mknod, device(1)?);
    Ok(rules)
}

/// What is no Unix socket, no ordinary internet socket and no question about interfaces is refused.
fn sockets() -> Result<Vec<SeccompRule>, BackendError> {
    let (unix, v4, v6) = (libc::AF_UNIX as u64, libc::AF_INET as u64, libc::AF_INET6 as u64);
    let netlink = libc::AF_NETLINK as u64;
    let kind_is = |kind: libc::c_int| (1, SeccompCmpOp::MaskedEq(0xf), kind as u64);
    let mut refused = vec![
        all(&[is_not(0, unix), is_not(0, v4), is_not(0, v6), is_not(0, netlink)])?,
        all(&[is(0, netlink), is_not(2, libc::NETLINK_ROUTE as u64)])?,
    ];
    for family in [v4, v6] {
        for kind in [libc::SOCK_RAW, libc::SOCK_RDM, libc::SOCK_SEQPACKET, SOCK_DCCP, SOCK_PACKET] {
            refused.push(all(&[is(0, family), kind_is(kind)])?);
        }
        // Streams and datagrams only in the protocols that everybody uses.
        refused.push(all(&[
            is(0, family),
            is_not(2, 0),
            is_not(2, libc::IPPROTO_TCP as u64),
            is_not(2, libc::IPPROTO_UDP as u64),
            is_not(2, libc::IPPROTO_ICMP as u64),
            is_not(2, libc::IPPROTO_ICMPV6 as u64),
        ])?);
    }
    Ok(refused)
}

/// Kinds of socket that the C library's binding does not name, or no longer.
const SOCK_DCCP: libc::c_int = 6;
const SOCK_PACKET: libc::c_int = 10;

/// An argument's number, a comparison and its other side. All arguments here are 32 bits to the kernel:
/// comparing more would let the upper half hide a value.
type Condition = (u8, SeccompCmpOp, u64);

fn is(argument: u8, value: u64) -> Condition {
    (argument, SeccompCmpOp::Eq, value)
}

fn is_not(argument: u8, value: u64) -> Condition {
    (argument, SeccompCmpOp::Ne, value)
}

fn has(argument: u8, flag: u64) -> Condition {
    (argument, SeccompCmpOp::MaskedEq(flag), flag)
}

fn all(conditions: &[Condition]) -> Result<SeccompRule, BackendError> {
    let conditions = conditions.iter().map(|(argument, compare, value)| {
        SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, compare.clone(), *value & 0xffff_ffff)
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// The x32 calls share x86_64's architecture and have other numbers, which the rules would miss.
#[cfg(target_arch = "x86_64")]
fn without_x32() -> BpfProgram {
    use seccompiler::sock_filter;
    const X32_BIT: u32 = 0x4000_0000;
    let instruction = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    vec![
        // The call's number is the first word of what a filter sees.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32_BIT),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_and_fit_the_kernel() {
        let programs = programs().unwrap();
        assert!(programs.len() >= 2);
        for program in programs {
            assert!(!program.is_empty() && program.len() <= 4096, "{} instructions", program.len());
        }
    }
}
