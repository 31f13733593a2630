//! The figure of a study: every arm's figures, a dot a seed, the mean with its interval.

use super::quantity::Quantity;
use super::record::CellRecord;
use super::written::{Regime, Study};
use crate::report::{Anchor, Color, Drawing, Place, Plot, Series, Shape, ShareRange};
use crate::spread::{summary, t975};

const LEFT: f32 = 250.0;
const WIDTH: f32 = 720.0;
const RIGHT: f32 = 30.0;
const TOP: f32 = 44.0;
const ROW: f32 = 15.0;

/// The figures of a study: name, what it shows, drawing; one of rows for every regime, and curves where an evaluation
/// looked at its search on the way or the arms have places on an axis.
pub fn figures(study: &Study, records: &[CellRecord]) -> Vec<(String, String, Drawing)> {
    let mut all = Vec::new();
    for regime in &study.regimes {
        let own: Vec<&CellRecord> = records.iter().filter(|r| r.regime == regime.name).collect();
        if own.is_empty() {
            continue;
        }
        let said = format!(
            "{}: a small dot a seed, a large dot the mean, the line its 95 % interval over seeds",
            regime.title
        );
        all.push((format!("{}-arms", regime.name), said, rows(study, &regime.title, &own)));
        let plots = plots(study, regime, &own).into_iter();
        all.extend(plots.map(|(name, said, plot)| (name, said, plot.draw())));
    }
    all
}

/// The curves of a regime: name, what it shows, plot.
pub(super) fn plots(
    study: &Study,
    regime: &Regime,
    own: &[&CellRecord],
) -> Vec<(String, String, Plot)> {
    let mut all = Vec::new();
    if let Some(plot) = along_axis(study, &regime.title, own) {
        let said = format!("{}: mean over seeds, band from least to greatest", regime.title);
        all.push((format!("{}-axis", regime.name), said, plot));
    }
    for evaluation in study.evaluations.iter().filter(|evaluation| evaluation.along) {
        if let Some(plot) = along_search(study, &evaluation.name, &regime.title, own) {
            let said = format!(
                "{}, evaluation {}: accuracy after so many steps of the search, mean over seeds, band from least to \
                 greatest",
                regime.title, evaluation.name
            );
            all.push((format!("{}-{}-steps", regime.name, evaluation.name), said, plot));
        }
    }
    all
}

fn values(quantity: &Quantity, arm: &str, records: &[&CellRecord]) -> Vec<f64> {
    let own = records.iter().filter(|record| record.arm == arm);
    own.filter_map(|record| quantity.of(record)).map(|measured| measured.value).collect()
}

/// A row for every arm and shown quantity.
fn rows(study: &Study, title: &str, records: &[&CellRecord]) -> Drawing {
    let has = |arm: &str| study.show.iter().any(|q| !values(q, arm, records).is_empty());
    let arms: Vec<_> = study.arms.iter().filter(|arm| has(&arm.name)).collect();
    let shown =
        |quantity| arms.iter().flat_map(move |arm| reach(&values(quantity, &arm.name, records)));
    let range = ShareRange::near(study.show.iter().flat_map(shown));
    let at = |share: f64| LEFT + range.along(share) * (WIDTH - LEFT - RIGHT);
    let block = ROW * study.show.len() as f32 + 8.0;
    let bottom = TOP + block * arms.len() as f32;
    let legend = bottom + 44.0;
    let height = legend + 16.0 * study.show.len() as f32;
    let mut page = Drawing::new(WIDTH as usize, height.ceil() as usize);
    page.text((16.0, 20.0), Anchor::Start, title);
    for (share, text) in range.ticks() {
        let x = at(share);
        page.line(vec![(x, TOP - 8.0), (x, bottom)], Color::GUIDE, 1.0);
        page.text((x, bottom + 16.0), Anchor::Middle, text);
    }
    for (place, arm) in arms.iter().enumerate() {
        let top = TOP + block * place as f32;
        let middle = top + 0.5 * ROW * (study.show.len() as f32 - 1.0);
        let name: String = arm.title.chars().take(28).collect();
        page.text((LEFT - 12.0, middle + 3.0), Anchor::End, name);
        for (row, (quantity, color)) in
            study.show.iter().zip(Color::SERIES.into_iter().cycle()).enumerate()
        {
            let values = values(quantity, &arm.name, records);
            let Some(all) = summary(&values) else { continue };
            let y = top + ROW * row as f32;
            if let [low, .., high] = reach(&values)[..] {
                page.line(vec![(at(low), y), (at(high), y)], color, 2.0);
            }
            for value in values {
                let dot = Shape::Dot { at: (at(value), y), radius: 1.8, color: color.faded(0.6) };
                page.shapes.push(dot);
            }
            page.shapes.push(Shape::Dot { at: (at(all.mean), y), radius: 3.6, color });
        }
    }
    for (row, (quantity, color)) in
        study.show.iter().zip(Color::SERIES.into_iter().cycle()).enumerate()
    {
        let y = legend + 16.0 * row as f32;
        page.shapes.push(Shape::Dot { at: (22.0, y - 3.0), radius: 3.6, color });
        page.text((36.0, y), Anchor::Start, quantity.title());
    }
    page
}

/// The ends of the 95 % interval over seeds; of one seed its figure alone.
fn reach(values: &[f64]) -> Vec<f64> {
    match summary(values) {
        Some(all) if all.n > 1 => {
            let half = t975(all.n - 1) * all.sd / (all.n as f64).sqrt();
            vec![all.mean - half, all.mean + half]
        }
        _ => values.to_vec(),
    }
}

fn point(x: f64, values: &[f64]) -> Option<(f64, f64, [f64; 2])> {
    let mean = summary(values)?.mean;
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some((x, mean, [low, high]))
}

/// A curve for every shown quantity and series of arms over the arms' places, if at least three have one.
fn along_axis(study: &Study, title: &str, records: &[&CellRecord]) -> Option<Plot> {
    let x_label = study.x_label.clone()?;
    let mut places: Vec<Place> = Vec::new();
    for x in study.arms.iter().filter_map(|arm| arm.x) {
        if !places.iter().any(|place| place.x == x) {
            places.push(Place { x, label: x.to_string() });
        }
    }
    places.sort_by(|a, b| a.x.total_cmp(&b.x));
    let mut names: Vec<&Option<String>> = Vec::new();
    for arm in study.arms.iter().filter(|arm| arm.x.is_some()) {
        if !names.contains(&&arm.series) {
            names.push(&arm.series);
        }
    }
    let mut series = Vec::new();
    for name in names {
        for quantity in &study.show {
            let mut arms: Vec<_> =
                study.arms.iter().filter(|arm| arm.series == *name && arm.x.is_some()).collect();
            arms.sort_by(|a, b| a.x.partial_cmp(&b.x).expect("places are numbers"));
            let points = arms.iter().filter_map(|arm| {
                point(arm.x.expect("kept for its place"), &values(quantity, &arm.name, records))
            });
            let points: Vec<_> = points.collect();
            if points.len() > 1 {
                let own = name.as_ref().map_or(String::new(), |name| format!("{name}, "));
                series.push(Series { name: format!("{own}{}", quantity.title()), points });
            }
        }
    }
    let enough = places.len() > 2 && !series.is_empty();
    enough.then(|| Plot { title: title.to_string(), x_label, places, range: near(&series), series })
}

/// What of the axis the curves and their bands need.
fn near(series: &[Series]) -> ShareRange {
    let points = series.iter().flat_map(|series| &series.points);
    ShareRange::near(points.flat_map(|(_, _, ends)| *ends))
}

/// A curve for every arm over the steps of the last attack of one evaluation.
fn along_search(
    study: &Study,
    evaluation: &str,
    title: &str,
    records: &[&CellRecord],
) -> Option<Plot> {
    let (mut places, mut series) = (Vec::<Place>::new(), Vec::new());
    for arm in &study.arms {
        let judged: Vec<_> = records
            .iter()
            .filter(|record| record.arm == arm.name)
            .filter_map(|r| r.evaluations.iter().find(|e| e.name == evaluation)?.attacks.last())
            .collect();
        let Some(first) = judged.first() else { continue };
        let number = |part: &str| part.parse::<usize>().ok();
        let Some(end) = first.name.split('-').find_map(number) else { continue };
        let mut points = Vec::new();
        for steps in first.along.iter().map(|look| look.0).chain([end]) {
            let values = judged.iter().filter_map(|attack| {
                let look = attack.along.iter().find(|look| look.0 == steps).map(|look| look.1);
                look.or((steps == end).then_some(attack.accuracy))
            });
            let x = (steps as f64).log10();
            points.extend(point(x, &values.collect::<Vec<_>>()));
            if !places.iter().any(|place| place.x == x) {
                places.push(Place { x, label: steps.to_string() });
            }
        }
        if points.len() > 1 {
            series.push(Series { name: arm.title.clone(), points });
        }
    }
    places.sort_by(|a, b| a.x.total_cmp(&b.x));
    let x_label = "steps of the search (logarithmic)".to_string();
    let title = format!("{title}, {evaluation}");
    (!series.is_empty()).then(|| Plot { title, x_label, places, range: near(&series), series })
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::{SOME, record};
    use super::*;

    #[test]
    fn a_study_with_an_axis_and_looks_on_the_way_has_three_figures() {
        let mut study = Study::parse(SOME, "some.toml").unwrap();
        study.x_label = Some("depth".into());
        study.evaluations[0].along = true;
        let records: Vec<CellRecord> =
            ["a", "b", "c"].iter().map(|arm| record(arm, 0, 0.5)).collect();
        let all = figures(&study, &records);
        let names: Vec<&str> = all.iter().map(|figure| figure.0.as_str()).collect();
        assert_eq!(names, ["here-arms", "here-axis", "here-robust-steps"]);
        let svg = all[0].2.to_svg();
        assert!(svg.contains(">Here</text>") && svg.contains("robust: pgd-20"), "{svg}");
        // Three arms: a small and a large dot each; one for the legend.
        assert_eq!(svg.matches("<circle").count(), 7);
        assert_eq!(figures(&study, &[]).len(), 0);
    }
}
