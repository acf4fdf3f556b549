//! Keeping generated tests: they become a change of the session's work, to be reviewed as any other.
//!
//! Owns that they are written inside the session's sandbox, by a command that overwrites nothing, in a turn of its
//! own. Nothing gets into the project but by an approval.

use std::ffi::OsString;

use ftl_core::id::SessionId;
use ftl_core::tester::Written;
use tokio::sync::mpsc;

use super::store::{self, Kept};
use crate::session::record::Record;
use crate::session::{Error, ExecInput, ExecOutput, ExecSpec, Sessions};

/// Writes files from its input, one after the other: of each its length and its path are arguments.
const WRITE: &str = r#"set -eu -o noclobber
while [ $# -gt 1 ]; do
    case $2 in */*) mkdir -p -- "${2%/*}" ;; esac
    dd bs=1 count="$1" 2>/dev/null > "$2"
    shift 2
done"#;
/// Bytes of input in one piece.
const PIECE: usize = 16 * 1024;

impl Sessions {
    /// A session's generated tests; `None` when it has no tester.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn generated(&self, id: &SessionId) -> Result<Option<Kept>, Error> {
        store::load(self.parts(), id).await
    }

    /// Puts generated tests into a session's work: these, or all when none is named.
    ///
    /// # Errors
    /// When there is none of that name, something stands there already, or an agent works.
    pub async fn keep_tests(&self, id: &SessionId, paths: &[String]) -> Result<Record, Error> {
        let tests = self.generated(id).await?.map(|kept| kept.tests).unwrap_or_default();
        if let Some(path) = paths.iter().find(|path| !tests.iter().any(|test| test.path == **path)) {
            return Err(Error::NoSuchTest { path: path.chars().take(200).collect() });
        }
        let is_meant = |test: &&Written| paths.is_empty() || paths.contains(&test.path);
        let chosen: Vec<&Written> = tests.iter().filter(is_meant).collect();
        if chosen.is_empty() {
            return Err(Error::NoSuchTest { path: String::new() });
        }
        let mut argv: Vec<OsString> = ["/bin/sh", "-c", WRITE, "keep-tests"].map(OsString::from).to_vec();
        for test in &chosen {
            argv.extend([test.contents.len().to_string(), test.path.clone()].map(OsString::from));
        }
        let (send, input) = mpsc::channel(4);
        let (output, mut heard) = mpsc::channel(4);
        self.exec(id, ExecSpec { argv, ..ExecSpec::default() }, input, output).await?;
        let bytes: Vec<u8> = chosen.iter().flat_map(|test| test.contents.bytes()).collect();
        let feed = async move {
            for piece in bytes.chunks(PIECE) {
                // A command that ended early says why.
                let _gone = send.send(ExecInput::Data(piece.to_vec())).await;
            }
            let _gone = send.send(ExecInput::End).await;
            // The input stays open until the command has ended: its end would be a hang-up.
            std::future::pending::<()>().await;
        };
        let mut said = Vec::new();
        let listen = async {
            while let Some(output) = heard.recv().await {
                match output {
                    ExecOutput::Stdout(data) | ExecOutput::Stderr(data) => said.extend(data),
                    ExecOutput::Exit { code, record } => return Some((code, record)),
                    ExecOutput::Replaced => return None,
                }
            }
            None
        };
        let ended = tokio::select! {
            ended = listen => ended,
            () = feed => None,
        };
        match ended {
            Some((0, Some(record))) => Ok(*record),
            // Another command holds the turn open; the work is known when it is over.
            Some((0, None)) => self.get(id),
            Some(_) => {
                let why: String = String::from_utf8_lossy(&said).chars().take(300).collect();
                Err(Error::NotKept { why: why.trim().to_owned() })
            }
            None => Err(Error::Interrupted),
        }
    }
}
