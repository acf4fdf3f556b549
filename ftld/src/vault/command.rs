//! Values that a program prints.
//!
//! Owns running it without a terminal, in bounded time, and keeping its output for a little while. Must
//! not know what the value is for. The program is named by the human and runs as the human, with the
//! daemon's environment; nothing of its output is ever logged.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ftl_core::credential::secret_value::Secret;
use tokio::io::AsyncReadExt as _;

use super::{LONGEST, VaultError};

/// How long an output counts, microseconds.
const KEPT_US: u64 = 60_000_000;
/// How long a program may take; some ask a server.
const PATIENCE: Duration = Duration::from_secs(20);

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
        if let Some((when, value)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(argv)
            && now_us.saturating_sub(*when) < KEPT_US
        {
            return Ok(value.clone());
        }
        let value = run(argv, env).await?;
        let mut outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outputs.insert(argv.to_vec(), (now_us, value.clone()));
        Ok(value)
    }
}

/// The command that asks the system's keyring. `secret-tool` speaks to whatever serves the freedesktop
/// Secret Service.
pub(super) fn keyring(service: &str, account: &str) -> Vec<String> {
    match cfg!(target_os = "macos") {
        true => ["security", "find-generic-password", "-w", "-s", service, "-a", account]
            .map(String::from)
            .to_vec(),
        false => ["secret-tool", "lookup", "service", service, "account", account].map(String::from).to_vec(),
    }
}

async fn run(argv: &[String], env: &BTreeMap<OsString, OsString>) -> Result<Secret, VaultError> {
    let failed = |what: String| VaultError::Command { program: argv.join(" "), what };
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
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let Some(stdout) = child.stdout.take() else { return Err(failed("it has no output".to_owned())) };
    let reading = async {
        let mut bytes = Vec::new();
        let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX) + 2;
        stdout.take(limit).read_to_end(&mut bytes).await.map_err(|error| failed(error.to_string()))?;
        let status = child.wait().await.map_err(|error| failed(error.to_string()))?;
        Ok((bytes, status))
    };
    let ran = tokio::time::timeout(PATIENCE, reading).await;
    let (bytes, status) =
        ran.map_err(|_| failed(format!("it did not end within {} seconds", PATIENCE.as_secs())))??;
    if !status.success() {
        return Err(failed(status.to_string()));
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
