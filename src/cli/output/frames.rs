//! Showing something again and again until Ctrl-C: in place on a terminal, one after another elsewhere.

use std::fmt;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::{Error, Result};

/// What is to be written, one frame after another; each comes when it is due.
pub struct Frames {
    events: Receiver<Event>,
    terminal: bool,
    state: State,
}

enum Event {
    Frame(String),
    End(Option<Error>),
}

enum State {
    Begin,
    Running,
    Failed(Error),
    Over,
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Frames")
    }
}

impl Frames {
    /// Frames that `draw` makes, with this pause between them, until a signal asks to end.
    ///
    /// # Errors
    /// The signal cannot be waited for.
    pub(crate) fn start(
        pause: Duration,
        terminal: bool,
        mut draw: impl FnMut() -> Result<String> + Send + 'static,
    ) -> Result<Frames> {
        let (sender, events) = mpsc::channel();
        let signals = sender.clone();
        let mut caught = Signals::new([SIGHUP, SIGINT, SIGTERM])
            .map_err(|e| Error::failed(format!("cannot wait for signals: {e}")))?;
        thread::spawn(move || {
            for _ in &mut caught {
                // the receiver is gone if the end came first
                let _ = signals.send(Event::End(None));
            }
        });
        // a thread of its own: a database that does not answer must not hold up Ctrl-C
        thread::spawn(move || {
            loop {
                let event = draw().map_or_else(|e| Event::End(Some(e)), Event::Frame);
                let last = matches!(event, Event::End(_));
                if sender.send(event).is_err() || last {
                    return;
                }
                thread::sleep(pause);
            }
        });
        Ok(Frames { events, terminal, state: State::Begin })
    }
}

// no cursor, and lines that are cut at the edge
const ENTER: &str = "\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\n";

/// A frame over the one before it: the screen is never empty in between.
fn in_place(frame: &str) -> String {
    let lines: Vec<&str> = frame.trim_end_matches('\n').split('\n').collect();
    format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\n"))
}

impl Iterator for Frames {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        match std::mem::replace(&mut self.state, State::Running) {
            State::Begin if self.terminal => return Some(Ok(ENTER.to_owned())),
            State::Begin | State::Running => {}
            State::Failed(error) => {
                self.state = State::Over;
                return Some(Err(error));
            }
            State::Over => {
                self.state = State::Over;
                return None;
            }
        }
        let error = match self.events.recv() {
            Ok(Event::Frame(frame)) if self.terminal => return Some(Ok(in_place(&frame))),
            Ok(Event::Frame(frame)) => return Some(Ok(frame)),
            Ok(Event::End(error)) => error,
            Err(_) => None,
        };
        self.state = error.map_or(State::Over, State::Failed);
        if self.terminal {
            return Some(Ok(LEAVE.to_owned()));
        }
        self.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(terminal: bool, events: Vec<Event>) -> Vec<Result<String, String>> {
        let (sender, receiver) = mpsc::channel();
        for event in events {
            sender.send(event).expect("somebody listens");
        }
        let frames = Frames { events: receiver, terminal, state: State::Begin };
        frames.map(|frame| frame.map_err(|e| e.message)).collect()
    }

    #[test]
    fn the_terminal_is_left_as_it_was() {
        let all = frames(true, vec![Event::Frame("a\nb\n".into()), Event::End(Some(Error::failed("x")))]);
        let expected = [Ok(ENTER.into()), Ok("\x1b[Ha\x1b[K\nb\x1b[K\x1b[J".into()), Ok(LEAVE.into()), Err("x".into())];
        assert_eq!(all, expected);
    }

    #[test]
    fn without_a_terminal_frames_are_as_they_are() {
        let all = frames(false, vec![Event::Frame("a\n".into()), Event::End(None), Event::Frame("late".into())]);
        assert_eq!(all, [Ok("a\n".to_owned())]);
    }
}
