//! What the metrics of a run tell of its course: its validations, and means over windows of its steps.

use super::record::{StepMetrics, ValidationMetrics};
use super::run::METRICS;
use serde_json::Value;
use std::path::Path;
use std::{fs, io};

/// The course of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// By rising step.
    pub steps: Vec<StepMetrics>,
    /// By rising step.
    pub validations: Vec<ValidationMetrics>,
}

/// Means over steps that follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// The last of the steps.
    pub step: u64,
    /// The objective.
    pub loss: f64,
    /// Its clean part; NaN where it has none.
    pub loss_clean: f64,
    /// Its adversarial part; NaN where it has none.
    pub loss_adversarial: f64,
    /// Share of clean images that were right; NaN where there were none.
    pub accuracy_clean: f64,
    /// Share of adversarial images that were right; NaN where there were none.
    pub accuracy_adversarial: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Length of the gradient.
    pub gradient_norm: f64,
}

impl History {
    /// The course that the lines of `metrics.jsonl` tell; other lines, a torn one among them, are passed over.
    pub fn parse(metrics: &str) -> Self {
        let mut history = Self::default();
        for line in metrics.lines() {
            let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
            if value.get("evaluation").is_some() {
                history.validations.extend(serde_json::from_value::<ValidationMetrics>(value));
            } else {
                history.steps.extend(serde_json::from_value::<StepMetrics>(value));
            }
        }
        history
    }

    /// The course of the run in `folder`; an empty one where it has taken no step.
    ///
    /// Errors: where the metrics cannot be read.
    pub fn read(folder: &Path) -> io::Result<Self> {
        match fs::read(folder.join(METRICS)) {
            Ok(bytes) => Ok(Self::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Means over windows of equally many steps, at most `count` of them; the last may be shorter.
    pub fn windows(&self, count: usize) -> Vec<Window> {
        let length = self.steps.len().div_ceil(count.max(1)).max(1);
        self.steps.chunks(length).map(window).collect()
    }
}

fn window(steps: &[StepMetrics]) -> Window {
    let mean =
        |of: &dyn Fn(&StepMetrics) -> f64| steps.iter().map(of).sum::<f64>() / steps.len() as f64;
    let or_none = |value: Option<f64>| value.unwrap_or(f64::NAN);
    Window {
        step: steps.last().map_or(0, |step| step.step),
        loss: mean(&|s| s.loss),
        loss_clean: mean(&|s| or_none(s.loss_clean)),
        loss_adversarial: mean(&|s| or_none(s.loss_adversarial)),
        accuracy_clean: mean(&|s| or_none(s.accuracy_clean)),
        accuracy_adversarial: mean(&|s| or_none(s.accuracy_adversarial)),
        learning_rate: mean(&|s| s.learning_rate),
        gradient_norm: mean(&|s| s.gradient_norm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_means_of_steps_and_other_lines_are_passed_over() {
        let line = |step: u64, loss: f64| {
            format!(
                "{{\"step\":{step},\"epoch\":0,\"images\":1,\"seconds\":1,\"loss\":{loss},\"loss_clean\":null,\
                 \"loss_adversarial\":{loss},\"learning_rate\":0.1,\"accuracy_clean\":null,\
                 \"accuracy_adversarial\":0.5,\"gradient_norm\":1,\"images_per_second\":1,\"wait\":0}}\n"
            )
        };
        let text = line(1, 3.0) + &line(2, 1.0) + &line(3, 0.5) + "{\"step\": 4, \"lo";
        let history = History::parse(&text);
        let windows = history.windows(2);
        let told: Vec<_> = windows.iter().map(|window| (window.step, window.loss)).collect();
        assert_eq!(told, [(2, 2.0), (3, 0.5)]);
        assert!(windows[0].accuracy_clean.is_nan());
        assert_eq!(history.validations, []);
    }
}
