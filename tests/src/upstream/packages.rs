//! Tiny registries of npm, PyPI and Cargo with one package each.
//!
//! Owns the packages' bytes and the documents that lead to them. Who may fetch was decided before.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use http::Response;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::Answer;
use super::service::{text, typed};

/// Version of every package.
pub const VERSION: &str = "1.2.3";

/// Documents by path.
#[derive(Default)]
pub struct Packages {
    documents: HashMap<String, (&'static str, Bytes)>,
}

impl Packages {
    /// A registry of npm at a host, with the package `ftl-test-left`.
    ///
    /// # Panics
    /// When the package cannot be made.
    #[must_use]
    pub fn npm(host: &str) -> Self {
        let manifest = json!({ "name": "ftl-test-left", "version": VERSION, "main": "index.js" });
        let index = "module.exports = 'left from the registry';\n";
        let package = tarball("package", &[("package.json", &manifest.to_string()), ("index.js", index)]);
        let tarball = format!("https://{host}/ftl-test-left/-/ftl-test-left-{VERSION}.tgz");
        let mut version = manifest;
        version["dist"] = json!({ "tarball": tarball });
        let packument = json!({
            "name": "ftl-test-left", "dist-tags": { "latest": VERSION }, "versions": { VERSION: version },
        });
        let mut all = Self::default();
        all.put("/ftl-test-left", "application/json", packument.to_string());
        let path = format!("/ftl-test-left/-/ftl-test-left-{VERSION}.tgz");
        all.put(&path, "application/octet-stream", package);
        all
    }

    /// A simple index of Python at any host, with the package `ftl-test-right`.
    ///
    /// # Panics
    /// When the package cannot be made.
    #[must_use]
    pub fn pypi() -> Self {
        let name = format!("ftl_test_right-{VERSION}-py3-none-any.whl");
        let info = format!("ftl_test_right-{VERSION}.dist-info");
        let metadata = format!("Metadata-Version: 2.1\nName: ftl-test-right\nVersion: {VERSION}\n");
        let wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
        let record = format!("ftl_test_right.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n");
        let dir = written(&[
            ("ftl_test_right.py", "SAYS = 'right from the index'\n"),
            (&format!("{info}/METADATA"), &metadata),
            (&format!("{info}/WHEEL"), wheel),
            (&format!("{info}/RECORD"), &record),
        ]);
        let mut zip = Command::new("python3");
        zip.args(["-m", "zipfile", "-c", &name, "ftl_test_right.py", &info]);
        let bytes = made(zip.current_dir(dir.path()), &dir.path().join(&name));
        let page = format!(
            "<!DOCTYPE html><html><body><a href=\"/files/{name}#sha256={}\">{name}</a></body></html>",
            hex(&bytes)
        );
        let mut all = Self::default();
        all.put("/simple/ftl-test-right/", "text/html", page);
        all.put(&format!("/files/{name}"), "application/octet-stream", bytes);
        all
    }

    /// A sparse registry of Cargo at a host, with the crate `ftl-test-up`.
    ///
    /// # Panics
    /// When the crate cannot be made.
    #[must_use]
    pub fn cargo(host: &str) -> Self {
        let manifest =
            format!("[package]\nname = \"ftl-test-up\"\nversion = \"{VERSION}\"\nedition = \"2021\"\n");
        let source = "pub const SAYS: &str = \"up from the registry\";\n";
        let package =
            tarball(&format!("ftl-test-up-{VERSION}"), &[("Cargo.toml", &manifest), ("src/lib.rs", source)]);
        let config = json!({ "dl": format!("https://{host}/dl"), "auth-required": true });
        let line = json!({
            "name": "ftl-test-up", "vers": VERSION, "deps": [], "cksum": hex(&package), "features": {},
            "yanked": false,
        });
        let mut all = Self::default();
        all.put("/index/config.json", "application/json", config.to_string());
        all.put("/index/ft/l-/ftl-test-up", "text/plain", format!("{line}\n"));
        all.put(&format!("/dl/ftl-test-up/{VERSION}/download"), "application/octet-stream", package);
        all
    }

    /// Answers one request.
    pub(super) fn answer(&self, path: &str) -> Response<Answer> {
        match self.documents.get(path) {
            Some((kind, bytes)) => typed(200, kind, bytes.clone()),
            None => text(404, "no such package"),
        }
    }

    fn put(&mut self, path: &str, kind: &'static str, bytes: impl Into<Bytes>) {
        self.documents.insert(path.to_owned(), (kind, bytes.into()));
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("text takes all");
        text
    })
}

fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    crate::project::write(dir.path(), files);
    dir
}

fn made(command: &mut Command, file: &Path) -> Vec<u8> {
    let status = command.status().expect("it runs");
    assert!(status.success(), "{command:?}");
    std::fs::read(file).expect("what it made")
}

fn tarball(root: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let files: Vec<_> = files.iter().map(|(path, text)| (format!("{root}/{path}"), *text)).collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let dir = written(&files);
    let mut tar = Command::new("tar");
    made(tar.args(["-czf", "made", root]).current_dir(dir.path()), &dir.path().join("made"))
}
