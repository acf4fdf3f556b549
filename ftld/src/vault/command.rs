//! Values that a program prints.
//!
//! Owns running it without a terminal, in bounded time, and keeping its output for a little while. Must
//! not know what the value is for. The program is named by the human and runs as the human, with the
//! daemon's environment; nothing of its output is ever logged.
//!
//! The keyring is asked by a program as well. A library would speak D-Bus inside the daemon, where a
//! service that hangs or asks for a password could not be ended; a process can.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::ffi::OsString;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ftl_core::credential::secret_value::Secret;
use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr;

use super::{LONGEST, VaultError};

/// How long an output counts, microseconds.
const KEPT_US: u64 = 60_000_000;
/// How long a program may take; some ask a server.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the keyring may take. It lies on this machine; one that is locked waits for a human.
const KEYRING_PATIENCE: Duration = Duration::from_secs(5);

/// What programs have printed lately.
#[derive(Default)]
pub(super) struct Outputs(Mutex<HashMap<Vec<String>, (u64, Secret)>>);

impl Outputs {
    /// The output of a program, a minute old at most.
    pub(super) async fn of(
        &self,
        argv: &[String],
        env: &BTreeMap<OsString, OsString>,
        now_us: u64,
    ) -> Result<Secret, VaultError> {
        self.kept(argv, env, now_us, PATIENCE).await.map_err(|failure| failure.of_command(argv))
    }

    /// The value of an entry of the system's keyring, a minute old at most.
    pub(super) async fn of_keyring(
        &self,
        service: &str,
        account: &str,
        env: &BTreeMap<OsString, OsString>,
        now_us: u64,
    ) -> Result<Secret, VaultError> {
        let argv = keyring(service, account);
        self.kept(&argv, env, now_us, KEYRING_PATIENCE).await.map_err(|failure| {
            let (what, hint) = failure.of_keyring(&argv);
            VaultError::Keyring { entry: format!("{service}/{account}"), what, hint }
        })
    }

    async fn kept(
        &self,
        argv: &[String],
        env: &BTreeMap<OsString, OsString>,
        now_us: u64,
        patience: Duration,
    ) -> Result<Secret, Failure> {
        if let Some((when, value)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(argv)
            && now_us.saturating_sub(*when) < KEPT_US
        {
            return Ok(value.clone());
        }
        let value = run(argv, env, patience).await?;
        let mut outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outputs.insert(argv.to_vec(), (now_us, value.clone()));
        Ok(value)
    }
}

/// The command that asks the system's keyring. `secret-tool` speaks to whatever serves the freedesktop
/// Secret Service.
fn keyring(service: &str, account: &str) -> Vec<String> {
    match cfg!(target_os = "macos") {
        true => ["security", "find-generic-password", "-w", "-s", service, "-a", account]
            .map(String::from)
            .to_vec(),
        false => ["secret-tool", "lookup", "service", service, "account", account].map(String::from).to_vec(),
    }
}

/// Why a program gave no value.
enum Failure {
    /// It could not be started.
    NotStarted(std::io::Error),
    /// It took longer than this.
    Slow(Duration),
    /// It ended with this status; whether it said something about it.
    Ended(std::process::ExitStatus, bool),
    /// Something else.
    Other(String),
}

impl Failure {
    fn of_command(self, argv: &[String]) -> VaultError {
        let what = match self {
            Self::NotStarted(error) => error.to_string(),
            Self::Slow(patience) => format!("it did not end within {} seconds", patience.as_secs()),
            Self::Ended(status, _) => status.to_string(),
            Self::Other(what) => what,
        };
        VaultError::Command { program: argv.join(" "), what }
    }

    /// What is wrong with the keyring, and what the human can do.
    fn of_keyring(self, argv: &[String]) -> (String, String) {
        let program = argv.first().map_or("", String::as_str);
        let see = || format!("run `{}` in a terminal and see what it says", argv.join(" "));
        match self {
            Self::NotStarted(error) if error.kind() == std::io::ErrorKind::NotFound => (
                format!("{program} is not installed"),
                format!("install {program}; on Debian it is in libsecret-tools"),
            ),
            Self::NotStarted(error) => (format!("{program} cannot be started: {error}"), see()),
            Self::Slow(patience) => (
                format!("it did not answer within {} seconds and may be locked", patience.as_secs()),
                "unlock the keyring, then try again".to_owned(),
            ),
            Self::Ended(status, false) if status.code().is_some() => (
                "it has no such entry, or is locked".to_owned(),
                format!("look whether `{}` prints the value", argv.join(" ")),
            ),
            Self::Ended(..) => ("it cannot be reached from where ftld was started".to_owned(), see()),
            Self::Other(what) => (what, see()),
        }
    }
}

async fn run(
    argv: &[String],
    env: &BTreeMap<OsString, OsString>,
    patience: Duration,
) -> Result<Secret, Failure> {
    let failed = Failure::Other;
    let Some((program, arguments)) = argv.split_first() else {
        return Err(failed("no program is named".to_owned()));
    };
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(env)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Failure::NotStarted)?;
    let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(failed("it has no output".to_owned()));
    };
    let reading = async {
        let mut bytes = Vec::new();
        let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX) + 2;
        stdout.take(limit).read_to_end(&mut bytes).await.map_err(|error| failed(error.to_string()))?;
        let status = child.wait().await.map_err(|error| failed(error.to_string()))?;
        Ok((bytes, status))
    };
    let mut says = false;
    let reading = async {
        let ended = tokio::select! {
            biased;
            never = listen(&mut stderr, &mut says) => match never {},
            ended = reading => ended,
        };
        // What it said last may not have been heard yet; what its children say is not waited for.
        let _nothing_more = tokio::time::timeout(Duration::ZERO, listen(&mut stderr, &mut says)).await;
        ended
    };
    let ran = tokio::time::timeout(patience, reading).await;
    let (bytes, status) = ran.map_err(|_| Failure::Slow(patience))??;
    if !status.success() {
        return Err(Failure::Ended(status, says));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| failed("it printed something that is not text".into()))?;
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    match value.is_empty() {
        true => Err(failed("it printed nothing".to_owned())),
        false => Ok(Secret::new(value.to_owned())),
    }
}

/// Notes that a program says something. What it says may hold a value, so that nothing of it is kept.
async fn listen(stderr: &mut ChildStderr, says: &mut bool) -> Infallible {
    let mut thrown_away = [0; 1024];
    while let Ok(1..) = stderr.read(&mut thrown_away).await {
        *says = true;
    }
    std::future::pending().await
}
