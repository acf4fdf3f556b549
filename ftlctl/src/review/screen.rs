//! The terminal while the review has it.
//!
//! Owns every mode that is set in it, and that each is taken back: at the end, before an editor or the shell
//! gets it, on a signal, and when this process panics. Must not know what is drawn.

use std::io::{self, Stdout, Write as _};
use std::sync::Once;

use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, execute};
use ratatui_core::layout::Rect;
use ratatui_core::terminal::{Terminal, TerminalOptions, Viewport};
use ratatui_crossterm::CrosstermBackend;
use rustix::process::{Signal, getpid, kill_process};

use crate::review::state::State;
use crate::review::view;
use crate::review::view::theme::Theme;
use crate::terminal;

/// The screen; the terminal is as it was when this is dropped.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

// === impl Screen ===

impl Screen {
    /// Takes the terminal. Whether there are colours was decided by whoever calls.
    pub(super) fn enter() -> io::Result<Self> {
        restore_on_panic();
        crossterm::style::force_color_output(true);
        take()?;
        match fresh() {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (u16, u16) {
        size()
    }

    /// Takes another size.
    pub(super) fn resize(&mut self) -> io::Result<()> {
        self.terminal = fresh()?;
        Ok(())
    }

    /// Draws the state; only what differs is written.
    pub(super) fn draw(&mut self, state: &State, theme: Theme) -> io::Result<()> {
        self.terminal.draw(|frame| view::draw(state, theme, frame.buffer_mut())).map(drop)
    }

    /// Gives the terminal away for a while.
    pub(super) fn lend(&mut self) {
        restore();
    }

    /// Takes it back, and draws everything anew next time.
    pub(super) fn take_back(&mut self) -> io::Result<()> {
        take()?;
        terminal::forget_typed();
        self.resize()
    }

    /// Stops the process until the shell lets it go on.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        restore();
        // Not TSTP: the shell listens to that one.
        kill_process(getpid(), Signal::STOP)?;
        self.take_back()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn size() -> (u16, u16) {
    let size = terminal::size();
    (u16::try_from(size.columns).unwrap_or(80), u16::try_from(size.rows).unwrap_or(24))
}

/// An empty screen of the present size. The library's own way to one asks the terminal where its cursor is,
/// and the answer would come among the keys.
fn fresh() -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    execute!(io::stdout(), Clear(ClearType::All))?;
    let (columns, rows) = size();
    let viewport = Viewport::Fixed(Rect::new(0, 0, columns, rows));
    Terminal::with_options(CrosstermBackend::new(io::stdout()), TerminalOptions { viewport })
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    let modes =
        execute!(io::stdout(), EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste, cursor::Hide);
    if modes.is_err() {
        restore();
    }
    modes
}

/// As it was. Nothing can be done when the terminal has gone.
fn restore() {
    let mut out = io::stdout();
    let _ = execute!(out, DisableBracketedPaste, DisableMouseCapture, LeaveAlternateScreen, cursor::Show);
    let _ = out.flush();
    let _ = disable_raw_mode();
}

/// A panic is told on a terminal that can show it.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
    });
}
