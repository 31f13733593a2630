//! How many images are done: a bar on a terminal, a line every few seconds elsewhere.

use crate::output::thousands;
use crate::settings::Settings;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(5);

/// Shows a number that grows to a total.
pub struct Counting {
    what: &'static str,
    total: usize,
    bar: Option<ProgressBar>,
    last: Option<Instant>,
}

impl Counting {
    /// Shows as much as the user wants to see.
    pub fn new(what: &'static str, total: usize, settings: &Settings) -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        let bar = (settings.shows_progress() && on_terminal).then(|| {
            let style =
                ProgressStyle::with_template("{msg} {bar:32} {pos}/{len} images  {eta} left");
            let bar = ProgressBar::new(total as u64);
            bar.set_message(what);
            bar.with_style(style.expect("the template is a constant with known keys"))
        });
        let last = (settings.shows_progress() && !on_terminal).then(Instant::now);
        Self { what, total, bar, last }
    }

    /// So many are done.
    pub fn at(&mut self, done: usize) {
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
        }
        if let Some(last) = self.last.as_mut().filter(|last| last.elapsed() >= PAUSE) {
            *last = Instant::now();
            let (done, total) = (thousands(done as u64), thousands(self.total as u64));
            eprintln!("{}: {done} of {total} images", self.what);
        }
    }

    /// Takes the bar away, so that the result has the terminal.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
