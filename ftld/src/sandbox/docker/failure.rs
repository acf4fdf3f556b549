//! What goes wrong with an engine, and what a person can do about it.
//!
//! Owns the one error of the backend's dealings with an engine, and the table from what the client library
//! says to it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bollard::errors::Error as Said;

use super::endpoint::EndpointError;
use super::transport::Unreached;

/// The longest sentence of an engine that is passed on, in characters.
const LONGEST: usize = 600;

/// An engine that cannot be had, or cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// What was said about where it is cannot be followed.
    #[error("the container engine's address cannot be used")]
    Endpoint(#[from] EndpointError),
    /// There is none at any of the usual places.
    #[error("there is no container engine on this machine")]
    None {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// Nobody listens there.
    #[error("no container engine listens at {at}")]
    NotRunning {
        /// Where.
        at: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Its socket is somebody else's.
    #[error("this user may not use the container engine at {at}")]
    Denied {
        /// Where.
        at: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It cannot be reached for another reason.
    #[error("the container engine at {at} cannot be reached")]
    Unreachable {
        /// Where.
        at: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It took the request and did not answer.
    #[error("the container engine at {at} did not answer for {} seconds ({act})", after.as_secs())]
    Silent {
        /// Where.
        at: String,
        /// What was asked.
        act: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// It went away in the middle.
    #[error("the container engine at {at} went away ({act})")]
    Gone {
        /// Where.
        at: String,
        /// What was asked.
        act: &'static str,
        /// What was seen.
        #[source]
        source: Box<Said>,
    },
    /// What it said is not an engine's answer.
    #[error("what answers at {at} is no container engine that FTL understands ({act}: {reason})")]
    Garbled {
        /// Where.
        at: String,
        /// What was asked.
        act: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
    /// It speaks only older versions of the API.
    #[error("the container engine {version} at {at} speaks API {api}, and {needed} or later is needed")]
    TooOld {
        /// Where.
        at: String,
        /// Its version.
        version: String,
        /// Its newest API.
        api: String,
        /// The oldest that will do.
        needed: String,
    },
    /// It speaks only newer versions of the API.
    #[error("the container engine {version} at {at} no longer speaks API {known}; its oldest is {api}")]
    TooNew {
        /// Where.
        at: String,
        /// Its version.
        version: String,
        /// Its oldest API.
        api: String,
        /// The newest that this program knows.
        known: String,
    },
    /// It runs no Linux containers.
    #[error("the container engine at {at} runs {os} containers, not Linux ones")]
    NotLinux {
        /// Where.
        at: String,
        /// What it runs.
        os: String,
    },
    /// It answered that it does not do this.
    #[error("the container engine refused ({act}): {message}")]
    Refused {
        /// What was asked.
        act: &'static str,
        /// The status of its answer; 0 when it refused in the middle of an answer.
        status: u16,
        /// Its words.
        message: String,
    },
    /// It has another volume of that name.
    #[error("the container engine has another volume that is called {name}")]
    Taken {
        /// Its name.
        name: String,
    },
    /// A file of this machine that it was to be given cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// An error with its causes and what mends it, in one sentence.
#[must_use]
pub fn explained(error: &EngineError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let mut parts: Vec<String> = causes.map(ToString::to_string).collect();
    parts.dedup();
    let remedy = error.remedy();
    let mend = if remedy.is_empty() { String::new() } else { format!("; {remedy}") };
    format!("{}{mend}", parts.join(": "))
}

impl EngineError {
    /// What a person can do about it; empty when nothing is known.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Endpoint(error) => error.remedy(),
            Self::None { .. } => {
                "install one (`sudo apt install docker.io`), or use the native sandbox: `--sandbox native`".into()
            }
            Self::NotRunning { at, .. } if at.contains("podman") => {
                "start it: `systemctl --user start podman.socket`".into()
            }
            Self::NotRunning { .. } => {
                "start it: `sudo systemctl start docker`, for a rootless one `systemctl --user start docker`"
                    .into()
            }
            // Membership is root on this machine: whoever types it should know.
            Self::Denied { .. } => "join the group of its socket (`sudo usermod -aG docker $USER`, then log in \
                 again), which is as good as root, or use the native sandbox: `--sandbox native`"
                .into(),
            Self::Silent { .. } => {
                "see what it does (`journalctl -u docker`) and start it again: `sudo systemctl restart docker`"
                    .into()
            }
            Self::Gone { .. } => "see why it ended (`journalctl -u docker`), then try again".into(),
            Self::TooOld { .. } => "update it".into(),
            Self::TooNew { .. } => "update FTL".into(),
            Self::NotLinux { .. } => "switch it to Linux containers".into(),
            Self::Garbled { .. } | Self::Unreachable { .. } => {
                "see that DOCKER_HOST and `docker context ls` name an engine".into()
            }
            Self::Refused { message, .. } if message.contains("no space left") => {
                "free space where it keeps its data: `docker system df`, `docker system prune`".into()
            }
            // Seen of one with `live-restore` that was killed: it counts a container that is gone.
            Self::Refused { message, .. } if message.contains("volume has active mounts") => {
                "start the container engine again, which has lost count of what uses the volume: `sudo systemctl \
                 restart docker`"
                    .into()
            }
            Self::Taken { name } => format!("remove it: `docker volume rm {name}`"),
            Self::Refused { .. } | Self::File { .. } => String::new(),
        }
    }

    /// Whether the engine has no such thing.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether the engine says that the thing is not in the state for this, or already has it.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 304 | 409, .. })
    }

    /// Whether the engine may be another one by now, or none.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::NotRunning { .. }
                | Self::Denied { .. }
                | Self::Unreachable { .. }
                | Self::Silent { .. }
                | Self::Gone { .. }
        )
    }

    /// What the client library's error means.
    pub(super) fn of(act: &'static str, at: &str, patience: Duration, said: Said) -> Self {
        let at = at.to_owned();
        match said {
            Said::IOError { err } => match unreached(err) {
                Ok(err) => Self::unreached(at, err),
                Err(err) => Self::Gone { at, act, source: Said::IOError { err }.into() },
            },
            Said::RequestTimeoutError => Self::Silent { at, act, after: patience },
            Said::DockerResponseServerError { status_code, message } => {
                Self::Refused { act, status: status_code, message: cut(&message) }
            }
            Said::DockerStreamError { error } => Self::Refused { act, status: 0, message: cut(&error) },
            Said::HyperResponseError { err } if err.is_parse() => {
                Self::Garbled { at, act, reason: err.to_string() }
            }
            source @ Said::HyperResponseError { .. } => Self::Gone { at, act, source: source.into() },
            other => Self::Garbled { at, act, reason: cut(&other.to_string()) },
        }
    }

    fn unreached(at: String, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::NotRunning { at, source },
            io::ErrorKind::PermissionDenied => Self::Denied { at, source },
            _ => Self::Unreachable { at, source },
        }
    }
}

/// The cause of a connection that was not made; the error itself when it is another one.
fn unreached(error: io::Error) -> Result<io::Error, io::Error> {
    if !error.get_ref().is_some_and(|inner| inner.is::<Unreached>()) {
        return Err(error);
    }
    let kind = error.kind();
    match error.into_inner().and_then(|inner| inner.downcast::<Unreached>().ok()) {
        Some(unreached) => Ok(unreached.0),
        None => Ok(kind.into()),
    }
}

/// An engine's words, of a length that can be shown.
fn cut(message: &str) -> String {
    let message = message.trim();
    // The builder quotes the whole script of a step.
    let message = match message.rsplit_once("' returned a ") {
        Some((script, end)) if script.starts_with("The command '") => &format!("a step returned a {end}"),
        _ => message,
    };
    match message.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engines_words_are_short() {
        let script =
            format!("The command '/bin/sh -c echo 'a' {}' returned a non-zero code: 7\n", "x".repeat(900));
        assert_eq!(cut(&script), "a step returned a non-zero code: 7");
        assert_eq!(cut(&"y".repeat(900)).chars().count(), LONGEST + 1);
    }
}
