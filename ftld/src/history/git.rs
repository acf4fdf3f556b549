//! Runs the host's Git where it can do no harm.
//!
//! Owns the repository of our own that Git is pointed at, with links to the project's packs and loose
//! objects and to nothing else of it, and the limits of each run. Git sees no configuration but ours, no
//! hook, no attribute, no environment of the user's. Must not know why objects are wanted.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use ftl_core::history::object::{Format, Id, Kind};
use ftl_core::history::walk::Source;
use ftl_core::refuse::KEY_WINDOW;

use super::{HistoryError, io_error};

/// A directory of Git's that holds nothing but links to objects.
#[derive(Debug)]
pub(super) struct Bench {
    program: PathBuf,
    dir: PathBuf,
    limit: Duration,
}

/// Reads objects one by one.
pub(super) struct Objects {
    run: Run,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Bytes that may still be read.
    left: u64,
}

/// A run of Git that ends in time.
struct Run {
    child: Arc<Mutex<Child>>,
    expired: Arc<AtomicBool>,
    /// Dropped when the run is over.
    _over: mpsc::Sender<()>,
}

/// The longest commit, tree or tag, bytes.
const LONGEST: u64 = 64 << 20;
/// What one run may read out of a repository, bytes before compression.
const READ: u64 = 16 << 30;
/// What Git may answer where a few lines are expected, bytes.
const ANSWER: u64 = 1 << 20;
/// Packs and loose directories that are linked at most, of one directory of objects.
const LINKS: usize = 20_000;
/// One allocation of Git's.
const ALLOCATION: &str = "2g";

impl Bench {
    /// Makes the directory, over what an earlier run left. `objects` are directories of objects.
    pub(super) fn make(
        program: &Path,
        dir: &Path,
        format: Format,
        objects: &[PathBuf],
        limit: Duration,
    ) -> Result<Self, HistoryError> {
        clear(dir)?;
        for part in ["objects/info", "objects/pack", "refs/heads", "lenders"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(io_error("create", &path))?;
        }
        let config = format!(
            "[core]\n\trepositoryformatversion = 1\n\tbare = true\n\tcommitGraph = false\n\
             \tmultiPackIndex = false\n\thooksPath = /dev/null\n\tfsmonitor = false\n\
             \tattributesFile = /dev/null\n\texcludesFile = /dev/null\n\tlogAllRefUpdates = false\n\
             [extensions]\n\tobjectFormat = {}\n[protocol]\n\tallow = never\n\
             [pack]\n\tthreads = 1\n\twindowMemory = 128m\n\tuseBitmaps = false\n\twriteBitmaps = false\n\
             [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[fastimport]\n\tunpackLimit = 0\n",
            format.name()
        );
        write(&dir.join("config"), config.as_bytes())?;
        write(&dir.join("HEAD"), b"ref: refs/heads/none\n")?;
        let mut lenders = String::new();
        for (number, source) in objects.iter().enumerate() {
            let lender = dir.join("lenders").join(number.to_string());
            link_objects(source, &lender)?;
            lenders.push_str(&format!("../lenders/{number}\n"));
        }
        write(&dir.join("objects/info/alternates"), lenders.as_bytes())?;
        Ok(Self { program: program.to_owned(), dir: dir.to_owned(), limit })
    }

    /// Where it is.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens the objects for reading.
    pub(super) fn objects(&self) -> Result<Objects, HistoryError> {
        let (run, requests, answers) = self.start(&["cat-file", "--batch"])?;
        Ok(Objects { run, requests, answers: BufReader::with_capacity(64 << 10, answers), left: READ })
    }

    /// Runs a command, hands it what `feed` writes, and gives what it answered.
    pub(super) fn run(
        &self,
        args: &[&str],
        feed: impl FnOnce(&mut dyn Write) -> std::io::Result<()> + Send,
    ) -> Result<Vec<u8>, HistoryError> {
        let (run, requests, answers) = self.start(args)?;
        let (fed, answer) = std::thread::scope(|scope| {
            let feeding = scope.spawn(move || {
                let mut requests = BufWriter::new(requests);
                feed(&mut requests).and_then(|()| requests.flush())
            });
            let mut answer = Vec::new();
            let read = answers.take(ANSWER).read_to_end(&mut answer);
            (feeding.join(), read.map(|_| answer))
        });
        run.end(args)?;
        match (fed, answer) {
            (Ok(Ok(())), Ok(answer)) => Ok(answer),
            (Ok(Err(source)), _) | (_, Err(source)) => Err(io_error("talk to", &self.program)(source)),
            (Err(_), _) => Err(HistoryError::Broken { what: "a command was not fed".to_owned() }),
        }
    }

    /// Packs these objects into `<dir>/pack-*`; the files are whole when they have their names.
    pub(super) fn pack<'a>(
        &self,
        dir: &Path,
        ids: impl Iterator<Item = &'a Id> + Send,
    ) -> Result<String, HistoryError> {
        let base = dir.join("pack");
        let base = base.to_str().ok_or_else(|| HistoryError::Broken { what: "an odd path".to_owned() })?;
        let answer = self.run(&["pack-objects", "--quiet", base], |to| {
            ids.into_iter().try_for_each(|id| writeln!(to, "{id}"))
        })?;
        let name = String::from_utf8_lossy(&answer).trim().to_owned();
        match Id::from_hex(name.as_bytes()) {
            Some(_) => Ok(format!("pack-{name}")),
            None => Err(HistoryError::Broken { what: "Git did not name the pack it made".to_owned() }),
        }
    }

    fn start(&self, args: &[&str]) -> Result<(Run, ChildStdin, ChildStdout), HistoryError> {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(&self.dir).env_clear();
        let dir = self.dir.as_os_str();
        let nothing = "/dev/null";
        command.env("GIT_DIR", dir).env("HOME", dir).env("XDG_CONFIG_HOME", dir);
        for (name, value) in [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_SYSTEM", nothing),
            ("GIT_CONFIG_GLOBAL", nothing),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ALLOC_LIMIT", ALLOCATION),
            ("GIT_PAGER", "cat"),
            ("LC_ALL", "C"),
            ("PATH", "/usr/bin:/bin"),
        ] {
            command.env(name, value);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(io_error("start", &self.program))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok((Run::new(child, self.limit), stdin, stdout)),
            _ => Err(HistoryError::Broken { what: "Git has no pipes".to_owned() }),
        }
    }
}

impl Run {
    /// Ends the child when the time is up or the run is dropped.
    fn new(child: Child, limit: Duration) -> Self {
        let (over, wait) = mpsc::channel::<()>();
        let (child, expired) = (Arc::new(Mutex::new(child)), Arc::new(AtomicBool::new(false)));
        let (watched, late) = (Arc::clone(&child), Arc::clone(&expired));
        std::thread::spawn(move || {
            if wait.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                late.store(true, Ordering::Relaxed);
            }
            let mut child = watched.lock().unwrap_or_else(PoisonError::into_inner);
            // One that has ended is only collected.
            let _ended = child.kill().and_then(|()| child.wait());
        });
        Self { child, expired, _over: over }
    }

    /// Waits for the child, which has closed its output.
    fn end(self, args: &[&str]) -> Result<(), HistoryError> {
        let what = args.first().copied().unwrap_or_default();
        if self.is_late() {
            return Err(HistoryError::TooLong);
        }
        let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        match status {
            Ok(status) if status.success() => Ok(()),
            _ => Err(HistoryError::Broken { what: format!("git {what} failed") }),
        }
    }

    fn is_late(&self) -> bool {
        self.expired.load(Ordering::Relaxed)
    }
}

impl Objects {
    fn failed(&self, what: &str) -> HistoryError {
        match self.run.is_late() {
            true => HistoryError::TooLong,
            false => HistoryError::Broken { what: what.to_owned() },
        }
    }

    /// The next line, without its end.
    fn line(&mut self) -> Result<Vec<u8>, HistoryError> {
        let mut line = Vec::new();
        let read = (&mut self.answers).take(1024).read_until(b'\n', &mut line);
        match (read, line.pop()) {
            (Ok(_), Some(b'\n')) => Ok(line),
            _ => Err(self.failed("Git stopped while it read the objects")),
        }
    }
}

impl Source for Objects {
    type Error = HistoryError;

    fn read(&mut self, id: &Id) -> Result<Option<(Kind, Vec<u8>)>, HistoryError> {
        let asked = writeln!(self.requests, "{id}").and_then(|()| self.requests.flush());
        asked.map_err(|_| self.failed("Git stopped while it read the objects"))?;
        let line = self.line()?;
        let mut words = line.split(|byte| *byte == b' ').skip(1);
        let Some(kind) = words.next().and_then(Kind::named) else { return Ok(None) };
        let size = words.next().and_then(|size| std::str::from_utf8(size).ok()?.parse::<u64>().ok());
        let size = size.ok_or_else(|| self.failed("Git's answer cannot be read"))?;
        self.left = self.left.checked_sub(size).ok_or(HistoryError::TooLarge)?;
        let wanted = if kind == Kind::Blob { size.min(KEY_WINDOW as u64) } else { size };
        if wanted > LONGEST {
            return Err(HistoryError::TooLarge);
        }
        let mut bytes = Vec::new();
        let mut read = (&mut self.answers).take(wanted).read_to_end(&mut bytes).map(|read| read as u64);
        if let Ok(start) = &mut read {
            let rest = std::io::copy(&mut (&mut self.answers).take(size - wanted + 1), &mut std::io::sink());
            *start += rest.unwrap_or(0);
        }
        match read {
            Ok(read) if read == size + 1 => Ok(Some((kind, bytes))),
            _ => Err(self.failed("Git stopped while it read the objects")),
        }
    }
}

/// Makes links to the packs and the loose objects of a directory. What else is there, such as the directories
/// that it borrows from or indexes that could lie, is not linked.
fn link_objects(source: &Path, lender: &Path) -> Result<(), HistoryError> {
    let packs = lender.join("pack");
    fs::create_dir_all(&packs).map_err(io_error("create", &packs))?;
    let link = |from: &Path, to: &Path| std::os::unix::fs::symlink(from, to).map_err(io_error("create", to));
    let mut left = LINKS;
    let mut each = |dir: &Path, wanted: &dyn Fn(&str, &fs::FileType) -> bool, to: &Path| {
        // A directory that cannot be listed lends nothing; what is missing then shows in the walk.
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else { continue };
            let Some(name) = name.to_str().filter(|name| wanted(name, &kind)) else { continue };
            if left == 0 {
                return Err(HistoryError::TooLarge);
            }
            left -= 1;
            link(&entry.path(), &to.join(name))?;
        }
        Ok(())
    };
    let hex = |name: &str| name.len() == 2 && name.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
    each(source, &|name, kind| kind.is_dir() && hex(name), lender)?;
    let is_pack = |name: &str| {
        let stem = name.strip_suffix(".pack").or_else(|| name.strip_suffix(".idx"));
        stem.is_some_and(|stem| stem.starts_with("pack-"))
    };
    let real = source.join("pack").symlink_metadata().is_ok_and(|meta| meta.is_dir());
    if real {
        each(&source.join("pack"), &|name, kind| kind.is_file() && is_pack(name), &packs)?;
    }
    Ok(())
}

/// Removes a directory of ours, if it is there.
pub(super) fn clear(dir: &Path) -> Result<(), HistoryError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error("remove", dir)(error)),
        _ => Ok(()),
    }
}

/// Writes a file of ours.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), HistoryError> {
    let written = File::create(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(io_error("write", path))
}
