//! The course of a training as charts.

use super::RunFindings;
use crate::report::chart::{Axis, Chart, Curve, Hue, Mark, Point};
use crate::report::number::thousands;
use crate::report::page::Page;
use crate::train::history::Window;

/// Points of a curve.
const WINDOWS: usize = 160;

pub(super) fn charts(page: &mut Page, run: &RunFindings) {
    let history = &run.history;
    if history.steps.is_empty() {
        return;
    }
    page.heading("Training");
    let windows = history.windows(WINDOWS);
    let each = history.steps.len().div_ceil(windows.len().max(1));
    let note = match each {
        1 => "each step".to_string(),
        each => format!("means of {} steps each", thousands(each as u64)),
    };
    let mut charts = vec![validation(run)];
    let curve = |name: &str, hue, of: &dyn Fn(&Window) -> f64| {
        let points: Vec<Point> = windows.iter().map(|w| Point::at(w.step as f64, of(w))).collect();
        Curve::new(name, hue, Mark::Line, points)
    };
    let chart = |title: &str, y, curves: Vec<Curve>| {
        let mut chart = Chart::new(title, note.clone(), Axis::numbers("step"), y);
        let is_drawn = |curve: &Curve| curve.points.iter().any(|point| point.y.is_finite());
        chart.curves = curves.into_iter().filter(is_drawn).collect();
        chart
    };
    let accuracies = vec![
        curve("clean", Hue::Clean, &|w| w.accuracy_clean),
        curve("adversarial", Hue::Adversarial, &|w| w.accuracy_adversarial),
    ];
    charts.push(chart("Accuracy on training images", Axis::shares(""), accuracies));
    let losses = vec![
        curve("objective", Hue::Ink, &|w| w.loss),
        curve("clean", Hue::Clean, &|w| w.loss_clean),
        curve("adversarial", Hue::Adversarial, &|w| w.loss_adversarial),
    ];
    charts.push(chart("Loss", Axis::numbers(""), losses));
    let rate = vec![curve("", Hue::Ink, &|w| w.learning_rate)];
    charts.push(chart("Learning rate", Axis::numbers(""), rate));
    let norm = vec![curve("", Hue::Ink, &|w| w.gradient_norm)];
    charts.push(chart("Length of the gradient", Axis::numbers("").logarithmic(), norm));
    charts.retain(|chart| !chart.curves.is_empty());
    page.figures(charts.into_iter().map(Into::into).collect());
}

/// Held-out images, clean and under the attack that chooses the best model.
fn validation(run: &RunFindings) -> Chart {
    let all = &run.history.validations;
    let note = all.first().map_or(String::new(), |v| {
        format!("{} held-out images, {} branch", thousands(v.samples as u64), v.branch)
    });
    let x = Axis::numbers("step");
    let mut chart = Chart::new("Accuracy on held-out images", note, x, Axis::shares(""));
    let Some(first) = all.first() else { return chart };
    let points = |of: &dyn Fn(usize) -> f64| -> Vec<Point> {
        (0..all.len()).map(|place| Point::at(all[place].step as f64, of(place))).collect()
    };
    let mark = Mark::LineAndDots;
    chart.curves.push(Curve::new("clean", Hue::Clean, mark, points(&|n| all[n].accuracy_clean)));
    if all.iter().any(|v| v.accuracy_fgsm.is_some()) {
        let fgsm = points(&|n| all[n].accuracy_fgsm.unwrap_or(f64::NAN));
        chart.curves.push(Curve::new("fgsm", Hue::Series(4), mark, fgsm));
    }
    let robust = points(&|n| all[n].accuracy_adversarial);
    chart.curves.push(Curve::new(first.evaluation.clone(), Hue::Adversarial, mark, robust));
    chart
}
