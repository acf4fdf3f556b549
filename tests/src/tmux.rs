//! A terminal of a given size with somebody at it: keys in, screen text out.
//!
//! Owns a tmux server of its own. What is on the screen is looked at whenever the terminal says that something
//! was written, so that nothing is waited for longer than it takes.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::world::{World, programs, said};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program on a terminal.
pub struct Tmux<'a> {
    world: &'a World,
    socket: PathBuf,
    /// Tells when something is written.
    control: Child,
    written: Receiver<()>,
}

impl<'a> Tmux<'a> {
    /// Runs a shell command with `ftlctl` in its `PATH`. When it ends, `ended` and its status are shown.
    ///
    /// # Panics
    /// When there is no tmux.
    #[must_use]
    pub fn open(world: &'a World, (columns, rows): (u16, u16), line: &str) -> Self {
        static OPENED: AtomicUsize = AtomicUsize::new(0);
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let socket = world.root().join(format!("tmux-{number}.sock"));
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs().display());
        let line = format!("PATH={path}; {line}; echo ended $?; cat");
        let mut tmux = world.command("tmux");
        tmux.arg("-S").arg(&socket).args(["-f", "/dev/null", "new-session", "-d", "-s", "main"]);
        tmux.args(["-x", &columns.to_string(), "-y", &rows.to_string(), "sh"]);
        tmux.args([";", "set-option", "-g", "status", "off"]);
        tmux.args([";", "set-option", "-g", "window-size", "manual"]);
        tmux.args([";", "resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
        assert_eq!(said(tmux.output().expect("tmux runs")).code, 0);
        let mut control = world.command("tmux");
        control.arg("-S").arg(&socket).args(["-C", "attach-session", "-f", "ignore-size", "-t", "main"]);
        let mut control =
            control.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("tmux");
        let told = BufReader::new(control.stdout.take().expect("a pipe"));
        let (sender, written) = channel();
        std::thread::spawn(move || {
            // Output is told as it is, which need not be text.
            for line in told.split(b'\n').map_while(Result::ok) {
                if line.starts_with(b"%output") && sender.send(()).is_err() {
                    return;
                }
            }
        });
        let tmux = Self { world, socket, control, written };
        tmux.run(["respawn-pane", "-k", "-t", "main", &line]);
        tmux
    }

    fn command<'s>(&self, args: impl IntoIterator<Item = &'s str>) -> Command {
        let mut tmux = self.world.command("tmux");
        tmux.arg("-S").arg(&self.socket).args(args);
        tmux
    }

    fn run<'s>(&self, args: impl IntoIterator<Item = &'s str>) -> String {
        let said = said(self.command(args).output().expect("tmux runs"));
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    }

    /// What is on the screen.
    #[must_use]
    pub fn screen(&self) -> String {
        self.run(["capture-pane", "-p", "-t", "main"])
    }

    /// The same with its colours, as escape sequences.
    #[must_use]
    pub fn colored(&self) -> String {
        self.run(["capture-pane", "-p", "-e", "-t", "main"])
    }

    /// The title that the program has given the terminal.
    #[must_use]
    pub fn title(&self) -> String {
        self.run(["display-message", "-p", "-t", "main", "#{pane_title}"])
    }

    /// Types text.
    pub fn kind(&self, text: &str) {
        self.run(["send-keys", "-t", "main", "-l", "--", text]);
    }

    /// Presses keys by tmux's names for them.
    pub fn press<'s>(&self, keys: impl IntoIterator<Item = &'s str>) {
        self.run(["send-keys", "-t", "main", "--"].into_iter().chain(keys));
    }

    /// Makes the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.run(["resize-window", "-t", "main", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// Waits until the screen fits, and gives it.
    ///
    /// # Panics
    /// When nothing is written any more and it does not.
    pub fn wait(&self, fits: impl Fn(&str) -> bool) -> String {
        loop {
            let screen = self.screen();
            if fits(&screen) {
                return screen;
            }
            assert!(self.written.recv_timeout(PATIENCE).is_ok(), "the screen stays:\n{screen}");
            while self.written.try_recv().is_ok() {}
        }
    }

    /// Waits until all of a review's diff is there, and gives the screen.
    ///
    /// # Panics
    /// When it does not come.
    pub fn ready(&self) -> String {
        self.wait(|screen| screen.contains("review s-") && !screen.contains("loading"))
    }

    /// Waits until the text is on the screen, and gives the screen.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait(|screen| screen.contains(text))
    }
}

/// The beginning of the digest that a screen asks for.
///
/// # Panics
/// When it asks for none.
#[must_use]
pub fn asked(screen: &str) -> String {
    let rest = screen.split("Type ").nth(1).expect("what to type");
    rest.chars().take(6).collect()
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let _ended = self.command(["kill-server"]).output();
        let _gone = self.control.kill();
        let _ended = self.control.wait();
    }
}
