//! System calls by number.
//!
//! Owns the raw call and what counts as refused. A call that a filter or a missing privilege stops
//! answers EPERM, EACCES or ENOSYS; any other answer to these attempts means that the kernel went on to
//! look at their nonsensical arguments, and that is too far.

use super::Outcome;

/// Makes a system call with these arguments; the rest is zero.
pub(super) fn call<const N: usize>(number: libc::c_long, arguments: [u64; N]) -> Result<i64, i32> {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: the attempts pass numbers, null, or pointers to live memory that the call may use.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 { Err(last_error()) } else { Ok(result) }
}

/// The number of the last error.
pub(super) fn last_error() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Judges a call that must not get past its caller's rights.
pub(super) fn judge(result: Result<i64, i32>) -> Outcome {
    match result {
        Err(errno @ (libc::EPERM | libc::EACCES | libc::ENOSYS)) => Outcome::Refused(describe(errno)),
        Err(errno) => Outcome::Through(format!("reached the kernel: {}", describe(errno))),
        Ok(value) => Outcome::Through(format!("succeeded with {value}")),
    }
}

/// Judges something that must fail in whatever way.
pub(super) fn must_fail<T>(result: std::io::Result<T>) -> Outcome {
    match result {
        Ok(_) => Outcome::Through("succeeded".to_owned()),
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

/// An error by its number.
pub(super) fn describe(errno: i32) -> String {
    std::io::Error::from_raw_os_error(errno).to_string()
}

/// A child process that runs `body` and then ends; gives its wait status.
pub(super) fn in_child(body: impl FnOnce() -> i32) -> Result<i32, i32> {
    // SAFETY: this program has one thread, so that the child may use everything; it ends without
    // running anything of the parent's.
    unsafe {
        match libc::fork() {
            -1 => Err(last_error()),
            0 => libc::_exit(body()),
            child => {
                let mut status = 0;
                if libc::waitpid(child, &raw mut status, 0) == child { Ok(status) } else { Err(last_error()) }
            }
        }
    }
}
