//! How far a training run has come: a bar on a terminal, a line every few seconds elsewhere.

use crate::output::{percent, thousands};
use crate::settings::Settings;
use adamant::train::fit::{Event, Watcher};
use adamant::train::record::{Best, StepMetrics, ValidationMetrics};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time between lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(5);

/// Weight of a new step in the figures shown: about the last fifty steps count.
const MEMORY: f64 = 0.04;

/// Watches a run and shows it on standard error.
pub struct Progress {
    display: Display,
    folder: PathBuf,
    began: Instant,
    begun_at: u64,
    steps: u64,
    shown: Option<Shown>,
}

enum Display {
    Nothing,
    Bar(ProgressBar),
    Lines { last: Instant },
}

/// Running means of what each step tells.
struct Shown {
    loss: f64,
    clean: Option<f64>,
    adversarial: Option<f64>,
    images_per_second: f64,
}

impl Shown {
    fn of(metrics: &StepMetrics) -> Self {
        Self {
            loss: metrics.loss,
            clean: metrics.accuracy_clean,
            adversarial: metrics.accuracy_adversarial,
            images_per_second: metrics.images_per_second,
        }
    }

    fn follow(&mut self, new: &Self) {
        let mean = |old: f64, new: f64| old + MEMORY * (new - old);
        let either = |old: Option<f64>, new: Option<f64>| match (old, new) {
            (Some(old), Some(new)) => Some(mean(old, new)),
            (old, new) => new.or(old),
        };
        self.loss = mean(self.loss, new.loss);
        self.clean = either(self.clean, new.clean);
        self.adversarial = either(self.adversarial, new.adversarial);
        self.images_per_second = mean(self.images_per_second, new.images_per_second);
    }

    fn text(&self) -> String {
        let share = |name: &str, share: Option<f64>| {
            share.map_or(String::new(), |share| format!(", {name} {}", percent(share)))
        };
        // A very deep network on two cores makes less than one image a second.
        let digits = if self.images_per_second < 10.0 { 1 } else { 0 };
        format!(
            "{:.digits$} images/s, loss {:.3}{}{}",
            self.images_per_second,
            self.loss,
            share("clean", self.clean),
            share("adversarial", self.adversarial)
        )
    }
}

impl Progress {
    /// Shows as much as the user wants to see.
    pub fn new(settings: &Settings, folder: &Path) -> Self {
        let display = if !settings.shows_progress() {
            Display::Nothing
        } else if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template(
                "{prefix} {bar:24} {pos}/{len} steps  {msg}  {eta} left",
            )
            .expect("the template is a constant with known keys");
            Display::Bar(ProgressBar::no_length().with_style(style))
        } else {
            Display::Lines { last: Instant::now() }
        };
        let folder = folder.to_path_buf();
        Self { display, folder, began: Instant::now(), begun_at: 0, steps: 0, shown: None }
    }

    /// Takes the bar away, so that the result has the terminal.
    pub fn finish(&self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }

    fn say(&self, text: &str) {
        match &self.display {
            Display::Nothing => {}
            Display::Bar(bar) => bar.suspend(|| eprintln!("{text}")),
            Display::Lines { .. } => eprintln!("{text}"),
        }
    }

    fn begin(&mut self, step: u64, steps: u64, parameters: usize) {
        (self.began, self.begun_at, self.steps) = (Instant::now(), step, steps);
        let from = if step > 0 { format!(", from step {step}") } else { String::new() };
        self.say(&format!(
            "training {} parameters for {steps} steps{from}; run folder {}",
            thousands(parameters as u64),
            self.folder.display()
        ));
        if let Display::Bar(bar) = &self.display {
            bar.set_length(steps);
            bar.set_position(step);
            bar.reset_eta();
        }
    }

    fn step(&mut self, metrics: &StepMetrics) {
        let new = Shown::of(metrics);
        match &mut self.shown {
            Some(shown) => shown.follow(&new),
            None => self.shown = Some(new),
        }
        let text = self.shown.as_ref().map(Shown::text).unwrap_or_default();
        let left = self.time_left(metrics.step);
        match &mut self.display {
            Display::Nothing => {}
            Display::Bar(bar) => {
                bar.set_prefix(format!("epoch {}", metrics.epoch + 1));
                bar.set_message(text);
                bar.set_position(metrics.step);
            }
            Display::Lines { last } => {
                if last.elapsed() >= PAUSE {
                    *last = Instant::now();
                    let (epoch, step, steps) = (metrics.epoch + 1, metrics.step, self.steps);
                    eprintln!("epoch {epoch}, step {step}/{steps}: {text}, {left} s left");
                }
            }
        }
    }

    fn time_left(&self, step: u64) -> u64 {
        let done = step.saturating_sub(self.begun_at).max(1);
        let pace = self.began.elapsed().as_secs_f64() / done as f64;
        (pace * self.steps.saturating_sub(step) as f64).round() as u64
    }

    fn validated(&self, metrics: &ValidationMetrics, best: &Best) {
        let mark = if best.step == metrics.step { ", the best so far" } else { "" };
        self.say(&format!(
            "epoch {}: {} held-out images, {} branch: clean {}, {} {}{mark}",
            metrics.epoch + 1,
            metrics.samples,
            metrics.branch,
            percent(metrics.accuracy_clean),
            metrics.evaluation,
            percent(metrics.accuracy_adversarial),
        ));
        if let Some(warning) = &metrics.warning {
            self.say(&format!("warning: {warning}"));
        }
    }
}

impl Watcher for Progress {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Begin { step, steps, parameters } => self.begin(step, steps, parameters),
            Event::Damaged(error) => {
                self.say(&format!("{error}; trying the checkpoint before it"));
            }
            Event::Step(metrics) => self.step(metrics),
            Event::Validated { metrics, best } => self.validated(metrics, best),
            Event::Refused { error } => {
                self.say(&format!("warning: {error}\ntraining goes on, the next try comes soon"));
            }
            Event::Unreadable { error } => self.say(&format!("{error}; trying again")),
            Event::Missing { metrics } => {
                for missing in &metrics.missing {
                    self.say(&format!("step {} goes without {}", metrics.step, missing.reason));
                }
            }
            Event::RolledBack { fault, step } => {
                self.say(&format!("{fault}\nback at step {step}; the step will be passed by"));
            }
            _ => {}
        }
    }
}
