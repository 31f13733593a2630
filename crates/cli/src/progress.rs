//! How far an evaluation has come: a bar on a terminal, a line every few seconds elsewhere.

use crate::output::percent;
use crate::settings::Settings;
use adamant::evaluate::Observer;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(5);

/// Watches an evaluation and shows it on standard error.
pub struct Progress {
    began: Instant,
    display: Display,
    stage: String,
    total: usize,
    done: usize,
    right: usize,
    /// Images that other ranks have taken; what became of them is told at the end of a stage.
    elsewhere: usize,
}

enum Display {
    Nothing,
    Bar(ProgressBar),
    Lines { last: Instant },
}

impl Progress {
    /// Shows as much as the user wants to see.
    pub fn new(settings: &Settings) -> Self {
        let display = if !settings.shows_progress() {
            Display::Nothing
        } else if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template(
                "{prefix:>18} {bar:32} {pos}/{len} images  {msg}  {eta} left",
            )
            .expect("the template is a constant with known keys");
            Display::Bar(ProgressBar::no_length().with_style(style))
        } else {
            Display::Lines { last: Instant::now() }
        };
        let stage = String::new();
        let (total, done, right, elsewhere) = (0, 0, 0, 0);
        Self { began: Instant::now(), display, stage, total, done, right, elsewhere }
    }

    /// Takes the bar away, so that the result has the terminal.
    pub fn finish(&self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Progress {
    fn begin(&mut self, stage: &str, images: usize) {
        self.stage = stage.to_string();
        (self.total, self.done, self.right, self.elsewhere) = (images, 0, 0, 0);
        if let Display::Bar(bar) = &self.display {
            bar.reset();
            bar.set_length(images as u64);
            bar.set_prefix(self.stage.clone());
        }
    }

    fn judged(&mut self, images: usize, right: usize) {
        self.done += images;
        self.right += right;
        let share = percent(self.right as f64 / self.done.max(1) as f64);
        match &mut self.display {
            Display::Nothing => {}
            Display::Bar(bar) => {
                bar.set_message(format!("{share} right"));
                bar.set_position((self.done + self.elsewhere) as u64);
            }
            Display::Lines { last } => {
                if last.elapsed() >= PAUSE {
                    *last = Instant::now();
                    let done = self.done + self.elsewhere;
                    eprintln!("{}: {done}/{} images, {share} right", self.stage, self.total);
                }
            }
        }
    }

    fn elsewhere(&mut self, images: usize) {
        self.elsewhere += images;
        if let Display::Bar(bar) = &self.display {
            bar.set_position((self.done + self.elsewhere) as u64);
        }
    }

    fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}
