//! Curves of an evaluation as pictures, each as SVG and PNG.

use adamant::evaluate::{Evaluation, Interval, Protocol};
use adamant::report::{Drawing, Place, Plot, Series, ShareRange};
use adamant::threat::Epsilon;
use std::path::{Path, PathBuf};

/// Writes `accuracy-epsilon` and `accuracy-steps` into `folder`, where the evaluation has them.
pub fn write(evaluation: &Evaluation, folder: &Path) -> anyhow::Result<()> {
    for (name, plot) in
        [("accuracy-epsilon", by_epsilon(evaluation)), ("accuracy-steps", by_steps(evaluation))]
    {
        if let Some(plot) = plot {
            save(&plot.draw(), &folder.join(name))?;
        }
    }
    Ok(())
}

/// Writes a drawing as `STEM.svg` and `STEM.png`.
pub fn save(drawing: &Drawing, stem: &Path) -> anyhow::Result<()> {
    let named = |ending: &str| {
        let mut name = stem.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    super::write(&named(".svg"), drawing.to_svg().as_bytes())?;
    super::write(&named(".png"), &drawing.to_png())
}

fn title(evaluation: &Evaluation) -> String {
    let protocol = match evaluation.protocol {
        Protocol::WorstCase => "worst case",
        Protocol::Paper => "paper",
    };
    let (norm, n) = (&evaluation.threat.norm, evaluation.samples);
    format!("{norm}, {n} images, seed {}, {protocol}, 95 %", evaluation.seed)
}

fn point(x: f64, share: f64, Interval(ends): Interval) -> (f64, f64, [f64; 2]) {
    (x, share, ends)
}

fn by_epsilon(evaluation: &Evaluation) -> Option<Plot> {
    let first = evaluation.curve.first()?;
    let radius = |written: &str| written.parse::<Epsilon>().map_or(0.0, |epsilon| epsilon.exact());
    let mut places = vec![Place { x: 0.0, label: "0".to_string() }];
    places.extend(
        evaluation
            .curve
            .iter()
            .filter(|p| radius(&p.epsilon) > 0.0)
            .map(|point| Place { x: radius(&point.epsilon), label: point.epsilon.clone() }),
    );
    let series = first.attacks.iter().enumerate().map(|(number, attack)| {
        let rest = evaluation.curve.iter().filter(|point| radius(&point.epsilon) > 0.0);
        let points = rest.map(|figures| {
            let attack = &figures.attacks[number];
            point(radius(&figures.epsilon), attack.robust_accuracy, attack.ci95)
        });
        // Without a radius every attack leaves the clean accuracy (G4).
        let clean = point(0.0, evaluation.clean_accuracy, evaluation.clean_ci95);
        Series { name: attack.name.clone(), points: std::iter::once(clean).chain(points).collect() }
    });
    let series = series.collect();
    Some(Plot {
        title: title(evaluation),
        x_label: "epsilon".to_string(),
        places,
        range: ShareRange::ALL,
        series,
    })
}

fn by_steps(evaluation: &Evaluation) -> Option<Plot> {
    let mut places: Vec<Place> = Vec::new();
    let mut series = Vec::new();
    for attack in evaluation.attacks.iter().filter(|attack| !attack.along.is_empty()) {
        let steps: usize = attack.settings.get("steps")?.parse().ok()?;
        let at = |steps: usize| (steps as f64).log10();
        let looks =
            attack.along.iter().map(|l| (l.steps, l.robust_accuracy, l.ci95, l.success_rate));
        let end = (steps, attack.robust_accuracy, attack.ci95, attack.success_rate);
        let looks: Vec<_> = looks.chain(std::iter::once(end)).collect();
        places.extend(looks.iter().map(|l| Place { x: at(l.0), label: l.0.to_string() }));
        let points = looks.iter().map(|l| point(at(l.0), l.1, l.2)).collect();
        series.push(Series { name: format!("{}: accuracy", attack.name), points });
        if attack.name.starts_with("targeted-") {
            let points = looks.iter().map(|l| point(at(l.0), l.3, Interval([l.3, l.3]))).collect();
            series.push(Series { name: format!("{}: success", attack.name), points });
        }
    }
    places.sort_by(|a, b| a.x.total_cmp(&b.x));
    places.dedup_by(|a, b| a.label == b.label);
    let x_label = "steps (logarithmic)".to_string();
    let title = format!("epsilon {}, {}", evaluation.threat.epsilon, title(evaluation));
    (!series.is_empty()).then_some(Plot { title, x_label, places, range: ShareRange::ALL, series })
}
